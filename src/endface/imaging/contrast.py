"""How a patch of pixels differs from its surroundings: background, noise, contrast, edge, halo.

The background of a pixel is the median of the ring around the patch *within the same zone*, so that a patch
on the step between two zones is not mistaken for contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.imaging.patches import (
    NEIGHBOUR_COLS,
    NEIGHBOUR_ROWS,
    Floats,
    Indexes,
    Patches,
    grouped_medians,
    steps,
)
from endface.imaging.shape import is_edge

NEAR_PX = 3  # pixels nearer than this belong to the blurred edge or halo of the patch
FAR_PX = 7  # the ring ends here
_MIN_RING = 8  # fewer ring pixels of a zone say nothing about it
_N_LABELS = 8


@dataclass(frozen=True, slots=True)
class Contrast:
    """Gray figures of one patch, in gray levels of the image unless stated.

    Attributes
    ----------
    mean, std, minimum, maximum : float
        Of the patch's own pixels.
    background : float
        Mean local background under the patch.
    noise : float
        Robust standard deviation of the ring around it (1.4826 MAD).
    difference : float
        Mean of patch minus background, signed.
    rms : float
        Root mean square of patch minus background, noise removed: also sees what is dark and bright at once.
    edge_mean, edge_std : float
        Gradient along the edge pixels (gray per px).
    halo : float
        Mean of patch-to-ring zone minus background over `difference`, sign reversed: positive where the
        patch is framed by the opposite polarity (a bright halo around dark dust).
    low, high : float
        Smallest and largest gray of patch and ring.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    background: float
    noise: float
    difference: float
    rms: float
    edge_mean: float
    edge_std: float
    halo: float
    low: float
    high: float


def surroundings(patches: Patches) -> tuple[Indexes, Indexes]:
    """Return the places (in `Patches.cells`) of the pixels near each mask, and of the ring beyond them.

    Near is 1 to `NEAR_PX` from the mask, the ring ends at `FAR_PX`. Those of the first mask come first.

    Examples
    --------
    >>> dot = Patches.of([np.ones((1, 1), bool)])
    >>> near, ring = surroundings(dot)
    >>> near.size, int(dot.locate(ring)[1].min())
    (28, -7)
    """
    cells = np.zeros(patches.cells.size, np.uint8)
    edge = is_edge(patches.codes)
    places, owner = patches.places[edge], patches.owner[edge]
    cells[places] = 1
    # a disc adds no more than a crescent to the one around a neighbour that comes before
    before = cells[patches.around(places, owner)[:, _BEFORE]] > 0
    kind = np.where(before.any(axis=1), before.argmax(axis=1), len(_BEFORE))
    for value, discs in ((_RING, _FAR_DISCS), (_NEAR, _NEAR_DISCS)):
        for number, (rows, cols) in enumerate(discs):
            own = kind == number
            cells[places[own, None] + steps(patches.strides[owner[own]], rows, cols)] = value
    cells[patches.places] = 0
    return np.flatnonzero(cells == _NEAR), np.flatnonzero(cells == _RING)


_NEAR, _RING = 2, 3
_BEFORE = [1, 2, 3, 4]  # neighbours that come before a pixel, of `NEIGHBOUR_ROWS`


def _discs(radius: int) -> list[tuple[Indexes, Indexes]]:
    """Return rows and columns of a disc less that around each neighbour `_BEFORE`, and of all of it."""
    rows, cols = (part.ravel() for part in np.mgrid[-radius : radius + 1, -radius : radius + 1])
    inside = rows**2 + cols**2 <= radius**2
    found = [
        inside & ((rows - NEIGHBOUR_ROWS[k]) ** 2 + (cols - NEIGHBOUR_COLS[k]) ** 2 > radius**2)
        for k in _BEFORE
    ]
    return [(rows[part], cols[part]) for part in (*found, inside)]


_NEAR_DISCS, _FAR_DISCS = _discs(NEAR_PX), _discs(FAR_PX)


def measure_contrast(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    *,
    top: int,
    left: int,
) -> Contrast:
    """Compare the pixels of a patch with their surroundings.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    labels : (H, W) uint8 ndarray
        Zone codes below 8; background is taken within one zone.
    blocked : (H, W) uint8 ndarray
        Non-zero where nothing may count as background: other defects, dead borders.
    mask : (h, w) bool ndarray
        The patch; at least one pixel.
    top, left : int
        Where its box lies in the image.

    Returns
    -------
    Contrast

    Examples
    --------
    >>> image = np.full((30, 30), 100, np.float32)
    >>> image[10:13, 10:13] = 80
    >>> flat = np.zeros((30, 30), np.uint8)
    >>> found = measure_contrast(image, flat, flat, np.ones((3, 3), bool), top=10, left=10)
    >>> found.difference, found.background
    (-20.0, 100.0)
    """
    return measure_contrasts(image, labels, blocked, Patches.of([mask]), np.array([[top, left]]))[0]


