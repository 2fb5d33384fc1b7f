"""How a patch of pixels differs from its surroundings: background, noise, contrast, edge, halo.

The background of a pixel is the median of the ring around the patch *within the same zone*, so that a patch
on the step between two zones is not mistaken for contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.shape import Pixels, edge_pixels, pad, set_pixels

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


def surroundings(
    mask: NDArray[np.bool_], *, pixels: Pixels | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (2, N) rows and columns of the pixels near a mask, and of the ring beyond them.

    Relative to the mask's box, hence also negative: the caller drops what lies outside the image. Near is
    1 to `NEAR_PX` from the mask, the ring ends at `FAR_PX`.

    Examples
    --------
    >>> near, ring = surroundings(np.ones((1, 1), bool))
    >>> near.shape[1], int(ring.min())
    (28, -7)
    """
    margin = FAR_PX + 1
    stamp = pad(mask, margin)
    rows, cols = set_pixels(mask) if pixels is None else pixels
    near, ring = _surroundings(stamp, rows + margin, cols + margin)
    return near - margin, ring - margin


def measure_contrast(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    *,
    top: int,
    left: int,
    pixels: Pixels | None = None,
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
    pixels : (rows, cols), optional
        What `set_pixels(mask)` gives, where it is at hand: in the box of a long scratch it costs most of
        the time.

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
    pixels = set_pixels(mask) if pixels is None else pixels
    rows, cols = pixels
    near, ring = surroundings(mask, pixels=pixels)
    edge_rows, edge_cols = edge_pixels(mask, pixels=pixels)
    figures = _contrast(
        image,
        labels,
        blocked,
        rows + top,
        cols + left,
        near,
        ring,
        edge_rows + top,
        edge_cols + left,
        top,
        left,
    )
    return Contrast(*figures.tolist())


@njit(cache=True)
def _surroundings(stamp, rows, cols):  # type: ignore[no-untyped-def]
    """List pixels near the mask's edge pixels and in the ring beyond; works on the mask stamped as 1."""
    span = (2 * FAR_PX + 1) ** 2
    found = np.empty((2, 1024), np.int64)
    n_found = 0
    for k in range(rows.size):
        r, c = rows[k], cols[k]
        if stamp[r - 1, c] == 1 and stamp[r + 1, c] == 1 and stamp[r, c - 1] == 1 and stamp[r, c + 1] == 1:
            continue
        if n_found + span > found.shape[1]:
            grown = np.empty((2, 2 * found.shape[1]), np.int64)
            grown[:, :n_found] = found[:, :n_found]
            found = grown
        for dr in range(-FAR_PX, FAR_PX + 1):
            for dc in range(-FAR_PX, FAR_PX + 1):
                distance = dr * dr + dc * dc
                value = stamp[r + dr, c + dc]
                if distance > FAR_PX * FAR_PX or value == 1:
                    continue
                if value == 0:
                    found[0, n_found] = r + dr
                    found[1, n_found] = c + dc
                    n_found += 1
                    stamp[r + dr, c + dc] = 3
                if distance <= NEAR_PX * NEAR_PX:
                    stamp[r + dr, c + dc] = 2
    near = np.empty((2, n_found), np.int64)
    ring = np.empty((2, n_found), np.int64)
    n_near, n_ring = 0, 0
    for k in range(n_found):
        if stamp[found[0, k], found[1, k]] == 2:
            near[:, n_near] = found[:, k]
            n_near += 1
        else:
            ring[:, n_ring] = found[:, k]
            n_ring += 1
    return near[:, :n_near].copy(), ring[:, :n_ring].copy()


@njit(cache=True)
def _background(image, labels, blocked, ring, top, left):  # type: ignore[no-untyped-def]
    """Return the ring's median per zone (overall one where a zone has too few), noise, lowest and highest."""
    height, width = image.shape
    values = np.empty(ring.shape[1], np.float64)
    zones = np.empty(ring.shape[1], np.int64)
    n = 0
    for attempt in range(2):  # crowded places leave no free ring: then defects count as background too
        n = 0
        for k in range(ring.shape[1]):
            r, c = ring[0, k] + top, ring[1, k] + left
            if 0 <= r < height and 0 <= c < width and (attempt == 1 or blocked[r, c] == 0):
                values[n] = image[r, c]
                zones[n] = labels[r, c]
                n += 1
        if n >= _MIN_RING:
            break
    levels = np.full(_N_LABELS, np.nan)
    if n == 0:
        return levels, 0.0, np.inf, -np.inf
    values = values[:n]
    zones = zones[:n]
    levels[:] = np.median(values)
    low, high = values.min(), values.max()
    for zone in range(_N_LABELS):
        members = values[zones == zone]
        if members.size >= _MIN_RING:
            levels[zone] = np.median(members)
    deviation = np.empty(n)
    for k in range(n):
        deviation[k] = abs(values[k] - levels[zones[k]])
    return levels, 1.4826 * np.median(deviation), low, high


@njit(cache=True)
def _contrast(image, labels, blocked, rows, cols, near, ring, edge_rows, edge_cols, top, left):  # type: ignore[no-untyped-def]
    """Return the fields of `Contrast` in order."""
    height, width = image.shape
    levels, noise, low, high = _background(image, labels, blocked, ring, top, left)
    n = rows.size
    total, square, minimum, maximum = 0.0, 0.0, np.inf, -np.inf
    under, difference, rms = 0.0, 0.0, 0.0
    for k in range(n):
        value = float(image[rows[k], cols[k]])
        total += value
        minimum, maximum = min(minimum, value), max(maximum, value)
        level = levels[labels[rows[k], cols[k]]]
        if math.isnan(level):
            level = value
        under += level
        difference += value - level
        rms += (value - level) ** 2
    mean, under, difference, rms = total / n, under / n, difference / n, rms / n
    for k in range(n):
        square += (image[rows[k], cols[k]] - mean) ** 2 / n
    edge_mean, edge_square = 0.0, 0.0
    for k in range(edge_rows.size):
        r, c = edge_rows[k], edge_cols[k]
        up, down, west, east = max(r - 1, 0), min(r + 1, height - 1), max(c - 1, 0), min(c + 1, width - 1)
        dx = 10 * (image[r, east] - image[r, west])
        dx += 3 * (image[up, east] - image[up, west] + image[down, east] - image[down, west])
        dy = 10 * (image[down, c] - image[up, c])
        dy += 3 * (image[down, east] - image[up, east] + image[down, west] - image[up, west])
        steepness = math.hypot(dx, dy) / 32.0
        edge_mean += steepness / edge_rows.size
        edge_square += steepness * steepness / edge_rows.size
    around, n_around = 0.0, 0
    for k in range(near.shape[1]):
        r, c = near[0, k] + top, near[1, k] + left
        if 0 <= r < height and 0 <= c < width and blocked[r, c] == 0 and not math.isnan(levels[labels[r, c]]):
            around += image[r, c] - levels[labels[r, c]]
            n_around += 1
    halo = -around / n_around / difference if n_around > 0 and difference != 0.0 else 0.0
    return np.array(
        [
            mean,
            math.sqrt(square),
            minimum,
            maximum,
            under,
            noise,
            difference,
            math.sqrt(max(rms - noise * noise, 0.0)),
            edge_mean,
            math.sqrt(max(edge_square - edge_mean * edge_mean, 0.0)),
            min(max(halo, -1.0), 1.0),
            min(low, minimum),
            max(high, maximum),
        ]
    )
