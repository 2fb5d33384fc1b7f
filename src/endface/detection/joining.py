"""Draw defects on a canvas, see which lie on which, and make one of several."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect


def unite(parts: list[Defect]) -> Defect:
    """Make one defect of several; what is not size is taken from the strongest."""
    if len(parts) == 1:
        return parts[0]
    y0, x0 = min(p.y_px for p in parts), min(p.x_px for p in parts)
    y1 = max(p.y_px + p.mask.shape[0] for p in parts)
    x1 = max(p.x_px + p.mask.shape[1] for p in parts)
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    for part in parts:
        height, width = part.mask.shape
        mask[part.y_px - y0 : part.y_px - y0 + height, part.x_px - x0 : part.x_px - x0 + width] |= part.mask
    detector = "+".join(sorted({name for p in parts for name in p.detector.split("+")}))
    strongest = max(parts, key=lambda p: p.score)
    return replace(strongest, mask=mask, x_px=x0, y_px=y0, detector=detector)


def trim(defect: Defect) -> Defect:
    """Cut the box of a defect down to its pixels, of which there is one at least."""
    rows, cols = np.flatnonzero(defect.mask.any(axis=1)), np.flatnonzero(defect.mask.any(axis=0))
    top, left = int(rows[0]), int(cols[0])
    mask = defect.mask[top : rows[-1] + 1, left : cols[-1] + 1]
    return replace(defect, mask=mask, x_px=defect.x_px + left, y_px=defect.y_px + top)


def owners(defects: list[Defect], shape: tuple[int, int], *, reach_px: int) -> NDArray[np.int32]:
    """Return for each pixel of (H, W) the number, from 1, of the last defect within reach of it; 0 none."""
    canvas = np.zeros(shape, np.int32)
    for number, defect in enumerate(defects, start=1):
        stamp(canvas, defect, reach_px, value=number)
    return canvas


def join_onto(
    hosts: list[Defect], guests: list[Defect], shape: tuple[int, int], *, reach_px: int
) -> tuple[list[Defect], list[Defect]]:
    """Make one defect of each host and the guests within its reach; also return the guests that have none.

    Of a guest that lies on several hosts each gets what lies within its reach, and the rest is dropped: what
    was seen apart stays apart.
    """
    owner = owners(hosts, shape, reach_px=reach_px)
    together = [[host] for host in hosts]
    left = []
    for guest in guests:
        on = np.where(guest.mask, owner[guest.box], 0)
        numbers = np.unique(on[on > 0]).tolist()
        for number in numbers:
            part = guest if len(numbers) == 1 else trim(replace(guest, mask=on == number))
            together[number - 1].append(part)
        if not numbers:
            left.append(guest)
    return [unite(parts) for parts in together], left


def stamp(canvas: NDArray[np.generic], defect: Defect, reach_px: int, *, value: float = 1) -> None:
    """Draw a defect, grown by `reach_px`, onto a canvas (H, W), in place."""
    height, width = canvas.shape
    rows, cols = defect.box
    grown = cv2.dilate(
        np.pad(defect.mask.astype(np.uint8), reach_px),
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1, 2 * reach_px + 1)),
    ).astype(bool)
    y0, x0 = rows.start - reach_px, cols.start - reach_px
    top, left = max(0, -y0), max(0, -x0)
    bottom, right = min(grown.shape[0], height - y0), min(grown.shape[1], width - x0)
    view = canvas[y0 + top : y0 + bottom, x0 + left : x0 + right]
    view[grown[top:bottom, left:right]] = value
