"""From line evidence to lines: follow ridges through noise and crossings, bridge gaps, link the pieces.

A traced line is an ordered list of pixels with scores. Knows nothing of defects or zones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.compiled import compiled
from endface.imaging.noise import quantiles, robust_sigma
from endface.imaging.sliding import running_mean

_CLIP = (-2.0, 2.5)  # no single point may carry a line
_STEPS = 256  # orientations are told in steps of pi / 256
_REACH_PX = 3  # a line takes the pixels so near to it


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
    places = np.flatnonzero(score >= high)
    places = places[np.argsort(-score.reshape(-1)[places], kind="stable")]
    taken = np.full(score.shape, -1, np.int16)
    room = 4 * sum(score.shape)
    points, values = np.empty((2 * room + 1, 2), np.float32), np.empty(2 * room + 1, np.float32)
    turns = np.arange(_STEPS) * (np.pi / _STEPS)
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    lines: list[TracedLine] = []
    seed = 0
    while True:
        seed, first, behind = _next_line(
            score, angle, taken, directions, places, seed, low, max_gap_px, points, values
        )
        if seed < 0:
            return lines
        line = TracedLine(points[first:behind].copy(), values[first:behind].copy())
        if line.length_px >= min_length_px:
            lines.append(line)


@compiled
def _next_line(
    score: NDArray[np.float32],
    angle: NDArray[np.uint8],
    taken: NDArray[np.int16],
    directions: NDArray[np.float64],
    places: NDArray[np.intp],
    seed: int,
    low: float,
    max_gap: int,
    points: NDArray[np.float32],
    values: NDArray[np.float32],
) -> tuple[int, int, int]:
    """Follow the line from the next seed that is free, and take what lies around it.

    Returns the number of the seed after it (-1 where none was left), and where in `points` and `values` the
    line begins and ends. `taken` holds the orientation of the line that took a pixel, or -1.
    """
    height, width = score.shape
    while seed < len(places):
        row, col = places[seed] // width, places[seed] % width
        seed += 1
        if _is_taken(taken[row, col], angle[row, col]):
            continue
        start = len(values) // 2
        points[start, 0], points[start, 1], values[start] = col, row, score[row, col]
        first = last = start
        for step in range(-1, 2, 2):
            end = _walk(score, angle, taken, directions, low, max_gap, points, values, step)
            first, last = min(first, end), max(last, end)
        for i in range(first, last + 1):
            x, y = math.floor(points[i, 0] + 0.5), math.floor(points[i, 1] + 0.5)
            for v in range(max(y - _REACH_PX, 0), min(y + _REACH_PX + 1, height)):
                for u in range(max(x - _REACH_PX, 0), min(x + _REACH_PX + 1, width)):
                    taken[v, u] = angle[y, x]
        return seed, first, last + 1
    return -1, 0, 0


@compiled
def _walk(
    score: NDArray[np.float32],
    angle: NDArray[np.uint8],
    taken: NDArray[np.int16],
    directions: NDArray[np.float64],
    low: float,
    max_gap: int,
    points: NDArray[np.float32],
    values: NDArray[np.float32],
    step: int,
) -> int:
    """Go on from the middle of `points` one way, and return the place of the last good point."""
    height, width = score.shape
    at = good = len(values) // 2
    x, y = float(points[at, 0]), float(points[at, 1])
    heading = angle[int(y), int(x)]
    ux, uy = directions[heading, 0] * step, directions[heading, 1] * step
    misses = 0
    while 1 < at < len(values) - 2:
        best, bx, by = -1.0, x + ux, y + uy
        for k in range(-1, 2):
            px, py = x + ux - 0.8 * k * uy, y + uy + 0.8 * k * ux
            ix, iy = math.floor(px + 0.5), math.floor(py + 0.5)
            if ix < 0 or iy < 0 or ix >= width or iy >= height:
                continue
            tx, ty = directions[angle[iy, ix], 0], directions[angle[iy, ix], 1]
            if abs(tx * ux + ty * uy) < 0.9:
                continue
            value = score[iy, ix] - (0.15 if k != 0 else 0.0)
            if value > best:
                best, bx, by = value, px, py
        ix, iy = math.floor(bx + 0.5), math.floor(by + 0.5)
        if ix < 0 or iy < 0 or ix >= width or iy >= height:
            break
        if best >= low:
            if _is_taken(taken[iy, ix], angle[iy, ix]):
                break
            tx, ty = directions[angle[iy, ix], 0], directions[angle[iy, ix], 1]
            if tx * ux + ty * uy < 0:
                tx, ty = -tx, -ty
            ux, uy = 0.7 * ux + 0.3 * tx, 0.7 * uy + 0.3 * ty
            norm = math.sqrt(ux * ux + uy * uy)
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
    return good


@compiled
def _is_taken(taken: int, angle: int) -> bool:
    """Whether the line of orientation `taken` (-1 for none) takes a pixel of orientation `angle`."""
    # lines that cross at more than 30 degrees do not take from each other
    gap = abs(int(taken) - int(angle))
    return taken >= 0 and min(gap, _STEPS - gap) <= _STEPS // 6


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
        Standard deviation of the one-pixel contrast at each pixel, infinite where nothing is known.
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
    known = np.isfinite(noise[row, col])
    crest = known & (line.scores >= 0.7 * line.scores.max(initial=0.0, where=known))
    if not known.any() or float(quantiles(z[crest], (0.5,))[0]) <= 0.2:
        return None
    # relative to the line's own contrast: a strong line ends where it ends, not where noise says no
    typical = float(quantiles(scores[crest], (0.5,))[0])
    relative = np.clip(scores / max(1.0, typical / _CLIP[1]), *_CLIP)
    first, last = _maximum_segment(relative - 0.35 * min(typical, _CLIP[1]))
    kept = TracedLine(points[first:last], scores[first:last])
    # the eye gathers light along a line too
    visible = min_contrast * min(1.0, math.sqrt(4 * min_length_px / max(kept.length_px, 1e-6)))
    if float(quantiles(contrast[first:last], (0.5,))[0]) < visible:
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
    middle = np.full_like(line.scores, quantiles(line.scores, (0.5,))[0])
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
    return np.asarray(cv2.LUT(zones, np.resize(level, 256)))


def _some_of(kinds: NDArray[np.uint8], kind: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of an even sample of the pixels of one kind."""
    places = np.flatnonzero(kinds == kind)
    row, col = np.divmod(places[:: max(1, places.size // 20_000)], max(kinds.shape[1], 1))
    return row, col


def _smooth_path(points: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(points) < 7:
        return points
    return np.asarray(running_mean(points, 7), np.float32)


def _recentre(
    points: NDArray[np.float32], image: NDArray[np.float32], polarity: int, *, reach_px: int = 3
) -> NDArray[np.float32]:
    """Move a path sideways onto the crest of the line it follows, by at most `reach_px`."""
    if len(points) < 7:
        return points
    normal = _normals(points)
    offsets = np.arange(-reach_px, reach_px + 1, dtype=np.float32)
    values = _across(image, points, offsets, normal=normal) * np.float32(polarity)
    # one point is noise: the crest is looked for over a stretch, and moves smoothly
    crest = offsets[np.argmax(running_mean(values, 15), axis=1)]
    shift = running_mean(crest, 9)[:, None]
    return np.asarray(points + normal * shift, np.float32)


def _across(
    image: NDArray[np.float32],
    points: NDArray[np.float32],
    offsets: NDArray[np.float32],
    *,
    normal: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Sample an image at offsets to the side of each point of a path, (N, len(offsets))."""
    normal = _normals(points) if normal is None else normal
    x = (points[:, :1] + normal[:, :1] * offsets).astype(np.float32)
    y = (points[:, 1:] + normal[:, 1:] * offsets).astype(np.float32)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _normals(points: NDArray[np.float32]) -> NDArray[np.float32]:
    tangent = np.ones_like(points)
    if len(points) > 1:
        tangent[1:-1] = (points[2:] - points[:-2]) / 2
        tangent[0], tangent[-1] = points[1] - points[0], points[-1] - points[-2]
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)[:, None]
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def _maximum_segment(values: NDArray[np.float32]) -> tuple[int, int]:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.minimum.accumulate(sums)
    last = int(np.argmax(sums - low))
    first = int(np.argmin(sums[: last + 1]))
    return first, last
