"""Axis-aligned ellipses in pixels: the shape of a round fibre seen through pixels that may not be square."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An axis-aligned ellipse, centre and semi-axes in pixels.

    Examples
    --------
    >>> rim = Ellipse(cx_px=10.0, cy_px=20.0, rx_px=4.0, ry_px=5.0)
    >>> float(rim.normalized_radius(14.0, 20.0))
    1.0
    """

    cx_px: float
    cy_px: float
    rx_px: float
    ry_px: float

    @property
    def radius_px(self) -> float:
        """Geometric mean of the semi-axes."""
        return math.sqrt(self.rx_px * self.ry_px)

    @property
    def area_px(self) -> float:
        """Area in square pixels."""
        return math.pi * self.rx_px * self.ry_px

    def normalized_radius(self, x_px: ArrayLike, y_px: ArrayLike) -> NDArray[np.float64]:
        """Return the distance from the centre in units of the ellipse: 0 at the centre, 1 on the rim."""
        x, y = np.asarray(x_px, np.float64), np.asarray(y_px, np.float64)
        return np.asarray(np.hypot((x - self.cx_px) / self.rx_px, (y - self.cy_px) / self.ry_px))

    def radius_map(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return `normalized_radius` of every pixel of an image of `shape` (H, W)."""
        y = ((np.arange(shape[0]) - self.cy_px) / self.ry_px).astype(np.float32)
        x = ((np.arange(shape[1]) - self.cx_px) / self.rx_px).astype(np.float32)
        return np.asarray(np.sqrt(y[:, None] ** 2 + x[None, :] ** 2))

    def points(self, angles_rad: ArrayLike) -> NDArray[np.float64]:
        """Return rim points (N, 2) as x, y at parametric angles (0 = +x, growing towards +y)."""
        angles = np.asarray(angles_rad, np.float64)
        return np.stack(
            [self.cx_px + self.rx_px * np.cos(angles), self.cy_px + self.ry_px * np.sin(angles)], axis=-1
        )

    def scaled(self, factor: float) -> Ellipse:
        """Return the concentric ellipse `factor` times as large."""
        return Ellipse(self.cx_px, self.cy_px, self.rx_px * factor, self.ry_px * factor)
