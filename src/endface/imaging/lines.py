"""Evidence for thin lines: oriented line integrals with side branches, at several lengths, both polarities.

The family of the linear enhancement inspector (LEI): a centre branch is compared with two parallel side
branches. Integrals of one length are sums of two of half that length, so that their cost does not depend on
length, and every step runs along image rows at the speed of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.noise import Tail, fit_tail

Places = NDArray[np.intp]

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
    rows, cols, origin = _samples(zone_map, exclude)
    responses = _sampled_responses(padded, pad, rows, cols, side_px)
    gains = _gains(responses, origin, int(zone_map.max(initial=0)) + 1)
    tail = fit_tail((responses * gains[:, :, origin]).ravel()[::2], max_slope=0.1)
    looked_at = zone_map if where is None else np.where(where, zone_map, 0)
    found = _best_scores(padded, side_px, looked_at, gains, tail)
    n_tests = int(np.count_nonzero(zone_map)) * N_ORIENTATIONS * len(LENGTHS_PX) * 2
    return LineEvidence(*found, n_tests)


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


def _steps_along(*, steep: bool, rise: int, first: int, behind: int) -> Places:
    """Return (row, column) of the pixels of a digital line, counted from its middle, (n, 2)."""
    along = np.arange(first, behind)
    across = np.floor(along * (rise / 8) + 0.5).astype(np.int64)
    return np.stack([along, across] if steep else [across, along], axis=1)


_PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""From a pixel to the second one of a pair: sums of eight are sums of four such pairs."""


@dataclass(frozen=True)
class LineSteps:
    """All orientations as distances between places in flat arrays whose rows lie `stride` apart.

    Distances are unsigned and go round at 2^64, as compiled code asks of negative ones whether they count
    from the end.

    Attributes
    ----------
    pairs : (32, 4) uint64 ndarray
        To the four pairs that make a sum of eight; those of the next kind of pair lie `size` further on.
    halves : (32, 4) uint64 ndarray
        To the halves of a sum of sixteen, and to those of a sum of thirty-two.
    sides : (32,) uint64 ndarray
        To the branch at the side.
    """

    pairs: NDArray[np.uint64]
    halves: NDArray[np.uint64]
    sides: NDArray[np.uint64]

    @staticmethod
    def of(stride: int, size: int, *, side_px: int) -> LineSteps:
        """Return the distances in arrays of `size` places."""
        flat = np.array([stride, 1])
        pairs, halves, sides = [], [], []
        for steep, rise in orientations():
            ends = _steps_along(steep=steep, rise=rise, first=-4, behind=4).reshape(4, 2, 2)
            # the upper pixel of a pair comes first
            ends = np.where((ends[:, :1, :1] > ends[:, 1:, :1]), ends[:, ::-1], ends)
            kinds = [_PAIRS.index(tuple((second - first).tolist())) for first, second in ends]
            pairs.append(ends[:, 0] @ flat + np.array(kinds) * size)
            low = rise // 2
            middles = np.array([[-4, -low], [4, rise - low], [-8, -rise], [8, rise]])
            # the middle of a half lies a whole number of steps of its own from the middle of the whole
            places = (middles if steep else middles[:, ::-1]) @ flat
            halves.append([*np.sort(places[:2]), *np.sort(places[2:])])
            sides.append(side_px * (1 if steep else stride))
        return LineSteps(*(np.array(part, np.int64).astype(np.uint64) for part in (pairs, halves, sides)))


