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
_SAMPLES = 1000  # per zone: tells a robust standard deviation to 4 %


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
    >>> bool(evidence.dark[48, 48] > 8), int(evidence.dark_angle[48, 48])
    (True, 0)
    """
    shape = image.shape
    zone_map = np.ones(shape, np.uint8) if zones is None else zones
    runs = _runs(np.ascontiguousarray(zone_map))
    pad = _REACH + side_px
    rows, cols, origin = _samples(zone_map, exclude, pad)
    sums = _Sums(np.pad(image, pad))
    dark, bright = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    dark_angle, bright_angle = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    best_dark, best_bright = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    n_zones = int(zone_map.max(initial=0)) + 1
    pool = []
    for steep, rise in orientations():
        lengths = sums.along(steep=steep, rise=rise)
        side = (0, side_px) if steep else (side_px, 0)
        response = np.stack([_response(s, rows, cols, *side) for s in lengths])
        gain = _gains(response, origin, n_zones)
        pool.append((response * gain[:, origin]).ravel())
        best_dark.fill(0)
        best_bright.fill(0)
        for s, g in zip(lengths, gain, strict=True):
            _respond(s, pad, *side, runs, g, best_dark, best_bright)
        step = round(orientation_rad(steep=steep, rise=rise) * ANGLE_STEPS / math.pi) % ANGLE_STEPS
        _keep_better(dark, dark_angle, best_dark, step)
        _keep_better(bright, bright_angle, best_bright, step)
    tail = fit_tail(np.concatenate(pool), max_slope=0.1)
    dark, bright = tail.normal_score(dark), tail.normal_score(bright)
    n_tests = int(np.count_nonzero(zone_map)) * N_ORIENTATIONS * len(LENGTHS_PX) * 2
    return LineEvidence(dark, bright, dark_angle, bright_angle, n_tests)


def orientations() -> Iterator[tuple[bool, int]]:
    """Yield all orientations as (steep, rise): slope rise / 8 against the x axis, or the y axis if steep."""
    for rise in range(-8, 8):
        yield False, rise
    for rise in range(-7, 9):
        yield True, rise


def orientation_rad(*, steep: bool, rise: int) -> float:
    """Return an orientation as an angle in [0, pi), from +x towards +y."""
    return (math.atan2(8, rise) if steep else math.atan2(rise, 8)) % math.pi


class _Sums:
    """Line sums of an image at one orientation after the other, in buffers that are used again.

    A sum of 2 n pixels is the sum of n pixels before and of n pixels behind its middle. Whole numbers of rows
    lie between the halves, as 8 steps rise by a whole number, so that all sums follow digital lines.
    """

    def __init__(self, padded: NDArray[np.float32]) -> None:
        self._image = padded
        self._sums = [np.zeros_like(padded) for _ in LENGTHS_PX]

    def along(self, *, steep: bool, rise: int) -> list[NDArray[np.float32]]:
        """Return one map of sums per length, right from 16 pixels within the padded image."""
        short, middle, long = self._sums
        low = rise // 2
        _sum_eight(self._image, steep, rise, short)
        _add_halves(short, 8, *_turned(steep, -4, -low), *_turned(steep, 4, rise - low), middle)
        _add_halves(middle, 16, *_turned(steep, -8, -rise), *_turned(steep, 8, rise), long)
        return self._sums


def _turned(steep: bool, along: int, across: int) -> tuple[int, int]:
    # (rows, columns) of a step
    return (along, across) if steep else (across, along)


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_eight(image: NDArray[np.float32], steep: bool, rise: int, out: NDArray[np.float32]) -> None:
    height, width = image.shape
    for y in range(4, height - 4):
        total = out[y, 4 : width - 4]
        total[:] = 0
        for i in range(-4, 4):
            j = math.floor(i * rise / 8 + 0.5)
            dy, dx = (i, j) if steep else (j, i)
            row = image[y + dy, 4 + dx : width - 4 + dx]
            for x in range(len(total)):
                total[x] += row[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_halves(
    half: NDArray[np.float32], inset: int, y0: int, x0: int, y1: int, x1: int, out: NDArray[np.float32]
) -> None:
    height, width = half.shape
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
    dark: NDArray[np.float32],
    bright: NDArray[np.float32],
) -> None:
    half, guard = np.float32(0.5), np.float32(2.5)
    for k in range(len(runs)):
        y, x0, x1, zone = runs[k]
        g = gain[zone]
        c = sums[pad + y, pad + x0 : pad + x1]
        low = sums[pad + y - side_y, pad + x0 - side_x : pad + x1 - side_x]
        high = sums[pad + y + side_y, pad + x0 + side_x : pad + x1 + side_x]
        best = dark[y, x0:x1]
        for x in range(len(best)):
            a, b = low[x] - c[x], high[x] - c[x]
            best[x] = max(best[x], min(half * (a + b), guard * min(a, b)) * g)
        best = bright[y, x0:x1]
        for x in range(len(best)):
            a, b = c[x] - low[x], c[x] - high[x]
            best[x] = max(best[x], min(half * (a + b), guard * min(a, b)) * g)


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_better(
    best: NDArray[np.float32], angle: NDArray[np.uint8], score: NDArray[np.float32], step: int
) -> None:
    for y in range(best.shape[0]):
        b, a, s = best[y], angle[y], score[y]
        for x in range(len(b)):
            a[x] = step if s[x] > b[x] else a[x]
            b[x] = max(b[x], s[x])


@njit(cache=True, nogil=True, error_model="numpy")
def _response(
    sums: NDArray[np.float32], rows: NDArray[np.intp], cols: NDArray[np.intp], side_y: int, side_x: int
) -> NDArray[np.float32]:
    out = np.empty(len(rows), np.float32)
    for k in range(len(rows)):
        y, x = rows[k], cols[k]
        sides = sums[y - side_y, x - side_x] + sums[y + side_y, x + side_x]
        out[k] = np.float32(0.5) * sides - sums[y, x]
    return out


def _gains(response: NDArray[np.float32], origin: NDArray[np.uint8], n_zones: int) -> NDArray[np.float32]:
    # 1 / robust sigma of each length (row) in each zone (column); a zone too small to tell takes the whole's
    size = np.abs(response)
    gains = np.zeros((len(size), n_zones), np.float32)
    for zone in range(1, n_zones):
        inside = size[:, origin == zone]
        inside = inside if inside.shape[1] >= 64 else size
        middle = inside.shape[1] // 2
        if inside.shape[1]:
            sigma = 1.4826 * np.partition(inside, middle, axis=1)[:, middle]
            gains[:, zone] = 1.0 / np.maximum(sigma, 1e-2)
    return gains


def _runs(zones: NDArray[np.uint8]) -> NDArray[np.int32]:
    # stretches of one zone along rows: row, first column, column behind the last, zone
    change = np.diff(zones.astype(np.int16), axis=1, prepend=-1, append=-1) != 0
    row, start = np.nonzero(change)
    runs = np.stack([row[:-1], start[:-1], start[1:], np.zeros(len(row) - 1)], axis=1).astype(np.int32)
    runs = runs[row[:-1] == row[1:]]
    runs[:, 3] = zones[runs[:, 0], runs[:, 1]]
    return np.ascontiguousarray(runs[runs[:, 3] > 0])


def _samples(
    zones: NDArray[np.uint8], exclude: NDArray[np.bool_] | None, pad: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    # places in the padded image to measure the noise at, spread evenly over each zone, and their zones
    clean = zones if exclude is None else np.where(exclude, 0, zones)
    flat = clean.ravel()
    chosen = []
    for zone in range(1, int(zones.max(initial=0)) + 1):
        inside = np.flatnonzero(flat == zone)
        # an odd stride walks over all columns
        chosen.append(inside[:: max(1, inside.size // _SAMPLES) | 1])
    places = np.concatenate(chosen) if chosen else np.zeros(0, np.intp)
    rows, cols = np.unravel_index(places, zones.shape)
    return rows + pad, cols + pad, flat[places].astype(np.uint8)
