"""Chips along the cladding rim: short dark breaks in what runs along it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.detection.joining import trim
from endface.detection.spots import VISIBLE_SPOT
from endface.detection.structure import Residual
from endface.imaging.acontrario import n_spot_tests, score_threshold, significance
from endface.imaging.ellipse import Ellipse
from endface.imaging.rimchart import RimStrip, rim_breaks, rim_strip
from endface.imaging.rimnoise import (
    blur_along,
    bright_side_sigma,
    grown,
    level_scores,
    loudness,
    matched_filters,
    quiet_columns,
)

# along the rim and across it
_SCALES_PX = ((0.8, 0.8), (1.6, 1.2), (3.2, 1.6))
_OUTWARDS_PX = 4.0
# outlines of the smallest would follow noise
_OUTLINE_PX = 1.2
# spots are looked for a little outside, as a rim is known to half a pixel; a chip is of glass
_OUTSIDE_PX = 0.5
_NEAR_RIM_PX = 3.0
# seen through a filter of its own size a spot has half of its height, a wide one more
_LEAST_PEAK = 0.7
# where an edge runs along the pixels' rows or columns, what a codec does to it may leave so much of its place
_MOVES_PX = 0.03
# as with other spots, an outline is a share of the spot's own peak
_OUTLINE_SHARE = 0.48
_PASS_SHARE = 0.7
_REACH_PX = 48
_REACH_ROWS_PX = 3


@dataclass(frozen=True, eq=False)
class _Size:
    """The strip looked at in one size: values, and scores of dark spots in units of the threshold."""

    smooth: NDArray[np.float32]
    scores: NDArray[np.float32]
    threshold: float
    n_tests: float


def detect_rim_chips(residual: Residual, zones: Zones, *, epsilon: float) -> list[Defect]:
    """Find chips: dark spots on a strip straightened along the rim.

    A pixel is compared with what lies as far from the rim as it does, near by where the rim is whole; its
    noise is that of its own distance from the rim, and there are few places on a rim, so less contrast is
    needed than elsewhere. What does not reach the rim is judged by the places of the whole picture.

    Parameters
    ----------
    residual : Residual
        From `remove_structure`.
    zones : Zones
        Of the same image, with a cladding and `rim_deviation_px`; without, nothing is found.
    epsilon : float
        Expected number of false alarms on the whole rim.
    """
    if zones.cladding is None or zones.rim_deviation_px.size < 64:
        return []
    cladding = zones.cladding
    strip = rim_strip(
        cladding, zones.rim_deviation_px, inwards_px=_inwards_px(cladding), outwards_px=_OUTWARDS_PX
    )
    known = strip.unroll(residual.mask.astype(np.uint8), interpolation=cv2.INTER_NEAREST) > 0
    if np.count_nonzero(known) < 1000:
        return []
    image = residual.evenly_lit()
    breaks = rim_breaks(image, strip) * known
    steepness = np.gradient(np.median(strip.unroll(image)[:, ::3], axis=1))
    breaks /= loudness(breaks, known)
    elsewhere = np.log10(np.count_nonzero(residual.mask) / np.count_nonzero(known))
    visible = np.maximum(bright_side_sigma(breaks, known), np.float32(residual.least))
    visible *= np.float32(_LEAST_PEAK * VISIBLE_SPOT)
    sizes = _sizes(breaks, known, strip, least=residual.least, epsilon=epsilon, steepness=steepness)
    chips = []
    for body, row, column, score in _spots(sizes, visible):
        depth_px = strip.offset_px[row : row + len(body)][np.nonzero(body)[0]]
        if depth_px.max() < -_NEAR_RIM_PX:
            score -= float(elsewhere)
        if depth_px.mean() <= _OUTSIDE_PX and score >= -np.log10(epsilon):
            mask, left, top = strip.roll(body, row=row, column=column, shape=zones.shape)
            if mask.any():
                chip = Defect(mask=mask, x_px=left, y_px=top, detector="rim", score=score, polarity=-1)
                chips.append(trim(chip))
    return chips


def along_rim(defect: Defect, zones: Zones) -> NDArray[np.bool_]:
    """Mark the pixels of a defect's box (h, w) that lie where `detect_rim_chips` looks."""
    if zones.cladding is None:
        return np.zeros(defect.mask.shape, bool)
    rows, cols = defect.box
    x, y = np.arange(cols.start, cols.stop)[None, :], np.arange(rows.start, rows.stop)[:, None]
    outside_px = (zones.cladding.normalized_radius(x, y) - 1) * zones.cladding.radius_px
    return np.asarray((outside_px >= -_inwards_px(zones.cladding)) & (outside_px <= _OUTWARDS_PX))


def _inwards_px(cladding: Ellipse) -> float:
    return max(8.0, 0.05 * cladding.radius_px)


