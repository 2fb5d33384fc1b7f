"""Edges along rays: the picture unrolled round an ellipse, and where its brightness steps, to sub-pixels.

Knows ellipses and grey levels, not what they mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse


@dataclass(frozen=True, eq=False)
class RimEdges:
    """The strongest edges of one polarity along rays through an ellipse.

    Attributes
    ----------
    angles_rad : (N,) float64 ndarray
        Parametric angles of the rays.
    offset_px : (N, K) float64 ndarray
        Distance of the K strongest edges from the ellipse, positive outwards; NaN where there is none.
    strength : (N, K) float64 ndarray
        Height of the step in grey levels (as a Gaussian edge of the filter's width would have); NaN where
        none.
    visible : (N,) bool ndarray
        Whether the ray meets the ellipse within the picture.
    noise : float
        Robust standard deviation of the step heights away from edges.
    shade : float
        Step height that a steady shade across the band alone would give.
    """

    angles_rad: NDArray[np.float64]
    offset_px: NDArray[np.float64]
    strength: NDArray[np.float64]
    visible: NDArray[np.bool_]
    noise: float
    shade: float

    def points(self, ellipse: Ellipse) -> NDArray[np.float64]:
        """Return the edge points (M, 2) as x, y; `ellipse` is the one the rays were taken from."""
        local = ray_radius_px(ellipse, self.angles_rad)[:, None]
        scale = 1 + self.offset_px / local
        x = ellipse.cx_px + scale * ellipse.rx_px * np.cos(self.angles_rad)[:, None]
        y = ellipse.cy_px + scale * ellipse.ry_px * np.sin(self.angles_rad)[:, None]
        points = np.stack([x, y], axis=-1).reshape(-1, 2)
        return np.asarray(points[np.isfinite(points[:, 0])])

    def nearest(self, *, min_strength: float) -> RimEdges:
        """Return one edge per ray: the nearest of those of at least `min_strength`, NaN where none is."""
        distance = np.where(self.strength >= min_strength, np.abs(self.offset_px), np.inf)
        place = distance.argmin(axis=1)[:, None]
        missing = ~np.isfinite(np.take_along_axis(distance, place, axis=1))
        offset = np.where(missing, np.nan, np.take_along_axis(self.offset_px, place, axis=1))
        strength = np.where(missing, np.nan, np.take_along_axis(self.strength, place, axis=1))
        return RimEdges(self.angles_rad, offset, strength, self.visible, self.noise, self.shade)


def ray_radius_px(ellipse: Ellipse, angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (N,) from the centre to the rim at parametric angles."""
    return np.hypot(ellipse.rx_px * np.cos(angles_rad), ellipse.ry_px * np.sin(angles_rad))


def unroll(
    image: NDArray[np.float32],
    ellipse: Ellipse,
    *,
    n_angles: int,
    radii: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Sample the picture along rays of an ellipse.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        NaN where the picture shows nothing.
    radii : (M,) float64 ndarray
        In units of the ellipse: 1 is its rim.

    Returns
    -------
    (n_angles, M) float32 ndarray
        Row i at the parametric angle 2 pi i / n_angles; NaN outside the picture.
    """
    angles = 2 * np.pi * np.arange(n_angles) / n_angles
    map_x = (ellipse.cx_px + np.outer(ellipse.rx_px * np.cos(angles), radii)).astype(np.float32)
    map_y = (ellipse.cy_px + np.outer(ellipse.ry_px * np.sin(angles), radii)).astype(np.float32)
    return np.asarray(
        cv2.remap(
            image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan")
        ),
        np.float32,
    )


def ray_median(polar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the median (M,) over the rays of an unrolled picture (N, M), NaN where no ray shows anything."""
    ordered = np.sort(np.ascontiguousarray(polar.T), axis=1)  # NaN goes last
    n_known = len(polar) - np.isnan(polar).sum(axis=0)
    rows, last = np.arange(len(ordered)), np.maximum(n_known - 1, 0)
    return np.asarray(0.5 * (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2]), np.float64)


def quick_median(values: NDArray[np.floating]) -> float:
    """Return the median of finite values, 0 of none: `numpy.median` without its checks, ten times as fast."""
    n = values.size
    if n == 0:
        return 0.0
    middle = np.partition(values, (n // 2, (n - 1) // 2), axis=None)
    return 0.5 * (float(middle[n // 2]) + float(middle[(n - 1) // 2]))


def find_rim_edges(
    image: NDArray[np.float32],
    ellipse: Ellipse,
    *,
    polarity: int,
    inwards_px: float,
    outwards_px: float,
    sigma_px: float,
    n_angles: int = 360,
    n_peaks: int = 1,
    arc_rad: float = 0.0,
) -> RimEdges:
    """Find the strongest steps of one polarity along rays, in a band round an ellipse.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        NaN where the picture shows nothing.
    polarity : int
        +1 for a step to bright going outwards, -1 for a step to dark.
    inwards_px, outwards_px : float
        Width of the band on either side of the ellipse.
    sigma_px : float
        Standard deviation of the Gaussian whose derivative looks for the step. The position is that of the
        steepest point, interpolated by a parabola.
    n_peaks : int
        How many edges are kept per ray, strongest first.
    arc_rad : float
        Standard deviation of the smoothing along the rim; for faint edges.

    Returns
    -------
    RimEdges
    """
    step = min(0.5, sigma_px / 2) if sigma_px < 2 else sigma_px / 4
    inner = min(inwards_px, 0.95 * ellipse.radius_px)
    n_inner, n_outer = math.ceil(inner / step), math.ceil(outwards_px / step)
    offsets = np.arange(-n_inner, n_outer + 1, dtype=np.float64) * step
    band = unroll(image, ellipse, n_angles=n_angles, radii=1 + offsets / ellipse.radius_px)
    angles = 2 * np.pi * np.arange(n_angles) / n_angles
    slope = polarity * _radial_slope(_filled(band), sigma_px / step, arc_rad / (2 * np.pi) * n_angles)
    slope[~np.isfinite(band)] = np.nan
    visible = np.asarray(np.isfinite(band[:, np.abs(offsets) <= max(1.0, step)]).all(axis=1))
    noise, shade = _noise_and_shade(slope)
    offset, strength = _strongest_peaks(slope, offsets, n_peaks)
    # offsets are in units of the mean radius; along a ray of a flat ellipse a unit is a little more or less
    offset *= (ray_radius_px(ellipse, angles) / ellipse.radius_px)[:, None]
    return RimEdges(angles, offset, strength, visible, noise, shade)


def _noise_and_shade(slope: NDArray[np.float32]) -> tuple[float, float]:
    """Return the spread of the slope at the ends of the band and the slope both ends share.

    Steady shading has such a slope; the foot of a blurred edge has not.
    """
    share = max(1, slope.shape[1] // 5)
    ends = [side[np.isfinite(side)] for side in (slope[:, :share], slope[:, -share:])]
    middles = [quick_median(end) for end in ends]
    away = np.concatenate([end - np.float32(middle) for end, middle in zip(ends, middles, strict=True)])
    noise = 1.4826 * quick_median(np.abs(away))
    shade = min(abs(middle) for middle in middles) if middles[0] * middles[1] > 0 else 0.0
    return noise, shade


def _filled(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """Continue every ray beyond the picture with its last pixel: edges next to the border are seen."""
    known = np.isfinite(band)
    if known.all():
        return band
    columns = np.arange(band.shape[1])
    before = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(before >= 0, before, np.minimum(after, len(columns) - 1))
    return np.nan_to_num(np.take_along_axis(band, nearest, axis=1))


def _radial_slope(band: NDArray[np.float32], sigma: float, arc_sigma: float) -> NDArray[np.float32]:
    """Filter rows with a Gaussian derivative scaled to the height of the step."""
    half = max(2, math.ceil(3 * sigma))
    t = np.arange(-half, half + 1, dtype=np.float64)
    kernel = t * np.exp(-0.5 * (t / sigma) ** 2)
    # a unit step seen through it gives 1 at its steepest point
    kernel /= kernel[t > 0].sum()
    arc_half = math.ceil(3 * arc_sigma)
    arc = np.exp(-0.5 * (np.arange(-arc_half, arc_half + 1) / max(arc_sigma, 1e-6)) ** 2)
    closed = band[np.arange(-arc_half, len(band) + arc_half) % len(band)] if arc_half else band
    slope = cv2.sepFilter2D(closed, cv2.CV_32F, kernel, arc / arc.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(slope[arc_half : arc_half + len(band)])


def _strongest_peaks(
    slope: NDArray[np.float32], offsets: NDArray[np.float64], n_peaks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets and heights (N, K) of the highest local maxima of each row, by a parabola."""
    left, mid, right = slope[:, :-2], slope[:, 1:-1], slope[:, 2:]
    with np.errstate(invalid="ignore"):
        peak = np.where((mid > left) & (mid >= right) & (mid > 0), mid, np.float32(-np.inf))
    rows, places, heights = np.arange(len(slope)), [], []
    for _ in range(n_peaks):
        places.append(peak.argmax(axis=1))
        heights.append(peak[rows, places[-1]])
        peak[rows, places[-1]] = -np.inf
    rows, place = rows[:, None], np.stack(places, axis=1)
    height = np.stack(heights, axis=1).astype(np.float64)
    missing = ~np.isfinite(height)
    before, after = left[rows, place].astype(np.float64), right[rows, place].astype(np.float64)
    curve = before - 2 * np.where(missing, 1.0, height) + after
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.clip(np.where(curve < 0, 0.5 * (before - after) / curve, 0.0), -0.5, 0.5)
    step = offsets[1] - offsets[0]
    offset = offsets[1:-1][place] + shift * step
    return np.where(missing, np.nan, offset), np.where(missing, np.nan, height)
