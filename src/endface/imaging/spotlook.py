"""How a compact patch looks on its contrast: its outline at half its peak.

The mask says where to look, the gray values say the rest, so that the figures do not follow the threshold of
whatever drew the mask. Lengths are in the units of `spacing`, distances from the outline in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

# discs under a Gaussian of sigma 1: diameter, and how wide they look at half their peak
_TRUE = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
_LOOKS = (2.355, 2.373, 2.428, 2.526, 2.668, 2.864, 3.114, 3.426, 3.795, 4.678, 5.668)
_MIN_RING = 8  # fewer ring pixels of a zone say nothing about its level
_FINE = 4  # how much finer a small patch is sampled
_AROUND = 4  # pixels around a patch that its outline is sampled from
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class SpotLook:
    """Figures of one patch; NaN diameter and axes where nothing stands out at half its peak.

    Attributes
    ----------
    diameter : float
        Smallest circle around the patch at half its peak, blur included.
    major, minor : float
        Axes of the ellipse of equal second moments of the same.
    blur : float
        Standard deviation of everything that blurred it: the image and the smoothing applied here.
    roundness : float
        Share of that circle that the patch at half its peak fills: 1 a disc; 0 where there is none.
    peak_snr : float
        Peak contrast over the noise of the ring around it.
    """

    diameter: float = math.nan
    major: float = math.nan
    minor: float = math.nan
    blur: float = math.nan
    roundness: float = 0.0
    peak_snr: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class _Patch:
    contrast: Floats  # positive where it differs as the patch does
    inside: NDArray[np.uint8]
    free: Bools  # neither another defect nor a dead border
    noise: float
    peak: float
    size_px: float


def look_at_spot(
    image: Floats,
    labels: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    mask: Bools,
    *,
    top: int,
    left: int,
    blur_px: float,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> SpotLook:
    """Measure the outline of a compact patch.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    labels, blocked : (H, W) uint8 ndarray
        Zone codes; non-zero where other defects or dead borders lie (the patch itself may be marked too).
    mask : (h, w) bool ndarray
        The patch; at least one pixel.
    top, left : int
        Where its box lies in the image.
    blur_px : float
        Blur of the image (Gaussian sigma).
    spacing : (float, float)
        Pitch of rows and columns.

    Returns
    -------
    SpotLook

    Notes
    -----
    Below about 4 px across, or below a peak of three times the noise, its shape says little.

    Examples
    --------
    >>> y, x = np.mgrid[:40, :40]
    >>> image = np.where(np.hypot(y - 20, x - 20) < 6, 60, 120).astype(np.float32)
    >>> flat = np.zeros((40, 40), np.uint8)
    >>> mask = np.ones((13, 13), bool)
    >>> found = look_at_spot(image, flat, flat, mask, top=14, left=14, blur_px=0.5)
    >>> round(found.diameter), found.roundness > 0.9
    (12, True)
    """
    patch = _cut_out(image, labels, blocked, mask, top, left)
    wide = 0.14 * patch.size_px
    smoothing = min(max(0.07 * patch.size_px, 1.7 * patch.noise / patch.peak, 0.5), max(0.5, wide))
    smooth = np.asarray(cv2.GaussianBlur(patch.contrast, (0, 0), smoothing), np.float32)
    half, fine = _half_peak(smooth, patch)
    if half is None:
        return SpotLook(peak_snr=patch.peak / patch.noise)
    pitch = math.sqrt(spacing[0] * spacing[1])
    diameter, major, minor, roundness = _outline(half, (spacing[0] / fine, spacing[1] / fine))
    return SpotLook(
        diameter=diameter,
        major=major,
        minor=minor,
        blur=math.hypot(blur_px, smoothing) * pitch,
        roundness=roundness,
        peak_snr=patch.peak / patch.noise,
    )


def unblurred_diameter(apparent: float, blur: float) -> float:
    """Return the diameter of the disc that looks `apparent` wide at half its peak through a blur.

    Exact for a disc under a Gaussian: below twice the blur's sigma s it looks hardly wider than the blur
    alone (2.355 s), above six times it looks smaller by 1.9 s^2 over its width. What looks no wider than the
    blur is at most about s across, which is returned.

    Examples
    --------
    >>> round(unblurred_diameter(10.0, 1.0), 2), unblurred_diameter(2.0, 1.0)
    (10.19, 1.0)
    """
    if blur <= 0.0 or math.isnan(apparent):
        return apparent
    ratio = apparent / blur
    if ratio < _LOOKS[-1]:
        return blur * max(float(np.interp(ratio, _LOOKS, _TRUE)), min(1.0, ratio))
    return apparent + (_TRUE[-1] - _LOOKS[-1]) * _LOOKS[-1] * blur / ratio


def _cut_out(
    image: Floats, labels: NDArray[np.uint8], blocked: NDArray[np.uint8], mask: Bools, top: int, left: int
) -> _Patch:
    """Cut the patch with its surroundings out of the image, minus the level of each zone around it."""
    (height, width), area = mask.shape, int(np.count_nonzero(mask))
    size_px = 2.0 * math.sqrt(area / math.pi) if max(height, width) < 4.0 * math.sqrt(area) else 4.0
    reach = int(min(max(0.6 * size_px, 9.0), 20.0))
    y0, x0 = max(top - reach, 0), max(left - reach, 0)
    window = (slice(y0, top + height + reach), slice(x0, left + width + reach))
    gray = image[window]
    inside = np.zeros(gray.shape, np.uint8)
    inside[top - y0 : top - y0 + height, left - x0 : left - x0 + width] = mask
    free = (blocked[window] == 0) | (inside > 0)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    ring = np.flatnonzero((away > reach / 3.0) & (away <= reach) & free)
    if ring.size == 0:
        ring = np.arange(gray.size)
    around, zones = gray.ravel()[ring], labels[window]
    level = np.full(gray.shape, _ranked(around, 0.5), np.float32)
    ring_zones = zones.ravel()[ring]
    counts = np.bincount(ring_zones)
    if np.count_nonzero(counts) > 1:
        for zone in np.flatnonzero(counts >= _MIN_RING):
            level[zones == zone] = _ranked(around[ring_zones == zone], 0.5)
    contrast = gray - level
    noise = 1.4826 * _ranked(np.abs(contrast.ravel()[ring]), 0.5)
    values = contrast[inside > 0]
    if values.sum() < 0:
        contrast, values = -contrast, -values
    peak = _ranked(values, 0.9)
    noise = max(noise, 0.3, 1e-6 * float(np.abs(gray).max()))
    return _Patch(np.asarray(contrast, np.float32), inside, free, noise, max(peak, noise), size_px)


def _ranked(values: NDArray[Any], share: float) -> float:
    """Return the value below which this share of all lies; NumPy's own takes ten times as long."""
    rank = min(int(share * values.size), values.size - 1)
    return float(np.partition(values, rank)[rank])


