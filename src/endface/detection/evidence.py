"""The default detector: spots, lines, rim chips and films that noise would not produce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.detection.fields import unite_fields
from endface.detection.films import detect_films
from endface.detection.merging import is_long, join_corners, merge_findings
from endface.detection.rim import detect_rim_chips
from endface.detection.scratches import detect_lines
from endface.detection.spots import detect_spots
from endface.detection.structure import remove_structure


def detect_by_evidence(
    image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1
) -> tuple[Defect, ...]:
    """Detect spots, lines, rim chips and films by a-contrario evidence; the default detector."""
    residual = remove_structure(image, zones)
    if not residual.mask.any():
        return ()
    sigma, quiet = residual.noise(residual.gray)
    spots, local = detect_spots(residual, sigma, zones, epsilon=epsilon)
    # what is long may be a line itself
    compact = [spot for spot in spots if not is_long(spot)]
    lines = detect_lines(residual, sigma, quiet, local, zones, compact, epsilon=epsilon)
    chips = detect_rim_chips(residual, zones, epsilon=epsilon / 100)
    found = list(merge_findings(spots, lines, chips, zones))
    films = detect_films(residual, sigma, found, epsilon=epsilon / 20)
    return tuple(join_corners(unite_fields(found, films, zones), zones))
