"""Put the pieces of interrupted lines together again: pieces that lie end to end in one direction.

Works on pieces described by their two ends; knows nothing of pixels, detectors or classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Piece:
    """An elongated piece: its ends (x, y in px), its direction at each end (unit, outwards) and its width.

    Attributes
    ----------
    ends : (2, 2) float64 ndarray
    outward : (2, 2) float64 ndarray
    length_px, width_px : float
    """

    ends: NDArray[np.float64]
    outward: NDArray[np.float64]
    length_px: float
    width_px: float


def describe_piece(mask: NDArray[np.bool_], *, x_px: int = 0, y_px: int = 0) -> Piece:
    """Describe a connected mask by the ends of its long axis.

    Parameters
    ----------
    mask : (h, w) bool ndarray
        At least one pixel.
    x_px, y_px : int
        Column and row of the mask's top-left pixel.

    Examples
    --------
    >>> mask = np.zeros((3, 21), bool)
    >>> mask[1] = True
    >>> piece = describe_piece(mask)
    >>> round(piece.length_px), round(piece.width_px)
    (21, 1)
    """
    rows, cols = np.nonzero(mask)
    points = np.stack([cols + x_px, rows + y_px], axis=1).astype(np.float64)
    centre = points.mean(axis=0)
    axis = np.linalg.eigh(np.cov(points.T) if len(points) > 1 else np.eye(2))[1][:, 1]
    along = (points - centre) @ axis
    low, high = float(along.min()), float(along.max())
    length = high - low + 1.0
    # a curved piece points elsewhere at each end: take the direction of its outer third
    ends, outward = np.empty((2, 2)), np.empty((2, 2))
    for k, (inside, sign) in enumerate(
        ((along <= low + length / 3, -1.0), (along >= high - length / 3, 1.0))
    ):
        third = points[inside]
        tip = third[np.abs(along[inside] - (low if sign < 0 else high)) <= 1.5].mean(axis=0)
        inner = third.mean(axis=0)
        direction = tip - inner
        norm = float(np.hypot(*direction))
        ends[k] = tip
        outward[k] = direction / norm if norm > 2 else sign * axis
    return Piece(ends, outward, length, len(points) / length)


def link_pieces(
    pieces: list[Piece],
    *,
    max_gap_px: float = 25.0,
    max_angle_deg: float = 15.0,
    min_slenderness: float = 3.0,
) -> NDArray[np.int64]:
    """Group pieces that continue each other.

    Two slender pieces are linked where an end of one looks at an end of the other: both point along the gap
    within `max_angle_deg`, and the gap is at most `max_gap_px` and at most the longer piece.

    Returns
    -------
    (N,) int64 ndarray
        Group number of each piece, from 0 in order of first appearance.

    Examples
    --------
    >>> row = np.zeros((3, 60), bool)
    >>> row[1, :20] = True
    >>> left, right = describe_piece(row), describe_piece(row, x_px=30)
    >>> far = describe_piece(row, y_px=40)
    >>> link_pieces([left, right, far]).tolist()
    [0, 0, 1]
    """
    parent = np.arange(len(pieces))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    slender = [
        i for i, p in enumerate(pieces) if p.length_px >= min_slenderness * p.width_px and p.length_px >= 8
    ]
    cosine = np.cos(np.deg2rad(max_angle_deg))
    for a, i in enumerate(slender):
        for j in slender[a + 1 :]:
            if _continue_each_other(pieces[i], pieces[j], max_gap_px, float(cosine)):
                parent[root(j)] = root(i)
    roots = [root(i) for i in range(len(pieces))]
    order = {r: n for n, r in enumerate(dict.fromkeys(roots))}
    return np.array([order[r] for r in roots], np.int64)


def _continue_each_other(first: Piece, second: Piece, max_gap_px: float, cosine: float) -> bool:
    reach = min(max_gap_px, max(first.length_px, second.length_px))
    for p in range(2):
        for q in range(2):
            gap = second.ends[q] - first.ends[p]
            distance = float(np.hypot(*gap))
            if distance > reach or max(first.width_px, second.width_px) > 4 * min(
                first.width_px, second.width_px
            ):
                continue
            # ends that overlap by a few pixels have no gap to look along: compare directions only
            along = gap / distance if distance > 4 else first.outward[p]
            if first.outward[p] @ along > cosine and second.outward[q] @ -along > cosine:
                return True
    return False
