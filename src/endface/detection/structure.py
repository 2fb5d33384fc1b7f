"""Remove what a clean surface shows: illumination, the fibre's rings, sensor lines; know the noise left."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Zones
from endface.imaging.background import PolarGrid, concentric_background, polar_grid
from endface.imaging.graphics import paint_over
from endface.imaging.illumination import smooth_background
from endface.imaging.noise import (
    live_medians,
    middle_lattice,
    middle_pixels,
    quantiles,
    robust_sigma,
    silent_blocks,
)
from endface.imaging.photon_transfer import photon_transfer
from endface.imaging.sensor_faults import remove_dead_pixels, remove_sensor_lines
from endface.imaging.shadow import shared_light
from endface.imaging.sliding import running_maximum

_BORDER_DEPTH_PX = 16
_MANY_SILENT = 0.35
SURFACE, _CLADDING, RIM, _CORE = 1, 2, 3, 4
_Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Residual:
    """An image without what a clean surface shows.

    Attributes
    ----------
    gray : (H, W) float32 ndarray
        Gray values minus illumination and concentric structure, over `loudness`; 0 outside `mask`.
    mask : (H, W) bool ndarray
        Pixels that can be judged.
    background : (H, W) float32 ndarray
        What was taken away: illumination and concentric structure.
    loudness : (H, W) float32 ndarray
        How loud noise is for its brightness alone, over that at middle brightness; `gray` is divided by it.
    zones : (H, W) uint8 ndarray
        Zones of like noise: 0 none, 1 surface, 2 cladding, 3 band along the rim, 4 core.
    noisy : (H, W) uint8 ndarray
        The same, 0 also where a codec left no noise to be measured.
    least : float
        Noise that even the quietest image has: rounding and compression.
    grid : PolarGrid or None
        Chart of the fibre.
    outside : (h, w) float32 ndarray
        Within the chart's box: 1 on the surface, 0 on the fibre, between at the seam.
    light : (h, w) float32 ndarray or None
        Within the chart's box, where glass and ferrule share uneven light: that light.
    """

    gray: NDArray[np.float32]
    mask: NDArray[np.bool_]
    background: NDArray[np.float32]
    loudness: NDArray[np.float32]
    zones: NDArray[np.uint8]
    noisy: NDArray[np.uint8]
    least: float
    grid: PolarGrid | None = None
    outside: NDArray[np.float32] | None = None
    light: NDArray[np.float32] | None = None

    def evenly_lit(self) -> NDArray[np.float32]:
        """Return the image (H, W), structure and all, as it were in even light."""
        image = self.gray * self.loudness + self.background
        if self.grid is not None and self.light is not None:
            image[self.grid.box] /= self.light
        return image

    def noise(
        self, values: NDArray[np.float32], *, factor: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Measure the noise of `values`, the residual or a smoothed copy of it.

        Parameters
        ----------
        values : (h, w) float32 ndarray
            As large as the residual, or with one value for every `factor` x `factor` of its pixels.
        factor : int
            Size of a pixel of `values` in those of the residual.

        Returns
        -------
        sigma : (h, w) float32 ndarray
            Standard deviation of the noise, ring by ring on the fibre and line by line along the edges:
            where the model leaves ripples, ripples are noise.
        quiet : (h, w) float32 ndarray
            Noise of the open surface or fibre over `sigma`: 1 without ripples, less where there are some.
        """
        sigma, level, rings = self._sigma(values, factor)
        quiet = level / sigma
        if rings is not None and self.outside is not None:
            box, part, floor = rings
            quiet[box] = np.minimum(quiet[box], (floor + self.outside[part] * (level - floor)) / sigma[box])
        return sigma, np.clip(quiet, 0.05, 1)

    def sigma(self, values: NDArray[np.float32], *, factor: int = 1) -> NDArray[np.float32]:
        """Return the first of what `noise` returns."""
        return self._sigma(values, factor)[0]

    def _sigma(
        self, values: NDArray[np.float32], factor: int
    ) -> tuple[NDArray[np.float32], float, tuple[_Box, _Box, float] | None]:
        zones = middle_pixels(self.noisy, factor)
        thin = middle_lattice(values.shape, 3 if factor == 1 else 1)
        level = max(robust_sigma(values[thin][zones[thin] == SURFACE]), self.least)
        sigma = np.full(values.shape, level, np.float32)
        _raise_borders(values, sigma, zones, _BORDER_DEPTH_PX // factor)
        if self.grid is None or self.outside is None:
            return sigma, level, None
        # a saturated core shows no noise: what little it shows is not to be trusted more than the rest
        rows, floor = _ring_noise(self.grid, values, zones, max(0.3 * level, self.least), factor)
        # every `factor`-th pixel of the chart's box, the middle one of each block
        first = [-(-side.start // factor) for side in self.grid.box]
        last = [side.stop // factor for side in self.grid.box]
        box = (slice(first[0], last[0]), slice(first[1], last[1]))
        part = tuple(
            slice(a * factor - side.start + factor // 2, b * factor - side.start, factor)
            for a, b, side in zip(first, last, self.grid.box, strict=True)
        )
        ring = _at_radius(rows, self.grid.rho[part[0], part[1]])
        rest = sigma[box]
        rest -= ring
        rest *= self.outside[part[0], part[1]]
        rest += ring
        return sigma, level, (box, (part[0], part[1]), floor)


def remove_structure(image: NDArray[np.generic], zones: Zones) -> Residual:
    """Subtract illumination and the fibre's concentric structure from an image (H, W) of any real type.

    Faults of the sensor go with it: steps and stripes along whole rows or columns, and dead or hot pixels.
    """
    gray, whole = paint_over(np.asarray(image, np.float32), zones.valid)
    # the outermost pixels have no surroundings to be compared with
    mask = cv2.erode(whole.view(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).view(bool) & zones.valid
    # steps of one gray level have a spread of 0.29; JPEG makes them coarser and larger than a pixel
    least = 0.5 if np.issubdtype(image.dtype, np.integer) else 1e-4 * max(float(np.ptp(gray)), 1e-9)
    grid, outside, light = None, None, None
    if zones.cladding is None:
        scale_px = max(8.0, min(gray.shape) / 50)
        background = smooth_background(gray, mask, scale_px=scale_px)
        parts = np.full(gray.shape, SURFACE, np.uint8)
    else:
        grid = polar_grid(zones.cladding, zones.core, zones.shape, hole=zones.adhesive)
        radius = grid.rho * np.float32(1 / grid.rim_row)
        beyond = radius - np.float32(grid.hole_row / grid.rim_row)
        ferrule = mask.copy()
        ferrule[grid.box] &= beyond > 0.08
        background = smooth_background(gray, ferrule, scale_px=max(8.0, zones.cladding.radius_px / 9))
        outside = np.clip((beyond - np.float32(0.06)) * np.float32(10), 0, 1)
        light = shared_light(gray, mask, radius, box=grid.box, radius_px=zones.cladding.radius_px)
        if light is None:
            model = grid.roll(concentric_background(grid.unroll(gray)))
        else:
            even = gray.copy()
            even[grid.box] /= light
            model = light * grid.roll(concentric_background(grid.unroll(even)))
        background[grid.box] = model + outside * (background[grid.box] - model)
        parts = _zones_of_like_noise(
            grid, radius, beyond, zones.core is not None, zones.cladding.radius_px, zones.shape
        )
    mask &= ~_saturated(gray, background, least)
    parts *= mask
    residual = gray - background
    residual *= mask
    remove_sensor_lines(residual, mask, wings=zones.cladding is None)
    remove_dead_pixels(residual, mask)
    noisy = _noisy(image, parts)
    if noisy is not parts:
        least = max(least, 0.5 * _step_height(gray[4::8, 4::8]))
    loudness = photon_transfer(residual, background, noisy * (noisy != RIM)).loudness(background)
    residual /= loudness
    return Residual(residual, mask, background, loudness, parts, noisy, least, grid, outside, light)


def _zones_of_like_noise(
    grid: PolarGrid,
    radius: NDArray[np.float32],
    beyond: NDArray[np.float32],
    core: bool,
    rim_px: float,
    shape: tuple[int, int],
) -> NDArray[np.uint8]:
    parts = np.full(shape, SURFACE, np.uint8)
    box = parts[grid.box]
    box[beyond <= 0.03] = _CLADDING
    if core:
        box[grid.rho < grid.core_row] = _CORE
    band = max(4.0 / rim_px, 0.05)
    box[(np.abs(radius - 1) < band) | (np.abs(beyond) < band)] = RIM
    return parts


def _noisy(image: NDArray[np.generic], parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave out, of each zone, the blocks in which a codec left no noise, where they are many.

    A median sees past a few of them; and in a crowded image what is left would be defects above all.
    """
    silent = silent_blocks(image)
    if not silent.any():
        return parts
    total, quiet = (np.bincount(part.ravel(), minlength=_CORE + 1) for part in (parts, parts[silent]))
    table = np.zeros(256, np.uint8)
    table[: _CORE + 1] = quiet > _MANY_SILENT * total
    if not table.any():
        return parts
    return parts * ~(silent & (cv2.LUT(parts, table) > 0))


def _step_height(blocks: NDArray[np.float32]) -> float:
    """Height of the steps a codec makes of a slope, from one value per block."""
    steps = np.abs(np.diff(blocks, axis=1))
    steps = steps[steps > 0]
    # what rises faster than a step per block tells nothing
    return float(np.quantile(steps, 0.25)) if steps.size else 0.0


def _saturated(gray: NDArray[np.float32], background: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
    """Mark overexposed ground, most often a lit core: it shows neither noise nor defects."""
    low, white, _, _ = cv2.minMaxLoc(gray)
    if np.count_nonzero(gray >= white) < 0.001 * gray.size:
        return np.zeros(gray.shape, bool)
    # half a gray level below white, every other pixel is white
    limit = white - max(0.01 * (white - low), least)
    return np.asarray(np.minimum(gray, background) >= limit)


def _ring_noise(
    grid: PolarGrid, values: NDArray[np.float32], zones: NDArray[np.uint8], least: float, factor: int
) -> tuple[NDArray[np.float32], float]:
    # nearest: interpolation would average the noise that is to be measured
    step = max(1, grid.sample_x.shape[1] // 256)
    x, y = ((part[:, ::step] + 0.5) / np.float32(factor) - 0.5 for part in (grid.sample_x, grid.sample_y))
    chart = cv2.remap(values, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.remap(zones, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    middle, count = live_medians(np.abs(chart), np.asarray(known, np.uint8))
    rows = np.where(count > 0.05 * chart.shape[1], middle / 0.6745, least)
    rows = running_maximum(rows, 3)
    floor = max(float(quantiles(rows[4 : int(grid.rim_row)], (0.5,))[0]), least)
    return np.maximum(rows, least).astype(np.float32), floor


def _at_radius(rows: NDArray[np.float32], rho: NDArray[np.float32]) -> NDArray[np.float32]:
    table = np.repeat(rows[:, None], 2, axis=1)
    column = np.zeros(rho.shape, np.float32)
    return np.asarray(
        cv2.remap(table, column, np.ascontiguousarray(rho), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _raise_borders(
    values: NDArray[np.float32], sigma: NDArray[np.float32], zones: NDArray[np.uint8], depth: int
) -> None:
    """Give the lines next to the edge of the picture, with their combs and ringing, a noise of their own."""
    left, top, width, height = cv2.boundingRect(zones)
    for image, target, live, first, size in (
        (values, sigma, zones, top, height),
        (values.T, sigma.T, zones.T, left, width),
    ):
        if size < 4 * depth or depth < 1:
            continue
        edge = np.r_[first : first + depth, first + size - depth : first + size]
        middle, count = live_medians(
            np.abs(image[edge, ::2], order="C"), np.ascontiguousarray(live[edge, ::2])
        )
        level = np.where(count > 0, 1.4826 * middle, 0)
        target[edge] = np.maximum(target[edge], level[:, None])
