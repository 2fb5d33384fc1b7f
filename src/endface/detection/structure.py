"""Remove what a clean surface shows: illumination, the fibre's rings, frame borders; know the noise left."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from endface.annotation import Zones
from endface.imaging.background import PolarGrid, concentric_background, polar_grid, smooth_background
from endface.imaging.noise import robust_sigma

_BORDER_DEPTH_PX = 16


@dataclass(frozen=True, eq=False)
class Residual:
    """An image without what a clean surface shows.

    Attributes
    ----------
    gray : (H, W) float32 ndarray
        Gray values minus illumination and concentric structure; 0 outside `mask`.
    mask : (H, W) bool ndarray
        Pixels that can be judged.
    zones : (H, W) uint8 ndarray
        Zones of like noise: 0 none, 1 surface, 2 cladding, 3 band along the rim, 4 core.
    least : float
        Noise that even the quietest image has: rounding and compression.
    grid : PolarGrid or None
        Chart of the fibre.
    outside : (h, w) float32 ndarray
        Within the chart's box: 1 on the surface, 0 on the fibre, between at the seam.
    """

    gray: NDArray[np.float32]
    mask: NDArray[np.bool_]
    zones: NDArray[np.uint8]
    least: float
    grid: PolarGrid | None = None
    outside: NDArray[np.float32] | None = None

    def noise(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Measure the noise of `values`, the residual or a smoothed copy of it.

        Returns
        -------
        sigma : (H, W) float32 ndarray
            Standard deviation of the noise, ring by ring on the fibre and line by line along the edges:
            where the model leaves ripples, ripples are noise.
        quiet : (H, W) float32 ndarray
            Noise of the open surface or fibre over `sigma`: 1 without ripples, less where there are some.
        """
        level = max(robust_sigma(values[self.zones == 1][::2]), self.least)
        sigma = np.full(values.shape, level, np.float32)
        for image, target, live in ((values, sigma, self.mask), (values.T, sigma.T, self.mask.T)):
            for column in _border_columns(live):
                target[:, column] = np.maximum(
                    target[:, column], robust_sigma(image[live[:, column], column])
                )
        quiet = level / sigma
        if self.grid is not None and self.outside is not None:
            # a saturated core shows no noise: what little it shows is not to be trusted more than the rest
            rows, floor = _ring_noise(self.grid, values, self.mask, max(0.3 * level, self.least))
            ring = self.grid.roll(np.repeat(rows[:, None], self.grid.sample_x.shape[1], axis=1))
            box = self.grid.box
            sigma[box] = self.outside * sigma[box] + (1 - self.outside) * ring
            quiet[box] = np.minimum(
                quiet[box], (self.outside * level + (1 - self.outside) * floor) / sigma[box]
            )
        return sigma, np.clip(quiet, 0.05, 1)


def remove_structure(image: NDArray[np.generic], zones: Zones) -> Residual:
    """Subtract illumination and the fibre's concentric structure from an image (H, W) of any real type."""
    gray = np.asarray(image, np.float32)
    # the outermost pixels have no surroundings to be compared with
    mask = cv2.erode(zones.valid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)
    # steps of one gray level have a spread of 0.29; JPEG makes them coarser and larger than a pixel
    least = 0.5 if np.issubdtype(image.dtype, np.integer) else 1e-4 * max(float(np.ptp(gray)), 1e-9)
    if zones.cladding is None:
        scale_px = max(8.0, min(gray.shape) / 50)
        background = smooth_background(gray, mask, scale_px=scale_px)
        mask &= ~_saturated(gray, background)
        residual = np.where(mask, gray - background, 0).astype(np.float32)
        _flatten_borders(residual, mask)
        return Residual(residual, mask, mask.astype(np.uint8), least)
    radius = zones.cladding.radius_map(zones.shape)
    background = smooth_background(
        gray, mask & (radius > 1.08), scale_px=max(8.0, zones.cladding.radius_px / 9)
    )
    grid = polar_grid(zones.cladding, zones.core, zones.shape)
    model, _ = concentric_background(grid.unroll(gray))
    outside = np.clip((radius[grid.box] - 1.06) / 0.1, 0, 1).astype(np.float32)
    background[grid.box] = outside * background[grid.box] + (1 - outside) * grid.roll(model)
    mask &= ~_saturated(gray, background)
    residual = np.where(mask, gray - background, 0).astype(np.float32)
    _flatten_borders(residual, mask)
    parts = np.where(radius > 1.03, 1, 2).astype(np.uint8)
    if zones.core is not None:
        parts[zones.core.radius_map(zones.shape) < 1] = 4
    parts[np.abs(radius - 1) * zones.cladding.radius_px < max(4.0, 0.05 * zones.cladding.radius_px)] = 3
    parts[~mask] = 0
    return Residual(residual, mask, parts, least, grid, outside)


def _saturated(gray: NDArray[np.float32], background: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark overexposed ground, most often a lit core: it shows neither noise nor defects."""
    white = float(gray.max())
    if np.count_nonzero(gray >= white) < 0.001 * gray.size:
        return np.zeros(gray.shape, bool)
    margin = 0.01 * (white - float(gray.min()))
    return np.asarray((gray >= white - margin) & (background >= white - margin))


def _ring_noise(
    grid: PolarGrid, values: NDArray[np.float32], mask: NDArray[np.bool_], least: float
) -> tuple[NDArray[np.float32], float]:
    # nearest: interpolation would average the noise that is to be measured
    known = np.where(mask, np.abs(values), np.nan).astype(np.float32)
    chart = cv2.remap(known, grid.sample_x, grid.sample_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    chart.sort(axis=1)  # NaN last
    count = np.count_nonzero(~np.isnan(chart), axis=1)
    rows = (
        np.take_along_axis(chart, (count // 2)[:, None].clip(max=chart.shape[1] - 1), axis=1)[:, 0] / 0.6745
    )
    rows = maximum_filter1d(np.where(count > 0.05 * chart.shape[1], rows, least), 3)
    floor = max(float(np.median(rows[4 : int(grid.rim_row)])), least)
    return np.maximum(rows, least).astype(np.float32), floor


def _border_columns(live: NDArray[np.bool_]) -> list[int]:
    """Columns next to the edge of the picture, where frame grabbers leave combs and ringing."""
    columns = np.flatnonzero(live.any(axis=0))
    if columns.size < 4 * _BORDER_DEPTH_PX:
        return []
    return [*columns[:_BORDER_DEPTH_PX].tolist(), *columns[-_BORDER_DEPTH_PX:].tolist()]


def _flatten_borders(residual: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Take out what runs along a whole edge of the picture, in place: no defect does."""
    for image, live in ((residual, mask), (residual.T, mask.T)):
        for column in _border_columns(live):
            inside = live[:, column]
            image[inside, column] -= np.median(image[inside, column])
