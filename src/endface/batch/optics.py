"""Marks that stay at the same pixels while the faces change: dirt on the optics, faults of the sensor.

Two kinds of evidence. The fixed pattern, the median of the residuals of many images, shows marks too weak for
any single image. Finds that coincide more often than chance would have it show those that come and go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.batch.brief import Brief
from endface.batch.finds import COARSE, Finds, read_finds
from endface.batch.residuals import read_residuals, residual_tasks, step_of
from endface.config import fingerprint
from endface.drawing import instance_boxes
from endface.imaging.fixed_pattern import FixedMarks, coincidence_scores, find_fixed_marks
from endface.stages import Outcome, Stage, guarded
from endface.store import (
    RunFolder,
    read_json,
    write_gray,
    write_json,
)

MIN_FACES = 5
"""Fewer different faces cannot tell a mark of the optics from chance."""
EPSILON = 0.01
"""Marks expected by chance in one scope."""
BLOCK = 512
_GROW_PX = 2
# share of the groups of images that must show a mark
_LASTING = 0.75
# a find this much stronger than the mark under it is a thing of its own
_STRONGER = 2.5

_Hit = tuple[str, int, int, float]
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

    @property
    def faces(self) -> tuple[str, ...]:
        """The image_id of the first image of every face."""
        return tuple({face: name for name, _, face in reversed(self.members)}.values())[::-1]


def optics_tasks(
    records: Sequence[Brief], faces: Sequence[int], folder: RunFolder, *, basis: str
) -> dict[str, OpticsTask]:
    """Return a task for every scope with enough different faces; large ones are cut into even blocks."""
    scopes: dict[str, list[tuple[str, str, int]]] = {}
    for record, face in zip(records, faces, strict=True):
        # where a fibre was looked for in vain nothing was detected either
        if record.found or record.not_found_reason == "plain surface":
            name = f"{record.width_px}x{record.height_px}"
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
        if is_studied(task):
            return Outcome(reused=True)
        path.unlink(missing_ok=True)
        finds = {name: read_finds(task.folder, name) for name, *_ in task.members}
        study = _study(task, finds)
        shown = np.clip(128 + 16 * study.pattern, 0, 255).astype(np.uint8)
        write_gray(path.with_suffix(".png"), _enlarged(shown, study.step, study.seen.shape))
        marks, found = _match(task, study, finds)
        content = {
            "key": _key(task),
            "marks": [asdict(m) for m in marks],
            "finds": [asdict(f) for f in found],
        }
        write_json(path, content)
        for part in residual_tasks(task.folder, task.image, task.faces):
            part.path.unlink(missing_ok=True)
        return Outcome()

    return guarded(work, task.image, stage)


def is_studied(task: OpticsTask) -> bool:
    """Return whether a block was studied already, with the same images."""
    path = task.folder.optics(task.image)
    return path.is_file() and path.with_suffix(".png").is_file() and read_json(path).get("key") == _key(task)


def _key(task: OpticsTask) -> str:
    return fingerprint([task.members, task.basis])


def read_optics(folder: RunFolder, blocks: Sequence[str]) -> tuple[list[Mark], list[OpticsFind]]:
    """Read what `study_optics` wrote for some blocks."""
    contents = [read_json(folder.optics(block)) for block in blocks]
    marks = [Mark(**row) for content in contents for row in content["marks"]]
    return marks, [OpticsFind(**row) for content in contents for row in content["finds"]]


@dataclass(frozen=True, eq=False)
class _Study:
    """What the images of a block add up to: the fixed pattern, where finds coincide, who could tell.

    `pattern` and `marks` are in blocks of `step` x `step` pixels, the others in pixels.
    """

    step: int
    pattern: NDArray[np.float32]
    marks: FixedMarks
    coincident: NDArray[np.bool_]
    seen: NDArray[np.int32]
    sigma: float


def _study(task: OpticsTask, finds: Mapping[str, Finds]) -> _Study:
    """Add up the finds of one image of every face, and the residuals of an even sample of them."""
    firsts = task.faces
    shape = finds[firsts[0]].shape
    seen = np.zeros(finds[firsts[0]].coarse_map().shape, np.int32)
    # a pixel more on every side, so that what is grown by one needs no look at the edges
    counts = np.zeros((2, shape[0] + 2, shape[1] + 2), np.int32)
    covered, n_finds = 0.0, 0
    for name in firsts:
        own = finds[name]
        seen += own.coarse_map()
        numbers, places = own.pixels()
        bright = np.isin(numbers, own.instances[own.bright])
        for count, chosen in zip(counts, (~bright, bright), strict=True):
            _count(count, own, places[chosen])
        covered += places.size / (shape[0] * shape[1]) / len(firsts)
        n_finds += own.instances.size
    seen = _enlarged(seen, COARSE, shape)
    least = math.log10(max(n_finds, 1) / EPSILON)
    scores = [coincidence_scores(count[1:-1, 1:-1], seen, share=covered, reach_px=24.0) for count in counts]
    step = step_of(shape)
    total, sigma = read_residuals(residual_tasks(task.folder, task.image, firsts))
    pattern = total.pattern()
    marks = find_fixed_marks(pattern, total.groups, epsilon=EPSILON)
    lasting = total.agreement(marks.labels) >= _LASTING
    return _Study(
        step=step,
        pattern=pattern,
        marks=replace(marks, labels=np.where(lasting[marks.labels], marks.labels, 0)),
        coincident=where_alike(np.maximum(*scores) > least, [finds[name] for name in firsts]),
        seen=seen,
        sigma=sigma,
    )


def _count(count: NDArray[np.int32], finds: Finds, places: NDArray[np.int32]) -> None:
    """Count the pixels of finds and their neighbours, each once, where they can tell; `count` is padded."""
    width = count.shape[1]
    rows, cols = np.divmod(places, finds.shape[1])
    centre = (rows + 1) * width + cols + 1
    steps = np.array([row * width + col for row in (-1, 0, 1) for col in (-1, 0, 1)])
    near = np.unique(centre[:, None] + steps)
    rows, cols = np.divmod(near, width)
    able = finds.can_tell((rows - 1) * finds.shape[1] + cols - 1)
    count.ravel()[near[able]] += 1


def where_alike(coincident: NDArray[np.bool_], finds: Sequence[Finds]) -> NDArray[np.bool_]:
    """Keep the places (H, W) where finds coincide as wholes: dirt keeps its shape, scratches only cross."""
    n, labels = cv2.connectedComponents(coincident.astype(np.uint8), connectivity=8)
    grown = _grown(np.asarray(labels, np.int32))
    parts: dict[int, list[NDArray[np.int32]]] = {}
    for own in finds:
        numbers, places = own.pixels()
        for _, instance, mark, _ in _overlaps("", own, grown):
            parts.setdefault(mark, []).append(places[numbers == instance])
    alike = np.zeros(n, np.bool_)
    for mark, own_places in parts.items():
        places, counts = np.unique(np.concatenate(own_places), return_counts=True)
        core = places[2 * counts >= len(own_places)]
        shared = np.zeros(labels.shape, np.int32)
        shared.ravel()[core] = 1
        near = _grown(shared).ravel()
        alike[mark] = np.median([near[part].sum() / max(part.size, core.size) for part in own_places]) >= 0.5
    return np.asarray(alike[labels])


def _grown(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a map of marks that reach two pixels further."""
    return cv2.dilate(labels.astype(np.float32), np.ones((2 * _GROW_PX + 1,) * 2)).astype(np.int32)