def _sizes(
    breaks: NDArray[np.float32],
    known: NDArray[np.bool_],
    strip: RimStrip,
    *,
    least: float,
    epsilon: float,
    steepness: NDArray[np.float32],
) -> list[_Size]:
    quiet, covariance = quiet_columns(breaks, known, least=least)
    sizes = []
    for along, across in _SCALES_PX:
        filters = matched_filters(covariance, across)
        seen = blur_along(filters @ breaks, along)
        still = ~grown(~quiet, round(along))
        still = still if still.mean() > 0.1 else quiet
        sigma = np.sqrt(np.square(seen[:, still]).mean(axis=1))
        # the moves repeat with every pixel's row that the rim crosses: smoothing leaves so much of them
        moves = np.float32(_MOVES_PX) * np.exp(-2 * (np.float32(np.pi * along) * strip.tilt) ** 2)
        score = -seen / np.hypot(sigma[:, None], np.abs(filters @ steepness)[:, None] * moves)
        n_tests = n_spot_tests(float(np.count_nonzero(known)), along * across, looks=len(_SCALES_PX))
        threshold = score_threshold(n_tests=n_tests, epsilon=epsilon)
        score, raw = level_scores(score * known, known, threshold=threshold, beside_px=int(along))
        smooth = blur_along(breaks, max(along, _OUTLINE_PX), max(across, _OUTLINE_PX))
        sizes.append(_Size(smooth, np.asarray(score / np.float32(raw), np.float32), threshold, n_tests))
    return sizes


def _spots(
    sizes: list[_Size], visible: NDArray[np.float32]
) -> list[tuple[NDArray[np.bool_], int, int, float]]:
    """Outlines of the spots, small sizes first: mask, first row, first column and score of each."""
    n = sizes[0].smooth.shape[1]
    owner = np.zeros(sizes[0].smooth.shape, bool)
    found = []
    for size, (along, _) in zip(sizes, _SCALES_PX, strict=True):
        peak = (size.scores >= 1) & (size.scores == cv2.dilate(size.scores, np.ones((3, 3), np.uint8)))
        rows, cols = np.nonzero(peak)
        for i in np.argsort(-size.scores[rows, cols], kind="stable"):
            row, col = _darkest(size.smooth, rows[i], cols[i], reach_px=max(1, round(along)))
            if -size.smooth[row, col] < visible[row] or owner[row, col] or owner[rows[i], cols[i]]:
                continue
            around = np.arange(col - _REACH_PX, col + _REACH_PX + 1) % n
            level = _OUTLINE_SHARE * size.smooth[row, col]
            dark = (size.smooth[:, around] <= level) & (size.scores[:, around] > 0)
            _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
            if not labels[row, _REACH_PX]:
                continue
            body = labels == labels[row, _REACH_PX]
            body = _own_side(body, size.smooth[:, around], peak[:, around], row)
            fresh = body & ~owner[:, around]
            # what smaller sizes explain is not found again
            if np.count_nonzero(fresh) < 0.5 * np.count_nonzero(body):
                continue
            owner[:, around] |= body
            x, y, width, height = cv2.boundingRect(fresh.astype(np.uint8))
            normal = float(size.scores[rows[i], cols[i]]) * size.threshold
            score = significance(normal, n_tests=size.n_tests)
            column = int(around[x])
            found.append((fresh[y : y + height, x : x + width], y, column, score))
    return found


def _darkest(smooth: NDArray[np.float32], row: int, col: int, *, reach_px: int) -> tuple[int, int]:
    """Return the darkest place near a peak of the scores: these weigh rows by how quiet they are."""
    n, top = smooth.shape[1], max(row - _REACH_ROWS_PX, 0)
    columns = np.arange(col - reach_px, col + reach_px + 1) % n
    near = smooth[top : row + _REACH_ROWS_PX + 1, columns]
    down, right = np.unravel_index(int(near.argmin()), near.shape)
    return int(top + down), int(columns[right])


def _own_side(
    body: NDArray[np.bool_], smooth: NDArray[np.float32], peaks: NDArray[np.bool_], row: int
) -> NDArray[np.bool_]:
    """Cut from the outline of a peak, in the middle column, what belongs to others: chips in a row may touch.

    Two peaks belong to two chips where the rim between them recovers to `_PASS_SHARE` of the lesser one; the
    cut is where it recovers most.
    """
    middle = body.shape[1] // 2
    depth = np.where(body, -smooth, 0.0).max(axis=0)
    own = float(-smooth[row, middle])
    for step in (-1, 1):
        others = np.flatnonzero((peaks & body).any(axis=0))
        others = others[(others - middle) * step > 0][::step]
        for other in others.tolist():
            between = np.arange(middle, other + step, step)
            lowest = between[depth[between].argmin()]
            if depth[lowest] < _PASS_SHARE * min(own, float(depth[other])):
                body = body & ((np.arange(body.shape[1]) - lowest) * step < 0)
                break
    return body
