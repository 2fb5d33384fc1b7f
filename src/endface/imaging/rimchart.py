"""The rim of an ellipse straightened into a strip: along the rim to the right, outwards down, in pixels.

What runs along the rim, whatever its cause, is constant in the strip's rows; what breaks the rim is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.rim import ray_radius_px
from endface.imaging.rimnoise import blur_along, bright_side_sigma, window_px
from endface.imaging.sliding import running_mean, running_median

# of a window, the brighter part is whole: a rim chipped all along is dark over more than half its length
_WHOLE_QUANTILE = 0.7
_BLOCKS = 16
# what is darker than so many standard deviations, seen through a filter of this size, is no whole rim
_DARK = 2.0
_SOFT_PX = (1.6, 1.2)
# and what is so much brighter lies on it
_BRIGHT = 5.0
_ROUNDS = 4
_BESIDE_ROUNDS = 2
# cells of the rim's profile: so many to a pixel across the rim
_FINE = 4
# light changes all round it as slowly as so many waves tell
_WAVES = 4
# a place is compared with those beside it, not with itself: what is dark would be less so. So many cells in
# all and left out in the middle, each so long, or this share of the rim
_CELL_PX = 6
_CELL_SHARE = 1 / 200
_AROUND, _SELF = 15, 3
# cells with fewer whole pixels say less
_LEAST_COUNT = 0.5
# the profile reaches so far beyond the strip, as interpolation does
_MARGIN = 2
_ROW_OF_PLACES = 1024
# cells by how the rim lies to the pixels: so many up to a slant of 0.3
_SLANTS = 6
_SLANTS_PER_UNIT = 20.0


@dataclass(frozen=True, eq=False)
class RimStrip:
    """Where each pixel of the strip lies in the image.

    Attributes
    ----------
    sample_x, sample_y : (M, N) float32 ndarray
        Image position of the strip's pixels, about one image pixel apart both ways.
    offset_px : (M,) float64 ndarray
        Distance of each row from the rim, positive outwards.
    shift_px : (N,) float64 ndarray
        How far the rim itself lies outside the ellipse.
    """

    ellipse: Ellipse
    sample_x: NDArray[np.float32]
    sample_y: NDArray[np.float32]
    offset_px: NDArray[np.float64]
    shift_px: NDArray[np.float64]

    @property
    def tilt(self) -> NDArray[np.float32]:
        """Rows or columns of the image, whichever are fewer, that the rim crosses per pixel, (N,)."""
        middle = int(np.argmin(np.abs(self.offset_px)))
        along = [np.gradient(part[middle]) for part in (self.sample_x, self.sample_y)]
        return np.asarray(np.min(np.abs(along), axis=0), np.float32)

    def unroll(
        self, image: NDArray[np.float32], *, interpolation: int = cv2.INTER_CUBIC
    ) -> NDArray[np.float32]:
        """Sample an (H, W) image along the rim, (M, N)."""
        return np.asarray(
            cv2.remap(image, self.sample_x, self.sample_y, interpolation, borderMode=cv2.BORDER_REPLICATE)
        )

    def place(
        self, x: NDArray[np.integer], y: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where on the strip, in its columns and rows, pixels of the image lie."""
        u = (x - self.ellipse.cx_px) / self.ellipse.rx_px
        v = (y - self.ellipse.cy_px) / self.ellipse.ry_px
        angle = np.asarray(np.arctan2(v, u) % (2 * np.pi), np.float64)
        n = len(self.shift_px)
        column = angle * (n / (2 * np.pi))
        shift = self.shift_px[np.rint(column).astype(int) % n]
        depth = (np.hypot(u, v) - 1) * ray_radius_px(self.ellipse, angle) - shift
        return column, depth - self.offset_px[0]

    def pixels(self, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return y and x of the image's pixels that the strip is interpolated from, (K,) each."""
        x = np.clip(np.rint(self.sample_x).astype(np.intp), 0, shape[1] - 1)
        y = np.clip(np.rint(self.sample_y).astype(np.intp), 0, shape[0] - 1)
        touched = np.zeros(shape, np.uint8)
        touched[y, x] = 1
        rows, columns = np.nonzero(cv2.dilate(touched, np.ones((3, 3), np.uint8)))
        return rows, columns

    def roll(
        self, part: NDArray[np.bool_], *, row: int, column: int, shape: tuple[int, int]
    ) -> tuple[NDArray[np.bool_], int, int]:
        """Bring a piece of the strip back to the image.

        Parameters
        ----------
        part : (h, w) bool ndarray
            The piece, from `row` and `column` of the strip on; it may run over the strip's end.
        shape : tuple of int
            Height and width of the image.

        Returns
        -------
        mask : (h, w) bool ndarray
            Its pixels in the image; empty if none lies there.
        x_px, y_px : int
            Upper left corner of `mask`.
        """
        n = len(self.shift_px)
        columns = np.arange(column - 1, column + part.shape[1] + 1) % n
        rows = slice(max(row - 1, 0), row + part.shape[0] + 1)
        near_x, near_y = self.sample_x[rows][:, columns], self.sample_y[rows][:, columns]
        left, top = max(int(near_x.min()), 0), max(int(near_y.min()), 0)
        right, bottom = min(int(near_x.max()) + 2, shape[1]), min(int(near_y.max()) + 2, shape[0])
        if right <= left or bottom <= top:
            return np.zeros((0, 0), bool), 0, 0
        x, y = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
        across, down = (np.rint(part).astype(int) for part in self.place(x, y))
        across, down = (across - column) % n, down - row
        inside = (down >= 0) & (down < part.shape[0]) & (across < part.shape[1])
        mask = np.zeros(inside.shape, bool)
        mask[inside] = part[down[inside], across[inside]]
        return mask, left, top


def rim_strip(
    ellipse: Ellipse, deviation_px: NDArray[np.float64], *, inwards_px: float, outwards_px: float
) -> RimStrip:
    """Lay a strip along the rim of an ellipse, straightened where the rim slowly leaves it.

    Parameters
    ----------
    deviation_px : (K,) float64 ndarray
        Distance of the measured edge from the ellipse at K equal steps of the parametric angle from 0 on,
        positive outwards; NaN counts as 0. Only what is longer than about 15 degrees is followed.
    inwards_px, outwards_px : float
        Width of the strip on either side of the rim.

    Examples
    --------
    >>> strip = rim_strip(Ellipse(50, 50, 30, 30), np.zeros(360), inwards_px=6, outwards_px=3)
    >>> strip.sample_x.shape
    (10, 188)
    """
    n = int(2 * np.pi * max(ellipse.rx_px, ellipse.ry_px))
    angle = np.asarray(np.arange(n) * (2 * np.pi / n), np.float64)
    slow = running_median(np.nan_to_num(deviation_px), max(3, deviation_px.size // 24) | 1, wrap=True)
    slow = running_mean(slow, max(3, deviation_px.size // 60) | 1, wrap=True)
    turn = np.arange(slow.size + 1) * (2 * np.pi / slow.size)
    shift = np.interp(angle, turn, np.append(slow, slow[0]))
    offset = np.arange(-round(inwards_px), round(outwards_px) + 1, dtype=np.float64)
    scale = 1 + (offset[:, None] + shift) / ray_radius_px(ellipse, angle)
    x = ellipse.cx_px + ellipse.rx_px * np.cos(angle) * scale
    y = ellipse.cy_px + ellipse.ry_px * np.sin(angle) * scale
    return RimStrip(ellipse, x.astype(np.float32), y.astype(np.float32), offset, shift)


def rim_breaks(image: NDArray[np.float32], strip: RimStrip) -> NDArray[np.float32]:
    """Return what an image (H, W) shows along the rim besides the rim itself, on the strip, (M, N).

    A pixel is compared with what lies as far from the rim as it does, where the rim is whole. Pixels meet an
    edge at all distances, not at whole ones, so such a profile is finer than the pixels. Were the picture
    straightened first, interpolation would draw waves along every sharp edge, larger than noise.

    The profile is the same all round but for slow waves: chips in a row cannot hide in their own mean. Only
    what is left is compared with its neighbours. What is broken takes no part; it is known by its contrast to
    the brighter part of a window along the rim, as an arc darker than the rest is no chip.

    References
    ----------
    ISO 12233, Photography: Electronic still picture imaging: the edge profile of a slanted edge.

    Examples
    --------
    >>> y, x = np.indices((120, 120))
    >>> image = np.clip(40 * (np.hypot(x - 60, y - 60) - 38), 20, 100).astype(np.float32)
    >>> image[55:60, 97:100] = 20
    >>> strip = rim_strip(Ellipse(60, 60, 40, 40), np.zeros(360), inwards_px=8, outwards_px=4)
    >>> breaks = rim_breaks(image, strip)
    >>> bool(breaks[7, -3] < -15), bool(np.abs(breaks[:, 60:190]).max() < 6)
    (True, True)
    """
    y, x = strip.pixels(image.shape)
    column, row = strip.place(x, y)
    whole = _level(strip.unroll(image))
    rest = image[y, x] - _look_up(whole, column, row)
    profile = _Profile(image[y, x], strip, column, row)
    canvas = np.zeros(image.shape, np.float32)
    for _ in range(_ROUNDS):
        canvas[y, x] = rest
        intact = _intact(strip.unroll(canvas))
        canvas[y, x] = profile.without_mean(intact)
        rest = profile.without_waves(strip.unroll(canvas), intact)
    canvas[y, x] = rest
    breaks = strip.unroll(canvas)
    for _ in range(_BESIDE_ROUNDS):
        breaks -= _beside(breaks, _intact(breaks))
    return breaks


def _intact(breaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mark with 1 what is whole, with 0 what is dark or far too bright for its place, or lies beside that."""
    soft = blur_along(breaks - _level(breaks), *_SOFT_PX)
    sigma = bright_side_sigma(soft)[:, None]
    broken = (soft < -_DARK * sigma) | (soft > _BRIGHT * sigma)
    return np.asarray(1 - cv2.dilate(broken.astype(np.float32), np.ones((1, 3), np.uint8)), np.float32)


class _Profile:
    """What pixels (K,) at all distances from a rim show besides the rim: a better guess with every call.

    The rim is the sum of three parts: the same all round; slow waves; and, where it lies nearly along the
    pixels' rows or columns, what camera and codec make of that.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        strip: RimStrip,
        column: NDArray[np.float64],
        row: NDArray[np.float64],
    ) -> None:
        n, n_rows = len(strip.shift_px), len(strip.offset_px)
        self.values = values
        self.column, self.row = column, row
        self.near = np.clip(np.rint(row).astype(int), 0, n_rows - 1), np.rint(column).astype(int) % n
        self.size = _FINE * (n_rows + 2 * _MARGIN)
        self.down = _FINE * (row + _MARGIN + 0.5)
        self.fine = np.clip(self.down.astype(int), 0, self.size - 1)
        angle = np.arange(n) * (2 * np.pi / n)
        waves = [wave(k * angle) for k in range(_WAVES + 1) for wave in (np.cos, np.sin)]
        self.waves = np.array(waves[:1] + waves[2:], np.float32)
        slant = _SLANTS_PER_UNIT * strip.tilt[self.near[1]]
        self.level = np.flatnonzero(slant < _SLANTS)
        self.slant = slant[self.level] + 0.5
        quarter = (column[self.level] * (4 / n) + 0.5).astype(int) % 4
        line = quarter * self.size + self.fine[self.level]
        self.quarter_cell = line * (_SLANTS + 1) + self.slant.astype(int)

    def without_mean(self, intact: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take away what is the same all round; the strip `intact` (M, N) holds the weights."""
        weights = intact[self.near]
        count = np.bincount(self.fine, weights, self.size)
        total = np.bincount(self.fine, weights * self.values, self.size)
        mean = (total / (count + _LEAST_COUNT))[:, None].repeat(2, axis=1)
        self.values = self.values - _look_up(mean, np.zeros_like(self.down), self.down - 0.5)
        return self.values

    def without_waves(self, strip: NDArray[np.float32], intact: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take away slow waves of the `strip` (M, N) that holds the values, and what all four sides share."""
        weighted = intact[:, None, :] * self.waves
        normal = weighted @ self.waves.T
        # rows with little that is whole have small waves
        normal += np.float32(1e-3 * strip.shape[1]) * np.eye(len(self.waves), dtype=np.float32)
        heights = np.linalg.solve(normal, weighted @ strip[:, :, None])
        slow = np.asarray(heights[:, :, 0] @ self.waves, np.float32)
        self.values = self.values - _look_up(slow, self.column, self.row)
        if self.level.size:
            self.values[self.level] -= self._alias(self.values[self.level])
        return self.values

    def _alias(self, rest: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the part that all four sides share where the rim lies along the pixels' rows or columns."""
        shape = 4, self.size, _SLANTS + 1
        size = shape[0] * shape[1] * shape[2]
        count = np.bincount(self.quarter_cell, minlength=size).reshape(shape)
        # chips lie on one side of the fibre or another, this on all four
        total = np.bincount(self.quarter_cell, rest, size).reshape(shape)
        means = np.sort(total / (count + _LEAST_COUNT / 2), axis=0)
        table = 0.5 * (means[1] + means[2])
        table[:, -1] = 0
        return _look_up(table, self.slant - 0.5, self.down[self.level] - 0.5)


def _beside(breaks: NDArray[np.float32], intact: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the places beside each show where they are whole, but not what it shows itself."""
    n = breaks.shape[1]
    cell = max(_CELL_PX, n * _CELL_SHARE)
    wide, narrow = (int(cells * cell) | 1 for cells in (_AROUND, _SELF))
    half = wide // 2 + 1
    parts = []
    for part in (breaks * intact, intact):
        closed = cv2.copyMakeBorder(part, 0, 0, half, half, cv2.BORDER_WRAP)
        sums = [cv2.boxFilter(closed, -1, (width, 1), normalize=False) for width in (wide, narrow)]
        parts.append((sums[0] - sums[1])[:, half:-half])
    return np.asarray(parts[0] / (parts[1] + np.float32(0.05 * (wide - narrow))), np.float32)


def _look_up(
    chart: NDArray[np.floating], column: NDArray[np.float64], row: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Interpolate a chart (M, N), closed along its rows, at scattered places (K,)."""
    closed = cv2.copyMakeBorder(chart.astype(np.float32), 0, 0, 2, 2, cv2.BORDER_WRAP)
    size = column.size
    places = np.zeros((2, -(-size // _ROW_OF_PLACES), _ROW_OF_PLACES), np.float32)
    places.reshape(2, -1)[:, :size] = column + 2, row
    found = cv2.remap(closed, places[0], places[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.ravel()[:size])


def _level(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the brighter part of a window along the rim shows, rows with their own medians."""
    level = _bright_part(strip, window_px(strip.shape[1]))
    return np.asarray(level + np.median(strip - level, axis=1)[:, None], np.float32)


def _bright_part(strip: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    n = strip.shape[1]
    count = max(n // max(1, window // _BLOCKS), 8)
    # means of short stretches, in the middle of each
    means = cv2.resize(strip, (count, strip.shape[0]), interpolation=cv2.INTER_AREA)
    half = max(1, round(window * count / n / 2))
    closed = np.pad(means, ((0, 0), (half, half)), mode="wrap")
    windows = np.lib.stride_tricks.sliding_window_view(closed, 2 * half + 1, axis=1)
    rank = int(_WHOLE_QUANTILE * (2 * half + 1))
    whole = np.pad(np.partition(windows, rank, axis=2)[:, :, rank], ((0, 0), (1, 1)), mode="wrap")
    step = n / count
    size = (round((count + 2) * step), strip.shape[0])
    wide = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return _running(wide[:, round(step) : round(step) + n], window // 4)


def _running(values: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Mean over a triangular window along the closed rim."""
    half = max(1, window // 2)
    closed = cv2.copyMakeBorder(values, 0, 0, half, half, cv2.BORDER_WRAP)
    twice = cv2.blur(cv2.blur(closed, (half | 1, 1)), (half | 1, 1))
    return np.asarray(twice[:, half : half + values.shape[1]])
