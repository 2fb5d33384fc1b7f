"""Evidence for thin lines: oriented line integrals with side branches, at several lengths, both polarities.

The family of the linear enhancement inspector (LEI): a centre branch is compared with two parallel side
branches. Integrals of one length are sums of two of half that length, so that their cost does not depend on
length, and every step runs along image rows at the speed of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.noise import fit_tail

LENGTHS_PX = (8, 16, 32)
"""Lengths of the branches along the longer of the two axes."""
N_ORIENTATIONS = 32
ANGLE_STEPS = 256
"""Orientations are told in steps of pi / ANGLE_STEPS, from +x towards +y."""
_REACH = 16  # of the longest branch from its middle
_TILE_PX = 128
_TAIL_FROM = 2.0  # lower scores are no evidence, however they are distributed
_THINNED = 3
_SAMPLES = 500  # per zone: tells a robust standard deviation to 5 %


@dataclass(frozen=True)
class LineEvidence:
    """Best line response at every pixel, in standard deviations of the response's own noise.

    Attributes
    ----------
    dark, bright : (H, W) float32 ndarray
        Score of a dark and of a bright line through the pixel, 0 or more.
    dark_angle, bright_angle : (H, W) uint8 ndarray
        Best orientation in steps of pi / ANGLE_STEPS, from +x towards +y.
    n_tests : int
        Number of responses looked at.
    """

    dark: NDArray[np.float32]
    bright: NDArray[np.float32]
    dark_angle: NDArray[np.uint8]
    bright_angle: NDArray[np.uint8]
    n_tests: int


def line_evidence(
    image: NDArray[np.float32],
    *,
    side_px: int = 3,
    zones: NDArray[np.uint8] | None = None,
    exclude: NDArray[np.bool_] | None = None,
    where: NDArray[np.bool_] | None = None,
) -> LineEvidence:
    """Score thin lines of any direction through every pixel.

    At each of 32 orientations and 3 lengths, with means c (centre), l and r (branches `side_px` away along
    the nearer axis), the response is m = (l + r) / 2 - c for dark lines and -m for bright ones, held back to
    2.5 x the weaker of the two one-sided contrasts so that a step edge does not pass for a line. It is
    divided by the robust standard deviation of m over the pixel's zone at that orientation and length; scan
    lines or polishing grain of one direction thereby raise their own threshold. Beyond the image lies its
    mean level, 0.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Structure-free image with mean 0 and comparable noise everywhere; clip strong spots beforehand. Lines
        are best seen at a width of about `side_px` / 2: look for wider ones in a decimated image.
    side_px : int
        Distance of the side branches, 1 to 6.
    zones : (H, W) uint8 ndarray, optional
        Zone numbers from 1; each zone has a noise of its own. 0 is not looked at. One zone by default.
    exclude : (H, W) bool ndarray, optional
        Pixels that are certainly no noise and are left out of its estimate.
    where : (H, W) bool ndarray, optional
        Pixels to look at; the noise is that of all.

    Returns
    -------
    LineEvidence

    References
    ----------
    S. Mei et al., Sensors 18(5):1408 (2018), section 3.2. The DC-free form, the one-sided guard, lengths and
    the noise normalisation are ours. Sums by doubling: A. Brandt, J. Dym, SIAM J. Appl. Math. 59 (1999).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(0, 1, (96, 96)).astype(np.float32)
    >>> image[48, 10:86] -= 3
    >>> evidence = line_evidence(image)
    >>> bool(evidence.dark[48, 48] > 6), int(evidence.dark_angle[48, 48])
    (True, 0)
    """
    shape = image.shape
    zone_map = np.ones(shape, np.uint8) if zones is None else np.ascontiguousarray(zones)
    pad = _REACH + side_px
    padded = np.pad(image, pad)
    tilts = np.array(list(orientations()), np.int64)
    rows, cols, origin = _samples(zone_map, exclude)
    responses = _sample_responses(padded, pad, rows, cols, tilts, side_px)
    gains = _gains(responses, origin, int(zone_map.max(initial=0)) + 1)
    tail = fit_tail((responses * gains[:, :, origin]).ravel()[::2], max_slope=0.1)
    dark, bright = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    dark_angle, bright_angle = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    looked_at = zone_map if where is None else np.where(where, zone_map, 0)
    _score(padded, side_px, looked_at, gains, (dark, dark_angle), (bright, bright_angle))
    for score in (dark, bright):
        far = score > _TAIL_FROM
        score[far] = tail.normal_score(score[far])
    n_tests = int(np.count_nonzero(zone_map)) * N_ORIENTATIONS * len(LENGTHS_PX) * 2
    return LineEvidence(dark, bright, dark_angle, bright_angle, n_tests)


def orientations() -> Iterator[tuple[bool, int]]:
    """Yield all orientations, by angle, as (steep, rise): slope rise / 8 to the x axis (y if steep)."""
    for rise in range(8):
        yield False, rise
    for rise in range(8, -8, -1):
        yield True, rise
    for rise in range(-8, 0):
        yield False, rise


def orientation_rad(*, steep: bool, rise: int) -> float:
    """Return an orientation as an angle in [0, pi), from +x towards +y."""
    return (math.atan2(8, rise) if steep else math.atan2(rise, 8)) % math.pi


def _angle_step(*, steep: bool, rise: int) -> int:
    return round(orientation_rad(steep=steep, rise=rise) * ANGLE_STEPS / math.pi) % ANGLE_STEPS


def _score(
    padded: NDArray[np.float32],
    side_px: int,
    zones: NDArray[np.uint8],
    gains: NDArray[np.float32],
    dark: tuple[NDArray[np.float32], NDArray[np.uint8]],
    bright: tuple[NDArray[np.float32], NDArray[np.uint8]],
) -> None:
    """Write the best score of each pixel and its orientation, in place."""
    pad = _REACH + side_px
    tilts = np.array(list(orientations()), np.int64)
    steps = np.array([_angle_step(steep=steep, rise=rise) for steep, rise in orientations()], np.uint8)
    image = np.zeros((_TILE_PX + 2 * pad, _TILE_PX + 2 * pad), np.float32)
    sums = np.zeros((3, *image.shape), np.float32)
    best = np.zeros((2, _TILE_PX, _TILE_PX), np.float32)
    # tile by tile, so that all sums of a tile stay in the processor's cache
    for top in range(0, zones.shape[0], _TILE_PX):
        for left in range(0, zones.shape[1], _TILE_PX):
            runs = _runs(zones[top : top + _TILE_PX, left : left + _TILE_PX])
            if len(runs) == 0:
                continue
            # only the box around what is looked at
            corner = np.array([runs[0, 0], runs[:, 1].min()])
            height, width = runs[-1, 0] + 1 - corner[0], runs[:, 2].max() - corner[1]
            runs -= [corner[0], corner[1], corner[1], 0]
            y, x = top + int(corner[0]), left + int(corner[1])
            shape = (int(height) + 2 * pad, int(width) + 2 * pad)
            image[: shape[0], : shape[1]] = padded[y : y + shape[0], x : x + shape[1]]
            _score_tile(image, shape, side_px, runs, tilts, steps, gains, sums, best, y, x, *dark, *bright)


@njit(cache=True, nogil=True, error_model="numpy")
def _score_tile(
    image: NDArray[np.float32],
    shape: tuple[int, int],
    side_px: int,
    runs: NDArray[np.int32],
    tilts: NDArray[np.int64],
    steps: NDArray[np.uint8],
    gains: NDArray[np.float32],
    sums: NDArray[np.float32],
    best: NDArray[np.float32],
    top: int,
    left: int,
    dark: NDArray[np.float32],
    dark_angle: NDArray[np.uint8],
    bright: NDArray[np.float32],
    bright_angle: NDArray[np.uint8],
) -> None:
    for k in range(len(tilts)):
        steep, rise = tilts[k, 0] > 0, tilts[k, 1]
        line_sums(image, shape, steep, rise, sums)
        side_y, side_x = (0, side_px) if steep else (side_px, 0)
        for length in range(3):
            pad = _REACH + side_px
            _respond(sums[length], pad, side_y, side_x, runs, gains[k, length], best, length == 0)
        _keep_better(runs, top, left, best[0], steps[k], dark, dark_angle)
        _keep_better(runs, top, left, best[1], steps[k], bright, bright_angle)


@njit(cache=True, nogil=True, error_model="numpy")
def line_sums(
    image: NDArray[np.float32],
    shape: tuple[int, int],
    steep: bool,
    rise: int,
    out: NDArray[np.float32],
) -> None:
    """Sum an image along digital lines of one orientation, in place.

    A sum of 2 n pixels is the sum of n pixels before and of n pixels behind its middle. Whole numbers of rows
    lie between the halves, as 8 steps rise by a whole number.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    shape : (int, int)
        Rows and columns of `image` to look at, from the top left.
    out : (3, H, W) float32 ndarray
        Takes the sums over each of `LENGTHS_PX`, right from 16 pixels within the image.
    """
    low = rise // 2
    _sum_eight(image, shape, steep, rise, out[0])
    if steep:
        _add_halves(shape, out[0], 8, -4, -low, 4, rise - low, out[1])
        _add_halves(shape, out[1], 16, -8, -rise, 8, rise, out[2])
    else:
        _add_halves(shape, out[0], 8, -low, -4, rise - low, 4, out[1])
        _add_halves(shape, out[1], 16, -rise, -8, rise, 8, out[2])


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_eight(
    image: NDArray[np.float32],
    shape: tuple[int, int],
    steep: bool,
    rise: int,
    out: NDArray[np.float32],
) -> None:
    height, width = shape
    for y in range(4, height - 4):
        total = out[y, 4 : width - 4]
        for x in range(len(total)):
            total[x] = 0
        for i in range(-4, 4):
            j = math.floor(i * rise / 8 + 0.5)
            dy, dx = (i, j) if steep else (j, i)
            row = image[y + dy, 4 + dx : width - 4 + dx]
            for x in range(len(total)):
                total[x] += row[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_halves(
    shape: tuple[int, int],
    half: NDArray[np.float32],
    inset: int,
    y0: int,
    x0: int,
    y1: int,
    x1: int,
    out: NDArray[np.float32],
) -> None:
    height, width = shape
    for y in range(inset, height - inset):
        total = out[y, inset : width - inset]
        first = half[y + y0, inset + x0 : width - inset + x0]
        second = half[y + y1, inset + x1 : width - inset + x1]
        for x in range(len(total)):
            total[x] = first[x] + second[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _respond(
    sums: NDArray[np.float32],
    pad: int,
    side_y: int,
    side_x: int,
    runs: NDArray[np.int32],
    gain: NDArray[np.float32],
    best: NDArray[np.float32],
    first: bool,
) -> None:
    half, guard = np.float32(0.5), np.float32(2.5)
    for k in range(len(runs)):
        y, x0, x1, zone = runs[k]
        g = gain[zone]
        c = sums[pad + y, pad + x0 : pad + x1]
        low = sums[pad + y - side_y, pad + x0 - side_x : pad + x1 - side_x]
        high = sums[pad + y + side_y, pad + x0 + side_x : pad + x1 + side_x]
        dark, bright = best[0, y, x0:x1], best[1, y, x0:x1]
        if first:
            for x in range(len(dark)):
                dark[x] = bright[x] = 0
        for x in range(len(dark)):
            a, b = low[x] - c[x], high[x] - c[x]
            dark[x] = max(dark[x], min(half * (a + b), guard * min(a, b)) * g)
        for x in range(len(bright)):
            a, b = c[x] - low[x], c[x] - high[x]
            bright[x] = max(bright[x], min(half * (a + b), guard * min(a, b)) * g)


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_better(
    runs: NDArray[np.int32],
    top: int,
    left: int,
    score: NDArray[np.float32],
    step: int,
    best: NDArray[np.float32],
    angle: NDArray[np.uint8],
) -> None:
    for k in range(len(runs)):
        y, x0, x1, _ = runs[k]
        s = score[y, x0:x1]
        b, a = best[top + y, left + x0 : left + x1], angle[top + y, left + x0 : left + x1]
        for x in range(len(b)):
            a[x] = step if s[x] > b[x] else a[x]
            b[x] = max(b[x], s[x])


def _runs(zones: NDArray[np.uint8]) -> NDArray[np.int32]:
    # stretches of one zone along rows: row, first column, column behind the last, zone; zone 0 left out
    change = np.ones((zones.shape[0], zones.shape[1] + 1), bool)
    np.not_equal(zones[:, 1:], zones[:, :-1], out=change[:, 1:-1])
    row, start = np.nonzero(change)
    inner = start[:-1] < zones.shape[1]
    row, first, behind = row[:-1][inner], start[:-1][inner], start[1:][inner]
    zone = zones[row, first]
    return np.asarray(np.stack([row, first, behind, zone], axis=1)[zone > 0], np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def _sample_responses(
    padded: NDArray[np.float32],
    pad: int,
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    tilts: NDArray[np.int64],
    side_px: int,
) -> NDArray[np.float32]:
    # responses at some places only, by summing pixel after pixel: (orientations, lengths, places)
    out = np.zeros((len(tilts), 3, len(rows)), np.float32)
    for p in range(len(rows)):
        for k in range(len(tilts)):
            steep, rise = tilts[k, 0] > 0, tilts[k, 1]
            side_y, side_x = (0, side_px) if steep else (side_px, 0)
            total = np.float32(0)
            for m in range(32):
                # from the middle outwards: 0, -1, 1, -2, 2, ...
                i = -(m + 1) // 2 if m % 2 else m // 2
                j = math.floor(i * rise / 8 + 0.5)
                dy, dx = (i, j) if steep else (j, i)
                y, x = pad + rows[p] + dy, pad + cols[p] + dx
                sides = padded[y - side_y, x - side_x] + padded[y + side_y, x + side_x]
                total += np.float32(0.5) * sides - padded[y, x]
                if m == 7:
                    out[k, 0, p] = total
                elif m == 15:
                    out[k, 1, p] = total
            out[k, 2, p] = total
    return out


def _gains(responses: NDArray[np.float32], origin: NDArray[np.uint8], n_zones: int) -> NDArray[np.float32]:
    """Return 1 / robust sigma (orientations, lengths, zones) of responses (orientations, lengths, places)."""
    size = np.abs(responses)
    gains = np.zeros((*size.shape[:2], n_zones), np.float32)
    for zone in range(1, n_zones):
        inside = size[..., origin == zone]
        # a zone too small to tell takes the noise of the whole
        inside = inside if inside.shape[-1] >= 64 else size
        if inside.shape[-1] == 0:
            continue
        middle = inside.shape[-1] // 2
        sigma = 1.4826 * np.partition(inside, middle, axis=-1)[..., middle]
        # neighbouring orientations share their noise: a low value by chance must not raise scores
        around = 0.5 * sigma + 0.25 * (np.roll(sigma, 1, axis=0) + np.roll(sigma, -1, axis=0))
        gains[..., zone] = 1.0 / np.maximum(np.maximum(sigma, around), 1e-2)
    return gains


def _samples(
    zones: NDArray[np.uint8], exclude: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    # places to measure the noise at, spread evenly over each zone, and their zones
    coarse = np.ascontiguousarray(zones[::_THINNED, ::_THINNED])
    if exclude is not None:
        coarse[exclude[::_THINNED, ::_THINNED]] = 0
    flat = coarse.ravel()
    chosen = []
    for zone in range(1, int(flat.max(initial=0)) + 1):
        inside = np.flatnonzero(flat == zone)
        # an odd stride walks over all columns
        chosen.append(inside[:: max(1, inside.size // _SAMPLES) | 1])
    places = np.concatenate(chosen) if chosen else np.zeros(0, np.intp)
    rows, cols = np.unravel_index(places, coarse.shape)
    return rows * _THINNED, cols * _THINNED, flat[places].astype(np.uint8)
