"""Evidence for thin lines: oriented line integrals with side branches, at several lengths, both polarities.

The family of the linear enhancement inspector (LEI): a centre branch is compared with two parallel side
branches. Integrals run as sliding sums along sheared rows, so that their cost does not depend on length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.noise import fit_tail


@dataclass(frozen=True)
class LineEvidence:
    """Best line response at every pixel, in standard deviations of the response's own noise.

    Attributes
    ----------
    dark, bright : (H, W) float32 ndarray
        Score of a dark and of a bright line through the pixel, 0 or more.
    dark_angle, bright_angle : (H, W) uint8 ndarray
        Index of the best orientation; the angle is index * pi / n_orientations, from +x towards +y.
    """

    dark: NDArray[np.float32]
    bright: NDArray[np.float32]
    dark_angle: NDArray[np.uint8]
    bright_angle: NDArray[np.uint8]
    n_orientations: int
    n_tests: int


def line_evidence(
    image: NDArray[np.float32],
    *,
    lengths_px: tuple[int, ...] = (17, 33, 65),
    n_orientations: int = 36,
    side_px: float = 3.0,
    zones: NDArray[np.uint8] | None = None,
    exclude: NDArray[np.bool_] | None = None,
) -> LineEvidence:
    """Score thin lines of any direction through every pixel.

    At orientation t and length L with means c (centre), l and r (branches `side_px` away) the response is
    m = (l + r) / 2 - c for dark lines and -m for bright ones, held back to 2.5 x the weaker of the two
    one-sided contrasts so that a step edge does not pass for a line. It is divided by the robust standard
    deviation of m over the pixel's zone at that orientation and length; scan lines or polishing grain of one
    direction thereby raise their own threshold.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Structure-free image with mean 0 and comparable noise everywhere; clip strong spots beforehand.
    lengths_px : tuple of int
        Lengths of the branches.
    n_orientations : int
        Orientations over 180 degrees.
    side_px : float
        Distance of the side branches; at least 1.5 times the width of the lines looked for.
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
    the noise normalisation are ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(0, 1, (96, 96)).astype(np.float32)
    >>> image[48, 10:86] -= 3
    >>> evidence = line_evidence(image)
    >>> bool(evidence.dark[48, 48] > 8), int(evidence.dark_angle[48, 48])
    (True, 0)
    """
    height, width = image.shape
    lengths = np.asarray(sorted(lengths_px), np.int64)
    dark, bright = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    dark_angle, bright_angle = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    zone_map = np.ones((height, width), np.uint8) if zones is None else np.ascontiguousarray(zones)
    n_zones = int(zone_map.max()) + 1
    clean = zone_map if exclude is None else np.where(exclude, 0, zone_map).astype(np.uint8)
    straight = np.ascontiguousarray(image)
    turned = np.ascontiguousarray(image.T)
    turned_zones = np.ascontiguousarray(zone_map.T)
    turned_clean = np.ascontiguousarray(clean.T)
    turned_maps = [np.zeros((width, height), t) for t in (np.float32, np.float32, np.uint8, np.uint8)]
    pool: list[NDArray[np.float32]] = []
    for index in range(n_orientations):
        angle = math.pi * index / n_orientations
        steep = abs(math.sin(angle)) > abs(math.cos(angle))
        source, source_zones = (turned, turned_zones) if steep else (straight, zone_map)
        slope = math.cos(angle) / math.sin(angle) if steep else math.tan(angle)
        steps = np.maximum(1, np.round(lengths / math.hypot(1, slope) / 2)).astype(np.int64)
        offset = side_px * math.hypot(1, slope)
        responses, origin = _sample_responses(source, turned_clean if steep else clean, slope, steps, offset)
        gain = _gains(responses, origin, n_zones)
        pool.append((responses * gain[:, origin]).ravel()[::4])
        maps = turned_maps if steep else [dark, bright, dark_angle, bright_angle]
        _score_orientation(source, source_zones, slope, steps, offset, gain, index, *maps)
    for target, other, angles, other_angles in (
        (dark, turned_maps[0].T, dark_angle, turned_maps[2].T),
        (bright, turned_maps[1].T, bright_angle, turned_maps[3].T),
    ):
        better = other > target
        np.copyto(target, other, where=better)
        np.copyto(angles, other_angles, where=better)
    tail = fit_tail(np.concatenate(pool), max_slope=0.1)
    dark, bright = tail.normal_score(dark), tail.normal_score(bright)
    n_tests = int(np.count_nonzero(zone_map)) * n_orientations * len(lengths) * 2
    return LineEvidence(dark, bright, dark_angle, bright_angle, n_orientations, n_tests)


def _gains(responses: NDArray[np.float32], origin: NDArray[np.uint8], n_zones: int) -> NDArray[np.float32]:
    # 1 / robust sigma of each length (row) in each zone (column); a zone too small to tell takes the whole's
    whole = 1.4826 * np.median(np.abs(responses), axis=1) if responses.shape[1] else np.ones(len(responses))
    gains = np.zeros((len(responses), n_zones), np.float32)
    for zone in range(1, n_zones):
        inside = responses[:, origin == zone]
        sigma = 1.4826 * np.median(np.abs(inside), axis=1) if inside.shape[1] >= 64 else whole
        gains[:, zone] = 1.0 / np.maximum(sigma, 1e-3)
    return gains


@njit(cache=True, nogil=True)
def _sum_line(
    image: NDArray[np.float32], shift: NDArray[np.int64], line: int, half: int, out: NDArray[np.float32]
) -> None:
    # mean over 2 * half + 1 columns of the sheared row `line`; outside the image counts as 0, the mean level
    height, width = image.shape
    total = np.float32(0.0)
    norm = np.float32(1.0 / (2 * half + 1))
    for x in range(-half, width):
        enter, leave = x + half, x - half - 1
        if enter < width:
            y = line + shift[enter]
            if 0 <= y < height:
                total += image[y, enter]
        if leave >= 0:
            y = line + shift[leave]
            if 0 <= y < height:
                total -= image[y, leave]
        if x >= 0:
            out[x] = total * norm


@njit(cache=True, nogil=True)
def _shifts(width: int, slope: float) -> NDArray[np.int64]:
    shift = np.empty(width, np.int64)
    for x in range(width):
        shift[x] = math.floor(x * slope + 0.5)
    return shift


@njit(cache=True, nogil=True)
def _sample_responses(
    image: NDArray[np.float32],
    zones: NDArray[np.uint8],
    slope: float,
    steps: NDArray[np.int64],
    offset: float,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    height, width = image.shape
    shift = _shifts(width, slope)
    side = round(offset)
    first, last = -int(shift.max()), height - int(shift.min())
    every = 12
    n_lines = (last - first) // every + 1
    out = np.empty((len(steps), n_lines * (width // 5 + 1)), np.float32)
    origin = np.empty(out.shape[1], np.uint8)
    centre, left, right = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    count = 0
    for k in range(len(steps)):
        count = 0
        for line in range(first, last, every):
            _sum_line(image, shift, line, steps[k], centre)
            _sum_line(image, shift, line - side, steps[k], left)
            _sum_line(image, shift, line + side, steps[k], right)
            for x in range(line % 5, width, 5):
                y = line + shift[x]
                if 0 <= y < height and zones[y, x] > 0:
                    out[k, count] = 0.5 * (left[x] + right[x]) - centre[x]
                    origin[count] = zones[y, x]
                    count += 1
    return out[:, :count], origin[:count]


@njit(cache=True, nogil=True)
def _score_orientation(
    image: NDArray[np.float32],
    zones: NDArray[np.uint8],
    slope: float,
    steps: NDArray[np.int64],
    offset: float,
    gain: NDArray[np.float32],
    index: int,
    dark: NDArray[np.float32],
    bright: NDArray[np.float32],
    dark_angle: NDArray[np.uint8],
    bright_angle: NDArray[np.uint8],
) -> None:
    height, width = image.shape
    shift = _shifts(width, slope)
    side = round(offset)
    ring = 2 * side + 1
    sums = np.zeros((len(steps), ring, width), np.float32)
    first, last = -int(shift.max()), height - int(shift.min())
    for line in range(first - side, last + side):
        for k in range(len(steps)):
            _sum_line(image, shift, line, steps[k], sums[k, line % ring])
        middle = line - side
        if middle < first:
            continue
        for k in range(len(steps)):
            low, centre, high = sums[k, (middle - side) % ring], sums[k, middle % ring], sums[k, line % ring]
            for x in range(width):
                y = middle + shift[x]
                if y < 0 or y >= height or zones[y, x] == 0:
                    continue
                g = gain[k, zones[y, x]]
                a, b = low[x] - centre[x], high[x] - centre[x]
                if a > 0 and b > 0:
                    score = min(0.5 * (a + b), 2.5 * min(a, b)) * g
                    if score > dark[y, x]:
                        dark[y, x] = score
                        dark_angle[y, x] = index
                elif a < 0 and b < 0:
                    score = -max(0.5 * (a + b), 2.5 * max(a, b)) * g
                    if score > bright[y, x]:
                        bright[y, x] = score
                        bright_angle[y, x] = index