def measure_contrasts(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    patches: Patches,
    corners: Indexes,
) -> list[Contrast]:
    """Compare many patches with their surroundings, each as `measure_contrast` does.

    `corners` (N, 2) holds row and column of their boxes in the image.
    """
    near, ring = (_seen(patches, places, corners, image.shape) for places in surroundings(patches))
    levels, noise, low, high = _backgrounds(image, labels, blocked, ring, patches.n)
    owner = patches.owner
    rows, cols = patches.rows + corners[owner, 0], patches.cols + corners[owner, 1]
    values = image[rows, cols].astype(np.float64)
    level = levels[owner, labels[rows, cols]]
    level = np.where(np.isnan(level), values, level)
    away = values - level
    mean, under, difference, rms = (
        patches.total(part) / patches.counts for part in (values, level, away, away**2)
    )
    spread = np.sqrt(patches.total((values - mean[owner]) ** 2) / patches.counts)
    minimum, maximum = (part.reduceat(values, patches.firsts) for part in (np.minimum, np.maximum))
    edge_mean, edge_std = _edges(image, patches, corners)
    columns = (
        mean,
        spread,
        minimum,
        maximum,
        under,
        noise,
        difference,
        np.sqrt(np.maximum(rms - noise * noise, 0.0)),
        edge_mean,
        edge_std,
        _halos(image, labels, blocked, near, levels, difference),
        np.minimum(low, minimum),
        np.maximum(high, maximum),
    )
    return [Contrast(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


_Pixels = tuple[Indexes, Indexes, Indexes]  # owner, row and column in the image


def _seen(patches: Patches, places: Indexes, corners: Indexes, shape: tuple[int, ...]) -> _Pixels:
    """Return owner, row and column in the image of places in the cells, without those beyond the image."""
    owner, rows, cols = patches.locate(places)
    rows, cols = rows + corners[owner, 0], cols + corners[owner, 1]
    seen = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return owner[seen], rows[seen], cols[seen]


def _backgrounds(
    image: NDArray[np.float32], labels: NDArray[np.uint8], blocked: NDArray[np.uint8], ring: _Pixels, n: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return medians of rings (N, zones; overall where a zone has too few), noise, lowest and highest."""
    owner, rows, cols = ring
    free = blocked[rows, cols] == 0
    # crowded places leave no free ring: then defects count as background too
    crowded = np.bincount(owner[free], minlength=n) < _MIN_RING
    free |= crowded[owner]
    owner, rows, cols = owner[free], rows[free], cols[free]
    values = image[rows, cols]
    groups = owner * _N_LABELS + labels[rows, cols]
    by_zone = grouped_medians(values, groups, n * _N_LABELS)
    by_zone[np.bincount(groups, minlength=by_zone.size) < _MIN_RING] = np.nan
    levels = by_zone.reshape(n, _N_LABELS)
    levels = np.where(np.isnan(levels), grouped_medians(values, owner, n)[:, None], levels)
    deviation = np.abs(values - levels.ravel()[groups]).astype(np.float32)
    noise = np.nan_to_num(1.4826 * grouped_medians(deviation, owner, n))
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    if values.size:
        some, firsts = np.unique(owner, return_index=True)
        low[some], high[some] = np.minimum.reduceat(values, firsts), np.maximum.reduceat(values, firsts)
    return levels, noise, low, high


def _edges(image: NDArray[np.float32], patches: Patches, corners: Indexes) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the gradient (Scharr) along the edge of each patch."""
    edge = is_edge(patches.codes)
    owner = patches.owner[edge]
    rows, cols = patches.rows[edge] + corners[owner, 0], patches.cols[edge] + corners[owner, 1]
    height, width = image.shape
    near = [
        image[np.clip(rows + down, 0, height - 1), np.clip(cols + right, 0, width - 1)].astype(np.float64)
        for down, right in zip(NEIGHBOUR_ROWS, NEIGHBOUR_COLS, strict=True)
    ]
    east, north_east, north, north_west, west, south_west, south, south_east = near
    dx = 10 * (east - west) + 3 * (north_east - north_west + south_east - south_west)
    dy = 10 * (south - north) + 3 * (south_east - north_east + south_west - north_west)
    steepness = np.hypot(dx, dy) / 32.0
    count = np.bincount(owner, minlength=patches.n)
    mean, square = (
        np.bincount(owner, part, minlength=patches.n) / count for part in (steepness, steepness**2)
    )
    return mean, np.sqrt(np.maximum(square - mean * mean, 0.0))


def _halos(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    near: _Pixels,
    levels: Floats,
    difference: Floats,
) -> Floats:
    owner, rows, cols = near
    away = image[rows, cols] - levels[owner, labels[rows, cols]]
    counted = (blocked[rows, cols] == 0) & ~np.isnan(away)
    total = np.bincount(owner[counted], away[counted], minlength=difference.size)
    count = np.bincount(owner[counted], minlength=difference.size)
    halo = -total / np.maximum(count, 1) / np.where(difference == 0.0, 1.0, difference)
    return np.where((count > 0) & (difference != 0.0), np.clip(halo, -1.0, 1.0), 0.0)
