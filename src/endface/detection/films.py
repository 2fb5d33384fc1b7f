"""Films of oil and fields of specks that are seen as a whole where their parts are too weak to be found."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect
from endface.detection.structure import RIM, SURFACE, Residual
from endface.imaging.acontrario import n_spot_tests, score_threshold, significance
from endface.imaging.loudness import CELL_PX, FINEST_CELLS, LoudRegion, loud_regions, octave
from endface.imaging.noise import middle_pixels
from endface.imaging.regions import halved

_SIZES, _FACTORS = 3, (2, 4)
# Sums over many pixels are significant at contrasts no inspector could see: what is less than 1.35 times as
# loud, with ups and downs of less than 0.9 standard deviations of the noise, is not counted as a defect.
_VISIBLE = 0.3
# Halo of a find of so many standard deviations: it is as high as one of them where the halo of the strongest
# allowed share, which decays with the square of the distance, comes down to it.
_HALO_PX, _HALO_SHARE = 7.0, 0.4
_LEAST_PX, _MOST_PX = 6, 96


def detect_films(
    residual: Residual, sigma: NDArray[np.float32], finds: list[Defect], *, epsilon: float
) -> list[Defect]:
    """Find regions louder than their zone that single finds and their halos do not explain.

    Parameters
    ----------
    residual : Residual
    sigma : (H, W) float32 ndarray
        Noise of a pixel.
    finds : list of Defect
        What was found so far.
    epsilon : float
        Expected false alarms.
    """
    # what a codec left of noise is loud in some places and silent in others
    if residual.noisy is not residual.zones:
        return []
    alone = _explained(residual, sigma, finds)
    coarse = residual.gray
    canvas = np.zeros(residual.gray.shape, np.float32)
    for factor in _FACTORS:
        coarse = halved(coarse)
        band = octave(coarse)
        zones = middle_pixels(residual.zones, factor)
        zones[zones == RIM] = 0
        cells = np.count_nonzero(zones) / CELL_PX**2
        radii = [FINEST_CELLS * 2.0**size for size in range(_SIZES)]
        n_tests = [n_spot_tests(cells, r * r, looks=len(_FACTORS) * _SIZES) for r in radii]
        found = loud_regions(
            band / residual.sigma(band, factor=factor),
            zones,
            cv2.resize(alone, zones.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0,
            thresholds=[score_threshold(n_tests=n, epsilon=epsilon) for n in n_tests],
            uneven=(SURFACE,),
        )
        for region in found:
            if region.excess >= _VISIBLE:
                score = significance(region.score, n_tests=n_tests[0])
                drawn = _drawn(region, factor, canvas.shape)
                # where both octaves show a film, the finer one tells better where it ends
                if factor == _FACTORS[0] or not canvas[drawn].any():
                    np.maximum(canvas, np.float32(score) * drawn, out=canvas)
    return _regions(canvas * residual.mask)


def _explained(residual: Residual, sigma: NDArray[np.float32], finds: list[Defect]) -> NDArray[np.uint8]:
    """Mark with 1 what finds and their halos explain, at a quarter of the image's size."""
    reaches = np.zeros(residual.gray.shape, np.uint8)
    for find in finds:
        contrast = float((np.abs(residual.gray[find.box]) / sigma[find.box])[find.mask].max())
        reach = min(max(_HALO_PX * math.sqrt(_HALO_SHARE * contrast), _LEAST_PX), _MOST_PX)
        # three reaches per octave are exact enough
        step = math.ceil(3 * math.log2(reach))
        np.maximum(reaches[find.box], step * find.mask.astype(np.uint8), out=reaches[find.box])
    wide = np.asarray(cv2.dilate(reaches, np.ones((5, 5), np.uint8)), np.uint8)
    coarse = middle_pixels(wide, 4)
    alone = np.zeros(coarse.shape, np.uint8)
    for step in np.unique(coarse[coarse > 0]).tolist():
        distance = cv2.distanceTransform((coarse != step).astype(np.uint8), cv2.DIST_L2, 3)
        alone |= distance <= 0.25 * 2.0 ** (step / 3)
    return alone


def _drawn(region: LoudRegion, factor: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bring cells to the pixels of an image of `shape`, with rounded corners."""
    step = factor * CELL_PX
    rows, cols = region.mask.shape
    large = cv2.resize(
        region.mask.astype(np.float32), (cols * step, rows * step), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(large[: shape[0], : shape[1]] > 0.5)


def _regions(scores: NDArray[np.float32]) -> list[Defect]:
    """Make a defect of each connected region of positive scores (H, W)."""
    if not scores.any():
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats((scores > 0).astype(np.uint8), connectivity=8)
    films = []
    for number, (x, y, width, height, _area) in enumerate(stats[1:].tolist(), start=1):
        box = np.s_[y : y + height, x : x + width]
        mask = labels[box] == number
        films.append(
            Defect(mask, x_px=x, y_px=y, detector="film", score=float(scores[box][mask].max()), polarity=0)
        )
    return films
