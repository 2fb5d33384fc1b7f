"""Marks that stay at the same pixels while the faces change: dirt on the optics, faults of the sensor.

Two kinds of evidence. The fixed pattern, the median of the residuals of many images, shows marks too weak for
any single image. Finds that coincide more often than chance would have it show those that come and go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Zones
from endface.config import fingerprint
from endface.detection.structure import remove_structure
from endface.drawing import instance_boxes
from endface.errors import FormatError
from endface.imaging.fixed_pattern import FixedMarks, PatternSum, coincidence_scores, find_fixed_marks
from endface.stages import Outcome, Stage, guarded
from endface.store import (
    Record,
    RunFolder,
    raw_mask,
    read_json,
    read_png,
    read_record,
    write_gray,
    write_json,
    zones_from_record,
)

MIN_FACES = 5
"""Fewer different faces cannot tell a mark of the optics from chance."""
EPSILON = 0.01
"""Marks expected by chance in one scope."""
BLOCK = 512
_SAMPLE = 63
_GROUPS = 9
_GROW_PX = 2
# share of the groups of images that must show a mark
_LASTING = 0.75
# a find this much stronger than the mark under it is a thing of its own
_STRONGER = 2.5

Cause = Literal["hot or dead pixel", "dust on the optics", "seam of the sensor"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of the optics.

    Attributes
    ----------
    scope : str
        Frame size, and a number where a scope has more than one block of images.
    x_px, y_px, width_px, height_px : int
        Its box.
    n_images, n_seen_in : int
        Images that show its place, and those in which it was found.
    contrast_gray : float
        Mean difference from the surroundings.
    """

    scope: str
    mark: int
    cause: Cause
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    area_px: int
    n_images: int
    n_seen_in: int
    contrast_gray: float


@dataclass(frozen=True, slots=True)
class OpticsFind:
    """One find that is a mark of the optics; `instance` is its number before it was taken out."""

    image_id: str
    instance: int
    scope: str
    mark: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class OpticsTask:
    """Look for marks in one block of images of one scope.

    Attributes
    ----------
    image : str
        Name of the block.
    basis : str
        Hash of what finds depend on besides the images.
    members : tuple of (str, str, int)
        image_id, digest and number of the face.
    """

    image: str
    folder: RunFolder
    basis: str
    members: tuple[tuple[str, str, int], ...]


def optics_tasks(
    records: Sequence[Record], faces: Sequence[int], folder: RunFolder, *, basis: str
) -> dict[str, OpticsTask]:
    """Return a task for every scope with enough different faces; large ones are cut into even blocks."""
    scopes: dict[str, list[tuple[str, str, int]]] = {}
    for record, face in zip(records, faces, strict=True):
        # where a fibre was looked for in vain nothing was detected either
        if record.row["found"] or record.row["not_found_reason"] == "plain surface":
            name = f"{record.row['width_px']}x{record.row['height_px']}"
            scopes.setdefault(name, []).append((record.image_id, record.digest, face))
    tasks = {}
    for name, members in scopes.items():
        parts = np.array_split(np.arange(len(members)), math.ceil(len(members) / BLOCK))
        for number, part in enumerate(parts):
            chosen = tuple(members[k] for k in part)
            if len({face for *_, face in chosen}) >= MIN_FACES:
                block = name if len(parts) == 1 else f"{name}_{number:03d}"
                tasks[block] = OpticsTask(block, folder, basis, chosen)
    return tasks


def study_optics(task: OpticsTask) -> Outcome:
    """Find the marks of one block and the finds that are such marks; write both into the journal."""
    stage = Stage("optics")

    def work() -> Outcome:
        path = task.folder.optics(task.image)
        key = fingerprint([task.members, task.basis])
        if path.is_file() and path.with_suffix(".png").is_file() and read_json(path).get("key") == key:
            return Outcome(reused=True)
        path.unlink(missing_ok=True)
        study = _study(task)
        shown = np.clip(128 + 16 * study.pattern, 0, 255).astype(np.uint8)
        write_gray(path.with_suffix(".png"), shown)
        marks, finds = _match(task, study)
        content = {"key": key, "marks": [asdict(m) for m in marks], "finds": [asdict(f) for f in finds]}
        write_json(path, content)
        return Outcome()

    return guarded(work, task.image, stage)


