"""Lines that are no more than spots which happen to lie in a row."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect
from endface.detection.joining import owners
from endface.imaging.acontrario import score_threshold
from endface.imaging.tracing import TracedLine, path_score

_HALO_PX = 4
_CLIP = 2.5
_EPSILON = 0.05


def without_chance_rows(
    lines: list[tuple[TracedLine, int, float]], spots: list[Defect], shape: tuple[int, int]
) -> list[tuple[TracedLine, int, float]]:
    """Drop lines that show nothing between the spots they lead through, and spots in a row by chance.

    Any two of N spots give a direction; on a path of length L through spots of mean diameter d lie L d N / A
    others by chance, A being the area of the picture. A row of k spots counts where fewer than 0.05 such rows
    are expected among all pairs.

    Parameters
    ----------
    lines : list of (TracedLine, polarity, significance)
    spots : list of Defect
        Compact ones.
    shape : (int, int)
        Of the picture.

    References
    ----------
    A. Desolneux, L. Moisan, J.-M. Morel, "Meaningful Alignments", International Journal of Computer Vision 40
    (2000) 7.
    """
    if not lines or not spots:
        return lines
    high = score_threshold(n_tests=len(lines), epsilon=_EPSILON)
    kept = []
    for polarity in (-1, 1):
        alike = [found for found in lines if found[1] == polarity]
        if not alike:
            continue
        own = [spot for spot in spots if spot.polarity == polarity]
        owner = owners(own, shape, reach_px=_HALO_PX)
        kept += [
            found
            for found in alike
            if _shows_between(found[0], owner, high) or _in_a_row(found[0], own, owner)
        ]
    return kept


def _under(line: TracedLine, owner: NDArray[np.int32]) -> NDArray[np.int32]:
    x, y = np.round(line.points).astype(int).T
    inside = np.clip(y, 0, owner.shape[0] - 1), np.clip(x, 0, owner.shape[1] - 1)
    return np.asarray(owner[inside])


def _shows_between(line: TracedLine, owner: NDArray[np.int32], high: float) -> bool:
    between = line.scores[_under(line, owner) == 0]
    return between.size > 0 and path_score(np.clip(between, -_CLIP, _CLIP)) >= high


def _in_a_row(line: TracedLine, spots: list[Defect], owner: NDArray[np.int32]) -> bool:
    numbers = np.unique(_under(line, owner))
    numbers = numbers[numbers > 0]
    k, n = len(numbers), len(spots)
    if k < 3:
        return False
    across = np.mean([math.sqrt(4 / math.pi * spots[number - 1].area_px) for number in numbers])
    others = line.length_px * float(across) * n / owner.size
    # k - 2 and more by a Poisson law: its first term and a geometric series
    first = math.exp((k - 2) * math.log(others) - others - math.lgamma(k - 1))
    tail = min(first / max(1 - others / (k - 1), 1e-3), 1.0)
    return 0.5 * n * (n - 1) * tail < _EPSILON
