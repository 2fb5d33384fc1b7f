"""Evidence for compact defects: spots that stand out from a structure-free image, at several sizes.

The family of the difference of min-max ranking (DO2MR): a local extremum against its surroundings. Scores are
in standard deviations of the noise at that size; outlines follow a fixed share of each spot's own peak, so
that blur and threshold do not change its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.noise import (
    Tail,
    block_sigma,
    enlarge_blocks,
    fit_tail,
    middle_pixels,
    near_strong,
    robust_sigma,
)

# Outline of a spot: this share of its own peak. For a disc of any size blurred by the optics the half-height
# contour keeps the true diameter; a little lower follows what people draw.
_OUTLINE_SHARE = 0.45
# An outline ends where the score falls to this share of the threshold.
_OUTLINE_SCORE = 0.3
# How far the halo of optics and camera sharpening reaches, and how strong it can be beside the spot itself:
# slanting light gives dark pits and dust a bright side as strong as they are, the reverse is rare.
_HALO_PX = 7
_HALO_SHARE = 0.4
_BRIGHT_SIDE = 0.8
# Noise is measured this far from what is certainly no noise: out of its halo.
_APART_PX = 12


@dataclass(frozen=True)
class RegionEvidence:
    """Spots found at any size.

    Attributes
    ----------
    labels : (H, W) int32 ndarray
        Number of the spot, 0 none.
    scores : (n + 1,) float64 ndarray
        Peak score of each spot in standard deviations; index 0 unused.
    polarity : (n + 1,) int8 ndarray
        -1 dark, +1 bright.
    contrast : (n + 1,) float64 ndarray
        Peak of the spot in gray levels, at the size that shows it best.
    boxes : (n + 1, 4) int32 ndarray
        First row, first column, last row + 1, last column + 1.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    polarity: NDArray[np.int8]
    contrast: NDArray[np.float64]
    boxes: NDArray[np.int32]


