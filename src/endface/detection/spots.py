"""Spots that noise would not produce, from a structure-free image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.detection.structure import Residual
from endface.imaging.acontrario import n_spot_tests, score_threshold, significance
from endface.imaging.noise import LocalNoise
from endface.imaging.regions import region_evidence

_SCALES_PX = (0.8, 1.6, 3.2)
# Sums over many pixels are significant at contrasts no inspector could see; shading and soft patches below
# this contrast, in standard deviations of the noise of one pixel, are not counted as defects.
VISIBLE_SPOT = 1.8
# Light catches on a rim: bright spots so near it, in cladding radii, are by so many decades likelier than
# noise makes them.
_GLINT, _GLINTS_WITHIN = 9.0, (0.1, 0.2)


def detect_spots(
    residual: Residual, sigma: NDArray[np.float32], zones: Zones, *, epsilon: float
) -> tuple[list[Defect], LocalNoise]:
    """Find spots of either polarity above the noise `sigma` (H, W), with `epsilon` expected false alarms.

    Also tells how the noise varies from place to place.
    """
    area = float(np.count_nonzero(residual.mask))
    n_tests = [n_spot_tests(area, size * size, looks=2 * len(_SCALES_PX)) for size in _SCALES_PX]
    evidence = region_evidence(
        residual.gray,
        lambda values, factor: residual.sigma(values, factor=factor),
        residual.zones,
        thresholds=[score_threshold(n_tests=n, epsilon=epsilon / 2) for n in n_tests],
        finest_px=_SCALES_PX[0],
        noisy=residual.noisy,
        grain=zones.cladding is not None,
        # blocks and steps that a codec leaves are as high at every size
        least=0.0 if residual.noisy is residual.zones else residual.least,
    )
    found = []
    for number, (top, left, bottom, right) in enumerate(evidence.boxes.tolist()):
        if not number:
            continue
        box = slice(top, bottom), slice(left, right)
        inside = evidence.labels[box] == number
        contrast = float(evidence.contrast[number]) / float(sigma[(top + bottom) // 2, (left + right) // 2])
        score = significance(float(evidence.scores[number]), n_tests=n_tests[0])
        polarity = int(evidence.polarity[number])
        if polarity > 0:
            score -= _GLINT * _near_rim(zones, box)
        if contrast < VISIBLE_SPOT or score < -np.log10(epsilon):
            continue
        found.append(
            Defect(mask=inside, x_px=left, y_px=top, detector="region", score=score, polarity=polarity)
        )
    return found, evidence.noise


def _near_rim(zones: Zones, box: tuple[slice, slice]) -> float:
    """Return how far, 0 to 1, a spot is one of those that lie near the rim."""
    if zones.cladding is None:
        return 0.0
    y, x = (0.5 * (side.start + side.stop - 1) for side in box)
    away = abs(float(zones.cladding.normalized_radius(x, y)) - 1)
    return float(np.interp(away, _GLINTS_WITHIN, (1.0, 0.0)))
