"""The rim of an ellipse straightened into a strip: along the rim to the right, outwards down, in pixels.

What runs along the rim, whatever its cause, is constant in the strip's rows; what breaks the rim is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter1d

from endface.imaging.ellipse import Ellipse
from endface.imaging.rim import ray_radius_px

# what is shorter than this share of the circumference, and than so many pixels, breaks the rim
_WINDOW_SHARE = 1 / 18
_WINDOW_PX = 41
# of a window, the brighter part is whole: a rim chipped all along is dark over more than half its length
_WHOLE_QUANTILE = 0.7
_BLOCKS = 16
_DARK = 2.8


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
        x, y = self.sample_x[rows][:, columns], self.sample_y[rows][:, columns]
        left, top = max(int(x.min()), 0), max(int(y.min()), 0)
        right, bottom = min(int(x.max()) + 2, shape[1]), min(int(y.max()) + 2, shape[0])
        if right <= left or bottom <= top:
            return np.zeros((0, 0), bool), 0, 0
        u = (np.arange(left, right)[None, :] - self.ellipse.cx_px) / self.ellipse.rx_px
        v = (np.arange(top, bottom)[:, None] - self.ellipse.cy_px) / self.ellipse.ry_px
        angle = np.asarray(np.arctan2(v, u) % (2 * np.pi), np.float64)
        across = np.round(angle * (n / (2 * np.pi))).astype(int) % n
        depth = (np.hypot(u, v) - 1) * ray_radius_px(self.ellipse, angle) - self.shift_px[across]
        down = np.round(depth - self.offset_px[0]).astype(int) - row
        across = (across - column) % n
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
    slow = median_filter(np.nan_to_num(deviation_px), max(3, deviation_px.size // 24) | 1, mode="wrap")
    slow = uniform_filter1d(slow, max(3, deviation_px.size // 60) | 1, mode="wrap")
    turn = np.arange(slow.size + 1) * (2 * np.pi / slow.size)
    shift = np.interp(angle, turn, np.append(slow, slow[0]))
    offset = np.arange(-round(inwards_px), round(outwards_px) + 1, dtype=np.float64)
    scale = 1 + (offset[:, None] + shift) / ray_radius_px(ellipse, angle)
    x = ellipse.cx_px + ellipse.rx_px * np.cos(angle) * scale
    y = ellipse.cy_px + ellipse.ry_px * np.sin(angle) * scale
    return RimStrip(ellipse, x.astype(np.float32), y.astype(np.float32), offset, shift)


def breaks_along(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract from each row (M, N) what the rim shows near by where it is whole.

    First the brighter part of a window along the rim stands for it, then the mean of what is not darker than
    that: a rim may be chipped over more than half of a window.

    Examples
    --------
    >>> strip = np.full((5, 400), 50, np.float32)
    >>> strip[2, 100:110] = 20
    >>> breaks = breaks_along(strip)
    >>> round(float(breaks[2, 105])), round(float(breaks[2, 300]))
    (-30, 0)
    """
    n = strip.shape[1]
    window = max(_WINDOW_PX, round(n * _WINDOW_SHARE))
    rest = strip - _bright_part(strip, window)
    rest -= np.median(rest, axis=1)[:, None]
    for _ in range(4):
        # two pixels on, the edge of a break is still dark
        soft = np.asarray(cv2.blur(rest, (3, 1)), np.float32)
        dark = soft < -_DARK * bright_side_sigma(soft)[:, None]
        weights = np.float32(1) - cv2.dilate(dark.astype(np.float32), np.ones((1, 5), np.uint8))
        # where a window holds nothing whole, what stood for it before
        before = np.float32(0.02) * (strip - rest)
        rest = strip - (_running(weights * strip, window) + before) / (
            _running(weights, window) + np.float32(0.02)
        )
    return np.asarray(rest, np.float32)


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


def bright_side_sigma(
    rows: NDArray[np.float32], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return the noise (M,) of each row, as a standard deviation, from its bright half: breaks are dark.

    Parameters
    ----------
    rows : (M, N) float32 ndarray
        Noise about 0, with breaks.
    known : (M, N) bool ndarray, optional
        Pixels that count.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 2, (5, 4000)).astype(np.float32)
    >>> noise[:, :1000] = -50
    >>> sigma = bright_side_sigma(noise)
    >>> bool(1.8 < sigma.min() and sigma.max() < 2.2)
    True
    """
    # some hundred values tell enough of a row
    step = max(1, rows.shape[1] // 600)
    rows = rows[:, ::step]
    bright = rows > 0
    if known is not None:
        bright &= known[:, ::step]
    ordered = np.where(bright, rows, np.float32(np.inf))
    ordered.sort(axis=1)
    count = np.count_nonzero(bright, axis=1)
    level = np.zeros(len(rows), np.float32)
    # half of a normal law: its median and its 95 % quantile
    for share, deviations in ((0.5, 0.6745), (0.95, 1.96)):
        place = np.minimum((share * count).astype(int), rows.shape[1] - 1)
        level = np.maximum(level, ordered[np.arange(len(rows)), place] / np.float32(deviations))
    return np.asarray(maximum_filter1d(np.where(count > 0, level, 0), 3), np.float32)
