"""Put the pieces of interrupted lines together again: pieces that lie end to end in one direction.

Works on pieces described by their two ends; knows nothing of pixels, detectors or classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STUBBY = 1.5  # length over width from which a piece has a direction
_SHORTEST_PX = 8
_BESIDE, _OPPOSITE = 0.5, -0.966  # cosines: ends within 60 degrees lie side by side, beyond 165 on one line


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
    max_gap_px: float = 60.0,
    max_aside_px: float = 6.5,
    max_angle_deg: float = 15.0,
    min_slenderness: float = 3.0,
    corners: bool = False,
) -> NDArray[np.int64]:
    """Group pieces that continue each other.

    Two slender pieces are linked where an end of one looks at an end of the other: both point along the gap
    within `max_angle_deg`, and past the other's end by at most `max_aside_px`. The gap is at most
    `max_gap_px` and the longer piece; where a piece is shorter than `min_slenderness` times its width, as
    between the bars of a broad scratch, also at most that width.

    With `corners`, lines are linked that end where they meet instead: at a corner, as cracks have them, or
    where each was followed a little beyond the other's end. Lines that know nothing of each other cross.

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
    n = len(pieces)
    length = np.array([piece.length_px for piece in pieces])
    width = np.array([piece.width_px for piece in pieces])
    able = np.flatnonzero((length >= _STUBBY * width) & (length >= _SHORTEST_PX)) if n else np.empty(0, int)
    if able.size < 2:
        return np.arange(n)
    ends = np.concatenate([pieces[k].ends for k in able])
    outward = np.concatenate([pieces[k].outward for k in able])
    # number of two ends near each other, two ends per piece
    here, there = _near_pairs(ends, max_gap_px)
    first, second = able[here // 2], able[there // 2]
    gap = ends[there] - ends[here]
    distance = np.hypot(gap[:, 0], gap[:, 1])
    reach = np.maximum(length[first], length[second])
    stubby = np.minimum(length[first] / width[first], length[second] / width[second]) < min_slenderness
    narrower = np.minimum(width[first], width[second])
    reach[stubby] = np.minimum(reach, narrower)[stubby]
    alike = np.maximum(width[first], width[second]) <= 4 * narrower
    # ends that overlap by a few pixels have no gap to look along: compare directions only
    along = np.where((distance > 4)[:, None], gap / np.maximum(distance, 1.0)[:, None], outward[here])
    cosine = np.cos(np.minimum(np.deg2rad(max_angle_deg), max_aside_px / np.maximum(distance, 1.0)))
    facing = ((outward[here] * along).sum(axis=1) > cosine) & (-(outward[there] * along).sum(axis=1) > cosine)
    shorter = np.minimum(length[first], length[second])
    if corners:
        linked = ~stubby & _meet(gap, outward[here], outward[there], shorter, narrower)
    else:
        linked = (distance <= reach) & facing
    linked &= alike & (first != second)
    group = list(range(n))
    for one, other in zip(first[linked].tolist(), second[linked].tolist(), strict=True):
        old, new = group[other], group[one]
        group = [new if number == old else number for number in group] if old != new else group
    order = {label: number for number, label in enumerate(dict.fromkeys(group))}
    return np.array([order[label] for label in group], np.int64)


def _near_pairs(points: NDArray[np.float64], reach: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of all pairs of points (N, 2) no farther apart than `reach`."""
    order = np.argsort(points[:, 0], kind="stable")
    along = points[order, 0]
    # of each point those that follow it along x within reach
    counts = np.searchsorted(along, along + reach, "right") - np.arange(1, len(order) + 1)
    here = np.repeat(np.arange(len(order)), counts)
    there = here + 1 + np.arange(here.size) - np.repeat(np.cumsum(counts) - counts, counts)
    here, there = order[here], order[there]
    close = ((points[here] - points[there]) ** 2).sum(axis=1) <= reach * reach
    return here[close], there[close]


def _meet(
    gap: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    shorter_px: NDArray[np.float64],
    narrower_px: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether lines meet at ends a vector `gap` (K, 2) apart that point along `first` and `second`."""
    turn = (first * second).sum(axis=1)
    corner = (np.hypot(gap[:, 0], gap[:, 1]) <= 2.0 * narrower_px) & (turn < _BESIDE)
    beyond = -(first * gap).sum(axis=1)
    aside = np.abs(first[:, 0] * gap[:, 1] - first[:, 1] * gap[:, 0])
    overlap = (turn < _OPPOSITE) & (aside <= 0.5 * narrower_px) & (beyond > 0) & (beyond < 0.5 * shorter_px)
    return np.asarray(corner | overlap)
