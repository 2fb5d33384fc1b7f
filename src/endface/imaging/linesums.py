"""Sums along digital lines of every direction: where their pixels lie in flat images, and loops over them.

A sum of 2 n pixels is the sum of n pixels before and of n behind its middle, so that length costs next to
nothing. Knows nothing of noise, zones or tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from endface.imaging.compiled import compiled

LENGTHS_PX = (8, 16, 32)
"""Lengths of the branches along the longer of the two axes."""
REACH_PX = 16  # of the longest branch from its middle
_PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""From a pixel to the second one of a pair: sums of eight are sums of four such pairs."""


def orientations() -> Iterator[tuple[bool, int]]:
    """Yield all orientations, by angle, as (steep, rise): slope rise / 8 to the x axis (y if steep)."""
    for rise in range(8):
        yield False, rise
    for rise in range(8, -8, -1):
        yield True, rise
    for rise in range(-8, 0):
        yield False, rise


@cache
def _lines() -> tuple[NDArray[np.int64], ...]:
    """Return, for all orientations, rows and columns counted from the middle of a line, (32, n, 2).

    Pixels from the middle outwards, first pixels of four pairs, middles of the halves of a line of sixteen
    and of thirty-two; and the kinds of the pairs, (32, 4).
    """
    pixels, pairs, kinds, halves = [], [], [], []
    for steep, rise in orientations():
        along = np.arange(-REACH_PX, REACH_PX)
        across = np.floor(along * (rise / 8) + 0.5).astype(np.int64)
        line = np.stack([along, across] if steep else [across, along], axis=1)
        pixels.append(line[np.argsort(np.abs(along + 0.5), kind="stable")])
        ends = line[REACH_PX - 4 : REACH_PX + 4].reshape(4, 2, 2)
        # the upper pixel of a pair comes first
        ends = np.where(ends[:, :1, :1] > ends[:, 1:, :1], ends[:, ::-1], ends)
        kinds.append([_PAIRS.index(tuple((second - first).tolist())) for first, second in ends])
        pairs.append(ends[:, 0])
        low = rise // 2
        # eight and sixteen steps along rise by whole numbers
        middles = np.array([[-4, -low], [4, rise - low], [-8, -rise], [8, rise]])
        halves.append(middles if steep else middles[:, ::-1])
    return np.array(pixels), np.array(pairs), np.array(halves), np.array(kinds)


@dataclass(frozen=True)
class LineSteps:
    """All orientations as distances between places in flat images whose rows lie `stride` apart.

    Distances are unsigned and go round at 2^64: compiled code asks of signed ones whether they count from
    the end, and then takes one pixel at a time.

    Attributes
    ----------
    pixels : (32, 32) uint64 ndarray
        To the pixels of the longest line, from its middle outwards.
    pairs : (32, 4) uint64 ndarray
        To the four pairs that make a sum of eight; those of the next kind of pair lie `size` further on.
    halves : (32, 4) uint64 ndarray
        To the halves of a sum of sixteen, and to those of a sum of thirty-two; the lower place first.
    sides : (32,) uint64 ndarray
        To the branch at the side.
    """

    pixels: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    halves: NDArray[np.uint64]
    sides: NDArray[np.uint64]

    @staticmethod
    @lru_cache(maxsize=64)
    def of(stride: int, size: int, *, side_px: int) -> LineSteps:
        """Return the distances in images of `size` pixels with branches `side_px` apart."""
        pixels, pairs, halves, kinds = _lines()
        flat = np.array([stride, 1])
        sides = [side_px * (1 if steep else stride) for steep, _ in orientations()]
        ordered = np.sort((halves @ flat).reshape(-1, 2, 2), axis=2).reshape(-1, 4)
        found = (pixels @ flat, pairs @ flat + kinds * size, ordered, np.array(sides))
        return LineSteps(*(part.astype(np.uint64) for part in found))


