"""From line evidence to lines: follow ridges through noise and crossings, bridge gaps, link the pieces.

A traced line is an ordered list of pixels with scores. Knows nothing of defects or zones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from endface.imaging.noise import robust_sigma

_CLIP = (-2.0, 2.5)  # no single point may carry a line
_STEPS = 256  # orientations are told in steps of pi / 256


@dataclass(frozen=True)
class TracedLine:
    """One line as an ordered centre line.

    Attributes
    ----------
    points : (N, 2) float32 ndarray
        x, y in pixels, about one pixel apart.
    scores : (N,) float32 ndarray
        Line evidence under each point; low on bridged gaps.
    """

    points: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def length_px(self) -> float:
        """Length along the line."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum()) if len(self.points) > 1 else 0.0


def trace_lines(
    score: NDArray[np.float32],
    angle: NDArray[np.uint8],
    *,
    high: float,
    low: float,
    max_gap_px: int = 12,
    min_length_px: float = 10.0,
) -> list[TracedLine]:
    """Follow ridges of a score map from the strongest pixel down.

    Parameters
    ----------
    score : (H, W) float32 ndarray
        Line evidence, 0 or more.
    angle : (H, W) uint8 ndarray
        Best orientation of each pixel in steps of pi / 256, from +x towards +y.
    high, low : float
        A line starts at a ridge pixel of at least `high` and goes on over pixels of at least `low`.
    max_gap_px : int
        Longest stretch below `low` that is bridged.
    min_length_px : float
        Shorter lines are dropped.

    Returns
    -------
    list of TracedLine
        Strongest seed first.
    """
    rows, cols = np.nonzero(score >= high)
    order = np.argsort(-score[rows, cols], kind="stable")
    rows, cols = rows[order], cols[order]
    taken = np.zeros(score.shape, np.uint8)
    taken_angle = np.zeros(score.shape, np.uint8)
    lines: list[TracedLine] = []
    first = _next_free(taken, taken_angle, angle, rows, cols, 0)
    while first < order.size:
        row, col = rows[first], cols[first]
        path, values = _trace(score, angle, taken, taken_angle, row, col, low, max_gap_px)
        _take(taken, taken_angle, angle, path, 3)
        line = TracedLine(path, values)
        if line.length_px >= min_length_px:
            lines.append(line)
        first = _next_free(taken, taken_angle, angle, rows, cols, first + 1)
    return lines


@njit(cache=True, nogil=True)
def _is_taken(
    taken: NDArray[np.uint8], taken_angle: NDArray[np.uint8], row: int, col: int, angle: int
) -> bool:
    # lines that cross at more than 30 degrees do not take from each other
    gap = abs(int(taken_angle[row, col]) - int(angle))
    return taken[row, col] > 0 and min(gap, _STEPS - gap) <= _STEPS // 6


@njit(cache=True, nogil=True)
def _next_free(
    taken: NDArray[np.uint8],
    taken_angle: NDArray[np.uint8],
    angle: NDArray[np.uint8],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    first: int,
) -> int:
    k = first
    while k < len(rows) and _is_taken(taken, taken_angle, rows[k], cols[k], angle[rows[k], cols[k]]):
        k += 1
    return k


