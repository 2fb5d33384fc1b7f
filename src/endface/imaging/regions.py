"""Evidence for compact defects: spots that stand out from a structure-free image, at several sizes.

The family of the difference of min-max ranking (DO2MR): a local extremum against its surroundings. Scores are
in standard deviations of the noise at that size; outlines follow a fixed share of each spot's own peak, so
that blur and threshold do not change its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import fit_tail, near_strong, standardize

# Outline of a spot: this share of its own peak. For a disc of any size blurred by the optics the half-height
# contour keeps the true diameter; a little lower follows what people draw.
_OUTLINE_SHARE = 0.45


@dataclass(frozen=True)
class RegionEvidence:
    """Spots found at any size.

    Attributes
    ----------
    labels : (H, W) int32 ndarray
        Number of the spot, 0 none.
    scores : (n + 1,) float64 ndarray
        Peak score of each spot in standard deviations; index 0 unused.
    polarity : (n + 1,) int8 ndarray
        -1 dark, +1 bright.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    polarity: NDArray[np.int8]


def region_evidence(
    residual: NDArray[np.float32],
    noise: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    zones: NDArray[np.uint8],
    *,
    thresholds: Sequence[float],
    scales_px: tuple[float, ...] = (0.8, 1.6, 3.2),
) -> RegionEvidence:
    """Find spots darker or brighter than the structure-free image's noise.

    Parameters
    ----------
    residual : (H, W) float32 ndarray
        Image minus its smooth and concentric background.
    noise : callable
        Gives the standard deviation (H, W) of the noise in a smoothed copy of `residual`.
    zones : (H, W) uint8 ndarray
        Zone numbers from 1, each with a noise of its own; 0 is not looked at.
    thresholds : sequence of float
        Score from which a spot counts, one per scale.
    scales_px : tuple of float
        Standard deviations of the smoothing, fine to coarse.

    Returns
    -------
    RegionEvidence
    """
    mask = zones > 0
    found = np.zeros(residual.shape, np.uint8)
    total = np.zeros(residual.shape, np.float32)
    sign = np.zeros(residual.shape, np.int8)
    for scale, threshold in zip(scales_px, thresholds, strict=True):
        smooth = np.asarray(cv2.GaussianBlur(residual, (0, 0), scale), np.float32)
        score, clean = standardize(smooth / noise(smooth), mask, block_px=max(32, 16 * round(scale)))
        normal = _normal_scores(score, zones, clean)
        for polarity in (-1, 1):
            spots, peak = _spots(smooth * polarity, np.maximum(normal * polarity, 0), threshold, scale)
            # a coarser scale adds only what no finer one has seen, of either sign (halos of sharpening)
            spots = _new_components(spots, found)
            found |= spots
            np.copyto(total, peak, where=spots.astype(bool))
            sign[spots.astype(bool)] = polarity
    return _collect(found, total, sign)


def _normal_scores(
    score: NDArray[np.float32], zones: NDArray[np.uint8], clean: NDArray[np.bool_]
) -> NDArray[np.float32]:
    for _ in range(2):
        normal = np.zeros_like(score)
        for zone in range(1, int(zones.max()) + 1):
            inside = zones == zone
            tail = fit_tail(score[inside & clean][::2])
            values = score[inside]
            normal[inside] = np.sign(values) * tail.normal_score(np.abs(values))
        # what the tail explains is noise after all
        clean = (zones > 0) & ~near_strong(normal, limit=4.5)
    return normal


def _spots(
    values: NDArray[np.float32], score: NDArray[np.float32], threshold: float, scale_px: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    # hysteresis: outlines at a share of the local peak, kept where that peak is significant
    reach = int(np.ceil(3 * scale_px)) * 2 + 3
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    top = cv2.dilate(values, disc)
    peak_score = np.asarray(cv2.dilate(score, disc), np.float32)
    body = (values >= _OUTLINE_SHARE * top) & (score > 0.3 * threshold) & (peak_score >= threshold)
    seeds = body & (score >= threshold)
    n, labels = cv2.connectedComponents(body.astype(np.uint8), connectivity=8)
    keep: NDArray[np.uint8] = np.zeros(n, np.uint8)
    keep[labels[seeds]] = 1
    keep[0] = 0
    return np.asarray(keep[labels]), peak_score


def _new_components(spots: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not found.any():
        return spots
    n, labels = cv2.connectedComponents(spots, connectivity=8)
    fresh: NDArray[np.uint8] = np.ones(n, np.uint8)
    touched = cv2.dilate(found, np.ones((5, 5), np.uint8)).astype(bool)
    fresh[labels[touched]] = 0
    fresh[0] = 0
    return np.asarray(fresh[labels])


def _collect(found: NDArray[np.uint8], total: NDArray[np.float32], sign: NDArray[np.int8]) -> RegionEvidence:
    labels = np.zeros(found.shape, np.int32)
    count = 0
    for polarity in (-1, 1):
        n, part = cv2.connectedComponents(((found > 0) & (sign == polarity)).astype(np.uint8), connectivity=8)
        labels[part > 0] = part[part > 0] + count
        count += n - 1
    scores, signs = np.zeros(count + 1), np.zeros(count + 1, np.int8)
    inside = labels > 0
    np.maximum.at(scores, labels[inside], total[inside])
    signs[labels[inside]] = sign[inside]
    return RegionEvidence(labels, scores, signs)
