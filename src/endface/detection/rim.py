"""Chips along the cladding rim: stretches where the edge leaves its ellipse towards the brighter side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from endface.annotation import Defect, Zones
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.ellipse import Ellipse
from endface.imaging.noise import fit_tail, robust_sigma

# an edge is located to a tenth of a pixel, but sampling and JPEG move it by more here and there
_LEAST_STEP_PX = 0.5


def detect_rim_chips(image: NDArray[np.generic], zones: Zones, *, epsilon: float) -> list[Defect]:
    """Find chips from the deviation of the rim that `segment_zones` measured.

    A chip is dark: where it breaks the rim, the dark side grows. Slow deviations (the fibre is not a perfect
    ellipse) are taken out by a running median over 30 degrees.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values.
    zones : Zones
        With `rim_angles_rad` and `rim_deviation_px`.
    epsilon : float
        Expected number of false alarms on the whole rim.
    """
    if zones.cladding is None or zones.rim_deviation_px.size < 64:
        return []
    angles = zones.rim_angles_rad
    outward = 1.0 if _fibre_is_dark(image, zones.cladding, angles) else -1.0
    bulge = np.nan_to_num(zones.rim_deviation_px) * outward
    bulge -= median_filter(bulge, max(3, len(bulge) // 12) | 1, mode="wrap")
    step = np.asarray(uniform_filter1d(bulge, 3, mode="wrap"), np.float32)
    sigma = max(robust_sigma(step), 0.05)
    score = fit_tail(step / sigma, max_slope=0.1).normal_score(step / sigma)
    n_tests = len(step)
    threshold = score_threshold(n_tests=n_tests, epsilon=epsilon)
    chips = []
    for first, last in _runs((score > 0.5 * threshold) & (step > 0.5 * _LEAST_STEP_PX)):
        run = np.arange(first, last + 1) % len(step)
        peak = float(score[run].max())
        if peak >= threshold and float(step[run].max()) >= _LEAST_STEP_PX and len(run) >= 3:
            notch = _notch(zones.cladding, angles[run], step[run] * np.float32(outward), zones.shape)
            chips.append(_defect(*notch, significance(peak, n_tests=n_tests)))
    return [chip for chip in chips if chip.area_px > 0]


def _fibre_is_dark(image: NDArray[np.generic], cladding: Ellipse, angles: NDArray[np.float64]) -> bool:
    levels = []
    for factor in (0.93, 1.07):
        x, y = cladding.scaled(factor).points(angles).T
        col = np.clip(np.round(x).astype(int), 0, image.shape[1] - 1)
        row = np.clip(np.round(y).astype(int), 0, image.shape[0] - 1)
        levels.append(float(np.median(image[row, col])))
    return levels[0] < levels[1]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True on a closed ring; last may exceed the length."""
    if flags.all() or not flags.any():
        return []
    start = int(np.flatnonzero(~flags)[0])
    turned = np.concatenate([[False], np.roll(flags, -start), [False]])
    change = np.flatnonzero(turned[1:] != turned[:-1])
    return [(int(a) + start, int(b) - 1 + start) for a, b in zip(change[::2], change[1::2], strict=True)]


def _notch(
    cladding: Ellipse, angles: NDArray[np.float64], step_px: NDArray[np.float32], shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, int]:
    # what lies between the ellipse and the edge, and a pixel to each side, as the notch is blurred
    low, high = np.minimum(step_px, 0) - 1.5, np.maximum(step_px, 0) + 1.0
    rim = cladding.points(angles)
    outward = rim - [cladding.cx_px, cladding.cy_px]
    outward /= np.hypot(outward[:, 0], outward[:, 1])[:, None]
    polygon = np.concatenate([rim + outward * low[:, None], (rim + outward * high[:, None])[::-1]])
    left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 2, [shape[1], shape[0]])
    canvas = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint8)
    if canvas.size:
        cv2.fillPoly(canvas, [np.round((polygon - [left, top]) * 16).astype(np.int32)], 1, shift=4)
    return canvas, int(left), int(top)


def _defect(mask: NDArray[np.uint8], left: int, top: int, score: float) -> Defect:
    x, y, width, height = cv2.boundingRect(mask) if mask.size else (0, 0, 0, 0)
    body = mask[y : y + height, x : x + width].astype(bool)
    return Defect(mask=body, x_px=left + x, y_px=top + y, detector="rim", score=score, polarity=-1)