def region_evidence(
    residual: NDArray[np.float32],
    noise: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    zones: NDArray[np.uint8],
    *,
    thresholds: Sequence[float],
    finest_px: float = 0.8,
) -> RegionEvidence:
    """Find spots darker or brighter than the structure-free image's noise.

    Each size is twice the one before and is looked at on an image of half the size. A larger size counts
    where it shows more than the blur of what smaller ones saw.

    Parameters
    ----------
    residual : (H, W) float32 ndarray
        Image minus its smooth and concentric background.
    noise : callable
        Gives the standard deviation of the noise in a smoothed copy of `residual`, in which one pixel stands
        for as many pixels squared as the second argument says: 1, 2, 4 ...
    zones : (H, W) uint8 ndarray
        Zone numbers from 1, each with a noise of its own; 0 is not looked at.
    thresholds : sequence of float
        Score from which a spot counts, one per size, fine to coarse.
    finest_px : float
        Standard deviation of the smoothing at the finest size.

    Returns
    -------
    RegionEvidence
    """
    spots = _Spots(residual.shape)
    coarse, fine, variance = residual, residual, 0.0
    for level, threshold in enumerate(thresholds):
        factor = 2**level
        if level:
            coarse = _halved(coarse)
            variance += 0.25 * (factor // 2) ** 2
        sigma = float(np.sqrt(max((finest_px * factor) ** 2 - variance, 0.0))) / factor
        smooth = np.asarray(cv2.GaussianBlur(coarse, (7, 7), sigma), np.float32)
        if not level:
            fine = smooth
        parts = middle_pixels(zones, factor)
        scores, tails = _scores(smooth, noise(smooth, factor), parts, threshold, factor)
        seeds = _seeds(scores)
        if seeds.size:
            strength = _strengths(scores.ravel()[seeds], parts.ravel()[seeds], tails, threshold)
            spots.add(smooth, scores, fine, seeds, strength, factor, finest_px)
    return spots.evidence()


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, cols = values.shape
    even = cv2.copyMakeBorder(values, 0, rows % 2, 0, cols % 2, cv2.BORDER_CONSTANT, value=0)
    size = ((cols + 1) // 2, (rows + 1) // 2)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.float32)


def _scores(
    smooth: NDArray[np.float32],
    sigma: NDArray[np.float32],
    zones: NDArray[np.uint8],
    threshold: float,
    factor: int,
) -> tuple[NDArray[np.float32], list[Tail]]:
    """Scores in units of the threshold of each zone, with the tails of the zones' noise."""
    # noise is a matter of blocks and zones: an even sample of the pixels tells all about it; an odd step does
    # not keep in phase with the blocks of a codec or interlaced lines
    step = 3 if factor <= 2 else 1
    some, kind = smooth[::step, ::step] / sigma[::step, ::step], zones[::step, ::step]
    live = kind > 0
    block_px = 11 if factor != 2 else 8
    level = block_sigma(some, live, block_px=block_px) + np.float32(1e-6)
    reach_px = max(1, round(_APART_PX / (step * factor)))
    for _ in range(2):
        # a crowded image raises the median itself: measure again on what is left
        normal = some / enlarge_blocks(level, some.shape, block_px=block_px)
        quiet = live & ~near_strong(normal, limit=4.5, reach_px=reach_px)
        level = block_sigma(some, quiet, block_px=block_px) + np.float32(1e-6)
    # quieter places are mostly overexposed or compressed away
    level = np.maximum(level, np.float32(0.85 * robust_sigma(some[quiet]) + 1e-6))
    some = some / enlarge_blocks(level, some.shape, block_px=block_px)
    tails = [Tail(1.0, 0.0)] * (int(zones.max()) + 1)
    for _ in range(2):
        normal = np.zeros_like(some)
        for zone in range(1, len(tails)):
            inside = kind == zone
            tails[zone] = fit_tail(some[inside & quiet])
            normal[inside] = tails[zone].normal_score(np.abs(some[inside]))
        # what the tail explains is noise after all
        quiet = live & ~near_strong(normal, limit=4.5, reach_px=reach_px)
    table = np.zeros(256, np.float32)
    table[1 : len(tails)] = [1 / tail.raw_score(threshold) for tail in tails[1:]]
    scores = smooth / sigma
    scores *= enlarge_blocks(1 / level, scores.shape, block_px=block_px * step)
    scores *= cv2.LUT(zones, table)
    return scores, tails


def _seeds(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Flat indices of local maxima beyond the threshold, strongest first."""
    size = np.abs(scores)
    peaks = (size >= 1) & (size == cv2.dilate(size, np.ones((3, 3), np.uint8)))
    seeds = np.flatnonzero(peaks)
    return seeds[np.argsort(-size.ravel()[seeds], kind="stable")]


def _strengths(
    scores: NDArray[np.float32], zones: NDArray[np.uint8], tails: list[Tail], threshold: float
) -> NDArray[np.float32]:
    strength = np.zeros(scores.shape, np.float32)
    for zone, tail in enumerate(tails):
        here = zones == zone
        strength[here] = tail.normal_score(np.abs(scores[here]) * np.float32(tail.raw_score(threshold)))
    return strength


class _Spots:
    """Spots grown so far: which pixels belong to each and which lie in its skirt."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.owner = np.zeros(shape, np.int32)
        self.skirt = np.zeros(shape, np.int32)
        self.distance = np.zeros(shape, np.uint8)
        self.seen = np.zeros(shape, np.int32)
        self.tried = 0
        # of each spot: the one it belongs to, its score, its signed peak; number 0 is nobody
        self.parent = np.zeros(1, np.int32)
        self.score = np.zeros(1, np.float32)
        self.peak = np.zeros(1, np.float32)

    def add(
        self,
        smooth: NDArray[np.float32],
        scores: NDArray[np.float32],
        fine: NDArray[np.float32],
        seeds: NDArray[np.int64],
        strength: NDArray[np.float32],
        factor: int,
        finest_px: float,
    ) -> None:
        rows, cols = np.divmod(seeds, smooth.shape[1])
        rows = np.minimum(rows * factor + factor // 2, self.shape[0] - 1)
        cols = np.minimum(cols * factor + factor // 2, self.shape[1] - 1)
        room = np.zeros(len(seeds), np.float32)
        parent = np.concatenate([self.parent, room.astype(np.int32)])
        score, peak = np.concatenate([self.score, room]), np.concatenate([self.peak, room])
        count = _grow(
            smooth,
            scores,
            factor,
            fine,
            rows * self.shape[1] + cols,
            strength,
            max(2, round(2 * finest_px * factor)),
            len(self.parent),
            self.tried,
            (self.owner, self.skirt, self.distance, self.seen),
            (parent, score, peak),
        )
        self.tried += len(seeds)
        self.parent, self.score, self.peak = parent[:count], score[:count], peak[:count]

    def evidence(self) -> RegionEvidence:
        root = _roots(self.parent)
        kept, number = np.unique(root, return_inverse=True)
        labels, boxes = _relabelled(self.owner, number.astype(np.int32), len(kept))
        scores, contrast = np.zeros(len(kept)), np.zeros(len(kept))
        np.maximum.at(scores, number, self.score)
        np.maximum.at(contrast, number, np.abs(self.peak))
        return RegionEvidence(labels, scores, np.sign(self.peak[kept]).astype(np.int8), contrast, boxes)


@njit(cache=True)
def _grow(values, scores, factor, fine, seeds, strength, reach, n, tried, maps, spots):  # type: ignore[no-untyped-def]
    owner, skirt, distance, seen = maps
    parent, score, peak = spots
    height, width = owner.shape
    first_try, first = tried, n
    stack = np.empty(4096, np.int64)
    for k in range(len(seeds)):
        y, x = seeds[k] // width, seeds[k] % width
        sign = 1.0 if _at(values, factor, y, x) > 0 else -1.0
        y, x, top = _summit(values, factor, sign, y, x, height, width)
        if seen[y, x] > first_try or top <= 0:
            continue
        if owner[y, x] and sign * peak[owner[y, x]] < 0:
            continue
        other = skirt[y, x]
        if other and not owner[y, x]:
            if sign * peak[other] > 0:
                # a bump on the flank of a stronger spot of this size
                if other >= first and distance[y, x] <= reach:
                    continue
            elif top < (_BRIGHT_SIDE if sign > 0 else _HALO_SHARE) * abs(peak[other]):
                continue
        tried += 1
        # flood from the summit down to the outline
        stack, size = _flood(values, scores, factor, sign, top, y, x, tried, seen, owner, peak, stack)
        fresh, total = 0, 0.0
        for i in range(size):
            yy, xx = stack[i] // width, stack[i] % width
            rival = owner[yy, xx]
            if (
                not rival
                and 0 < skirt[yy, xx] < first
                and sign * peak[skirt[yy, xx]] > 0
                and distance[yy, xx] <= 3
            ):
                rival = skirt[yy, xx]
            if not rival:
                fresh += 1
                total += sign * fine[yy, xx]
        # what smaller sizes explain is not found again; their blur is flat where it claims more
        if fresh < 0.5 * size or total < _OUTLINE_SHARE * top * fresh:
            continue
        parent[n], score[n], peak[n] = n, strength[k], sign * top
        for i in range(size):
            yy, xx = stack[i] // width, stack[i] % width
            if not owner[yy, xx]:
                owner[yy, xx] = n
            for v in range(max(0, yy - 1), min(height, yy + 2)):
                for u in range(max(0, xx - 1), min(width, xx + 2)):
                    rival = owner[v, u]
                    if rival == n or not rival or sign * peak[rival] < 0:
                        continue
                    # fragments of this spot, and equals that touch; what is surer or stronger stays by itself
                    if (
                        score[rival] < strength[k]
                        if rival < first
                        else top > _OUTLINE_SHARE * abs(peak[rival])
                    ):
                        i_root, n_root = _root(parent, rival), _root(parent, n)
                        parent[max(i_root, n_root)] = min(i_root, n_root)
        stack = _mark_skirt(stack, size, n, max(reach, _HALO_PX), owner, skirt, distance, peak)
        n += 1
    return n


@njit(cache=True)
def _at(values, factor, y, x):  # type: ignore[no-untyped-def]
    """Value at a pixel of the full image, interpolated between means of `factor` x `factor` pixels."""
    if factor == 1:
        return values[y, x]
    v = min(max((y + 0.5) / factor - 0.5, 0.0), values.shape[0] - 1.0)
    u = min(max((x + 0.5) / factor - 0.5, 0.0), values.shape[1] - 1.0)
    row, col = min(int(v), max(values.shape[0] - 2, 0)), min(int(u), max(values.shape[1] - 2, 0))
    below, right = min(row + 1, values.shape[0] - 1), min(col + 1, values.shape[1] - 1)
    v, u = v - row, u - col
    top = (1 - u) * values[row, col] + u * values[row, right]
    return (1 - v) * top + v * ((1 - u) * values[below, col] + u * values[below, right])


@njit(cache=True)
def _summit(values, factor, sign, y, x, height, width):  # type: ignore[no-untyped-def]
    best = sign * _at(values, factor, y, x)
    while True:
        by, bx = y, x
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                value = sign * _at(values, factor, v, u)
                if value > best:
                    best, by, bx = value, v, u
        if by == y and bx == x:
            return y, x, best
        y, x = by, bx


@njit(cache=True)
def _flood(  # type: ignore[no-untyped-def]
    values, scores, factor, sign, top, y, x, mark, seen, owner, peak, stack
):
    height, width = owner.shape
    floor = _OUTLINE_SHARE * top
    stack[0], size, done = y * width + x, 1, 0
    seen[y, x] = mark
    while done < size:
        y, x = stack[done] // width, stack[done] % width
        done += 1
        if size + 8 > len(stack):
            longer = np.empty(2 * len(stack), np.int64)
            longer[:size] = stack[:size]
            stack = longer
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                if seen[v, u] == mark or (owner[v, u] and sign * peak[owner[v, u]] < 0):
                    continue
                if sign * scores[v // factor, u // factor] < _OUTLINE_SCORE:
                    continue
                if sign * _at(values, factor, v, u) < floor:
                    continue
                seen[v, u] = mark
                stack[size] = v * width + u
                size += 1
    return stack, size


@njit(cache=True)
def _mark_skirt(stack, size, n, reach, owner, skirt, distance, peak):  # type: ignore[no-untyped-def]
    height, width = owner.shape
    first, last = 0, size
    for step in range(1, reach + 1):
        end = last
        for i in range(first, last):
            y, x = stack[i] // width, stack[i] % width
            for v in range(max(0, y - 1), min(height, y + 2)):
                for u in range(max(0, x - 1), min(width, x + 2)):
                    # corners of the square only every other step: an octagon
                    if owner[v, u] or skirt[v, u] == n or (step % 2 and v != y and u != x):
                        continue
                    other = skirt[v, u]
                    if other and abs(peak[other]) >= abs(peak[n]):
                        continue
                    skirt[v, u], distance[v, u] = n, step
                    if end + 1 > len(stack):
                        longer = np.empty(2 * len(stack), np.int64)
                        longer[:end] = stack[:end]
                        stack = longer
                    stack[end] = v * width + u
                    end += 1
        first, last = last, end
    return stack


@njit(cache=True)
def _root(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        i = parent[i]
    return i


@njit(cache=True)
def _roots(parent):  # type: ignore[no-untyped-def]
    root = np.zeros_like(parent)
    for i in range(len(parent)):
        root[i] = _root(parent, i)
    return root


@njit(cache=True)
def _relabelled(owner, number, count):  # type: ignore[no-untyped-def]
    height, width = owner.shape
    boxes = np.zeros((count, 4), np.int32)
    boxes[:, 0], boxes[:, 1] = height, width
    for y in range(height):
        for x in range(width):
            if owner[y, x]:
                i = number[owner[y, x]]
                owner[y, x] = i
                boxes[i, 0], boxes[i, 1] = min(boxes[i, 0], y), min(boxes[i, 1], x)
                boxes[i, 2], boxes[i, 3] = max(boxes[i, 2], y + 1), max(boxes[i, 3], x + 1)
    return owner, boxes
