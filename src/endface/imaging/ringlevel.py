"""What a face shows beside a line, equally far from the fibre's centre: the ground of its profiles."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse

_ARCS_PX = (12.0, 24.0, 40.0)  # how far along the ring to look, to both sides
_AT_ONCE = 48


def ring_level(
    image: NDArray[np.float32],
    blocked: NDArray[np.uint8],
    points_px: NDArray[np.float64],
    *,
    rim: Ellipse,
    core: Ellipse | None = None,
) -> NDArray[np.float64]:
    """Return the mean gray value beside each point, along the ring round the fibre's centre it lies on.

    Across the edge of a core or the rim, gray values change by more than any scratch makes; along the ring
    they hardly do. What is taken from both sides does not follow slow changes along it either.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    blocked : (H, W) uint8 ndarray
        Not 0 where there is something else than the clean face.
    points_px : (N, 2, M) float64 ndarray
        Rows and columns; all M points of a row share their centre.
    rim, core : Ellipse
        Rings go over from the core's centre to that of the rim, which need not be the same.

    Returns
    -------
    (N, M) float64 ndarray
        NaN where nothing beside is free.

    Examples
    --------
    >>> y, x = np.mgrid[:101, :101]
    >>> image = np.hypot(y - 50, x - 50).astype(np.float32)
    >>> rim = Ellipse(50.0, 50.0, 45.0, 45.0)
    >>> points = np.array([[[50.0, 50.0], [80.0, 85.0]]])
    >>> ring_level(image, np.zeros(image.shape, np.uint8), points, rim=rim).round(1).tolist()
    [[30.0, 35.0]]
    """
    centre = np.array([rim.cy_px, rim.cx_px])
    radii = np.array([rim.ry_px, rim.rx_px])
    middle = points_px[:, :, points_px.shape[2] // 2]
    if core is None:
        centres = np.broadcast_to(centre, middle.shape)
    else:
        inner = core.radius_px / rim.radius_px
        out = np.clip((np.hypot(*((middle - centre) / radii).T) - inner) / max(1.0 - inner, 1e-6), 0.0, 1.0)
        start = np.array([core.cy_px, core.cx_px])
        centres = start + out[:, None] * (centre - start)
    level = np.empty((len(points_px), points_px.shape[2]))
    for first in range(0, len(level), _AT_ONCE):  # in parts that stay in the processor's cache
        some = slice(first, first + _AT_ONCE)
        level[some] = _beside(image, blocked, points_px[some], centres[some], radii, rim.radius_px)
    return level


def _beside(
    image: NDArray[np.float32],
    blocked: NDArray[np.uint8],
    points_px: NDArray[np.float64],
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    radius_px: float,
) -> NDArray[np.float64]:
    """Return the level (N, M) along rings round the centres (N, 2) of ellipses with the rim's radii."""
    y, x = ((points_px - centres[:, :, None]) / radii[:, None]).astype(np.float32).transpose(1, 0, 2)
    distance_px = np.maximum(np.sqrt(y * y + x * x) * np.float32(radius_px), np.float32(1e-6))
    ry, rx = radii.astype(np.float32)
    centre_y, centre_x = centres.astype(np.float32).T[:, :, None]
    y, x, far_y, far_x = y * ry, x * rx, y * rx, x * ry
    total, count = np.zeros(y.shape, np.float32), np.zeros(y.shape, np.float32)
    for arc in _ARCS_PX:
        angle = np.minimum(np.float32(arc) / distance_px, np.float32(math.pi / 2))
        cos, sin = np.cos(angle), np.sin(angle)
        near_y, near_x = y * cos + centre_y, x * cos + centre_x
        aside_y, aside_x = far_x * sin, far_y * sin
        for to_y, to_x in ((near_y + aside_y, near_x - aside_x), (near_y - aside_y, near_x + aside_x)):
            free = cv2.remap(blocked, to_x, to_y, cv2.INTER_NEAREST, borderValue=1) == 0
            total += free * cv2.remap(image, to_x, to_y, cv2.INTER_LINEAR)
            count += free
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float64)
