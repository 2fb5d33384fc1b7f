"""Lines that noise would not produce, from a structure-free image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.detection.structure import Residual
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.lines import LineEvidence, line_evidence
from endface.imaging.noise import robust_sigma, standardize
from endface.imaging.tracing import TracedLine, confirm_line, contrast_noise, trace_lines

# Sums over hundreds of pixels are significant at contrasts no inspector could see: lines below this contrast,
# in standard deviations of the noise of one pixel, are not counted as defects.
_VISIBLE_LINE = 0.8


def detect_lines(
    residual: Residual,
    sigma: NDArray[np.float32],
    quiet: NDArray[np.float32],
    zones: Zones,
    spots: list[Defect],
    *,
    epsilon: float,
) -> list[Defect]:
    """Find lines of either polarity; what lies on `spots` is held down."""
    side_px = 3.0
    z = residual.gray / sigma
    # a line gathers what neighbouring pixels share, so its noise is that of the smoothed image
    smooth = np.asarray(cv2.GaussianBlur(z, (0, 0), 1.6), np.float32)
    scores, clean = standardize(smooth, residual.mask, block_px=48)
    z *= np.divide(scores, smooth, out=np.ones_like(z), where=np.abs(smooth) > 1e-6)
    z = np.clip(z / max(robust_sigma(z[clean]), 1e-6), -4, 4) * quiet
    # a lone spot must not pass for a line in every direction, a row of spots may
    _hold_down(z, spots, limit=1.5)
    z = cv2.GaussianBlur(z, (0, 0), 0.8)
    evidence = line_evidence(z, zones=residual.zones, exclude=~clean, side_px=side_px)
    noise = contrast_noise(z, residual.zones, side_px=side_px)
    veto = _rim_tangents(zones, evidence.n_orientations, quiet)
    high = score_threshold(n_tests=evidence.n_tests, epsilon=epsilon / 2)
    found = []
    for polarity, score, angles in (
        (-1, evidence.dark, evidence.dark_angle),
        (1, evidence.bright, evidence.bright_angle),
    ):
        _veto_tangents(score, angles, veto, evidence.n_orientations)
        traced = trace_lines(
            score, angles, n_orientations=evidence.n_orientations, high=high, low=0.55 * high
        )
        for candidate in traced:
            line = confirm_line(
                candidate,
                z,
                polarity=polarity,
                noise=noise,
                side_px=side_px,
                high=high,
                min_contrast=_VISIBLE_LINE,
            )
            if line is not None and not _follows_ring(line, zones):
                found.append(_line_defect(line, residual, polarity, evidence))
    return found


def _follows_ring(line: TracedLine, zones: Zones) -> bool:
    """Whether a line keeps its distance from the fibre's centre, as the fibre's own rings do.

    A straight scratch of length s at radius r changes its distance by s * s / 8 r, so only short pieces that
    touch a ring are lost with the rings.
    """
    for ellipse in (zones.cladding, zones.core):
        if ellipse is None or zones.cladding is None:
            continue
        radius_px = ellipse.normalized_radius(line.points[:, 0], line.points[:, 1]) * ellipse.radius_px
        low, high = np.quantile(radius_px, [0.05, 0.95])
        if high - low < 3.0 and np.median(radius_px) < 1.25 * zones.cladding.radius_px:
            return True
    return False


def _hold_down(z: NDArray[np.float32], spots: list[Defect], *, limit: float) -> None:
    compact = np.zeros(z.shape, np.uint8)
    for spot in spots:
        height, width = spot.mask.shape
        if max(height, width) < 3 * min(height, width) + 4:
            compact[spot.box] |= spot.mask.astype(np.uint8)
    near = cv2.dilate(compact, np.ones((5, 5), np.uint8)).astype(bool)
    z[near] = np.clip(z[near], -limit, limit)


def _rim_tangents(
    zones: Zones, n: int, quiet: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int16]] | None:
    """Where a rim's ripple can pass for a line, and the orientation index of the rim there."""
    if zones.cladding is None:
        return None
    rim = cv2.dilate((quiet < 0.8).astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    y, x = np.indices(zones.shape, np.float32)
    c = zones.cladding
    tangent = np.arctan2((x - c.cx_px) / c.rx_px**2, -(y - c.cy_px) / c.ry_px**2)
    index = np.round(np.mod(tangent, np.pi) * (n / np.pi)).astype(np.int16)
    return rim, index


def _veto_tangents(
    score: NDArray[np.float32],
    angles: NDArray[np.uint8],
    veto: tuple[NDArray[np.bool_], NDArray[np.int16]] | None,
    n: int,
) -> None:
    if veto is None:
        return
    rim, tangent = veto
    gap = np.abs(angles[rim].astype(np.int16) - tangent[rim])
    gap = np.minimum(gap, n - gap)
    values = score[rim]
    values[gap <= 5] = 0
    score[rim] = values


def _line_defect(line: TracedLine, residual: Residual, polarity: int, evidence: LineEvidence) -> Defect:
    points = np.round(line.points).astype(np.int32)
    height, width = residual.gray.shape
    left, top = np.maximum(points.min(axis=0) - 2, 0)
    right, bottom = np.minimum(points.max(axis=0) + 3, [width, height])
    near = np.zeros((bottom - top, right - left), np.uint8)
    cv2.polylines(near, [points - [left, top]], False, 1, thickness=3)
    x_px, y_px, width, height = cv2.boundingRect(near)
    return Defect(
        mask=near[y_px : y_px + height, x_px : x_px + width].astype(bool),
        x_px=int(left) + x_px,
        y_px=int(top) + y_px,
        detector="line",
        score=significance(float(line.scores.max()), n_tests=evidence.n_tests),
        polarity=polarity,
    )
