"""Text, scale bars, cross-hairs and boxes that software drew into a picture, told from what optics drew.

Optics blur and sensors scatter. What was drawn into a picture afterwards does neither: all of it has one
exact grey level, and two pixels beside it the picture is as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import quantiles, robust_sigma

# A steep step: against the noise of differences, the range of the picture, and its grey levels.
_STEP_SIGMAS, _STEP_SHARE, _STEP_LEVELS = 10.0, 0.08, 8
# A level of graphics is so many times as common beside steep steps as those next to it.
_PEAK, _N_NEXT = 3.0, 8
_LEAST_COUNT = 40
_BAND, _CLAMPED = 0.05, 0.2  # of the range, at its ends; of what lies there, the share at the very end
# What is left of a step one and two pixels beside it. Of the edge of something overexposed, under the
# sharpest lens (full width 1.5 px), the next holds four tenths. A smoothed stroke fills the next in part,
# beside one that is not smoothed something else may begin.
_NEXT_PX, _SECOND_PX = 0.7, 0.08
_SURE_NEXT_PX, _SURE_SECOND_PX = 0.15, 0.25
_HARD_NEXT_PX = 0.25
_CRISP = 0.04
# With so many steps a component counts; so many prove a level.
_ENOUGH, _PROOF = 10, 60
# Of the steps of a level of graphics, at least so many are hard.
_HARD_SHARE = 0.3
_FILLED = 0.4
_RECTANGULAR = 0.95
# Text: so many letters of some height on one line, gaps and unevenness of the line in letter heights.
_LETTERS, _LEAST_LETTER_PX, _LETTER_GAP, _BASELINE = 4, 5, 2.0, 0.12
_MOST_COMPONENTS = 2000
_PAINT_PX = 9

_Mask = NDArray[np.bool_]
_Places = NDArray[np.intp]
_Image = NDArray[Any]  # uint8, uint16 or float32


@dataclass(frozen=True)
class _Level:
    """A grey level that graphics may have, and its range: wider at the ends, where codecs scatter it."""

    value: float
    least: float
    most: float
    clipped: bool = False

    def mask(self, values: _Image) -> _Mask:
        return np.asarray((values >= self.least) & (values <= self.most))


def find_graphics(image: NDArray[np.generic], valid: _Mask | None = None) -> _Mask:
    """Find what was drawn into a picture after it was taken: strokes and filled rectangles.

    A level is looked at when pixels beside steep steps have it much more often than the levels next to it.
    Of its pixels those are graphics that hang together as strokes or rectangles whose contrast is gone two
    pixels away. A saturated scratch has one level as well, but also a blur.

    Parameters
    ----------
    image : (H, W) ndarray
        Grey levels of any real type, finite.
    valid : (H, W) bool ndarray, optional
        Where to look, e.g. without dead frame borders.

    Returns
    -------
    (H, W) bool ndarray
        Graphics, and next to smoothed strokes the pixels that these fill in part.

    Notes
    -----
    Not found: what a rescaling or strong compression has blurred since, and what hardly differs from the
    surface.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(100, 3, (200, 300)).astype(np.uint8)
    >>> image[150], image[40:60, 40:60] = 255, 255 - image[40:60, 40:60]
    >>> graphics = find_graphics(image)
    >>> bool(graphics[150].all()), bool(graphics[40:60, 40:60].any())
    (True, False)
    """
    drawn = np.zeros(image.shape, bool)
    if min(image.shape) < 48:
        return drawn
    if image.dtype not in (np.uint8, np.uint16):
        image = np.asarray(image, np.float32)
    least = _least_step(image)
    beside = _beside_steps(image, least).view(bool)
    if valid is not None:
        beside &= valid
    places = np.divmod(np.flatnonzero(beside), image.shape[1])
    if places[0].size < _LEAST_COUNT:
        return drawn
    levels = [level for level in _common_levels(image, places) if _is_hard(image, level, places, least)]
    parts = [_components_at(level.mask(image), beside) for level in levels]
    for _ in range(2 if parts else 0):  # what has an outline shows no step until the outline is known
        for level, part in zip(levels, parts, strict=True):
            drawn |= _drawn_in(image, level, part, drawn, least)
    # what an outline surrounds goes with it
    inside = np.ones((5, 5), np.uint8)
    return cv2.morphologyEx(drawn.view(np.uint8), cv2.MORPH_CLOSE, inside).view(bool) if parts else drawn


def paint_over(gray: NDArray[np.float32], valid: _Mask) -> tuple[NDArray[np.float32], _Mask]:
    """Paint over thin things that hide a surface, with what lies beside them.

    Parameters
    ----------
    gray : (H, W) float32 ndarray
    valid : (H, W) bool ndarray
        False where the surface cannot be seen.

    Returns
    -------
    painted : (H, W) float32 ndarray
        The same array where nothing had to be painted.
    whole : (H, W) bool ndarray
        `valid` without its cracks: where the surface is seen or was painted.

    Examples
    --------
    >>> gray = np.full((60, 60), 5, np.float32)
    >>> gray[20:23] = 90
    >>> painted, whole = paint_over(gray, gray < 50)
    >>> bool(whole[20:23, 9:51].all()), float(painted[:, 9:51].max())
    (True, 5.0)
    """
    side = (_PAINT_PX, _PAINT_PX)
    closed = cv2.morphologyEx(
        valid.view(np.uint8),
        cv2.MORPH_CLOSE,
        np.ones(side, np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    ).view(bool)
    thin = closed & ~valid
    if not thin.any():
        return gray, valid
    painted, todo = gray.copy(), closed & ~valid
    known = valid.astype(np.float32)
    for _ in range(_PAINT_PX):  # from the edges inwards, so that a rim across stays where it is
        total, count = (cv2.boxFilter(part, -1, (3, 3)) for part in (painted * known, known))
        new = todo & (count > 0)
        painted[new] = total[new] / count[new]
        known[new] = 1
        todo &= ~new
        if not todo.any():
            break
    return painted, closed | valid


def whiten_colours(gray: _Image, channels: _Image) -> None:
    """Make white, in place, the graphics of a colour picture that its colours show.

    Parameters
    ----------
    gray : (H, W) ndarray
        What was made of the channels; graphics in colour may be as bright as the surface there.
    channels : (H, W, 3) ndarray
        uint8, uint16 or float32.

    Examples
    --------
    >>> channels = np.full((100, 100, 3), 120, np.uint8)
    >>> channels[50, 10:90] = 255, 50, 50
    >>> gray = np.full((100, 100), 120, np.uint8)
    >>> whiten_colours(gray, channels)
    >>> int(gray[50, 50]), int(gray[20, 50])
    (255, 120)
    """
    one, other, third = cv2.split(channels)
    colour = cv2.subtract(cv2.max(cv2.max(one, other), third), cv2.min(cv2.min(one, other), third))
    if colour.any():
        white = 255 if gray.dtype == np.uint8 else channels.max()
        gray[find_graphics(colour)] = white


def _least_step(image: _Image) -> float:
    """Return the least difference of neighbours that is neither noise nor shading."""
    some = np.asarray(image[::9, : image.shape[1] // 2 * 2], np.float32)
    noise = robust_sigma(some[:, 1::2] - some[:, ::2])
    low, high = quantiles(some[:, ::4].ravel(), (0.01, 0.99))
    quantum = 1 if np.issubdtype(image.dtype, np.integer) else 0
    return max(_STEP_SIGMAS * noise, _STEP_SHARE * float(high - low), _STEP_LEVELS * quantum, 1e-9)


def _beside_steps(image: _Image, least: float) -> NDArray[np.uint8]:
    """Mark (H, W) the pixels of which a neighbour differs by more than `least`."""
    beside = np.zeros(image.shape, np.uint8)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        _, far = cv2.threshold(cv2.absdiff(image[one], image[other]), least, 1, cv2.THRESH_BINARY)
        steep = np.asarray(far, np.uint8)
        beside[one] |= steep
        beside[other] |= steep
    return beside


def _common_levels(image: _Image, places: tuple[_Places, _Places]) -> list[_Level]:
    """Return the levels that stand out at some pixels, commonest first, those at the ends as bands."""
    values = image[places]
    levels, counts = np.unique(values, return_counts=True)
    common = np.flatnonzero(counts >= _LEAST_COUNT)
    near = common[:, None] + np.r_[-_N_NEXT:0, 1 : _N_NEXT + 1]
    known = (near >= 0) & (near < levels.size)
    total = np.sum(counts[np.clip(near, 0, levels.size - 1)] * known, axis=1)
    chosen = common[counts[common] * np.count_nonzero(known, axis=1) > _PEAK * total]
    found = [(int(counts[k]), _Level(float(levels[k]), float(levels[k]), float(levels[k]))) for k in chosen]
    black, white = cv2.minMaxLoc(image)[:2]
    for end, inwards in ((black, 1.0), (white, -1.0)):
        depth = (values.astype(np.float64) - end) * (inwards / (_BAND * (white - black)))
        own, next_to = np.count_nonzero(depth <= 1), np.count_nonzero((depth > 1) & (depth <= 3))
        clamped = np.count_nonzero(depth <= 0) >= _CLAMPED * own  # or it is glass with noise, not a limit
        if own >= _LEAST_COUNT and 2 * own > _PEAK * next_to and clamped:
            inner = end + inwards * _BAND * (white - black)
            found = [pair for pair in found if not min(end, inner) <= pair[1].value <= max(end, inner)]
            found.append((int(own), _Level(end, min(end, inner), max(end, inner), clipped=True)))
    return [level for _, level in sorted(found, key=lambda pair: -pair[0])]


def _is_hard(image: _Image, level: _Level, places: tuple[_Places, _Places], least: float) -> bool:
    """Whether enough of the steps from pixels of a level are hard, be they graphics or not."""
    own = level.mask(image[places])
    rows, cols = places[0][own], places[1][own]
    own_px = np.zeros(image.shape, bool)
    own_px[rows, cols] = True
    _, step, first, second = _steps_from(image, level.value, (rows, cols), own_px, own_px, least)
    hard = (np.abs(second) < _SECOND_PX * step) & (first < _NEXT_PX * step)
    return bool(hard.sum() >= max(_PROOF, _HARD_SHARE * hard.size))


def _components_at(mask: _Mask, seeds: _Mask) -> _Mask:
    """Keep the components of a mask that hold a seed."""
    n, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    kept = np.zeros(n, bool)
    kept[labels[mask & seeds]] = True
    return np.asarray(kept[labels])


def _drawn_in(image: _Image, level: _Level, part: _Mask, drawn: _Mask, least: float) -> _Mask:
    """Return which pixels of one level are strokes or rectangles without a blur."""
    width = max(_PAINT_PX, image.shape[1] // 60)
    boxes = _rectangles(part, width)
    square = np.ones((width, width), np.uint8)
    thick = cv2.morphologyEx(part.view(np.uint8), cv2.MORPH_OPEN, square).view(bool)
    chosen = ((part & ~thick) | boxes) & ~drawn
    n, labels, stats, _ = cv2.connectedComponentsWithStats(chosen.view(np.uint8), connectivity=8)
    rows, cols = np.nonzero(chosen)
    other = part | boxes | drawn
    pixel, *values = _steps_from(image, level.value, (rows, cols), other, _grown(other), least)
    of = labels[rows[pixel], cols[pixel]]
    count, step, first, second = (np.bincount(of, v, minlength=n) for v in (None, *values))
    hard = (np.abs(first) < _SURE_NEXT_PX * step) & (np.abs(second) < _SURE_SECOND_PX * step)
    smooth = hard | ((np.abs(second) < _SECOND_PX * step) & (first < _NEXT_PX * step))
    hard &= count >= _ENOUGH
    smooth &= count >= _ENOUGH
    text = _lines_of_text(stats, smooth)
    # what is clipped is of one level by itself; greatly overexposed it is as sharp as a smoothed stroke
    found = hard if level.clipped else smooth
    if count[found].sum() < _PROOF or count[smooth].sum() < 0.5 * count.sum():
        found[:] = False
    drawn_here = found[labels]
    if level.clipped:  # something overexposed may touch
        drawn_here &= boxes | _hard_near(drawn_here, (rows[pixel], cols[pixel]), values, width)
    if first[found].sum() > _CRISP * step[found].sum():
        drawn_here = _grown(drawn_here)
    for box in text:
        drawn_here[box] = True
    return drawn_here & ~drawn


def _hard_near(
    found: _Mask, places: tuple[_Places, _Places], steps: list[NDArray[np.float32]], reach_px: int
) -> _Mask:
    """Mark (H, W) where the steps within some pixels are hard."""
    side = (2 * reach_px + 1,) * 2
    inside = found[places]
    rows, cols = places[0][inside], places[1][inside]
    sums = []
    for values in (steps[0], steps[1]):
        total = np.zeros(found.shape, np.float32)
        np.add.at(total, (rows, cols), values[inside])
        sums.append(np.asarray(cv2.boxFilter(total, -1, side, normalize=False)))
    step, first = sums
    return np.asarray(first < _HARD_NEXT_PX * step)


def _lines_of_text(stats: NDArray[np.int32], drawn: _Mask) -> list[tuple[slice, slice]]:
    """Return the boxes of rows of components, most of them `drawn`: on one line, close, alike in height."""
    from scipy.sparse.csgraph import connected_components  # few pictures need it

    letters = np.flatnonzero(stats[1:, cv2.CC_STAT_HEIGHT] >= _LEAST_LETTER_PX) + 1
    if np.count_nonzero(drawn) < _LETTERS or letters.size > _MOST_COMPONENTS:
        return []
    left, top, wide, high = stats[letters, :4].T.astype(np.float64)
    tall = np.maximum(high[:, None], high)
    gap = np.maximum(left[:, None], left) - np.minimum((left + wide)[:, None], left + wide)
    follow = (gap < _LETTER_GAP * tall) & (tall < 2 * np.minimum(high[:, None], high))
    follow &= np.abs((top + high)[:, None] - (top + high)) <= np.maximum(1, _BASELINE * tall)
    n, row = connected_components(follow, directed=False)
    sure = np.bincount(row, drawn[letters], minlength=n)
    boxes = []
    for number in np.flatnonzero((sure >= _LETTERS) & (2 * sure >= np.bincount(row, minlength=n))):
        own = row == number
        first, last = top[own].min(), (top + high)[own].max()
        # letters that hang below the line, and what is too small to be looked at
        level = (top < last) & (top + high > first) & (high < 2 * high[own].max())
        reach = _LETTER_GAP * high[own].max()
        start, end = left[own].min(), (left + wide)[own].max()
        for _ in range(len(left)):
            more = level & (left < end + reach) & (left + wide > start - reach)
            if left[more].min() >= start and (left + wide)[more].max() <= end:
                break
            start, end = min(start, left[more].min()), max(end, (left + wide)[more].max())
        first, last = top[more].min(), (top + high)[more].max()
        margin = high[own].max() / 4
        boxes.append((_span(first - margin, last + margin), _span(start - 2 * margin, end + 2 * margin)))
    return boxes


def _span(first: float, last: float) -> slice:
    return slice(max(0, int(first)), int(last) + 1)


def _rectangles(part: _Mask, least_px: int) -> _Mask:
    """Return the filled rectangles (H, W), with what is written in them."""
    result = np.zeros_like(part)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part.view(np.uint8), connectivity=8)
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    large = (sides.min(axis=1) > least_px) & (stats[:, cv2.CC_STAT_AREA] > _FILLED * sides.prod(axis=1))
    for number in np.flatnonzero(large[1:]) + 1:
        left, top, wide, high = stats[number, :4].tolist()
        box = slice(top, top + high), slice(left, left + wide)
        own = (labels[box] == number).view(np.uint8)
        outline = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0]
        if cv2.contourArea(outline) > _RECTANGULAR * (wide - 1) * (high - 1):
            result[box] = True
    return result


def _steps_from(
    image: _Image,
    level: float,
    places: tuple[_Places, _Places],
    own: _Mask,
    far: _Mask,
    least: float,
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Measure the steep steps from some pixels to the third beside each, in four directions.

    Only where the two between are not `own` and the third is not `far`. Returns the number of the pixel, the
    height of the step, and what is left of it in the first and in the second.
    """
    rows, cols = places
    found = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        end_y, end_x = rows + 3 * down, cols + 3 * right
        pixel = np.flatnonzero(
            (end_y >= 0) & (end_y < image.shape[0]) & (end_x >= 0) & (end_x < image.shape[1])
        )
        for k, hidden in ((1, own), (2, own), (3, far)):
            pixel = pixel[~hidden[rows[pixel] + k * down, cols[pixel] + k * right]]
        first, second, ground = (
            image[rows[pixel] + k * down, cols[pixel] + k * right].astype(np.float32) for k in (1, 2, 3)
        )
        step = np.float32(level) - ground
        sign = np.sign(step)
        some = np.abs(step) > least
        found.append(
            [v[some] for v in (pixel, np.abs(step), (first - ground) * sign, (second - ground) * sign)]
        )
    pixel, step, first, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return pixel, step, first, second


def _grown(mask: _Mask) -> _Mask:
    return cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
