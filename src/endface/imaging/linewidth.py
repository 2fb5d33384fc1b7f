"""How wide a line looks: its photometric width, from the gray profile across its centre line.

Counting mask pixels cannot see less than a pixel and follows the detector's threshold. The integral of the
contrast across the line divided by its peak does neither: it is the width of a box of equal height and
content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from endface.imaging.lobes import is_relief, lobe_widths, side_distances

SEGMENT_PX = 12  # profiles are averaged over at least so much path before they are measured
CLEAR = 8.0  # and over more until a peak stands so many times above the profile's noise
# relative error of a Gaussian's width by that of its peak: both flanks at half height, and the peak itself
_NOISE_TO_WIDTH = math.hypot(1.0, math.sqrt(2.0) / 1.477)
STEP = 0.25  # sampling across the line, in units of the smaller pitch
END_STRENGTH = 0.4  # share of its median strength at which a line ends
OVERSHOOT_PX = 30  # what is longer than this and weaker than the rest is line all the same
_SHAPE_TO_WIDTH = 0.1  # by how much grooves of other profiles than a box look wider or narrower
_UNRESOLVED = 1.1  # lines that look at most so much wider than the blur alone would make them
_SMOOTH_PX = 30
_WAVERS_PX = 3.0
_END_NOISE = 0.15  # the strength along a line is averaged until its noise is this share of the line's


@dataclass(frozen=True, slots=True)
class LineWidth:
    """Photometric width of a line in the units of `spacing`; NaN where no contrast was seen.

    Attributes
    ----------
    mean, maximum : float
        Median and largest of the widths of all segments.
    peak_gray : float
        Median peak contrast, signed: negative for a dark line.
    sd : float
        Standard uncertainty of `mean` that comes from the image's noise.
    """

    mean: float
    maximum: float
    peak_gray: float
    sd: float


def photometric_width(
    image: NDArray[np.float32],
    path_px: NDArray[np.float64],
    *,
    reach: float,
    spacing: tuple[float, float] = (1.0, 1.0),
    across: NDArray[np.float64] | None = None,
    usable: NDArray[np.bool_] | None = None,
) -> LineWidth:
    """Measure the width of a line from the profiles across its centre line.

    The path is cut into segments; the profiles of a segment are averaged, the parabola through their outer
    thirds is removed, and integral / peak of the lobe around the peak is its width. The fainter the line,
    the longer the segments, and the sooner a lobe ends: at twice the noise, half the peak at most, with what
    is cut off of a Gaussian added. Of a relief, dark on one side and bright on the other, the groove between
    is measured. A line narrower than the blur of the microscope measures as wide as the
    blur (about 2.5 sigma): no method sees below it.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    path_px : (N, 2) float64 ndarray
        Row and column of points about 1 px apart.
    reach : float
        How far to look to each side, in the units of `spacing`; should be twice the width.
    spacing : (float, float)
        Pitch of rows and columns.
    across : (N, 2 m + 1) ndarray, optional
        What `profiles_across` gives, where it is at hand.
    usable : (N, 2 m + 1) bool ndarray, optional
        False where a sample shows something else, such as another line; all where not given. Such samples
        are bridged from those beside them.

    Returns
    -------
    LineWidth

    Examples
    --------
    >>> image = np.full((20, 40), 100, np.float32)
    >>> image[9:12] = 60
    >>> path = np.stack([np.full(40, 10.0), np.arange(40.0)], axis=1)
    >>> round(photometric_width(image, path, reach=8).mean, 1)
    3.0
    """
    n = path_px.shape[0]
    n_segments = max(1, n // SEGMENT_PX)
    starts = -(-np.arange(n_segments) * n // n_segments)
    if across is None:
        across = profiles_across(image, path_px, reach=reach, spacing=spacing)
    if usable is None:
        means = np.add.reduceat(across, starts, axis=0) / np.diff(starts, append=n)[:, None]
    else:
        means = _usable_means(across, usable, starts)
    profiles = flattened(means)
    together = _segments_needed(profiles)
    if together > 1:
        starts = np.arange(0, len(profiles) - together + 1, together)
        profiles = np.stack([profiles[start : start + together].mean(axis=0) for start in starts])
    noise = _noise(profiles)
    widths, peaks = lobe_widths(profiles, STEP * min(spacing), noise)
    if is_relief(profiles.mean(axis=0)):
        widths = side_distances(profiles, STEP * min(spacing), noise)
    # where the line fades out or is crossed by another one, its peak says little: such segments do not count
    strong = np.abs(peaks) >= 0.5 * np.median(np.abs(peaks))
    widths, peaks = widths[strong & (peaks != 0)], peaks[strong & (peaks != 0)]
    if widths.size == 0:
        return LineWidth(math.nan, math.nan, 0.0, math.nan)
    mean, peak = float(np.median(widths)), float(np.median(peaks))
    # a line is as wide as its neighbours, its gaps and its own unevenness let it look here and there
    scatter = max(
        _NOISE_TO_WIDTH * mean * noise / abs(peak), 1.4826 * float(np.median(np.abs(widths - mean)))
    )
    sd = math.hypot(scatter / math.sqrt(widths.size), _SHAPE_TO_WIDTH * mean)
    return LineWidth(mean, float(np.max(widths)), peak, sd)


def _usable_means(
    across: NDArray[np.float64], usable: NDArray[np.bool_], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean profile of each segment that can be used on half its width; of all where none can."""
    count = np.add.reduceat(usable.astype(np.int64), starts, axis=0)
    good = 2 * np.count_nonzero(count, axis=1) >= count.shape[1]
    if not good.any():
        return _usable_means(across, np.ones_like(usable), starts)
    means = (np.add.reduceat(across * usable, starts, axis=0) / np.maximum(count, 1))[good]
    place = np.arange(count.shape[1])
    for mean, seen in zip(means, count[good] > 0, strict=True):
        mean[~seen] = np.interp(place[~seen], place[seen], mean[seen])
    return np.asarray(means)


