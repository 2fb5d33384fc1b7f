"""How noisy an image is, overall and from place to place, whatever stands out from the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# medians and quantiles of more values than these are taken of an even sample of them
_SAMPLE = 20_000
_TAIL_SAMPLE = 100_000
# a median of some values says where to clip, the mean of all that are clipped there says the rest: half the
# variance of a median (one step of Huber's estimate of scale); of a normal law that mean is 0.6857
_CLIP = 1.2
_CLIPPED_MEAN = 0.68568
# a quantile of fewer blocks than this says little
_BLOCKS = 25
# noise of the sensor on top of a skewed texture makes its bulk more even than its tails: by this factor
_BULK_REACH = 4.0
# what is not live is larger than all
_UNLESS_LIVE = np.where(np.arange(256) == 0, np.float32(np.inf), np.float32(0))
# so few blocks without noise are left alone
_FEW_SILENT = 0.02


def robust_sigma(values: NDArray[np.float32]) -> float:
    """Return the standard deviation of the normal core of zero-mean `values`, whatever else is among them.

    References
    ----------
    P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964) 73.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(0, 2, 10_000).astype(np.float32)
    >>> noise[:500] = 100
    >>> 1.9 < robust_sigma(noise) < 2.3
    True
    """
    if values.size == 0:
        return 0.0
    flat = np.abs(values.reshape(-1) if values.flags.c_contiguous else values.ravel())
    # an odd step does not keep in phase with interlaced lines or blocks of a codec
    some = flat[:: values.size // _SAMPLE | 1]
    start = 1.4826 * float(np.partition(some, some.size // 2)[some.size // 2])
    np.minimum(flat, np.float32(_CLIP * start), out=flat)
    return float(cv2.sumElems(flat)[0]) / (flat.size * _CLIPPED_MEAN)


def robust_sigmas(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what `robust_sigma` does, of each row of `values` (n, m) at once."""
    size = np.abs(values)
    start = np.float32(1.4826) * np.partition(size, size.shape[1] // 2, axis=1)[:, size.shape[1] // 2]
    clipped = np.minimum(size, np.float32(_CLIP) * start[:, None])
    return np.asarray(clipped.mean(axis=1) / np.float32(_CLIPPED_MEAN), np.float32)


def block_sigma(
    values: NDArray[np.float32], mask: NDArray[np.bool_], *, block_px: int
) -> NDArray[np.float32]:
    """Return the standard deviation of zero-mean noise of every block of `block_px` squared, (rows, cols).

    The grid of blocks lies in the middle of the image. Blocks with less than a quarter of their pixels in
    `mask` take the level of all. Medians over 3 x 3 blocks make the map steady.
    """
    rows, cols, top, left = _grid(values.shape, block_px)
    if not rows or not cols:
        return np.zeros((rows, cols), np.float32)
    size = np.zeros((rows * block_px, cols * block_px), np.float32)
    live = np.zeros(size.shape, np.uint8)
    inside = np.s_[top : top + values.shape[0], left : left + values.shape[1]]
    np.abs(values, out=size[inside])
    live[inside] = mask
    # some pixels of each block, the same offsets in all
    thin = np.s_[:, (step := max(1, block_px // 11)) // 2 :: step, :, step // 2 :: step]
    some = size.reshape(rows, block_px, cols, block_px)[thin].swapaxes(1, 2).reshape(rows * cols, -1)
    alive = live.reshape(rows, block_px, cols, block_px)[thin].swapaxes(1, 2).reshape(rows * cols, -1)
    middle, counted = live_medians(some, alive)
    known = counted >= some.shape[1] // 4
    overall = np.float32(0) if known.all() else robust_sigma(some[alive > 0])
    start = _steady(np.where(known, 1.4826 * middle, overall).reshape(rows, cols))
    strips = size.reshape(rows, block_px, -1)
    np.minimum(strips, np.repeat(np.float32(_CLIP) * start, block_px, axis=1)[:, None], out=strips)
    size *= live
    mean = np.asarray(cv2.resize(size, (cols, rows), interpolation=cv2.INTER_AREA), np.float32)
    count = np.diff(np.diff(cv2.integral(live)[::block_px, ::block_px], axis=0), axis=1)
    share = np.maximum(count, 1) * np.float32(_CLIPPED_MEAN / block_px**2)
    return _steady(np.where(known.reshape(rows, cols), mean / share, overall))


def _steady(levels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return np.asarray(cv2.medianBlur(levels.astype(np.float32), 3))


def live_medians(
    size: NDArray[np.float32], live: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the upper median of each row of `size` (n, m), 0 or more, where `live`; and how many are.

    Of a row of none it is infinite.

    Examples
    --------
    >>> size = np.array([[4, 1, 3, 2], [7, 8, 9, 6]], np.float32)
    >>> middle, count = live_medians(size, np.array([[1, 1, 1, 1], [0, 1, 0, 0]], np.uint8))
    >>> middle.tolist(), count.tolist()
    ([3.0, 8.0], [4, 1])
    """
    live = np.minimum(live, np.uint8(1))
    some = np.maximum(size, cv2.LUT(live, _UNLESS_LIVE))
    some.sort(axis=1)
    count = cv2.reduce(live, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0]
    return some[np.arange(len(some)), np.minimum(count // 2, some.shape[1] - 1)], np.asarray(count, np.int32)


def enlarge_blocks(
    levels: NDArray[np.float32], shape: tuple[int, ...], *, block_px: int
) -> NDArray[np.float32]:
    """Bring one value per block to the pixels of an image of `shape`, linear between block centres."""
    rows, cols, top, left = _grid(shape, block_px)
    large = cv2.resize(levels, (cols * block_px, rows * block_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[top : top + shape[0], left : left + shape[1]])


def _grid(shape: tuple[int, ...], block_px: int) -> tuple[int, int, int, int]:
    """Return rows and columns of the blocks that cover an image, and how far they reach beyond its corner."""
    rows, cols = -(-shape[0] // block_px), -(-shape[1] // block_px)
    return rows, cols, (rows * block_px - shape[0]) // 2, (cols * block_px - shape[1]) // 2


@dataclass(frozen=True, eq=False)
class LocalNoise:
    """How loud noise is from place to place, whatever its ring or zone.

    Attributes
    ----------
    levels : (h, w) float32 ndarray
        One value per block: its noise over that which the ring or zone was given.
    block_px : int
        Side of a block.
    clean : (H, W) bool ndarray
        Pixels that are certainly noise.
    """

    levels: NDArray[np.float32]
    block_px: int
    clean: NDArray[np.bool_]

    def evened(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values (H, W) as they would be were the noise as loud everywhere as it is on average."""
        typical = np.float32(np.median(self.levels))
        return values * enlarge_blocks(typical / self.levels, values.shape, block_px=self.block_px)


@dataclass(frozen=True, slots=True)
class Tail:
    """How much heavier than normal the tails of a noise are.

    The quantile a normal noise has at u standard deviations lies at u * (ratio + slope * (u - 1.645)) here.
    Sharpening and JPEG make such tails; without this a million tests would find them, not defects.
    """

    ratio: float
    slope: float

    @classmethod
    def through(cls, near: float, far: float, *, max_slope: float) -> Tail:
        """Return the tail whose 95 % and 99.7 % quantiles are so many times those of a normal law."""
        # the curve bends upward a little further out: lean to the safe side
        slope = 1.6 * (far - near) / (2.748 - 1.645)
        return cls(float(max(near, 1.0)), float(min(max(slope, 0.0), max_slope)))

    def raw_score(self, normal: float) -> float:
        """Return the score here of equal probability to `normal` standard deviations of a normal noise."""
        return normal * (self.ratio + self.slope * (normal - 1.645))

    def bent(self, bend: float) -> Tail:
        """Return this tail with `bend` * (u^2 - 1) added at u standard deviations, as skewness does."""
        # that parabola and the one of this class agree best between 2 and 6 standard deviations
        return Tail(self.ratio + 1.35 * bend, self.slope + bend)

    def normal_score(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the normal score of equal probability; scores below 0 count as 0."""
        # the positive root of slope * u^2 + offset * u = score, in the form that does not cancel
        offset = self.ratio - 1.645 * self.slope
        positive = np.maximum(score, np.float32(0))
        root = positive * np.float32(4 * self.slope)
        root += np.float32(offset * offset)
        np.sqrt(root, out=root)
        root += np.float32(offset)
        positive *= np.float32(2)
        positive /= root
        return positive


def fit_tail(scores: NDArray[np.float32], *, max_slope: float = 0.2, heavier: bool = False) -> Tail:
    """Fit `Tail` to standardised scores of noise that hold a few per cent of defects.

    Uses the 95 % and 99.7 % quantiles of the side with the lighter tail: defects of one image are mostly
    darker or mostly brighter than their surroundings, noise is neither. With `heavier`, the side with the
    heavier one, and a slope of any size.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
    >>> tail = fit_tail(noise)
    >>> abs(tail.ratio - 1) < 0.02, tail.slope < 0.02
    (True, True)
    """
    if scores.size < 1000:
        return Tail(1.0, 0.0)
    some = scores.reshape(-1)[:: scores.size // _TAIL_SAMPLE | 1]
    # sorting all is several times as fast as selecting four: it is done in vectors
    ranks = (np.array([0.003, 0.05, 0.95, 0.997]) * some.size).astype(int)
    far_low, near_low, near_high, far_high = np.sort(some)[ranks]
    side = max if heavier else min
    near, far = side(-near_low, near_high) / 1.645, side(-far_low, far_high) / 2.748
    return Tail.through(near, far, max_slope=math.inf if heavier else max_slope)


def noise_skew(scores: NDArray[np.float32], mask: NDArray[np.bool_], *, block_px: int = 9) -> float:
    """Tell how much farther standardised noise reaches to the bright side than to the dark, for `Tail.bent`.

    Grains of a moulded ferrule are bright all over, and so is the bulk of such a noise; what is dark all over
    is dirt, and counts as 0. Defects are few, and the noise between them is even. So the highest and
    the lowest value of each block of `block_px` squared are compared, in the 40 % of the blocks that have the
    least to show; but no more is believed than the bulk supports.

    References
    ----------
    E. A. Cornish, R. A. Fisher, Moments and cumulants in the specification of distributions, Revue de
    l'Institut International de Statistique 5 (1938): the excess of skewed noise at u standard deviations
    grows with u^2 - 1.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 1, (300, 300)).astype(np.float32)
    >>> inside = np.ones(noise.shape, bool)
    >>> abs(noise_skew(noise, inside)) < 0.02
    True
    >>> bool(0.06 < noise_skew(noise + np.float32(0.05) * (noise**2 - 1), inside) < 0.14)
    True
    """
    values = scores[mask]
    if values.size < _BLOCKS * block_px**2:
        return 0.0
    shares = quantiles(values[:: values.size // (4 * _SAMPLE) | 1], (0.1, 0.2, 0.5, 0.8, 0.9))
    bulk = min(
        float(shares[i] + shares[-1 - i] - 2 * shares[2]) / (2 * u * u) for i, u in ((0, 1.2816), (1, 0.8416))
    )
    if bulk <= 0:
        return 0.0
    rows, cols = (side // block_px for side in scores.shape)
    part = np.s_[: rows * block_px, : cols * block_px]
    size = (cols, rows)
    live = cv2.resize(mask[part].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    if np.count_nonzero(live) < _BLOCKS:
        return 0.0
    blocks = (scores * mask)[part].reshape(rows, block_px, cols, block_px)
    high = float(quantiles(blocks.max(axis=1).max(axis=2)[live], (0.4,))[0])
    low = -float(quantiles(blocks.min(axis=1).min(axis=2)[live], (0.6,))[0])
    reach = max(min(high, low), 1.5)
    return max(min((high - low) / (reach * reach - 1), _BULK_REACH * bulk), 0.0)


def quantiles(values: NDArray[np.floating[Any]], shares: tuple[float, ...]) -> NDArray[np.float64]:
    """Return what `np.quantile` does of one or more values; sorting goes in vectors, selecting does not.

    Examples
    --------
    >>> quantiles(np.array([3.0, 1.0, 2.0]), (0.25, 1.0)).tolist()
    [1.5, 3.0]
    """
    ordered = np.sort(values, axis=None)
    place = np.array(shares) * (ordered.size - 1)
    below = place.astype(np.intp)
    low, high = ordered[below].astype(np.float64), ordered[np.minimum(below + 1, ordered.size - 1)]
    return np.asarray(low + (place - below) * (high - low))


def silent_blocks(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the 8 x 8 blocks in which a codec left nothing but a slope, per pixel of `image` (H, W).

    They tell nothing about the noise: it was there, and comes through wherever it was a little stronger.
    Only whole gray levels are coded so; of other images, and where they are few, nothing is marked.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(100, 2, (32, 32)).round().astype(np.uint8)
    >>> image[:8, :16] = 100
    >>> int(silent_blocks(image).sum())
    128
    """
    silent = np.zeros(image.shape, bool)
    rows, cols = (side // 8 for side in image.shape)
    if image.dtype != np.uint8 or not rows or not cols:
        return silent
    # most images have none: every fifth row of blocks tells
    some = image[: 8 * rows].reshape(rows, 8, -1)[::5, :, : 8 * cols]
    if not _flat_blocks(some).mean() > _FEW_SILENT:
        return silent
    flat = _flat_blocks(image[: 8 * rows].reshape(rows, 8, -1)[:, :, : 8 * cols])
    silent[: 8 * rows, : 8 * cols] = np.repeat(np.repeat(flat, 8, axis=0), 8, axis=1)
    return silent


def _flat_blocks(strips: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the blocks of strips (n, 8, 8 m) in which nothing but a slope is left, (n, m)."""
    values = strips.astype(np.float32) - np.float32(128)
    offset = np.arange(8, dtype=np.float32) - np.float32(3.5)
    whole = np.ones(8, np.float32)
    # sums over the columns of each block, then over its rows
    level, fall = (np.einsum("nrc,r->nc", values, along) for along in (whole, offset))
    square = np.einsum("nrc,nrc->nc", values, values)
    level, fall, square = (part.reshape(len(strips), -1, 8) for part in (level, fall, square))
    slope = float(8 * (offset @ offset))
    rest = square @ whole - (level @ whole) ** 2 / 64 - ((fall @ whole) ** 2 + (level @ offset) ** 2) / slope
    # rounding a slope leaves 0.29 gray levels
    return np.asarray(rest < 64 * 0.36**2)


def near_strong(scores: NDArray[np.float32], *, limit: float = 6.0, reach_px: int = 5) -> NDArray[np.bool_]:
    """Mark the surroundings of what is certainly no noise, so that noise can be measured on the rest."""
    weak = cv2.inRange(scores, -limit, limit)
    return np.asarray(cv2.erode(weak, np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)) == 0)


def middle_lattice(shape: tuple[int, ...], step: int) -> tuple[slice, slice]:
    """Return the slices of every `step`-th row and column, an odd number, that mirror onto themselves.

    Examples
    --------
    >>> rows, cols = middle_lattice((9, 10), 3)
    >>> np.arange(9)[rows].tolist(), np.arange(10)[cols].tolist()
    ([1, 4, 7], [0, 3, 6, 9])
    """
    rows, cols = (slice((size - 1) * (step + 1) // 2 % step, None, step) for size in shape[:2])
    return rows, cols


def middle_pixels(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Take the middle pixel of every `factor` x `factor` block; 0 where a block has none.

    Examples
    --------
    >>> middle_pixels(np.arange(1, 7, dtype=np.uint8)[None].repeat(2, axis=0), 2).tolist()
    [[2, 4, 6]]
    """
    if factor == 1:
        return values
    height, width = (-(-side // factor) for side in values.shape)
    some = np.zeros((height, width), values.dtype)
    middle = values[factor // 2 :: factor, factor // 2 :: factor]
    some[: middle.shape[0], : middle.shape[1]] = middle
    return some