def _enlarged(values: NDArray[Any], step: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Return an image (H, W) of which every value stands for `step` x `step` pixels; the rest is 0."""
    result = np.zeros(shape, values.dtype)
    large = values.repeat(step, axis=0).repeat(step, axis=1)[: shape[0], : shape[1]]
    result[: large.shape[0], : large.shape[1]] = large
    return result


def _match(
    task: OpticsTask, study: _Study, finds: Mapping[str, Finds]
) -> tuple[list[Mark], list[OpticsFind]]:
    """Return the marks, and which finds of which images they are."""
    labels, causes = _number(study)
    pattern = _enlarged(study.pattern, study.step, labels.shape)[labels > 0] * study.sigma
    inside, n = labels[labels > 0], int(labels.max(initial=0))
    size = np.maximum(np.bincount(inside, minlength=n + 1), 1)
    mean = np.bincount(inside, pattern, minlength=n + 1) / size
    reach = np.bincount(inside, np.abs(pattern), minlength=n + 1) / size
    grown = _grown(labels)
    hits = [hit for name, *_ in task.members for hit in _overlaps(name, finds[name], grown)]
    for mark, strengths in _by_mark(hits).items():
        # few finds on a mark may be things of their own
        if len(strengths) >= 3:
            reach[mark] = max(reach[mark], float(np.median(np.abs(strengths))))
    kept = [hit for hit in hits if abs(hit[3]) <= _STRONGER * reach[hit[2]]]
    found = [OpticsFind(name, instance, task.image, mark, causes[mark]) for name, instance, mark, _ in kept]
    seen_in = Counter(mark for _, mark in {(name, mark) for name, _, mark, _ in kept})
    strengths_of = _by_mark(kept)
    marks = []
    for mark, (rows, cols) in instance_boxes(labels.astype(np.uint16)).items():
        contrast = float(np.median(strengths_of[mark])) if mark in strengths_of else float(mean[mark])
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
                n_seen_in=seen_in[mark],
                contrast_gray=round(contrast, 3),
            )
        )
    return marks, found


def _by_mark(hits: Sequence[_Hit]) -> dict[int, list[float]]:
    """Return the contrasts of the finds on each mark."""
    strengths: dict[int, list[float]] = {}
    for _, _, mark, contrast in hits:
        strengths.setdefault(mark, []).append(contrast)
    return strengths


def _number(study: _Study) -> tuple[NDArray[np.int32], dict[int, Cause]]:
    """Return a map of the marks of either evidence, touching ones as one, seams last; and their causes."""
    shape, step = study.coincident.shape, study.step
    lasting = _enlarged(study.marks.labels > 0, step, shape)
    n, numbered = cv2.connectedComponents((lasting | study.coincident).astype(np.uint8), connectivity=8)
    labels: NDArray[np.int32] = np.asarray(numbered, np.int32)
    causes: dict[int, Cause] = {}
    most = 2 if step == 1 else 1
    for mark, (rows, cols) in instance_boxes(labels.astype(np.uint16)).items():
        coarse = tuple(slice(side.start // step, -(-side.stop // step)) for side in (rows, cols))
        values = np.abs(study.pattern[coarse])
        own = labels[::step, ::step][coarse][: values.shape[0], : values.shape[1]] == mark
        values = values[: own.shape[0], : own.shape[1]] * own
        single = np.count_nonzero(values >= 0.5 * max(float(values.max(initial=0)), 1e-6)) <= most
        causes[mark] = "hot or dead pixel" if single else "dust on the optics"
    for number, (side, place, _) in enumerate(study.marks.seams, start=n):
        lines = slice(place * step, (place + 1) * step)
        seam = labels[lines] if side == "row" else labels[:, lines]
        seam[seam == 0] = number
        causes[number] = "seam of the sensor"
    return labels, causes


def _overlaps(image_id: str, finds: Finds, grown: NDArray[np.int32]) -> Iterator[_Hit]:
    """Yield (image_id, instance, mark, contrast) of every find that lies mostly on one mark."""
    numbers, places = finds.pixels()
    under = grown.ravel()[places]
    sizes = np.bincount(numbers)
    pairs, counts = np.unique(np.stack([numbers[under > 0], under[under > 0]]), axis=1, return_counts=True)
    contrast = dict(zip(finds.instances.tolist(), finds.contrast.tolist(), strict=True))
    best: dict[int, tuple[int, int]] = {}
    for (instance, mark), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if 2 * count >= sizes[instance] and count > best.get(instance, (0, 0))[0]:
            best[instance] = (count, mark)
    for instance, (_, mark) in best.items():
        yield image_id, instance, mark, contrast[instance]