def unblurred_width(apparent: float, blur: float) -> tuple[float, bool]:
    """Return the width of a groove that looks `apparent` wide through a blur, and whether that is resolved.

    A box of width w under a Gaussian of sigma s has integral / peak w / erf(w / (sqrt(8) s)), at least
    2.507 s. Within a tenth of that the width cannot be told from any smaller one: the largest that looks so
    (1.55 s) is returned, an upper bound.

    Parameters
    ----------
    apparent : float
        Photometric width.
    blur : float
        Standard deviation of the image's blur in the same units.

    Examples
    --------
    >>> width, resolved = unblurred_width(6.0, 1.0)
    >>> round(width, 1), resolved, unblurred_width(2.5, 1.0)[1]
    (6.0, True, False)
    """
    least = _UNRESOLVED * math.sqrt(2.0 * math.pi) * blur
    low, high = 1e-6 * max(blur, 1e-12), max(apparent, least)
    for _ in range(30):  # the apparent width grows with the true one: bisection
        middle = 0.5 * (low + high)
        if middle < max(apparent, least) * math.erf(middle / (math.sqrt(8.0) * blur + 1e-12)):
            low = middle
        else:
            high = middle
    return min(high, apparent), apparent > least


def seen_share(
    image: NDArray[np.float32],
    path_px: NDArray[np.float64],
    *,
    reach: float,
    spacing: tuple[float, float] = (1.0, 1.0),
    across: NDArray[np.float64] | None = None,
) -> float:
    """Return how much of a path's length lies between the ends of the line that is seen there.

    Detectors draw lines longer than they are, by up to half the length they average over. How strong the
    line is at each point is its profile compared with the median profile; the line ends where the running
    mean of that falls to `END_STRENGTH`. Gaps within count as line. 1 where the noise does not let the ends
    be seen, or less than half of the path would be left.

    Parameters are those of `photometric_width`.

    Examples
    --------
    >>> image = np.full((20, 120), 100, np.float32)
    >>> image[9:12, 20:100] = 60
    >>> path = np.stack([np.full(100, 10.0), np.arange(10.0, 110.0)], axis=1)
    >>> round(seen_share(image, path, reach=8), 1)
    0.8
    """
    n = path_px.shape[0]
    if n < 2 * SEGMENT_PX:
        return 1.0
    raw = profiles_across(image, path_px, reach=reach, spacing=spacing) if across is None else across
    # light is lost in shares of what is there: a line is as strong on a dark zone as on a bright one
    around = _medians(raw)[:, None]
    profiles = _level(raw) / np.maximum(around, 0.1 * float(around.max()) + 1e-12)
    # the outermost fifths may lie beyond the line
    typical = _medians(np.ascontiguousarray(profiles[n // 5 : n - n // 5].T))
    power = float(typical @ typical)
    if power <= 0.0:
        return 1.0
    strength = np.minimum(profiles @ typical / power, 1.5)
    noise = 1.4826 * float(np.median(np.abs(np.diff(strength)))) / math.sqrt(2.0)
    window = max(5, math.ceil((noise / _END_NOISE) ** 2))
    if window > n // 4:
        return 1.0
    smooth = np.convolve(strength, np.full(window, 1.0 / window), mode="same")
    strong = np.flatnonzero(smooth >= END_STRENGTH)
    if strong.size == 0:
        return 1.0
    # the last point of a path lies on the line's very edge and looks half as strong
    first, last = max(int(strong[0]) - 1, 0), min(int(strong[-1]) + 1, n - 1)
    first, last = first * (first <= OVERSHOOT_PX), last if n - 1 - last <= OVERSHOOT_PX else n - 1
    steps = np.hypot(*(np.diff(path_px, axis=0) * np.array(spacing)).T)
    share = float(steps[first:last].sum() / max(steps.sum(), 1e-12))
    return share if share >= 0.5 else 1.0


def _level(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the straight line through both outer ends from each profile."""
    size = profiles.shape[1]
    outer = max(size // 10, 1)
    left = _medians(profiles[:, :outer])[:, None]
    right = _medians(profiles[:, size - outer :])[:, None]
    return np.asarray(profiles - left - (right - left) * np.linspace(0.0, 1.0, size))


def flattened(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the parabola through both outer thirds from each profile: ground is bent beside a core or rim."""
    outside, fit, powers = _parabola(profiles.shape[1])
    return np.asarray(profiles - (profiles[:, outside] @ fit) @ powers)


@lru_cache(maxsize=256)
def _parabola(size: int) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return which of `size` places are in the outer thirds, what fits a parabola there, and its powers."""
    place = np.linspace(-1.0, 1.0, size)
    powers = place[:, None] ** np.arange(3)
    outside = np.abs(place) > 2.0 / 3.0
    return outside, np.asarray(np.linalg.pinv(powers[outside]).T, np.float64), powers.T


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row; NumPy's own also looks for NaN, which takes as long."""
    low, high = (rows.shape[1] - 1) // 2, rows.shape[1] // 2
    ranked = np.partition(rows, high if low == high else (low, high), axis=1)
    return np.asarray(0.5 * (ranked[:, low] + ranked[:, high]))


def _noise(profiles: NDArray[np.float64]) -> float:
    """Return the standard deviation of levelled profiles on their outer halves, where the line is not."""
    quarter = max(profiles.shape[1] // 4, 1)
    outside = np.concatenate([profiles[:, :quarter], profiles[:, -quarter:]], axis=1)
    return 1.4826 * float(np.median(np.abs(outside)))


def _segments_needed(profiles: NDArray[np.float64]) -> int:
    """Return how many neighbouring segments make a clear profile together; at most all of them."""
    n_segments, size = profiles.shape
    middle = np.abs(profiles.mean(axis=0)[size // 4 : size - size // 4])
    ratio = CLEAR * _noise(profiles) / max(float(middle.max()), 1e-12)
    return int(min(max(math.ceil(ratio * ratio), 1), n_segments))


def profiles_across(
    image: NDArray[np.float32],
    path_px: NDArray[np.float64],
    *,
    reach: float,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64]:
    """Return the gray values (N, 2 m + 1) across a path at each of its points, `STEP` of the pitch apart.

    Parameters are those of `photometric_width`.
    """
    steps, m = steps_across(path_px, reach=reach, spacing=spacing)
    out = np.empty((path_px.shape[0], 2 * m + 1))
    for start in range(0, len(out), _AT_ONCE):  # in parts that stay in the processor's cache
        some = slice(start, start + _AT_ONCE)
        out[some] = _sampled(image, path_px[some, :, None] + steps[some, :, None] * np.arange(-m, m + 1))
    return out


def smooth_path(path_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a path (N, 2) as parabolas over `_SMOOTH_PX` each way see it; as it is where it bends more.

    A path through a mask wavers with the mask's outline, and profiles across it are blurred by that.

    Examples
    --------
    >>> along = np.arange(100.0)
    >>> path = np.stack([20 + 0.5 * np.sin(along), along], axis=1)
    >>> bool(np.abs(smooth_path(path)[:, 0] - 20).max() < 0.2)
    True
    """
    n = len(path_px)
    half = min(_SMOOTH_PX, (n - 1) // 4)
    if half < 4:
        return path_px
    place = np.arange(-half, half + 1.0)
    powers = place[:, None] ** np.arange(3)
    fit = np.linalg.pinv(powers)
    smooth = np.empty((n, 2))
    for k, values in enumerate(path_px.T):
        smooth[half : n - half, k] = np.convolve(values, fit[0], mode="valid")  # symmetric
        smooth[:half, k] = (powers @ (fit @ values[: 2 * half + 1]))[:half]
        smooth[n - half :, k] = (powers @ (fit @ values[n - 2 * half - 1 :]))[half + 1 :]
    return smooth if np.abs(smooth - path_px).max() < _WAVERS_PX else path_px


def labels_across(
    labels: NDArray[np.integer],
    path_px: NDArray[np.float64],
    *,
    reach: float,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.integer]:
    """Return the labels (N, 2 m + 1) at the nearest pixels to where `profiles_across` takes gray values."""
    steps, m = steps_across(path_px, reach=reach, spacing=spacing)
    places = np.rint(path_px[:, :, None] + steps[:, :, None] * np.arange(-m, m + 1)).astype(np.int64)
    row = np.clip(places[:, 0], 0, labels.shape[0] - 1)
    return labels[row, np.clip(places[:, 1], 0, labels.shape[1] - 1)]


def steps_across(
    path_px: NDArray[np.float64], *, reach: float, spacing: tuple[float, float]
) -> tuple[NDArray[np.float64], int]:
    """Return the step (N, 2) in pixels across a path at each of its points, and their number to each side."""
    sy, sx = spacing
    step = STEP * min(spacing)
    at = np.arange(path_px.shape[0])
    low, high = np.maximum(at - 4, 0), np.minimum(at + 4, at[-1])
    dy, dx = ((path_px[high] - path_px[low]) * np.array(spacing)).T
    norm = np.hypot(dy, dx)
    dx, norm = np.where(norm == 0.0, 1.0, dx), np.where(norm == 0.0, 1.0, norm)
    # across the line in physical space, expressed in pixels
    return step / norm[:, None] * np.stack([dx / sy, -dy / sx], axis=1), math.ceil(reach / step)


_AT_ONCE = 48


def _sampled(image: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return gray values at points (N, 2, M), interpolated; beyond the image those of its border."""
    height, width = image.shape
    row, col = np.clip(points[:, 0], 0.0, height - 1.0), np.clip(points[:, 1], 0.0, width - 1.0)
    # the last row and column are reached by a full step from those before
    top = np.minimum(row.astype(np.int32), max(height - 2, 0))
    left = np.minimum(col.astype(np.int32), max(width - 2, 0))
    row -= top
    col -= left
    flat, place = image.ravel(), top * width + left
    below, beside = width * (height > 1), int(width > 1)
    upper, lower = flat.take(place), flat.take(place + below)
    here = upper + (flat.take(place + beside) - upper) * col
    there = lower + (flat.take(place + (below + beside)) - lower) * col
    return np.asarray(here + (there - here) * row)