@njit(cache=True, nogil=True)
def _trace(
    score: NDArray[np.float32],
    angle: NDArray[np.uint8],
    taken: NDArray[np.uint8],
    taken_angle: NDArray[np.uint8],
    row: int,
    col: int,
    low: float,
    max_gap: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    limit = 4 * (score.shape[0] + score.shape[1])
    points = np.empty((2 * limit + 1, 2), np.float32)
    values = np.empty(2 * limit + 1, np.float32)
    start = limit
    points[start, 0], points[start, 1], values[start] = col, row, score[row, col]
    ends = np.array([start, start])
    theta0 = angle[row, col] * np.pi / _STEPS
    for side in range(2):
        step = 1 if side == 0 else -1
        ux, uy = np.cos(theta0) * step, np.sin(theta0) * step
        x, y = float(col), float(row)
        at, misses, good = start, 0, start
        while abs(at - start) < limit - 1:
            best, bx, by = -1.0, x + ux, y + uy
            for k in range(-1, 2):
                px, py = x + ux - 0.8 * k * uy, y + uy + 0.8 * k * ux
                ix, iy = int(np.floor(px + 0.5)), int(np.floor(py + 0.5))
                if ix < 0 or iy < 0 or ix >= score.shape[1] or iy >= score.shape[0]:
                    continue
                t = angle[iy, ix] * np.pi / _STEPS
                along = abs(np.cos(t) * ux + np.sin(t) * uy)
                if along < 0.9:
                    continue
                v = score[iy, ix] - (0.15 if k != 0 else 0.0)
                if v > best:
                    best, bx, by = v, px, py
            ix, iy = int(np.floor(bx + 0.5)), int(np.floor(by + 0.5))
            if ix < 0 or iy < 0 or ix >= score.shape[1] or iy >= score.shape[0]:
                break
            if best >= low:
                if _is_taken(taken, taken_angle, iy, ix, angle[iy, ix]):
                    break
                t = angle[iy, ix] * np.pi / _STEPS
                tx, ty = np.cos(t), np.sin(t)
                if tx * ux + ty * uy < 0:
                    tx, ty = -tx, -ty
                ux, uy = 0.7 * ux + 0.3 * tx, 0.7 * uy + 0.3 * ty
                norm = np.hypot(ux, uy)
                ux, uy = ux / norm, uy / norm
                misses = 0
            else:
                misses += 1
                if misses > max_gap:
                    break
            # stay on the crest: a path that turns on its own heel would never end
            x, y = bx, by
            at += step
            points[at, 0], points[at, 1], values[at] = x, y, max(best, 0.0)
            if misses == 0:
                good = at
        ends[side] = good
    return points[ends[1] : ends[0] + 1].copy(), values[ends[1] : ends[0] + 1].copy()


@njit(cache=True, nogil=True)
def _take(
    taken: NDArray[np.uint8],
    taken_angle: NDArray[np.uint8],
    angle: NDArray[np.uint8],
    path: NDArray[np.float32],
    reach: int,
) -> None:
    for i in range(len(path)):
        x, y = int(np.floor(path[i, 0] + 0.5)), int(np.floor(path[i, 1] + 0.5))
        own = angle[y, x]
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                v, u = y + dy, x + dx
                if 0 <= v < taken.shape[0] and 0 <= u < taken.shape[1]:
                    taken[v, u] = 1
                    taken_angle[v, u] = own


def confirm_line(
    line: TracedLine,
    image: NDArray[np.float32],
    *,
    polarity: int,
    noise: NDArray[np.float32],
    side_px: float,
    high: float,
    min_contrast: float = 0.0,
    min_length_px: float = 10.0,
) -> TracedLine | None:
    """Keep the stretch of a traced line whose contrast holds along its length, or nothing.

    The contrast of every point against both sides is clipped, so that a few strong spots cannot carry a
    line; the stretch with the largest sum above a third of the line's typical contrast is kept (Kadane's
    maximum segment), and its clipped sum must be significant.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        The image that gave the line evidence.
    polarity : int
        -1 for a dark, +1 for a bright line.
    noise : (H, W) float32 ndarray
        Standard deviation of the one-pixel contrast at each pixel.
    side_px : float
        Distance of the sides.
    high : float
        Score the stretch must reach.
    min_contrast : float
        Contrast, in units of `image`, that a stretch up to 4 times the least length must have; longer ones
        are visible at less, with the root of their length. Sums over hundreds of pixels are significant at
        contrasts no inspector could see.

    Returns
    -------
    TracedLine or None
        Its scores are the contrast of each point in units of its noise.
    """
    points = _recentre(_smooth_path(line.points), image, polarity)
    contrast = profile_contrast(image, points, side_px=side_px) * polarity
    col, row = np.clip(np.round(points).astype(int), 0, [image.shape[1] - 1, image.shape[0] - 1]).T
    scores = np.asarray(contrast / noise[row, col], np.float32)
    z = np.clip(scores, *_CLIP)
    crest = line.scores >= 0.7 * line.scores.max()
    if float(np.median(z[crest])) <= 0.2:
        return None
    # relative to the line's own contrast: a strong line ends where it ends, not where noise says no
    typical = float(np.median(scores[crest]))
    relative = np.clip(scores / max(1.0, typical / _CLIP[1]), *_CLIP)
    first, last = _maximum_segment(relative - 0.35 * min(typical, _CLIP[1]))
    kept = TracedLine(points[first:last], scores[first:last])
    # the eye gathers light along a line too
    visible = min_contrast * min(1.0, math.sqrt(4 * min_length_px / max(kept.length_px, 1e-6)))
    if float(np.median(contrast[first:last])) < visible:
        return None
    if path_score(z[first:last]) < high or kept.length_px < min_length_px:
        return None
    return kept if float((kept.scores > 0).mean()) >= 0.65 else None


def path_score(scores: NDArray[np.float32]) -> float:
    """Return the score of a whole path from the scores of its points, a pixel apart.

    Neighbouring points share the blur's noise: about 2.8 points make one independent one.
    """
    return float(scores.sum()) / math.sqrt(2.8 * max(len(scores), 1))


def line_strength(line: TracedLine) -> float:
    """Return the score of a confirmed line as a whole; a few strong points do not count for more."""
    middle = np.full_like(line.scores, np.median(line.scores))
    return max(path_score(middle), path_score(np.clip(line.scores, *_CLIP)))


def profile_contrast(
    image: NDArray[np.float32], points: NDArray[np.float32], *, side_px: float
) -> NDArray[np.float32]:
    """Return the contrast of each point of a path against both sides, (N,); bright lines are positive.

    The mean of the two one-sided contrasts, held back to 2.5 x the weaker of them; 0 on a slope.
    """
    values = _across(image, points, np.array([-side_px, -0.5, 0.5, side_px], np.float32))
    centre = 0.5 * (values[:, 1] + values[:, 2])
    return guarded_contrast(centre - values[:, 0], centre - values[:, 3])


def guarded_contrast(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of contrasts to either side, held back to 2.5 x the weaker one; 0 on a slope."""
    weaker = np.where(first * second > 0, np.minimum(np.abs(first), np.abs(second)), 0)
    mean = 0.5 * (first + second)
    return np.asarray(np.sign(mean) * np.minimum(np.abs(mean), 2.5 * weaker), np.float32)


def mean_profile(
    image: NDArray[np.float32], points: NDArray[np.float32], *, reach_px: int
) -> NDArray[np.float32]:
    """Return the mean profile across a path, at whole pixels from -reach_px to reach_px."""
    offsets = np.arange(-reach_px, reach_px + 1, dtype=np.float32)
    return np.asarray(_across(image, points, offsets).mean(axis=0), np.float32)


def contrast_noise(
    image: NDArray[np.float32], zones: NDArray[np.uint8], noisy: NDArray[np.uint8], *, side_px: float
) -> NDArray[np.float32]:
    """Return the robust standard deviation of `profile_contrast` on empty ground, per zone, as (H, W).

    `noisy` is `zones` once more, 0 where there is no noise to be measured.
    """
    reach, width = round(side_px), image.shape[1]
    flat = image.ravel()
    level = np.ones(int(zones.max(initial=0)) + 1, np.float32)
    # every third row tells enough
    upright, lying = noisy[reach:-reach:3], noisy[::3, reach:-reach]
    for zone in range(1, len(level)):
        row, col = _some_of(upright, zone)
        both = [((3 * row + reach) * width + col, reach * width)]
        row, col = _some_of(lying, zone)
        both.append((3 * row * width + col + reach, reach))
        level[zone] = max(
            *(
                robust_sigma(flat[places] - np.float32(0.5) * (flat[places - side] + flat[places + side]))
                for places, side in both
            ),
            1e-3,
        )
    return np.asarray(level[zones])


def _some_of(kinds: NDArray[np.uint8], kind: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of an even sample of the pixels of one kind."""
    places = np.flatnonzero(kinds == kind)
    row, col = np.divmod(places[:: max(1, places.size // 20_000)], max(kinds.shape[1], 1))
    return row, col


def _smooth_path(points: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(points) < 7:
        return points
    return np.asarray(uniform_filter1d(points, 7, axis=0, mode="nearest"), np.float32)


def _recentre(
    points: NDArray[np.float32], image: NDArray[np.float32], polarity: int, *, reach_px: int = 3
) -> NDArray[np.float32]:
    """Move a path sideways onto the crest of the line it follows, by at most `reach_px`."""
    if len(points) < 7:
        return points
    normal = _normals(points)
    offsets = np.arange(-reach_px, reach_px + 1, dtype=np.float32)
    values = _across(image, points, offsets) * np.float32(polarity)
    # one point is noise: the crest is looked for over a stretch, and moves smoothly
    crest = offsets[np.argmax(uniform_filter1d(values, 15, axis=0, mode="nearest"), axis=1)]
    shift = uniform_filter1d(crest, 9, mode="nearest")[:, None]
    return np.asarray(points + normal * shift, np.float32)


def _across(
    image: NDArray[np.float32], points: NDArray[np.float32], offsets: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sample an image at offsets to the side of each point of a path, (N, len(offsets))."""
    normal = _normals(points)
    x = (points[:, :1] + normal[:, :1] * offsets).astype(np.float32)
    y = (points[:, 1:] + normal[:, 1:] * offsets).astype(np.float32)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _normals(points: NDArray[np.float32]) -> NDArray[np.float32]:
    tangent = np.gradient(points, axis=0) if len(points) > 1 else np.ones_like(points)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)[:, None]
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def _maximum_segment(values: NDArray[np.float32]) -> tuple[int, int]:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.minimum.accumulate(sums)
    last = int(np.argmax(sums - low))
    first = int(np.argmin(sums[: last + 1]))
    return first, last
