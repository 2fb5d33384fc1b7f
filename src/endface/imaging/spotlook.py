"""How a compact patch looks on its contrast: its outline at half its peak, its margin, its inside.

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
_STEP_PX = 0.8  # thickness of the shells around the outline
_SHELLS = 8
_SECTORS = 8


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
    irregularity : float
        Share of the patch and that ellipse that only one of them covers: 0 an ellipse.
    lit_edge : float
        Strongest opposite contrast in a quarter of its margin over its peak, noise removed: a bright rim.
    one_sided : float
        How much the margin differs from one side to the other, over its peak, noise removed.
    fringe : float
        Contrast of its own sign beyond a margin of the opposite one, over its peak: a diffraction ring.
    mottling : float
        Standard deviation of its inner pixels over its peak, noise removed.
    peak_snr : float
        Peak contrast over the noise of the ring around it.
    """

    diameter: float = math.nan
    major: float = math.nan
    minor: float = math.nan
    blur: float = math.nan
    irregularity: float = 0.0
    lit_edge: float = 0.0
    one_sided: float = 0.0
    fringe: float = 0.0
    mottling: float = 0.0
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
    """Measure outline, margin and inside of a compact patch.

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
    Below about 4 px across, or below a peak of three times the noise, shape and margin say little.

    Examples
    --------
    >>> y, x = np.mgrid[:40, :40]
    >>> image = np.where(np.hypot(y - 20, x - 20) < 6, 60, 120).astype(np.float32)
    >>> flat = np.zeros((40, 40), np.uint8)
    >>> mask = np.ones((13, 13), bool)
    >>> found = look_at_spot(image, flat, flat, mask, top=14, left=14, blur_px=0.5)
    >>> round(found.diameter), found.irregularity < 0.05, found.lit_edge
    (12, True, 0.0)
    """
    patch = _cut_out(image, labels, blocked, mask, top, left)
    wide = 0.14 * patch.size_px
    smoothing = min(max(0.07 * patch.size_px, 1.7 * patch.noise / patch.peak, 0.5), max(0.5, wide))
    smooth = np.asarray(cv2.GaussianBlur(patch.contrast, (0, 0), smoothing), np.float32)
    half, fine = _half_peak(smooth, patch)
    if half is None:
        return SpotLook(peak_snr=patch.peak / patch.noise)
    pitch = math.sqrt(spacing[0] * spacing[1])
    diameter, major, minor, irregularity = _outline(half, (spacing[0] / fine, spacing[1] / fine))
    coarse = (smooth > 0.5 * patch.peak) & (cv2.dilate(patch.inside, _SQUARE) > 0)
    lit_edge, one_sided, fringe = _margin(patch, coarse, max(blur_px, 0.5))
    return SpotLook(
        diameter=diameter,
        major=major,
        minor=minor,
        blur=math.hypot(blur_px, smoothing) * pitch,
        irregularity=irregularity,
        lit_edge=lit_edge,
        one_sided=one_sided,
        fringe=fringe,
        mottling=_mottling(patch),
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
    """Return enclosing diameter, axes of the moments' ellipse and irregularity of a finely sampled patch."""
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
    # pixels of the patch outside its ellipse; inside and outside balance where areas are equal
    inside = (yy * x * x - 2.0 * xy * x * y + xx * y * y) <= 4.0 * (xx * yy - xy * xy)
    common = float(np.count_nonzero(inside))
    together = n + 4.0 * math.pi * math.sqrt(large * small) - common
    irregularity = min(max(1.0 - common / together, 0.0), 1.0)
    return diameter * pitch, 4.0 * math.sqrt(large) * pitch, 4.0 * math.sqrt(small) * pitch, irregularity


def _margin(patch: _Patch, half: Bools, blur_px: float) -> tuple[float, float, float]:
    """Return `lit_edge`, `one_sided` and `fringe` from the pixels around the outline."""
    if not half.any():
        return 0.0, 0.0, 0.0
    away = cv2.distanceTransform((~half).astype(np.uint8), cv2.DIST_L2, 3)
    start = 0.4 + 0.6 * blur_px  # nearer pixels are the blurred edge
    reach = min(max(0.3 * patch.size_px, 3.2), 8.0) - 0.4
    noise = patch.noise / patch.peak
    rows, cols = np.nonzero((away > start) & (away <= start + max(_STEP_PX * _SHELLS, reach)) & patch.free)
    values, beyond = patch.contrast[rows, cols] / patch.peak, away[rows, cols] - start
    shell = np.minimum((beyond / _STEP_PX).astype(np.int64), _SHELLS)
    counts = np.bincount(shell, minlength=_SHELLS + 1)[:_SHELLS]
    shells = np.bincount(shell, values, minlength=_SHELLS + 1)[:_SHELLS] / np.maximum(counts, 1)
    shells[(counts < 5) | (np.abs(shells) <= 2.0 * noise / np.sqrt(np.maximum(counts, 1)))] = 0.0
    lowest = int(shells.argmin())
    fringe = max(float(shells[lowest + 1 :].max(initial=0.0)), 0.0) if shells[lowest] < 0 else 0.0
    near = beyond <= reach
    rows, cols, values = rows[near], cols[near], values[near]
    if rows.size <= _SECTORS:
        return 0.0, 0.0, fringe
    own_rows, own_cols = np.nonzero(half)
    angle = np.arctan2(rows - own_rows.sum() / own_rows.size, cols - own_cols.sum() / own_rows.size)
    wave = 2.0 / rows.size * math.hypot(float(values @ np.cos(angle)), float(values @ np.sin(angle)))
    one_sided = max(wave - 1.5 * noise * math.sqrt(2.0 / rows.size), 0.0)
    sector = np.minimum(((angle + math.pi) * (_SECTORS / (2 * math.pi))).astype(int), _SECTORS - 1)
    counts = np.bincount(sector, minlength=_SECTORS)
    means = np.bincount(sector, values, minlength=_SECTORS) / np.maximum(counts, 1)
    means[counts < 3] = 0.0
    quarters = 0.5 * (means + np.roll(means, 1))
    lit_edge = max(-float(quarters.min()) - 2.0 * noise / math.sqrt(rows.size / 4.0), 0.0)
    return lit_edge, one_sided, fringe


def _mottling(patch: _Patch) -> float:
    """Return the spread of the pixels well inside over the peak, noise removed."""
    padded = cv2.copyMakeBorder(patch.inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    inner = patch.contrast[depth >= min(2.0, 0.6 * float(depth.max()))].astype(np.float64)
    inner -= inner.sum() / inner.size
    return math.sqrt(max(float(inner @ inner) / inner.size - patch.noise**2, 0.0)) / patch.peak