def _half_peak(smooth: Floats, patch: _Patch) -> tuple[Bools | None, int]:
    """Return the part at half the peak that covers most of the mask, finely sampled, and how finely."""
    longest = max(patch.inside.shape)
    fine = _FINE if longest < 64 else 2 if longest < 130 else 1
    # no more than interpolation needs: what lies farther from the mask does not count
    left, top, width, height = cv2.boundingRect(patch.inside)
    box = (
        slice(max(top - _AROUND, 0), top + height + _AROUND),
        slice(max(left - _AROUND, 0), left + width + _AROUND),
    )
    smooth, inside = smooth[box], patch.inside[box]
    size = (smooth.shape[1] * fine, smooth.shape[0] * fine)
    sampled = cv2.resize(smooth, size, interpolation=cv2.INTER_CUBIC)
    own = cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST) > 0
    grown = cv2.dilate(inside, _SQUARE) * patch.free[box]
    near = cv2.resize(grown, size, interpolation=cv2.INTER_NEAREST) > 0
    values = sampled[own]
    # the peak of a large patch is a level, not its brightest pixel
    share = min(0.1, 2.25 * fine * fine / values.size)
    peak = max(_ranked(values, 1.0 - share), 1e-6)
    _, parts = cv2.connectedComponents(((sampled > 0.5 * peak) & near).astype(np.uint8))
    counts = np.bincount(parts[own])
    counts[0] = 0
    return (parts == counts.argmax(), fine) if counts.max() > 0 else (None, fine)


def _outline(half: Bools, spacing: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return enclosing diameter, axes of the moments' ellipse and roundness of a finely sampled patch."""
    rows, cols = np.nonzero(half)
    pitch = math.sqrt(spacing[0] * spacing[1])
    y, x = rows * (spacing[0] / pitch), cols * (spacing[1] / pitch)
    hull = cv2.convexHull(np.stack([x, y], axis=1).astype(np.float32))
    diameter = 2.0 * float(cv2.minEnclosingCircle(hull)[1]) + 0.5
    n = rows.size
    y, x = y - y.sum() / n, x - x.sum() / n
    yy, xx, xy = float(y @ y) / n + 1 / 12, float(x @ x) / n + 1 / 12, float(x @ y) / n
    root = math.hypot(0.5 * (yy - xx), xy)
    large, small = 0.5 * (yy + xx) + root, max(0.5 * (yy + xx) - root, 1e-6)
    roundness = min(n / (0.25 * math.pi * diameter**2), 1.0)
    return diameter * pitch, 4.0 * math.sqrt(large) * pitch, 4.0 * math.sqrt(small) * pitch, roundness
