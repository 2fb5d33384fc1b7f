"""Places where an image is louder than its noise is elsewhere: many weak ups and downs, none of them sure.

A film of oil shows fringes, a field of residue specks. Where none of them stands out by itself, together they
still raise the mean size of what is seen there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.illumination import block_means, robust_polynomial
from endface.imaging.noise import middle_pixels, robust_sigma
from endface.imaging.regions import region_evidence

# side of a cell, of which one mean is taken, and the smallest size of a region in cells (standard deviation)
CELL_PX = 4
FINEST_CELLS = 0.8
# an octave of sizes (standard deviations): what is coarser is not even noise, what is finer is not seen
_FINE_PX, _COARSE_PX = 0.5, 1.4
# no pixel counts for more than so many standard deviations: many make a region, not a few strong ones
_CLIP = 3.0
# a cell of which less is left tells nothing
_LEAST_SHARE = 0.2
_FEWEST_CELLS = 30
# outline of a region: this share of the height of its ups and downs at the peak, and at the least so many
# standard deviations, in an image smoothed by so many cells
_OUTLINE_SHARE, _OUTLINE_SIGMA, _OUTLINE_CELLS = 0.45, 2.0, 1.2


@dataclass(frozen=True, eq=False)
class LoudRegion:
    """A region louder than the rest.

    Attributes
    ----------
    mask : (r, c) bool ndarray
        Cells of `CELL_PX` pixels squared, of the whole image.
    score : float
        How sure it is, in standard deviations.
    excess : float
        How much louder it is at its peak: natural logarithm of the factor.
    """

    mask: NDArray[np.bool_]
    score: float
    excess: float


def octave(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what an image (h, w) shows in sizes of one to four pixels: noise of it is nearly white."""
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (_FINE_PX, _COARSE_PX))
    return np.asarray(fine - coarse, np.float32)


def loud_regions(
    scores: NDArray[np.float32],
    zones: NDArray[np.uint8],
    alone: NDArray[np.bool_],
    *,
    thresholds: Sequence[float],
    uneven: Sequence[int] = (),
) -> list[LoudRegion]:
    """Find regions in which deviations are larger than elsewhere in the same zone.

    Parameters
    ----------
    scores : (h, w) float32 ndarray
        Zero-mean values over the standard deviation of their noise, from `octave`.
    zones : (h, w) uint8 ndarray
        Zone numbers, each with a loudness of its own; 0 is not looked at, nor are the seams of zones.
    alone : (h, w) bool ndarray
        Pixels whose deviations are known to belong to something small: no evidence of a region, but within it
        where it is seen round them.
    thresholds : sequence of float
        Score from which a region counts, one per size, each twice the one before.
    uneven : sequence of int
        Zones in which what is usual changes slowly from place to place.

    Returns
    -------
    list of LoudRegion

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(0, 1, (256, 256)).astype(np.float32)
    >>> noise[80:140, 60:130] *= 1.6
    >>> nothing = np.zeros(noise.shape, bool)
    >>> (film,) = loud_regions(noise, np.ones(noise.shape, np.uint8), nothing, thresholds=(5, 5, 5))
    >>> bool(0.8 < film.mask.sum() * CELL_PX**2 / (60 * 70) < 1.3)
    True
    """
    kind = _whole_cells(zones)
    apart = ((zones > 0) & ~alone).astype(np.float32)
    share = block_means(apart, CELL_PX)
    apart *= np.minimum(np.abs(scores), np.float32(_CLIP))
    level = np.asarray(block_means(apart, CELL_PX) / np.maximum(share, np.float32(1e-3)), np.float32)
    known = np.where(share > _LEAST_SHARE, kind, 0).astype(np.uint8)
    for zone in np.unique(known[known > 0]).tolist():
        here = known == zone
        # a few cells cannot tell what is usual among them
        if np.count_nonzero(here) < _FEWEST_CELLS:
            known[here] = 0
            continue
        usual = robust_polynomial(
            level, np.where(here, share, np.float32(0)), degree=2 if zone in uneven else 0
        )
        level[here] /= np.maximum(usual[here], np.float32(1e-3))
    # logarithms, as what is patchy is so by factors; weighted by how much of a cell is known
    share = share * (known > 0)
    deviation = np.log(np.maximum(level, np.float32(0.1))) * share
    evidence = region_evidence(
        deviation,
        lambda values, factor: _spread(values, middle_pixels(known, factor)),
        known,
        thresholds=thresholds,
        finest_px=FINEST_CELLS,
    )
    if not (evidence.polarity > 0).any():
        return []
    # what is not known is as loud as what lies round it
    top, bottom = (cv2.GaussianBlur(part, (0, 0), _OUTLINE_CELLS) for part in (deviation, share))
    smooth = np.asarray(top / np.maximum(bottom, np.float32(0.1)), np.float32)
    spread = _spread(smooth, known)
    found = []
    for number in np.flatnonzero(evidence.polarity > 0).tolist():
        seen = evidence.labels == number
        excess = float(evidence.contrast[number])
        # noise and the ups and downs of a film add up as squares
        height = _OUTLINE_SHARE**2 * (math.exp(2 * excess) - 1)
        outline = seen | (smooth > np.maximum(0.5 * math.log1p(height), _OUTLINE_SIGMA * spread))
        _, parts = cv2.connectedComponents(outline.astype(np.uint8), connectivity=4)
        mask = np.isin(parts, np.unique(parts[seen]))
        found.append(LoudRegion(mask, float(evidence.scores[number]), excess))
    return found


def _whole_cells(zones: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the zone of every cell that lies, with its surroundings, within one; 0 for the others."""
    reach = np.ones((2 * CELL_PX + 1,) * 2, np.uint8)
    low, high = cv2.erode(zones, reach), cv2.dilate(zones, reach)
    return middle_pixels(np.where(low == high, zones, 0).astype(np.uint8), CELL_PX)


def _spread(values: NDArray[np.float32], kind: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the standard deviation of the noise of `values` in each zone, at least half of that of all."""
    overall = robust_sigma(values[kind > 0])
    spread = np.full(values.shape, overall + 1e-6, np.float32)
    for zone in np.unique(kind[kind > 0]).tolist():
        here = kind == zone
        spread[here] = max(robust_sigma(values[here]), 0.5 * overall) + 1e-6
    return spread
