"""Take faults of the sensor out of a structure-free image: steps along whole lines, dead and hot pixels.

Both are told from things on the surface by what optics cannot do: draw a straight step exactly along all of
a row or column, or a point sharper than a lens.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import robust_sigma

# A point seen through optics with a full width of 2 px, the least of a sensibly sampled microscope, puts 0.65
# times as much into the twelve pixels round its inner 2 x 2 as into those; with 1.5 px still 0.28 times.
_SHARPEST = 0.15
# Where most of the specks of one sign are that sharp, they are the sensor's, and weak ones are known by less.
_SHARPEST_OF_MANY = 0.45
_MANY = 12
_PARTS = 4  # of a line of the sensor that must all show it
# A step between two halves of a sensor has wings, as the background cannot follow it: next to lines that are
# sure, lines that exceed chance by so much count as well.
_WING = 1.5
# Where nearly all are, so are the rest: weak ones, and clusters, in which neighbours hide how sharp each is.
_NEARLY_ALL = 0.9
_WIDEST_PX = 9
# Resampling leaves so much of a fault round it, with the other sign.
_RINGING = 0.15


def remove_sensor_lines(
    residual: NDArray[np.float32], mask: NDArray[np.bool_], *, wings: bool = False
) -> None:
    """Subtract, in place, what runs along whole rows or columns of zero-mean `residual` (H, W).

    A line counts where all its quarters show it, about as strong: a scratch along a row ends somewhere.
    With `wings` the weaker lines beside it that the background left there go too; that takes one even
    surface, as means over parts of unlike noise differ by themselves.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(0, 1, (200, 200)).astype(np.float32)
    >>> image[:, 70] += 3
    >>> remove_sensor_lines(image, np.ones(image.shape, bool))
    >>> bool(abs(np.median(image[:, 70])) < 0.3)
    True
    """
    if min(residual.shape) < 64:
        return
    sigma = robust_sigma(residual[::3, ::3][mask[::3, ::3]])
    # the median of n values scatters by 1.25 standard deviations over the root of n
    spread = 1.25 * sigma
    for image, live in ((residual, mask), (residual.T, mask.T)):
        step = max(1, image.shape[0] // 192)
        some = np.array(image[::step].T, order="C")
        some[~live[::step].T] = np.nan
        level, n = _row_medians(some)
        columns = np.flatnonzero(np.abs(level) > 3.5 * spread / np.sqrt(np.maximum(n, 1)))
        parts = [_row_medians(part) for part in np.array_split(some[columns], _PARTS, axis=1)]
        sure = np.min([k for _, k in parts], axis=0) >= 12
        for m, k in parts:
            doubt = 1.75 * spread / np.sqrt(np.maximum(k, 1))
            sure &= np.sign(level[columns]) * m > np.maximum(doubt, 0.5 * np.abs(level[columns]) - doubt)
        if not sure.any():
            continue
        columns = columns[sure]
        if wings:
            # steps of whole gray levels hold a median fast, a mean they do not
            rest = np.clip(some - level[:, None], -1.5 * sigma, 1.5 * sigma)
            level += np.nansum(rest, axis=1) / np.maximum(n, 1)
            beyond = np.abs(level) > _WING * sigma / np.sqrt(np.maximum(n, 1))
            columns = _runs_with(columns, np.sign(level) * beyond)
        image[:, columns] -= level[columns] * live[:, columns]


def remove_dead_pixels(residual: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Level, in place, specks in `residual` (H, W) that are sharper than any lens could draw them.

    Dead and hot pixels, also where the camera has interpolated them over 2 x 2. Where nearly all clear specks
    of one sign are such, so is every small speck of that sign, weak ones and clusters with their ringing.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
    >>> image[30, 30] = -20
    >>> remove_dead_pixels(image, np.ones(image.shape, bool))
    >>> bool(image[30, 30] > -3)
    True
    """
    if min(residual.shape) < 8:
        return
    levelled = {-1: 0, 1: 0}
    for _ in range(2):  # pairs of them hide each other
        # sums over 2 x 2 and 4 x 4 round the lower right corner of each pixel
        inner = np.asarray(cv2.boxFilter(residual, -1, (2, 2), anchor=(0, 0), normalize=False), np.float32)
        size = np.abs(inner)
        limit = 4.5 * robust_sigma(inner[::3, ::3][mask[::3, ::3]])
        size[:1], size[-3:], size[:, :1], size[:, -3:] = 0, 0, 0, 0
        found = cv2.findNonZero((size > limit).view(np.uint8))
        if found is None:
            return
        x, y = found.reshape(-1, 2).T
        highest = np.max([size[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)
        x, y = x[size[y, x] == highest], y[size[y, x] == highest]
        patch = np.stack([residual[y + i, x + j] for i in range(-1, 3) for j in range(-1, 3)])
        centre = inner[y, x]
        around = patch.sum(axis=0) - centre
        sharpness = around / np.where(centre == 0, 1, centre)
        fault = sharpness < _SHARPEST
        for sign in (-1, 1):
            same = np.sign(centre) == sign
            # weak ones prove little: twice the limit tells
            clear = same & (np.abs(centre) > 2 * limit)
            n_clear = levelled[sign] + np.count_nonzero(clear)
            levelled[sign] += int(np.count_nonzero(fault & clear))
            if levelled[sign] > max(_MANY, 0.5 * n_clear):
                fault |= same & (sharpness < _SHARPEST_OF_MANY)
            if levelled[sign] > max(_MANY, _NEARLY_ALL * n_clear):
                small = _level_patches(residual, sign, x[same], y[same], clear[same])
                fault[same] = np.where(small, ~clear[same], fault[same])
        if not fault.any():
            return
        level = around[fault] / 12
        for i in (0, 1):
            for j in (0, 1):
                residual[y[fault] + i, x[fault] + j] = level


def _level_patches(
    residual: NDArray[np.float32],
    sign: int,
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    clear: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Level, in place, the small patches of one sign under `clear` ones of some summits.

    Summits are given by the upper left corners `x`, `y` of their 2 x 2 pixels; returns (n,) which of them lie
    on no large patch.
    """
    limit = 3 * robust_sigma(residual[::3, ::3])
    size = residual * np.float32(sign)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((size > limit).astype(np.uint8), connectivity=8)
    small = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) <= _WIDEST_PX
    small[0] = True
    under = np.stack([labels[y + i, x + j] for i in (0, 1) for j in (0, 1)])
    chosen = np.zeros(len(stats), bool)
    chosen[under[:, clear]] = True
    chosen &= small
    chosen[0] = False
    patches = chosen[labels]
    # and round strong ones the ringing that resampling leaves, twice as far round wide ones
    strong = patches & (size > limit / _RINGING)
    wide = cv2.morphologyEx(strong.view(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
    fault = _grown(patches, 1) | _grown(strong, 2) | _grown(wide, 5)
    sound = (~fault).astype(np.float32)
    total, count = (cv2.boxFilter(part, -1, (15, 15)) for part in (residual * sound, sound))
    residual[fault] = total[fault] / np.maximum(count[fault], 1e-3)
    return np.asarray(small[under].all(axis=0))


def _grown(mask: NDArray[np.bool_], reach_px: int) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach_px + 1,) * 2, np.uint8)) > 0


def _row_medians(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    ordered = np.sort(values, axis=1)  # NaN last
    count = ordered.shape[1] - np.count_nonzero(np.isnan(ordered), axis=1)
    middle = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[:, None], axis=1)[:, 0]
    return np.where(count > 0, middle, 0).astype(np.float32), count


def _runs_with(sure: NDArray[np.intp], signs: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the numbers of the lines in runs of neighbours of one sign, not 0, that hold a `sure` one."""
    run = np.cumsum(np.diff(signs, prepend=signs[:1]) != 0)
    return np.flatnonzero(np.isin(run, run[sure]) & (signs != 0))
