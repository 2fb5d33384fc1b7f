"""Outlines of spots: grown from their summits down to a fixed share of each spot's own peak.

So blur and threshold do not change the size of a spot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.imaging.compiled import compiled
from endface.imaging.noise import LocalNoise, enlarge_blocks

# Outline of a spot: this share of its own peak. For a disc of any size blurred by the optics the half-height
# contour keeps the true diameter; a little lower follows what people draw.
_OUTLINE_SHARE = 0.45
# An outline ends where the score falls to this share of the threshold.
_OUTLINE_SCORE = 0.3
# How far the halo of optics and camera sharpening reaches, and how strong it can be beside the spot itself:
# slanting light gives dark pits and dust a bright side as strong as they are, the reverse is rare.
# Beyond its reach it decays with the square of the distance.
_HALO_PX = 7
_FAR_HALO_PX = 14
_HALO_SHARE = 0.4
_BRIGHT_SIDE = 0.8


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
    noise : LocalNoise
        That of the finest size.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    polarity: NDArray[np.int8]
    contrast: NDArray[np.float64]
    boxes: NDArray[np.int32]
    noise: LocalNoise


class Spots:
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
        """Grow spots from `seeds` (flat indices, strongest first) of an image reduced by `factor`."""
        rows, cols = np.divmod(seeds, smooth.shape[1])
        rows = np.minimum(rows * factor + factor // 2, self.shape[0] - 1)
        cols = np.minimum(cols * factor + factor // 2, self.shape[1] - 1)
        room = np.zeros(len(seeds), np.float32)
        parent = np.concatenate([self.parent, room.astype(np.int32)])
        score, peak = np.concatenate([self.score, room]), np.concatenate([self.peak, room])
        values = smooth
        if factor > 1:
            values = np.ascontiguousarray(enlarge_blocks(smooth, self.shape, block_px=factor))
        count = _grow(
            values,
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
            # room for every pixel: what is not used costs nothing
            np.empty(self.owner.size, np.int64),
        )
        self.tried += len(seeds)
        self.parent, self.score, self.peak = parent[:count], score[:count], peak[:count]

    def evidence(self, noise: LocalNoise) -> RegionEvidence:
        """Give every spot a number, the parts of one spot the same."""
        root = self.parent
        while not np.array_equal(root, root[root]):
            root = root[root]
        kept, number = np.unique(root, return_inverse=True)
        boxes = _renumber(self.owner, number.astype(np.int32), len(kept))
        scores, contrast = np.zeros(len(kept)), np.zeros(len(kept))
        np.maximum.at(scores, number, self.score)
        np.maximum.at(contrast, number, np.abs(self.peak))
        return RegionEvidence(
            self.owner, scores, np.sign(self.peak[kept]).astype(np.int8), contrast, boxes, noise
        )


@compiled
def _grow(values, scores, factor, fine, seeds, strength, reach, n, tried, maps, spots, stack):  # type: ignore[no-untyped-def]
    owner, skirt, distance, seen = maps
    parent, score, peak = spots
    height, width = owner.shape
    first_try, first = tried, n
    for k in range(len(seeds)):
        y, x = seeds[k] // width, seeds[k] % width
        sign = 1.0 if values[y, x] > 0 else -1.0
        y, x, top = _summit(values, sign, y, x, height, width)
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
            else:
                decay = min(1.0, _HALO_PX / distance[y, x]) ** 2
                if top < decay * (_BRIGHT_SIDE if sign > 0 else _HALO_SHARE) * abs(peak[other]):
                    continue
        tried += 1
        # flood from the summit down to the outline
        size = _flood(values, scores, factor, sign, top, y, x, tried, seen, owner, peak, stack)
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
                        a, b = int(rival), n
                        while parent[a] != a:
                            a = parent[a]
                        while parent[b] != b:
                            b = parent[b]
                        parent[max(a, b)] = min(a, b)
        _mark_skirt(stack, size, n, max(reach, _FAR_HALO_PX), owner, skirt, distance, peak)
        n += 1
    return n


@compiled
def _summit(values, sign, y, x, height, width):  # type: ignore[no-untyped-def]
    best = sign * values[y, x]
    while True:
        by, bx = y, x
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                value = sign * values[v, u]
                if value > best:
                    best, by, bx = value, v, u
        if by == y and bx == x:
            return y, x, best
        y, x = by, bx


@compiled
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
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                if seen[v, u] == mark or (owner[v, u] and sign * peak[owner[v, u]] < 0):
                    continue
                if sign * scores[v // factor, u // factor] < _OUTLINE_SCORE:
                    continue
                if sign * values[v, u] < floor:
                    continue
                seen[v, u] = mark
                stack[size] = v * width + u
                size += 1
    return size


@compiled
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
                    if other and (step > _HALO_PX or abs(peak[other]) >= abs(peak[n])):
                        continue
                    skirt[v, u], distance[v, u] = n, step
                    stack[end] = v * width + u
                    end += 1
        first, last = last, end


def _renumber(owner: NDArray[np.int32], number: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Give the pixels of every spot, in place, its new number, and return the boxes of the `count` spots."""
    flat = owner.reshape(-1)
    places = np.flatnonzero(flat != 0)
    flat[places] = found = number[flat[places]]
    row, col = np.divmod(places, owner.shape[1])
    boxes = np.zeros((count, 4), np.int32)
    boxes[:, :2] = owner.shape
    for side, least, most in ((0, row, row + 1), (1, col, col + 1)):
        np.minimum.at(boxes[:, side], found, least)
        np.maximum.at(boxes[:, side + 2], found, most)
    return boxes
