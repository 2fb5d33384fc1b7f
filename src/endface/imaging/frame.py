"""The part of a picture that shows a surface: dead black borders of analogue frame grabbers are found here.

Knows nothing of fibres, and leaves vignetted or dark pictures alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A grabber's blanking is a handful of lines; a black half of a picture is part of the picture.
_MAX_BORDER_SHARE = 0.08
_MIN_RISE_SHARE = 0.03
_MAX_RIPPLE = 0.4
_MAX_DRIFT = 0.2
_SETTLED = 0.15
_N_SAMPLES = 320  # of a line
_N_STRETCHES = 20
_REACH = 12


def find_valid_area(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Find the pixels that show a surface, leaving out dead frame borders.

    A border is dead where its lines are uniform, darker than (almost) all of the picture, and the picture
    jumps, rather than fades, to its own level along the whole border at once. The half-bright lines of an
    interlace comb that follow go with it.

    Parameters
    ----------
    image : (H, W) ndarray
        Grey levels of any real type.

    Returns
    -------
    (H, W) bool ndarray
        All True where the picture has no dead border.

    Examples
    --------
    >>> picture = np.full((60, 80), 100, np.uint8)
    >>> picture[:, :4] = 0
    >>> valid = find_valid_area(picture)
    >>> bool(valid[:, 4:].all()), bool(valid[:, :4].any())
    (True, False)
    """
    height, width = image.shape
    valid = np.ones((height, width), bool)
    if min(height, width) < 48:
        return valid
    step = max(1, min(height, width) // 200)
    inner = image[height // 10 : -height // 10 : step, width // 10 : -width // 10 : step]
    low, high = (float(level) for level in np.quantile(np.asarray(inner, np.float64), [0.02, 0.98]))
    top, bottom, left, right = (
        _count_dead_lines(side, low, high) for side in (image, image[::-1], image.T, image.T[::-1])
    )
    valid[:top] = False
    valid[height - bottom :] = False
    valid[:, :left] = False
    valid[:, width - right :] = False
    return valid


def _count_dead_lines(image: NDArray[np.generic], low: float, high: float) -> int:
    """Count the dead lines at the top of `image`, whose interior spans the levels `low` to `high`."""
    depth = max(6, int(_MAX_BORDER_SHARE * image.shape[0]))
    ends = image.shape[1] // 16  # the other two borders cross here
    # an odd stride keeps both phases of an interlace comb in sight
    stride = max(1, image.shape[1] // _N_SAMPLES) | 1
    lines = np.asarray(image[: depth + _REACH, ends : image.shape[1] - ends : stride], np.float32)
    # means of stretches: borders are alike along their length, noise is not
    size = lines.shape[1] // _N_STRETCHES
    profile = lines[:, : _N_STRETCHES * size].reshape(len(lines), _N_STRETCHES, size).mean(axis=2)
    level = np.median(profile, axis=1)
    for first in range(1, depth):
        black = float(np.median(level[:first]))
        if level[0] > low or black > low:
            return 0
        inner = np.median(profile[first + 4 : first + 10], axis=0)
        rise = float(np.median(inner)) - black
        if rise < _MIN_RISE_SHARE * (high - black) or rise <= 0:
            continue
        if float(level[:first].max()) > black + _MAX_RIPPLE * rise:
            return 0
        if _is_dead(profile[: first + 10], first, inner, rise):
            # lines of an interlace comb and the ringing of the video chain follow
            unsettled = np.abs(profile[first : first + 8] - inner) > _SETTLED * rise
            last = np.flatnonzero(np.mean(unsettled, axis=1) > 0.25)
            return first + (int(last[-1]) + 1 if last.size else 0)
    return 0


def _is_dead(profile: NDArray[np.float32], first: int, inner: NDArray[np.float32], rise: float) -> bool:
    """Whether `first` lines are uniform, and the picture jumps to its own level there instead of fading."""
    dead = profile[:first].mean(axis=0)
    uniform = np.ptp(np.quantile(dead, [0.05, 0.95])) < _MAX_RIPPLE * rise
    jumps = np.mean(inner - dead > 0.3 * rise) > 0.9
    drift = np.median(profile[first + 7 :].mean(axis=0) - profile[first + 4 : first + 7].mean(axis=0))
    return bool(uniform and jumps and abs(drift) < _MAX_DRIFT * rise)
