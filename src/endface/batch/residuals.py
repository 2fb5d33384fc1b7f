"""Residuals of the images of a block, added up in groups: each group by a task of its own.

The sums of a group wait in the journal until all are there. Knows residuals; what stays in place is told by
`fixed_pattern`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, Zones
from endface.detection.structure import remove_structure
from endface.errors import FormatError
from endface.imaging.ellipse import Ellipse
from endface.imaging.fixed_pattern import PatternSum
from endface.places import read_bytes
from endface.stages import Outcome, Stage, guarded
from endface.store import RunFolder, raw_mask, read_content, read_png, write_bytes, zones_from_record

_SAMPLE = 27
_GROUPS = 9
# larger frames are studied in blocks of pixels
_FINE_PX = 400_000


@dataclass(frozen=True, slots=True)
class ResidualTask:
    """Add up the residuals of one group of images.

    Attributes
    ----------
    image : str
        Name of the block the group belongs to.
    path : Path
        Where the sums are left.
    members : tuple of str
        image_id of each image.
    """

    image: str
    folder: RunFolder
    path: Path
    members: tuple[str, ...]


def residual_tasks(folder: RunFolder, block: str, names: Sequence[str]) -> list[ResidualTask]:
    """Return the tasks for an even sample of the images of a block, neighbours in the same group."""
    n_groups = min(len(names), _GROUPS)
    groups: list[list[str]] = [[] for _ in range(n_groups)]
    for number in np.linspace(0, len(names) - 1, min(len(names), _SAMPLE)).round().astype(int).tolist():
        groups[number * n_groups // len(names)].append(names[number])
    path = folder.optics(block)
    return [
        ResidualTask(block, folder, path.with_name(f"{block}.{k}.npz"), tuple(group))
        for k, group in enumerate(groups)
    ]


def add_residuals(task: ResidualTask) -> Outcome:
    """Add up the residuals of one group of images, in units of their noise, and leave the sums.

    Means of several pixels are as good as pixels for marks of some size, and much sooner made.
    """

    def work() -> Outcome:
        total: PatternSum | None = None
        sigmas = []
        for name in task.members:
            image, zones, step = _reduced(task.folder, name)
            residual = remove_structure(image, zones)
            sigma = residual.noise(residual.gray)[0]
            sigmas.append(float(np.median(sigma[::4, ::4])))
            total = total or PatternSum(image.shape, n_groups=1)
            total.add(residual.gray / sigma, residual.mask & _able(zones, step), group=0)
        assert total is not None  # no group is empty
        buffer = io.BytesIO()
        np.savez(buffer, sums=total.sums, counts=total.counts, sigmas=sigmas)
        write_bytes(task.path, buffer.getvalue())
        return Outcome()

    return guarded(work, task.image, Stage("optics"))


def read_residuals(tasks: Sequence[ResidualTask]) -> tuple[PatternSum, float]:
    """Return the sums that `add_residuals` left, and the noise of the images.

    Raises
    ------
    FormatError
        If one is missing or damaged.
    """
    try:
        parts = [np.load(io.BytesIO(read_bytes(task.path))) for task in tasks]
        total = PatternSum.of(
            np.concatenate([part["sums"] for part in parts]),
            np.concatenate([part["counts"] for part in parts]),
        )
        return total, float(np.median(np.concatenate([part["sigmas"] for part in parts])))
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"sums of {tasks[0].image}: cannot be read ({error})", hint="Run again.") from None


def step_of(shape: tuple[int, int]) -> int:
    """Return the side of the blocks of pixels that images of a size are studied in."""
    return max(1, round(math.sqrt(shape[0] * shape[1] / _FINE_PX)))


def _reduced(folder: RunFolder, image_id: str) -> tuple[NDArray[np.float32], Zones, int]:
    """Return an image as found, and its zones, in means of `step` x `step` pixels, and the step."""
    content = read_content(folder, image_id)
    image = read_png(folder.image(image_id))
    step = step_of(image.shape)
    height, width = (size // step for size in image.shape)
    # of the map only the pixels that show nothing count, and there are none where zones make up the image
    if sum(row["zone_area_px"] for row in content["zone_rows"]) == image.size:
        anatomy = np.full((height, width), AnatomyZone.FERRULE, np.uint8)
    else:
        mask = read_png(raw_mask(folder, image_id, "zones"))
        anatomy = np.ascontiguousarray(mask[step // 2 :: step, step // 2 :: step][:height, :width])
    zones = zones_from_record(content["zones"], anatomy)
    image = image.astype(np.float32)
    if step > 1:
        whole = image[: height * step, : width * step]
        image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    cladding, core, adhesive = (
        ellipse
        and Ellipse(
            (ellipse.cx_px + 0.5) / step - 0.5,
            (ellipse.cy_px + 0.5) / step - 0.5,
            ellipse.rx_px / step,
            ellipse.ry_px / step,
        )
        for ellipse in (zones.cladding, zones.core, zones.adhesive)
    )
    reduced = replace(
        zones, anatomy=anatomy, valid=anatomy != 0, cladding=cladding, core=core, adhesive=adhesive
    )
    return image, reduced, step


def _able(zones: Zones, step: int) -> NDArray[np.bool_]:
    """Mark the pixels that can tell: along rim and core a fibre that stays in place looks like a mark."""
    able = zones.valid.copy()
    for ellipse in (zones.cladding, zones.core):
        if ellipse is not None:
            band_px = max(4.0 / step, 0.05 * ellipse.radius_px)
            able &= np.abs(ellipse.radius_map(zones.shape) - 1) * ellipse.radius_px > band_px
    return able