def pair_sums(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum each pixel of an image (H, W) and its neighbour of each kind, (4, H * W); 0 where there is none."""
    flat = image.ravel()
    out = np.zeros((len(_PAIRS), flat.size), np.float32)
    for sums, (down, right) in zip(out, _PAIRS, strict=True):
        step = down * image.shape[1] + right
        np.add(flat[:-step], flat[step:], out=sums[:-step])
    return out


@compiled
def score_lines(
    pairs: NDArray[np.float32],
    pair_steps: NDArray[np.uint64],
    half_steps: NDArray[np.uint64],
    side_steps: NDArray[np.uint64],
    names: NDArray[np.float32],
    gains: NDArray[np.float32],
    zones: NDArray[np.float32],
    reach: NDArray[np.uint64],
    sums: NDArray[np.float32],
    best: NDArray[np.float32],
    which: NDArray[np.float32],
) -> None:
    """Keep the best responses of all orientations and lengths, in place, and the names of the orientations.

    All arrays are flat images. A sum of 2 n pixels is the sum of n pixels before and of n behind its middle.

    Parameters
    ----------
    pairs : (4, n) float32 ndarray
        From `pair_sums`.
    pair_steps, half_steps, side_steps : (K, 4), (K, 4) and (K,) uint64 ndarray
        From `LineSteps`.
    names : (K,) float32 ndarray
        What to call each orientation: floats, as all of a loop must be of one width.
    gains : (K, 3, 4) float32 ndarray
        Factors of the responses, by length and zone.
    zones : (n,) float32 ndarray
        Zones, 1 to 4. What lies between the pixels asked for is scored as well: one long stretch is quicker
        than many short ones.
    reach : (2,) uint64 ndarray
        First place that is asked for, and place behind the last.
    sums : (3, n) float32 ndarray
        Holds, in the end, the sums of the last orientation over each of `LENGTHS_PX`.
    best : (2, n) float32 ndarray
        Best dark response, 0 or more, and best bright one, 0 or less.
    which : (2, n) float32 ndarray
        Names of their orientations.
    """
    by_pair, eight, sixteen, long = pairs.reshape(-1), sums[0], sums[1], sums[2]
    dark, bright, dark_at, bright_at = best[0], best[1], which[0], which[1]
    half, guard = np.float32(0.5), np.float32(2.5)
    one, two, three = np.float32(1), np.float32(2), np.float32(3)
    for k in range(pair_steps.shape[0]):
        side, name = side_steps[k], names[k]
        a, b, c, d = pair_steps[k, 0], pair_steps[k, 1], pair_steps[k, 2], pair_steps[k, 3]
        low, high, far_low, far_high = half_steps[k, 0], half_steps[k, 1], half_steps[k, 2], half_steps[k, 3]
        first, behind = reach[0] - side, reach[1] + side
        for p in range(first + far_low + low, behind + far_high + high):
            eight[p] = by_pair[p + a] + by_pair[p + b] + by_pair[p + c] + by_pair[p + d]
        for p in range(first + far_low, behind + far_high):
            sixteen[p] = eight[p + low] + eight[p + high]
        for p in range(first, behind):
            long[p] = sixteen[p + far_low] + sixteen[p + far_high]
        a8, b8, c8, d8 = gains[k, 0, 0], gains[k, 0, 1], gains[k, 0, 2], gains[k, 0, 3]
        a16, b16, c16, d16 = gains[k, 1, 0], gains[k, 1, 1], gains[k, 1, 2], gains[k, 1, 3]
        a32, b32, c32, d32 = gains[k, 2, 0], gains[k, 2, 1], gains[k, 2, 2], gains[k, 2, 3]
        for p in range(reach[0], reach[1]):
            z = zones[p]
            gain_8 = a8 if z == one else (b8 if z == two else (c8 if z == three else d8))
            gain_16 = a16 if z == one else (b16 if z == two else (c16 if z == three else d16))
            gain_32 = a32 if z == one else (b32 if z == two else (c32 if z == three else d32))
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
            dark[p], dark_at[p] = new, name if new > old else was
            old, was = bright[p], bright_at[p]
            new = min(y, old)
            bright[p], bright_at[p] = new, name if new < old else was


@compiled
def sum_at(
    image: NDArray[np.float32],
    places: NDArray[np.uint64],
    lines: NDArray[np.uint64],
    sides: NDArray[np.uint64],
    out: NDArray[np.float32],
) -> None:
    """Write responses without gain and guard at some `places` (n,) of a flat image, (K, 3, n).

    `lines` (K, 32) and `sides` (K,) are those of `LineSteps`.
    """
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
