"""The pictures of one image: class mask, overlay, patches of its defects, and a note of what was drawn.

Knows names and severity as they are given, or as an image alone would give them; not where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.config import Settings, fingerprint
from endface.imaging.draw import draw_overlay
from endface.imaging.ellipse import Ellipse
from endface.places import together
from endface.rules import rule_classes
from endface.severity import score_severity
from endface.store import RunFolder, write_bytes, write_gray, write_overlay, write_palette


@dataclass(frozen=True, slots=True)
class DrawTask:
    """Write what depends on names and severity: class mask, overlay, patches."""

    image: str
    image_id: str
    folder: RunFolder
    settings: Settings
    defects: tuple[tuple[int, str, str, str], ...]
    """instance, defect_id, type and severity level of each defect"""


@dataclass(frozen=True, eq=False, slots=True)
class Pixels:
    """What is drawn on and drawn in, each (H, W), and the rims of the fibre."""

    image: NDArray[Any]
    iec: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    cladding: Ellipse | None
    core: Ellipse | None
    core_measured: bool


def draw(task: DrawTask, pixels: Pixels, record_key: str) -> None:
    """Write class mask, overlay and patches, then a note of what was drawn."""
    folder, image_id = task.folder, task.image_id
    folder.drawn(image_id).unlink(missing_ok=True)
    boxes = instance_boxes(pixels.instances) if task.defects else {}
    mask = class_mask(pixels.instances, {number: kind for number, _, kind, _ in task.defects}, boxes)
    patches = []
    with together():
        write_palette(folder.mask(image_id, "mask"), mask, kind="defects")
        if task.settings.output.overlays:
            overlay = draw_overlay(
                pixels.image,
                cladding=pixels.cladding,
                core=pixels.core,
                class_mask=mask,
                iec=pixels.iec,
                core_measured=pixels.core_measured,
            )
            write_overlay(folder.overlay(image_id), overlay)
        for number, defect_id, kind, level in task.defects:
            patches.append(folder.patch(defect_id, kind, level))
            write_gray(patches[-1], patch(pixels.image, boxes.get(number)))
    names = [path.relative_to(folder.root).as_posix() for path in patches]
    write_bytes(folder.drawn(image_id), "\n".join([drawing_key(task, record_key), *names]).encode())


def drawing_key(task: DrawTask, record_key: str) -> str:
    """Return a hash of all that a drawing depends on; `record_key` stands for the pixels."""
    return fingerprint([record_key, task.defects, task.settings.output.model_dump(mode="json")])


def read_note(path: Path) -> list[str]:
    """Return the key of a drawing and the patches that belong to it; an empty key where there is none."""
    try:
        return path.read_text().split("\n")
    except OSError:
        return [""]


def named_alone(
    image_id: str, defects: pl.DataFrame, settings: Settings
) -> tuple[tuple[int, str, str, str], ...]:
    """Return the defects as a drawing needs them, named and scored without the other images of the run."""
    if defects.is_empty():
        return ()
    numbers, types = defects["instance"].to_list(), rule_classes(defects)[0]
    scored = score_severity(
        defects.with_columns(pl.Series("type", types, pl.String)), **settings.severity.model_dump()
    )
    return tuple(
        (number, defect_id(image_id, number), str(kind), level)
        for number, kind, level in zip(numbers, types, scored["severity_level"], strict=True)
    )


def drawn_files(task: DrawTask) -> list[Path]:
    """Return the files that `draw_image` writes."""
    files = [task.folder.mask(task.image_id, "mask"), task.folder.drawn(task.image_id)]
    if task.settings.output.overlays:
        files.append(task.folder.overlay(task.image_id))
    return files + [task.folder.patch(name, kind, level) for _, name, kind, level in task.defects]


def class_mask(
    instances: NDArray[np.uint16], types: Mapping[int, str], boxes: Mapping[int, tuple[slice, slice]]
) -> NDArray[np.uint8]:
    """Recolour an instance map by class, within the boxes of the instances.

    Examples
    --------
    >>> instances = np.array([[0, 1, 2]], np.uint16)
    >>> class_mask(instances, {1: "scratch", 2: "other"}, instance_boxes(instances))
    array([[0, 1, 4]], dtype=uint8)
    """
    mask = np.zeros(instances.shape, np.uint8)
    for number, box in boxes.items():
        if number in types:
            mask[box][instances[box] == number] = DefectClass[types[number].upper()]
    return mask


def defect_id(image_id: str, number: int) -> str:
    """Return the name of a defect in the tables and the library.

    Examples
    --------
    >>> defect_id("a", 7)
    'a_007'
    """
    return f"{image_id}_{number:03d}"


def instance_boxes(instances: NDArray[np.uint16]) -> dict[int, tuple[slice, slice]]:
    """Return the box (rows, cols) of every instance."""
    places = np.flatnonzero(instances > 0)  # of truth values they are found sooner
    numbers = instances.ravel()[places]
    order = np.argsort(numbers, kind="stable")
    numbers, (rows, cols) = numbers[order], np.divmod(places[order], instances.shape[1])
    firsts = np.flatnonzero(np.diff(numbers, prepend=0))
    edges = [
        reach.reduceat(side, firsts).tolist() for side in (rows, cols) for reach in (np.minimum, np.maximum)
    ]
    return {
        number: (slice(top, bottom + 1), slice(left, right + 1))
        for number, top, bottom, left, right in zip(numbers[firsts].tolist(), *edges, strict=True)
    }


def patch(image: NDArray[Any], box: tuple[slice, slice] | None) -> NDArray[Any]:
    """Cut a defect out of its image with a margin of a quarter of its size, at least 8 px."""
    if box is None:
        return np.zeros((1, 1), image.dtype)
    sides = []
    for cut, size in zip(box, image.shape, strict=True):
        margin = max(8, (cut.stop - cut.start) // 4)
        sides.append(slice(max(cut.start - margin, 0), min(cut.stop + margin, size)))
    return np.ascontiguousarray(image[sides[0], sides[1]])
