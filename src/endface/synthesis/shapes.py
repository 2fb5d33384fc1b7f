"""Antialiased shapes in micrometres: ellipses, polylines and smooth noise on a frame of pixels.

Knows geometry only; what a shape stands for is said in `defects`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.compiled import compiled

FloatMap = NDArray[np.float32]
#: (row of the top-left pixel, its column, height, width)
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """A grid of pixels laid over a surface measured in um, with the fibre's centre as origin.

    Examples
    --------
    >>> frame = Frame(height_px=4, width_px=6, cx_px=2.0, cy_px=1.0, um_per_px_x=0.5, um_per_px_y=0.25)
    >>> frame.to_px(1.0, 0.5)
    (4.0, 3.0)
    """

    height_px: int
    width_px: int
    cx_px: float
    cy_px: float
    um_per_px_x: float
    um_per_px_y: float

    @property
    def pitch_um(self) -> float:
        """Geometric mean of the two pitches."""
        return math.sqrt(self.um_per_px_x * self.um_per_px_y)

    def to_px(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Return column and row of a point."""
        return (self.cx_px + x_um / self.um_per_px_x, self.cy_px + y_um / self.um_per_px_y)

    def to_um(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Return the point under a pixel position, um from the fibre's centre."""
        return ((x_px - self.cx_px) * self.um_per_px_x, (y_px - self.cy_px) * self.um_per_px_y)

    def box_around(self, x_um: tuple[float, float], y_um: tuple[float, float], *, margin_um: float) -> Box:
        """Return the box that holds the ranges `x_um` and `y_um` plus a margin, cut at the frame."""
        left, top = self.to_px(x_um[0] - margin_um, y_um[0] - margin_um)
        right, bottom = self.to_px(x_um[1] + margin_um, y_um[1] + margin_um)
        x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        x1, y1 = min(math.ceil(right) + 2, self.width_px), min(math.ceil(bottom) + 2, self.height_px)
        return (y0, x0, max(y1 - y0, 0), max(x1 - x0, 0))

    def grid(self, box: Box) -> tuple[FloatMap, FloatMap]:
        """Return x (1, w) and y (h, 1) in um of the pixel centres of a box."""
        y0, x0, height, width = box
        x = (np.arange(x0, x0 + width) - self.cx_px) * self.um_per_px_x
        y = (np.arange(y0, y0 + height) - self.cy_px) * self.um_per_px_y
        return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def coverage(signed_distance_um: FloatMap, *, pitch_um: float) -> FloatMap:
    """Return how much of each pixel (0 to 1) lies inside a shape, from its centre's distance to the border.

    `signed_distance_um` is negative inside. Exact for a straight border along rows or columns, within 3 % of
    the area for ellipses of four pixels and more across.
    """
    return np.asarray(np.clip(0.5 - signed_distance_um / pitch_um, 0.0, 1.0), np.float32)


def ellipse_distance(
    x_um: FloatMap, y_um: FloatMap, *, semi_major_um: float, semi_minor_um: float, angle_rad: float
) -> FloatMap:
    """Return an approximate signed distance (um, negative inside) to an ellipse centred at the origin.

    Exact on the border and for circles; elsewhere first order, which is what antialiasing needs.
    """
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    u, v = x_um * cos + y_um * sin, y_um * cos - x_um * sin
    value = np.hypot(u / semi_major_um, v / semi_minor_um)
    slope = np.hypot(u / semi_major_um**2, v / semi_minor_um**2)
    # at the centre both vanish; the distance there is the smaller semi-axis
    inner = value < 1e-3
    distance = (value - 1.0) * value / np.where(inner, 1.0, slope)
    return np.asarray(np.where(inner, -semi_minor_um, distance), np.float32)


@compiled
def _polyline(  # type: ignore[no-untyped-def]
    points, arc, x_first, y_first, pitch_x, pitch_y, reach, distance, position
):
    height, width = distance.shape
    for k in range(points.shape[0] - 1):
        ax, ay = points[k, 0], points[k, 1]
        dx, dy = points[k + 1, 0] - ax, points[k + 1, 1] - ay
        length = math.sqrt(dx * dx + dy * dy)
        if length == 0.0:
            continue
        ux, uy = dx / length, dy / length
        col0 = max(int((min(ax, ax + dx) - reach - x_first) / pitch_x), 0)
        col1 = min(int((max(ax, ax + dx) + reach - x_first) / pitch_x) + 2, width)
        row0 = max(int((min(ay, ay + dy) - reach - y_first) / pitch_y), 0)
        row1 = min(int((max(ay, ay + dy) + reach - y_first) / pitch_y) + 2, height)
        for row in range(row0, row1):
            py = y_first + row * pitch_y - ay
            for col in range(col0, col1):
                px = x_first + col * pitch_x - ax
                along = min(max(px * ux + py * uy, 0.0), length)
                gap = math.sqrt((px - along * ux) ** 2 + (py - along * uy) ** 2)
                if gap < abs(distance[row, col]):
                    side = 1.0 if ux * py - uy * px >= 0.0 else -1.0
                    distance[row, col] = side * gap
                    position[row, col] = arc[k] + along


def polyline_distance(
    points_um: NDArray[np.float64], *, frame: Frame, box: Box, reach_um: float
) -> tuple[FloatMap, FloatMap]:
    """Return the signed distance to a polyline and the arc length of the nearest point on it.

    Parameters
    ----------
    points_um : (N, 2) float64 ndarray
        Vertices x, y.
    reach_um : float
        Pixels farther away keep the distance 1e9.

    Returns
    -------
    tuple of (h, w) float32 ndarray
        Distance in um, positive to the right of the direction of travel (y down), and arc length in um.
    """
    points = np.ascontiguousarray(points_um, np.float64)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    x_first, y_first = frame.to_um(box[1], box[0])
    pitch = (frame.um_per_px_x, frame.um_per_px_y)
    distance, position = np.full(box[2:], 1e9, np.float32), np.zeros(box[2:], np.float32)
    _polyline(points, arc, x_first, y_first, *pitch, reach_um, distance, position)
    return distance, position


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], *, scale_px: float) -> FloatMap:
    """Return Gaussian noise of unit variance, blurred with a standard deviation of `scale_px`.

    Coarse noise is drawn small and enlarged, so the cost does not grow with the scale.
    """
    step = max(int(scale_px / 2.0), 1)
    small = (shape[0] // step + 3, shape[1] // step + 3)
    noise = cv2.GaussianBlur(rng.standard_normal(small, dtype=np.float32), (0, 0), max(scale_px / step, 0.3))
    noise = np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)
    if step == 1:
        return np.asarray(noise[: shape[0], : shape[1]])
    return np.asarray(cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def wavy(rng: np.random.Generator, position: FloatMap, *, period: float, depth: float) -> FloatMap:
    """Return a smooth random factor around 1 along a coordinate: 1 plus three sines of random phase."""
    total = np.zeros_like(position)
    for harmonic in (1.0, 2.3, 4.1):
        phase = rng.uniform(0.0, 2.0 * math.pi)
        total += np.sin(2.0 * math.pi * harmonic * position / period + phase).astype(np.float32) / harmonic
    return np.asarray(np.clip(1.0 + depth * total, 0.0, 2.0), np.float32)