def read_optics(folder: RunFolder, blocks: Sequence[str]) -> tuple[list[Mark], list[OpticsFind]]:
    """Read what `study_optics` wrote for some blocks."""
    contents = [read_json(folder.optics(block)) for block in blocks]
    marks = [Mark(**row) for content in contents for row in content["marks"]]
    return marks, [OpticsFind(**row) for content in contents for row in content["finds"]]


@dataclass(frozen=True, eq=False)
class _Study:
    """What the images of a block add up to: the fixed pattern, where finds coincide, who could tell."""

    pattern: NDArray[np.float32]
    marks: FixedMarks
    coincident: NDArray[np.bool_]
    seen: NDArray[np.int64]
    sigma: float


def _study(task: OpticsTask) -> _Study:
    """Add up the finds of one image of every face, and the residuals of an even sample of them."""
    firsts = list({face: name for name, _, face in reversed(task.members)}.values())[::-1]
    sample = set(np.linspace(0, len(firsts) - 1, min(len(firsts), _SAMPLE)).round().astype(int).tolist())
    shape = read_png(task.folder.image(firsts[0])).shape
    n_groups = min(len(firsts), _GROUPS)
    total = PatternSum(shape, n_groups=n_groups)
    counts, seen = np.zeros((2, *shape), np.int64), np.zeros(shape, np.int64)
    covered, n_finds, sigmas = 0.0, 0, []
    for number, name in enumerate(firsts):
        zones, table, instances = _finds(task.folder, name)
        able = _able(zones)
        seen += able
        bright = np.zeros(int(instances.max(initial=0)) + 1, bool)
        bright[table["instance"].to_numpy()] = (table["polarity"].fill_null(0) > 0).to_numpy()
        for side, chosen in enumerate(((instances > 0) & ~bright[instances], bright[instances])):
            counts[side] += cv2.dilate(chosen.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & able
        covered += np.count_nonzero(instances) / instances.size / len(firsts)
        n_finds += table.height
        if number in sample:
            residual = remove_structure(read_png(task.folder.image(name)), zones)
            sigma = residual.noise(residual.gray)[0]
            sigmas.append(float(np.median(sigma)))
            group = number * n_groups // len(firsts)
            total.add(residual.gray / sigma, residual.mask & able, group=group)
    least = math.log10(max(n_finds, 1) / EPSILON)
    scores = [coincidence_scores(count, seen, share=covered, reach_px=24.0) for count in counts]
    pattern = total.pattern()
    marks = find_fixed_marks(pattern, total.groups, epsilon=EPSILON)
    lasting = total.agreement(marks.labels) >= _LASTING
    return _Study(
        pattern=pattern,
        marks=replace(marks, labels=np.where(lasting[marks.labels], marks.labels, 0)),
        coincident=np.maximum(*scores) > least,
        seen=seen,
        sigma=float(np.median(sigmas)),
    )


def _finds(folder: RunFolder, image_id: str) -> tuple[Zones, pl.DataFrame, NDArray[np.uint16]]:
    """Return what was found in one image, before anything was taken out."""
    record = read_record(folder, image_id)
    if record is None:
        raise FormatError(f"{folder.record(image_id)}: damaged meanwhile", hint="Run again.")
    zones = zones_from_record(record.zones, read_png(raw_mask(folder, image_id, "zones")))
    return zones, record.defects, read_png(raw_mask(folder, image_id, "instances"))


def _able(zones: Zones) -> NDArray[np.bool_]:
    """Mark the pixels that can tell: along rim and core a fibre that stays in place looks like a mark."""
    able = zones.valid.copy()
    for ellipse in (zones.cladding, zones.core):
        if ellipse is not None:
            band_px = max(4.0, 0.05 * ellipse.radius_px)
            able &= np.abs(ellipse.radius_map(zones.shape) - 1) * ellipse.radius_px > band_px
    return able


def _match(task: OpticsTask, study: _Study) -> tuple[list[Mark], list[OpticsFind]]:
    """Return the marks, and which finds of which images they are."""
    labels, causes = _number(study)
    level = np.abs(study.pattern) * study.sigma
    n = int(labels.max(initial=0))
    size = np.maximum(np.bincount(labels.ravel(), minlength=n + 1), 1)
    mean = np.bincount(labels.ravel(), (study.pattern * study.sigma).ravel(), minlength=n + 1) / size
    reach = np.bincount(labels.ravel(), level.ravel(), minlength=n + 1) / size
    grown = cv2.dilate(labels.astype(np.float32), np.ones((2 * _GROW_PX + 1,) * 2)).astype(np.int32)
    hits = [hit for name, *_ in task.members for hit in _overlaps(task.folder, name, grown)]
    for mark in range(1, n + 1):
        strengths = [abs(strength) for *_, number, strength in hits if number == mark]
        # few finds on a mark may be things of their own
        if len(strengths) >= 3:
            reach[mark] = max(reach[mark], float(np.median(strengths)))
    kept = [hit for hit in hits if abs(hit[3]) <= _STRONGER * reach[hit[2]]]
    finds = [OpticsFind(name, instance, task.image, mark, causes[mark]) for name, instance, mark, _ in kept]
    boxes = instance_boxes(labels.astype(np.uint16))
    marks = []
    for mark, (rows, cols) in boxes.items():
        strengths = [strength for *_, number, strength in kept if number == mark]
        marks.append(
            Mark(
                scope=task.image,
                mark=mark,
                cause=causes[mark],
                x_px=cols.start,
                y_px=rows.start,
                width_px=cols.stop - cols.start,
                height_px=rows.stop - rows.start,
                area_px=int(size[mark]),
                n_images=int(study.seen[rows, cols].max()),
                n_seen_in=len({name for name, _, number, _ in kept if number == mark}),
                contrast_gray=round(float(np.median(strengths)) if strengths else float(mean[mark]), 3),
            )
        )
    return marks, finds


def _number(study: _Study) -> tuple[NDArray[np.int32], dict[int, Cause]]:
    """Return a map of the marks of either evidence, touching ones as one, seams last; and their causes."""
    spots = ((study.marks.labels > 0) | study.coincident).astype(np.uint8)
    n, numbered = cv2.connectedComponents(spots, connectivity=8)
    labels: NDArray[np.int32] = np.asarray(numbered, np.int32)
    causes: dict[int, Cause] = {}
    for mark, box in instance_boxes(labels.astype(np.uint16)).items():
        values = np.abs(study.pattern[box]) * (labels[box] == mark)
        single = np.count_nonzero(values >= 0.5 * max(float(values.max()), 1e-6)) <= 2
        causes[mark] = "hot or dead pixel" if single else "dust on the optics"
    for number, (side, place, _) in enumerate(study.marks.seams, start=n):
        line = labels[place] if side == "row" else labels[:, place]
        line[line == 0] = number
        causes[number] = "seam of the sensor"
    return labels, causes


def _overlaps(
    folder: RunFolder, image_id: str, grown: NDArray[np.int32]
) -> Iterator[tuple[str, int, int, float]]:
    """Yield (image_id, instance, mark, contrast) of every find that lies mostly on one mark."""
    _, table, instances = _finds(folder, image_id)
    boxes = instance_boxes(instances)
    for instance, contrast in table.select("instance", "contrast_gray").iter_rows():
        under = grown[boxes[instance]][instances[boxes[instance]] == instance]
        counts = np.bincount(under)
        counts[0] = 0
        if 2 * counts.max() >= under.size:
            yield image_id, instance, int(counts.argmax()), float(contrast or 0.0)
