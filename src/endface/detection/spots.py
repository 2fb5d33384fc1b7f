"""Spots that noise would not produce, from a structure-free image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from endface.annotation import Defect, Zones
from endface.detection.structure import Residual
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.regions import region_evidence

# Sums over many pixels are significant at contrasts no inspector could see; shading and soft patches below
# this contrast, in standard deviations of the noise of one pixel, are not counted as defects.
_VISIBLE_SPOT = 1.8
_GLINT = 10.0


def detect_spots(
    residual: Residual, sigma: NDArray[np.float32], zones: Zones, *, epsilon: float
) -> list[Defect]:
    """Find spots of either polarity above the noise `sigma` (H, W), with `epsilon` expected false alarms."""
    scales = (0.8, 1.6, 3.2)
    area = np.count_nonzero(residual.mask)
    n_tests = np.maximum(2 * len(scales) * area / (2 * np.pi * np.square(scales)), 1)
    thresholds = [score_threshold(n_tests=n, epsilon=epsilon / 2) for n in n_tests]
    evidence = region_evidence(
        residual.gray, lambda x: residual.noise(x)[0], residual.zones, thresholds=thresholds, scales_px=scales
    )
    found = []
    for number, box in _boxes(evidence.labels):
        inside = evidence.labels[box] == number
        contrast = abs(float(np.median(residual.gray[box][inside]))) / float(np.median(sigma[box][inside]))
        score = significance(float(evidence.scores[number]), n_tests=n_tests[0])
        polarity = int(evidence.polarity[number])
        # light catches on a rim: weak bright spots there are glints
        glint = polarity > 0 and score < _GLINT and _near_rim(zones, box)
        if contrast < _VISIBLE_SPOT or glint or score < -np.log10(epsilon):
            continue
        found.append(
            Defect(
                mask=inside,
                x_px=box[1].start,
                y_px=box[0].start,
                detector="region",
                score=score,
                polarity=polarity,
            )
        )
    return found


def _near_rim(zones: Zones, box: tuple[slice, slice]) -> bool:
    if zones.cladding is None:
        return False
    y, x = (0.5 * (side.start + side.stop - 1) for side in box)
    return bool(abs(float(zones.cladding.normalized_radius(x, y)) - 1) < 0.15)


def _boxes(labels: NDArray[np.int32]) -> list[tuple[int, tuple[slice, slice]]]:
    found = enumerate(find_objects(labels), start=1)
    return [(i, (box[0], box[1])) for i, box in found if box is not None]
