"""The published detector of Mei et al. 2018, DO2MR for spots and LEI for scratches: the yardstick.

What is the paper's and what is our reading of it is told in docs/algorithms/mei2018.md.

References
----------
Mei, Su, Li, Song, Zhou, "Automated Inspection of Defects in Optical Fiber Connector End Face Using Novel
Morphology Approaches", Sensors 18 (2018) 1408, doi:10.3390/s18051408.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, Defect, Zones
from endface.imaging.do2mr import rank_residual, segment_residual, shrink_zones, smooth_gaussian, zone_scores
from endface.imaging.lei import equalize, line_kernels, line_scores

WINDOW_PX = 5
GAMMA = 3.0
LINE_SIGMAS = 2.0
MIN_AREA_PX = 5
# half the DO2MR window plus the reach of the Gaussian before it: within it a window sees two zones
_MARGIN_PX = (WINDOW_PX - 1) // 2 + 2


@dataclass(frozen=True, eq=False, slots=True)
class PublishedScores:
    """Both score maps of an image, each (H, W) float32 in standard deviations above the mean of the zone.

    Attributes
    ----------
    region, line : (H, W) float32 ndarray
        DO2MR, and the strongest LEI orientation; 0 where nothing is inspected.
    dark : (H, W) bool ndarray
        Where the line is a dark one.
    """

    region: NDArray[np.float32]
    line: NDArray[np.float32]
    dark: NDArray[np.bool_]


def detect(image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1) -> tuple[Defect, ...]:
    """Find defects by DO2MR and the DC-free LEI at the published thresholds.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values of any real type; never changed.
    zones : Zones
        Mean and standard deviation are taken per anatomical zone.
    epsilon : float
        Not used: the thresholds are the published multiples of a standard deviation (3 for spots, 2 for
        lines), whatever number of false alarms that makes.

    Returns
    -------
    tuple of Defect
        'region' and 'line' findings. `score` is the peak in standard deviations, not a significance. A
        region's polarity is 0, as a min-max difference has no sign.

    Notes
    -----
    Spots are reported about 4 px too wide (the window). Scratches leave many fragments, and noise makes
    hundreds of short ones on a clean image: a threshold of 2 standard deviations is exceeded by 2 % of noise,
    in 12 orientations.

    Examples
    --------
    >>> from endface.zones import plain_zones
    >>> image = np.random.default_rng(0).normal(120, 2, (128, 128)).astype(np.float32)
    >>> image[60:66, 40:46] -= 40
    >>> sum(defect.detector == "region" for defect in detect(image, plain_zones(image)))
    1
    """
    del epsilon  # part of the protocol
    return threshold_scores(score_maps(image, zones))


def detect_literal(image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1) -> tuple[Defect, ...]:
    """Find defects as `detect` does, but with LEI read to the letter: 2 f_r - mean(f_g), bright lines only.

    On a flat surface that is the grey level, so the map shows mostly illumination. `epsilon` is not used.
    """
    del epsilon
    return threshold_scores(score_maps(image, zones, literal=True))


def score_maps(image: NDArray[np.generic], zones: Zones, *, literal: bool = False) -> PublishedScores:
    """Compute both score maps, which thresholds turn into findings (`threshold_scores`)."""
    valid = zones.valid
    anatomy = np.where(valid, zones.anatomy, np.uint8(AnatomyZone.OUTSIDE))
    inspected = shrink_zones(anatomy, margin_px=_MARGIN_PX)
    if not inspected.any():
        nothing = np.zeros(zones.shape, np.float32)
        return PublishedScores(nothing, nothing, nothing.astype(bool))
    gray = np.where(valid, image, 0).astype(np.float32)
    gray[~valid] = np.median(gray[valid])  # a dead border would put an edge into every window beside it
    residual = rank_residual(smooth_gaussian(gray), window_px=WINDOW_PX)
    lines = line_scores(
        equalize(image, valid),
        inspected,
        kernels=line_kernels(dc_free=not literal),
        both_polarities=not literal,
    )
    return PublishedScores(zone_scores(residual, inspected), lines.scores, lines.dark)


def threshold_scores(
    scores: PublishedScores, *, gamma: float = GAMMA, line_sigmas: float = LINE_SIGMAS
) -> tuple[Defect, ...]:
    """Turn score maps into findings: those of DO2MR, then those of LEI; the two may overlap."""
    spots = components(segment_residual(scores.region, gamma=gamma), scores.region, detector="region")
    lines = components(scores.line > line_sigmas, scores.line, detector="line", dark=scores.dark)
    return (*spots, *lines)


def components(
    mask: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    detector: str,
    dark: NDArray[np.bool_] | None = None,
    min_area_px: int = MIN_AREA_PX,
) -> tuple[Defect, ...]:
    """Return the 8-connected parts of a mask (H, W) of at least `min_area_px` pixels, scored by their peak.

    `dark` tells the polarity, read at the peak; 0 without it.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for number in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= min_area_px):
        if number == 0:  # the background
            continue
        x, y, width, height = (int(value) for value in stats[number, :4])
        box = (slice(y, y + height), slice(x, x + width))
        part = labels[box] == number
        inside = np.where(part, scores[box], -np.inf)
        peak = int(inside.argmax())
        polarity = 0 if dark is None else (-1 if dark[box].flat[peak] else 1)
        found.append(Defect(part, x, y, detector, float(inside.flat[peak]), polarity))
    return tuple(found)