def pair_sums(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum each pixel of an image (H, W) and its neighbour of each kind, (4, H * W); 0 where there is none."""
    flat = image.ravel()
    out = np.zeros((len(_PAIRS), flat.size), np.float32)
    for sums, (down, right) in zip(out, _PAIRS, strict=True):
        step = down * image.shape[1] + right
        np.add(flat[:-step], flat[step:], out=sums[:-step])
    return out


def _best_scores(
    padded: NDArray[np.float32],
    side_px: int,
    zones: NDArray[np.uint8],
    gains: NDArray[np.float32],
    tail: Tail,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the best score of each pixel, dark and bright, and their orientations."""
    pad = _REACH + side_px
    angle_steps = np.array([_angle_step(steep=steep, rise=rise) for steep, rise in orientations()], np.uint8)
    scores = np.zeros((2, *zones.shape), np.float32)
    angles = np.zeros((2, *zones.shape), np.uint8)
    side = _TILE_PX + 2 * pad
    steps = LineSteps.of(side, side * side, side_px=side_px)
    image = np.zeros((side, side), np.float32)
    sums, best, which = (np.zeros((n, side * side), np.float32) for n in (3, 2, 2))
    # tile by tile, so that all sums of a tile stay in the processor's cache
    for top in range(0, zones.shape[0], _TILE_PX):
        for left in range(0, zones.shape[1], _TILE_PX):
            part = zones[top : top + _TILE_PX, left : left + _TILE_PX]
            # only the box around what is looked at
            x, y, width, height = cv2.boundingRect(part)
            if not width:
                continue
            part = part[y : y + height, x : x + width]
            box = np.s_[:, top + y : top + y + height, left + x : left + x + width]
            tile = np.s_[: height + 2 * pad, : width + 2 * pad]
            image[tile] = padded[box[1].start :, box[2].start :][tile]
            best[:] = 0
            runs = _runs(part, side, first=pad * side + pad)
            score_lines(
                pair_sums(image), steps.pairs, steps.halves, steps.sides, gains, runs, sums, best, which
            )
            inner = np.s_[:, pad : pad + height, pad : pad + width]
            size = np.abs(best.reshape(2, side, side)[inner])
            scores[box] = np.where(size > _TAIL_FROM, tail.normal_score(size), size)
            angles[box] = angle_steps[which.reshape(2, side, side)[inner].astype(np.intp)]
            angles[box][size == 0] = 0
    return scores[0], scores[1], angles[0], angles[1]


@njit(cache=True, nogil=True, error_model="numpy")
def score_lines(
    pairs: NDArray[np.float32],
    pair_steps: NDArray[np.uint64],
    half_steps: NDArray[np.uint64],
    side_steps: NDArray[np.uint64],
    gains: NDArray[np.float32],
    runs: NDArray[np.uint64],
    sums: NDArray[np.float32],
    best: NDArray[np.float32],
    which: NDArray[np.float32],
) -> None:
    """Keep the best responses of all orientations and lengths, in place, and of which orientation they are.

    All arrays are flat images. A sum of 2 n pixels is the sum of n pixels before and of n behind its middle.

    Parameters
    ----------
    pairs : (4, n) float32 ndarray
        From `pair_sums`.
    pair_steps, half_steps, side_steps : (K, 4), (K, 4) and (K,) uint64 ndarray
        From `LineSteps`.
    gains : (K, 3, zones) float32 ndarray
        Factors of the responses.
    runs : (m, 3) uint64 ndarray
        First place, place behind the last, and zone of what is looked at; in order.
    sums : (3, n) float32 ndarray
        Holds, in the end, the sums of the last orientation over each of `LENGTHS_PX`.
    best : (2, n) float32 ndarray
        Best dark response, 0 or more, and best bright one, 0 or less.
    which : (2, n) float32 ndarray
        Number of the orientation of each.
    """
    by_pair, eight, sixteen, long = pairs.reshape(-1), sums[0], sums[1], sums[2]
    dark, bright, dark_at, bright_at = best[0], best[1], which[0], which[1]
    half, guard = np.float32(0.5), np.float32(2.5)
    for k in range(pair_steps.shape[0]):
        side, number = side_steps[k], np.float32(k)
        a, b, c, d = pair_steps[k, 0], pair_steps[k, 1], pair_steps[k, 2], pair_steps[k, 3]
        low, high, far_low, far_high = half_steps[k, 0], half_steps[k, 1], half_steps[k, 2], half_steps[k, 3]
        first, behind = runs[0, 0] - side, runs[-1, 1] + side
        for p in range(first + far_low + low, behind + far_high + high):
            eight[p] = by_pair[p + a] + by_pair[p + b] + by_pair[p + c] + by_pair[p + d]
        for p in range(first + far_low, behind + far_high):
            sixteen[p] = eight[p + low] + eight[p + high]
        for p in range(first, behind):
            long[p] = sixteen[p + far_low] + sixteen[p + far_high]
        for r in range(runs.shape[0]):
            zone = runs[r, 2]
            gain_8, gain_16, gain_32 = gains[k, 0, zone], gains[k, 1, zone], gains[k, 2, zone]
            for p in range(runs[r, 0], runs[r, 1]):
                u, v = eight[p - side] - eight[p], eight[p + side] - eight[p]
                mean = half * (u + v)
                x, y = min(mean, guard * min(u, v)) * gain_8, max(mean, guard * max(u, v)) * gain_8
                u, v = sixteen[p - side] - sixteen[p], sixteen[p + side] - sixteen[p]
                mean = half * (u + v)
                x = max(x, min(mean, guard * min(u, v)) * gain_16)
                y = min(y, max(mean, guard * max(u, v)) * gain_16)
                u, v = long[p - side] - long[p], long[p + side] - long[p]
                mean = half * (u + v)
                x = max(x, min(mean, guard * min(u, v)) * gain_32)
                y = min(y, max(mean, guard * max(u, v)) * gain_32)
                # read, then choose: written as one choice this is no longer done sixteen at a time
                old, was = dark[p], dark_at[p]
                new = max(x, old)
                dark[p], dark_at[p] = new, number if new > old else was
                old, was = bright[p], bright_at[p]
                new = min(y, old)
                bright[p], bright_at[p] = new, number if new < old else was


def _runs(zones: NDArray[np.uint8], stride: int, *, first: int) -> NDArray[np.uint64]:
    """Return stretches of one zone in flat arrays: first place, place behind the last, zone; 0 left out.

    The first pixel lies at place `first`.
    """
    height, width = zones.shape
    zone = zones[0, 0]
    if (zones == zone).all():
        # what lies between the rows does no harm, and one long stretch is quicker than many short ones
        return np.array([[first, first + (height - 1) * stride + width, zone]], np.uint64)
    # a column of zeros behind each row
    kinds = np.zeros(height * (width + 1) + 1, np.uint8)
    kinds[1:].reshape(height, width + 1)[:, :width] = zones
    starts = np.flatnonzero(kinds[1:] != kinds[:-1])
    kinds = kinds[starts[:-1] + 1]
    row, col = np.divmod(starts, width + 1)
    places = first + row * stride + col
    runs = np.stack([places[:-1], places[1:], kinds], axis=1)[kinds > 0]
    return np.asarray(runs, np.uint64)


def _sampled_responses(
    padded: NDArray[np.float32], pad: int, rows: Places, cols: Places, side_px: int
) -> NDArray[np.float32]:
    """Return responses without the guard at some places only: (orientations, lengths, places)."""
    stride = padded.shape[1]
    lines = []
    for steep, rise in orientations():
        line = _steps_along(steep=steep, rise=rise, first=-16, behind=16) @ np.array([stride, 1])
        # from the middle outwards
        lines.append(line[np.argsort(np.abs(np.arange(-16, 16) + 0.5), kind="stable")])
    sides = LineSteps.of(stride, padded.size, side_px=side_px).sides
    places = ((rows + pad) * stride + cols + pad).astype(np.uint64)
    out = np.zeros((len(lines), len(LENGTHS_PX), len(rows)), np.float32)
    _sum_at(padded.ravel(), places, np.array(lines).astype(np.uint64), sides, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_at(
    image: NDArray[np.float32],
    places: NDArray[np.uint64],
    lines: NDArray[np.uint64],
    sides: NDArray[np.uint64],
    out: NDArray[np.float32],
) -> None:
    half = np.float32(0.5)
    for i in range(places.shape[0]):
        for k in range(lines.shape[0]):
            side, total, done = sides[k], np.float32(0), 0
            for length in range(3):
                for m in range(done, 8 << length):
                    p = places[i] + lines[k, m]
                    total += half * (image[p - side] + image[p + side]) - image[p]
                done = 8 << length
                out[k, length, i] = total


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
