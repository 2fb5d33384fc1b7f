"""The lobes of a line's profile: where they end, how wide they are, how far apart the two sides of a relief.

Knows single profiles across a line that are level outside of it; nothing of paths or images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LOBE_END = 0.1  # share of its peak at which a lobe ends where noise does not hide it
_OTHER_SIDE = 0.5  # share of the peak from which the other side of a relief is told from ringing


def lobe_widths(
    profiles: NDArray[np.float64], step: float, noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return integral / peak of the lobe around the peak of each levelled profile, and the signed peaks.

    Parameters
    ----------
    profiles : (S, M) float64 ndarray
    step : float
        From one sample to the next.
    noise : float
        Standard deviation of the profiles.

    Examples
    --------
    >>> x = np.arange(-40, 41) / 4
    >>> widths, peaks = lobe_widths(-3 * np.exp(-(x[None] ** 2) / 2), 0.25, 0.0)
    >>> round(float(widths[0]), 1), float(peaks[0])
    (2.4, -3.0)
    """
    tops = _tops(np.abs(profiles))
    peaks = profiles[np.arange(len(profiles)), tops]
    relative = profiles / np.where(peaks == 0.0, 1.0, peaks)[:, None]
    lobe, ends = _lobes(relative, tops, peaks, noise)
    # the share of a Gaussian that lies above a level is erf(sqrt(-ln level))
    kept = np.array([math.erf(math.sqrt(-math.log(end))) for end in ends.tolist()])
    total = np.where(lobe, relative, 0.0).sum(axis=1) * step / kept * math.erf(math.sqrt(-math.log(LOBE_END)))
    return np.where(peaks == 0.0, 0.0, total), peaks


def is_relief(profile: NDArray[np.float64]) -> bool:
    """Tell whether a levelled profile (M,) has two sides: dark beside bright, and no third lobe.

    Sharpening rings on both sides of a line; slanting light draws one side of a groove dark, one bright.
    """
    quarter = profile.size // 4
    inner = profile[quarter : profile.size - quarter]
    top = int(np.abs(inner).argmax())
    against = -np.sign(inner[top]) * inner
    one, other = (float(part.max(initial=0.0)) for part in (against[:top], against[top:]))
    return max(one, other) > max(_OTHER_SIDE * abs(float(inner[top])), 2.0 * min(one, other))


def side_distances(profiles: NDArray[np.float64], step: float, noise: float) -> NDArray[np.float64]:
    """Return how far apart the dark and the bright side of each levelled profile of a relief are, (S,).

    What slanting light shows is the slope of a groove. The integral of the groove's depth over its greatest
    depth, the photometric width of a groove, is the distance between the centroids of both slopes.

    Parameters are those of `lobe_widths`.

    Examples
    --------
    >>> x = np.arange(-40, 41) / 4
    >>> slope = -x * np.exp(-(x**2) / 2)
    >>> round(float(side_distances(slope[None], 0.25, 0.0)[0]), 1)
    2.5
    """
    centres = []
    for sign in (-1.0, 1.0):
        sided = np.maximum(sign * profiles, 0.0)
        tops = _tops(sided)
        peaks = sided[np.arange(len(sided)), tops]
        weights = sided / np.where(peaks == 0.0, 1.0, peaks)[:, None]
        weights = np.where(_lobes(weights, tops, peaks, noise)[0], weights, 0.0)
        centres.append(weights @ np.arange(sided.shape[1]) / np.maximum(weights.sum(axis=1), 1e-12))
    return np.asarray(step * np.abs(centres[1] - centres[0]))


def _tops(heights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where each profile is highest in its inner half; of equals the one in the middle."""
    centre, inner = heights.shape[1] // 2, max(heights.shape[1] // 4, 1)
    inside = heights[:, centre - inner : centre + inner + 1]
    middle = inside[:, inner] == inside.max(axis=1)
    return np.asarray(np.where(middle, inner, inside.argmax(axis=1)) + centre - inner)


def _lobes(
    relative: NDArray[np.float64], tops: NDArray[np.int64], peaks: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which samples (S, M) belong to the lobe round each top, and the share of its peak it ends at.

    Beyond the lobe's end is noise or the other side of a relief.
    """
    ends = np.clip(2.0 * noise / np.maximum(np.abs(peaks), 1e-300), LOBE_END, 0.5)
    place = np.arange(relative.shape[1])
    over = relative <= ends[:, None]
    first = np.where(over & (place < tops[:, None]), place, -1).max(axis=1)
    last = np.where(over & (place > tops[:, None]), place, relative.shape[1]).min(axis=1)
    return (place > first[:, None]) & (place < last[:, None]), ends
