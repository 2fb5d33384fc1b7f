"""Chips along the cladding rim: short dark breaks in what runs along it, and notches in the edge itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from endface.annotation import Defect, Zones
from endface.detection.joining import join_onto
from endface.detection.structure import Residual
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.ellipse import Ellipse
from endface.imaging.noise import fit_tail, robust_sigma
from endface.imaging.rimchart import breaks_along, bright_side_sigma, rim_strip

# along the rim and across it
_SCALES_PX = ((0.8, 0.8), (1.6, 1.2), (3.2, 1.6))
# The best of all positions is looked for, not one of a grid of independent places: so many times more tests.
_POSITIONS = 3.0
_OUTWARDS_PX = 4.0
# a chip is of glass, and reaches the rim
_OUTSIDE_PX = 1.0
_NEAR_RIM_PX = 1.5
# sampling and JPEG move an edge by so much here and there
_JITTER_PX = 0.05
# where it runs along the pixels' rows they move long stretches of it together; elsewhere they average out
_ALIAS_PX = 0.12
# an edge is located to a tenth of a pixel, but sampling and JPEG move it by more here and there
_LEAST_STEP_PX = 0.5
# as with other spots, an outline is a share of the spot's own peak
_OUTLINE_SHARE = 0.45
_PASS_SHARE = 0.7
_REACH_PX = 48


@dataclass(frozen=True, eq=False)
class _Size:
    """The strip looked at in one size: values, and scores of dark spots in units of the threshold."""

    smooth: NDArray[np.float32]
    scores: NDArray[np.float32]
    threshold: float
    n_tests: float


def detect_rim_chips(
    image: NDArray[np.generic], residual: Residual, zones: Zones, *, epsilon: float
) -> list[Defect]:
    """Find chips: dark spots on a strip straightened along the rim, and notches in the rim itself.

    A spot is compared with its neighbours along the rim, where the rim is whole; its noise is that of its own
    distance from the rim, and there are few places on a rim, so less contrast is needed than elsewhere. A
    notch is a stretch of edge that `segment_zones` measured away from its course; on a spot, it belongs to
    the spot.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values.
    residual : Residual
        From `remove_structure` for the same image.
    zones : Zones
        With a cladding, `rim_angles_rad` and `rim_deviation_px`; without, nothing is found.
    epsilon : float
        Expected number of false alarms on the whole rim, half of it for each of the two.
    """
    if zones.cladding is None or zones.rim_deviation_px.size < 64:
        return []
    spots = _rim_spots(residual, zones, zones.cladding, epsilon / 2)
    notches = _notches(image, zones, zones.cladding, epsilon / 2)
    chips, apart = join_onto(spots, [notch for notch in notches if notch.area_px], zones.shape, reach_px=1)
    return chips + apart


def _rim_spots(residual: Residual, zones: Zones, cladding: Ellipse, epsilon: float) -> list[Defect]:
    inwards_px = max(8.0, 0.05 * cladding.radius_px)
    strip = rim_strip(cladding, zones.rim_deviation_px, inwards_px=inwards_px, outwards_px=_OUTWARDS_PX)
    known = strip.unroll(residual.mask.astype(np.uint8), interpolation=cv2.INTER_NEAREST) > 0
    if np.count_nonzero(known) < 1000:
        return []
    gray = strip.unroll(residual.gray) + strip.unroll(residual.background)
    chips = []
    sizes = _sizes(gray, known, strip.tilt, least=residual.least, epsilon=epsilon)
    for body, row, column, score in _spots(sizes, len(known)):
        depth = strip.offset_px[row : row + len(body)][np.nonzero(body)[0]]
        if depth.mean() <= _OUTSIDE_PX and depth.max() >= -_NEAR_RIM_PX:
            mask, left, top = strip.roll(body, row=row, column=column, shape=zones.shape)
            chips.append(_defect(mask.astype(np.uint8), left, top, score))
    return [chip for chip in chips if chip.area_px > 0]


def _n_tests(known: NDArray[np.bool_], scale_px: tuple[float, float]) -> float:
    area = float(np.count_nonzero(known))
    return max(_POSITIONS * len(_SCALES_PX) * area / (2 * np.pi * scale_px[0] * scale_px[1]), 1.0)


def _sizes(
    gray: NDArray[np.float32],
    known: NDArray[np.bool_],
    tilt: NDArray[np.float32],
    *,
    least: float,
    epsilon: float,
) -> list[_Size]:
    breaks = breaks_along(gray) * known
    slope = np.gradient(np.median(gray[:, ::3], axis=1))[:, None]
    closed = np.pad(breaks, ((0, 0), (_REACH_PX, _REACH_PX)), mode="wrap")
    sizes = []
    for along, across in _SCALES_PX:
        smooth = np.asarray(cv2.GaussianBlur(closed, (0, 0), along, sigmaY=across), np.float32)
        smooth = smooth[:, _REACH_PX:-_REACH_PX]
        sigma = np.maximum(bright_side_sigma(smooth, known), np.float32(least * 0.28 / along))
        # the moves repeat with every pixel's row that the rim crosses: smoothing leaves so much of them
        alias = np.float32(_ALIAS_PX) * np.exp(-2 * (np.float32(np.pi * along) * tilt) ** 2)
        score = -smooth / np.sqrt(sigma[:, None] ** 2 + slope**2 * (_JITTER_PX**2 + alias**2))
        n_tests = _n_tests(known, (along, across))
        threshold = score_threshold(n_tests=n_tests, epsilon=epsilon)
        raw = fit_tail(score[known]).raw_score(threshold)
        sizes.append(
            _Size(smooth, np.asarray(score * known / np.float32(raw), np.float32), threshold, n_tests)
        )
    return sizes


def _spots(sizes: list[_Size], n_rows: int) -> list[tuple[NDArray[np.bool_], int, int, float]]:
    """Outlines of the spots, small sizes first: mask, first row, first column and score of each."""
    n = sizes[0].smooth.shape[1]
    owner = np.zeros((n_rows, n), bool)
    found = []
    for size in sizes:
        peak = (size.scores >= 1) & (size.scores == cv2.dilate(size.scores, np.ones((3, 3), np.uint8)))
        rows, cols = np.nonzero(peak)
        for i in np.argsort(-size.scores[rows, cols], kind="stable"):
            if owner[rows[i], cols[i]]:
                continue
            around = np.arange(cols[i] - _REACH_PX, cols[i] + _REACH_PX + 1) % n
            level = _OUTLINE_SHARE * size.smooth[rows[i], cols[i]]
            dark = (size.smooth[:, around] <= level) & (size.scores[:, around] > 0)
            _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
            body = labels == labels[rows[i], _REACH_PX]
            body = _own_side(body, size.smooth[:, around], peak[:, around], rows[i])
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


def _notches(image: NDArray[np.generic], zones: Zones, cladding: Ellipse, epsilon: float) -> list[Defect]:
    """Find stretches where the measured edge leaves its course towards the brighter side.

    Slow deviations (the fibre is not a perfect ellipse) are taken out by a running median over 30 degrees.
    """
    angles = zones.rim_angles_rad
    outward = 1.0 if _fibre_is_dark(image, cladding, angles) else -1.0
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
            notch = _notch(cladding, angles[run], step[run] * np.float32(outward), zones.shape)
            chips.append(_defect(*notch, significance(peak, n_tests=n_tests)))
    return chips


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
