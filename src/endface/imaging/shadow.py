"""Light that falls unevenly on glass and ferrule alike, as on a tilted face or from a lamp off the axis.

A model of the fibre's rings takes what changes fast along a ring for something on the surface. Uneven light
does change fast, but it goes on beyond the rim: what glass and ferrule show alike there is light.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.illumination import block_means, enlarge

_REACH = 1.8  # of the radius: so far the ferrule is looked at
_BLOCK, _SCALE = 1 / 12, 0.12  # of the radius: a block, and what is smooth
_RINGS = 10
_LEAST_BLOCKS = 24
_ROUNDS = 6
# of the light: differences along the rim that call for a model, and how well both sides must agree
_UNEVEN, _ALIKE = 0.25, 0.9


def shared_light(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    radius: NDArray[np.float32],
    *,
    box: tuple[slice, slice],
    radius_px: float,
) -> NDArray[np.float32] | None:
    """Estimate the light on a fibre and round it, 1 in the median, where it is uneven on both.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Grey levels.
    mask : (H, W) bool ndarray
        Pixels that show the surface.
    radius : (h, w) float32 ndarray
        Distance from the centre of the fibre, 1 at its rim, within `box`.
    box : (slice, slice)
        Rows and columns of the picture.
    radius_px : float
        Radius of the fibre.

    Returns
    -------
    (h, w) float32 ndarray or None
        None where the light is even, or glass and ferrule do not show the same.

    Examples
    --------
    >>> y, x = np.mgrid[-120:120, -120:120].astype(np.float32)
    >>> radius = np.hypot(x, y) / 60
    >>> shaded = np.where(radius < 1, 180, 90) * (1 + x / 240)
    >>> whole, box = np.ones(x.shape, bool), (slice(0, 240), slice(0, 240))
    >>> light = shared_light(shaded.astype(np.float32), whole, radius, box=box, radius_px=60)
    >>> light is not None and bool(light[120, 180] > 1.3 * light[120, 60])
    True
    """
    step = max(1, round(_BLOCK * radius_px))
    live = mask[box].astype(np.float32)
    share = block_means(live, step)
    level = block_means(image[box] * live, step) / np.maximum(share, np.float32(1e-6))
    rows, cols = (
        np.minimum(np.arange(count) * step + step // 2, size - 1)
        for count, size in zip(share.shape, radius.shape, strict=True)
    )
    rho = radius[np.ix_(rows, cols)]
    known = (share > 0.6) & (rho < _REACH) & (np.abs(rho - 1) > 0.12) & (level > 0)
    rim = known & (np.abs(rho - 1) < 0.35)
    inside, outside = known & (rho < 1), known & (rho > 1)
    if min(np.count_nonzero(rim & inside), np.count_nonzero(rim & outside)) < _LEAST_BLOCKS:
        return None
    bright = np.log(np.maximum(level, 1e-3 * float(level[known].max())))
    ring = np.where(rho < 1, np.minimum((rho * _RINGS).astype(int), _RINGS - 1), _RINGS)
    light, rest = np.zeros_like(bright), bright
    for count in range(_ROUNDS):
        if count == 1 and np.ptp(light[rim]) < 0.5 * _UNEVEN:
            return None
        rest = bright - light
        own = np.zeros_like(bright)
        for number in range(_RINGS + 1):
            here = known & (ring == number)
            if here.any():
                own[here] = np.median(rest[here])
        rest = bright - own
        light = _smooth(rest, known, _SCALE * radius_px / step)
    sides = [_smooth(rest, part, _SCALE * radius_px / step)[rim] for part in (inside, outside)]
    low, high = np.quantile(light[rim], [0.05, 0.95])
    if high - low < _UNEVEN or _correlation(*sides) < _ALIKE:
        return None
    height, width = radius.shape
    light -= np.float32(np.median(light[known]))
    return np.asarray(np.exp(enlarge(light, step)[:height, :width]), np.float32)


def _smooth(values: NDArray[np.float32], known: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    weights = known.astype(np.float32)
    top, bottom = (
        cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        for part in (np.asarray(values * weights, np.float32), weights)
    )
    return np.asarray(top / np.maximum(bottom, np.float32(1e-6)), np.float32)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one @ other) / max(float(np.sqrt((one @ one) * (other @ other))), 1e-12))
