"""Find defects: `detect_defects(image, zones)` and the registry of detectors behind it.

A detector is a function from an image and its zones to defects. The default one removes what a clean fibre
shows, expresses the rest in units of its own noise and keeps what noise would not produce. It knows nothing
of classes, sizes in micrometres or limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, maximum_filter1d

from endface.annotation import Defect, Zones
from endface.errors import SettingsError
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.background import concentric_background, polar_grid, smooth_background
from endface.imaging.lines import LineEvidence, line_evidence
from endface.imaging.noise import local_sigma, near_strong, robust_sigma
from endface.imaging.regions import region_evidence
from endface.imaging.tracing import TracedLine, confirm_line, contrast_noise, trace_lines


class Detector(Protocol):
    """What every detector is: image (H, W) and zones in, defects out."""

    def __call__(self, image: NDArray[np.generic], zones: Zones, *, epsilon: float) -> tuple[Defect, ...]:
        """Find defects with fewer than `epsilon` expected false alarms."""


@dataclass(frozen=True)
class Residual:
    """An image without what a clean surface shows.

    Attributes
    ----------
    gray : (H, W) float32 ndarray
        Gray values minus illumination and concentric structure; 0 outside the valid area.
    sigma : (H, W) float32 ndarray
        Local standard deviation of the noise in `gray`.
    quiet : (H, W) float32 ndarray
        0 to 1: how far the model can be trusted; below 1 along rims, where sampling leaves ripples.
    """

    gray: NDArray[np.float32]
    sigma: NDArray[np.float32]
    quiet: NDArray[np.float32]
    mask: NDArray[np.bool_]
    zones: NDArray[np.uint8]


def remove_structure(image: NDArray[np.generic], zones: Zones) -> Residual:
    """Subtract illumination and the fibre's own concentric structure, and measure the noise that remains."""
    gray = np.asarray(image, np.float32)
    # the outermost pixels have no surroundings to be compared with
    mask = cv2.erode(zones.valid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)
    if zones.cladding is None:
        scale_px = max(8.0, min(gray.shape) / 50)
        residual = np.where(mask, gray - smooth_background(gray, mask, scale_px=scale_px), 0).astype(
            np.float32
        )
        level = max(robust_sigma(residual[mask]), 0.3)
        return Residual(residual, np.full_like(gray, level), np.ones_like(gray), mask, mask.astype(np.uint8))
    radius = zones.cladding.radius_map(zones.shape)
    surface = mask & (radius > 1.08)
    background = smooth_background(gray, surface, scale_px=max(8.0, zones.cladding.radius_px / 9))
    grid = polar_grid(zones.cladding, zones.core, zones.shape)
    model, _ = concentric_background(grid.unroll(gray))
    outside = np.clip((radius[grid.box] - 1.06) / 0.1, 0, 1)
    background[grid.box] = outside * background[grid.box] + (1 - outside) * grid.roll(model)
    residual = np.where(mask, gray - background, 0).astype(np.float32)

    sigma = np.zeros_like(gray)
    _flatten_borders(residual, sigma, mask)
    surface_sigma = max(robust_sigma(residual[surface]), 0.3)
    ripple = np.abs(_unroll_nearest(grid.sample_x, grid.sample_y, residual))
    # the 70 % quantile (1.04 sigma) sees ripples that fill less than half of a rim; a median would not
    rows = maximum_filter1d(np.quantile(ripple, 0.7, axis=1) / 1.0364, 3).astype(np.float32)
    fibre_sigma = max(float(np.median(rows[4 : int(grid.rim_row)])), 0.3)
    rows = np.maximum(rows, fibre_sigma)
    level = np.repeat(rows[:, None], model.shape[1], axis=1)
    np.maximum(sigma, surface_sigma, out=sigma)
    sigma[grid.box] = outside * surface_sigma + (1 - outside) * grid.roll(level)
    quiet = surface_sigma / sigma
    quiet[grid.box] = (outside * surface_sigma + (1 - outside) * fibre_sigma) / sigma[grid.box]
    np.clip(quiet, 0.05, 1, out=quiet)
    parts = np.where(radius > 1.03, 1, 2).astype(np.uint8)
    if zones.core is not None:
        parts[zones.core.radius_map(zones.shape) < 1] = 3
    parts[~mask] = 0
    return Residual(residual, sigma, quiet, mask, parts)


def _flatten_borders(
    residual: NDArray[np.float32], sigma: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    """Take out the lines that run along a dead frame border (combs, ringing of a frame grabber), in place."""
    depth = 16
    for image, level, live in ((residual, sigma, mask), (residual.T, sigma.T, mask.T)):
        for step in (1, -1):
            columns = np.flatnonzero(live.any(axis=0))[::step]
            if columns.size == 0 or columns[0] in (
                0,
                1,
                2,
                live.shape[1] - 3,
                live.shape[1] - 2,
                live.shape[1] - 1,
            ):
                continue  # the picture goes up to the edge of the image: no border
            for column in columns[:depth]:
                inside = live[:, column]
                image[inside, column] -= np.median(image[inside, column])
                level[:, column] = np.maximum(level[:, column], robust_sigma(image[inside, column]))


def _unroll_nearest(
    x: NDArray[np.float32], y: NDArray[np.float32], image: NDArray[np.float32]
) -> NDArray[np.float32]:
    # nearest: interpolation would average the noise that is to be measured
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))


def detect_by_evidence(
    image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1
) -> tuple[Defect, ...]:
    """Detect spots, lines and rim chips by a-contrario evidence; the default detector."""
    residual = remove_structure(image, zones)
    spots = _detect_regions(residual, epsilon=epsilon)
    lines = _detect_lines(residual, zones, spots, epsilon=epsilon)
    return merge_findings(spots, lines)


def _detect_regions(residual: Residual, *, epsilon: float) -> list[Defect]:
    scales = (0.8, 1.6, 3.2)
    area = float(np.count_nonzero(residual.mask))
    n_tests = [area / (2 * np.pi * s * s) * 2 * len(scales) for s in scales]
    thresholds = tuple(score_threshold(n_tests=n, epsilon=epsilon / 2) for n in n_tests)
    evidence = region_evidence(
        residual.gray, residual.sigma, residual.zones, thresholds=thresholds, scales_px=scales
    )
    found = []
    for number, box in _boxes(evidence.labels):
        found.append(
            Defect(
                mask=evidence.labels[box] == number,
                x_px=box[1].start,
                y_px=box[0].start,
                detector="region",
                score=significance(float(evidence.scores[number]), n_tests=n_tests[0]),
                polarity=int(evidence.polarity[number]),
            )
        )
    return found


def _boxes(labels: NDArray[np.int32]) -> list[tuple[int, tuple[slice, slice]]]:
    return [(i, box) for i, box in enumerate(find_objects(labels), start=1) if box is not None]


def _detect_lines(residual: Residual, zones: Zones, spots: list[Defect], *, epsilon: float) -> list[Defect]:
    side_px = 3.0
    z = residual.gray / residual.sigma
    # a line gathers what neighbouring pixels share, so its noise is that of the smoothed image
    smooth = cv2.GaussianBlur(z, (0, 0), 1.6)
    level = local_sigma(smooth, residual.mask, block_px=48)
    strong = near_strong(smooth / level)
    z /= level
    z = np.clip(z * (1 / robust_sigma(z[residual.mask])), -4, 4) * residual.quiet
    # a lone spot must not pass for a line in every direction, a row of spots may
    _hold_down(z, spots, limit=1.5)
    z = cv2.GaussianBlur(z, (0, 0), 0.8)
    evidence = line_evidence(z, zones=residual.zones, exclude=strong, side_px=side_px)
    noise = contrast_noise(z, residual.zones, side_px=side_px)
    veto = _rim_tangents(zones, evidence.n_orientations, residual)
    high = score_threshold(n_tests=evidence.n_tests, epsilon=epsilon / 2)
    found = []
    for polarity, score, angles in (
        (-1, evidence.dark, evidence.dark_angle),
        (1, evidence.bright, evidence.bright_angle),
    ):
        _veto_tangents(score, angles, veto)
        traced = trace_lines(
            score, angles, n_orientations=evidence.n_orientations, high=high, low=0.55 * high
        )
        for candidate in traced:
            line = confirm_line(
                candidate, z, polarity=polarity, noise=noise, side_px=side_px, high=0.9 * high
            )
            if line is not None:
                found.append(_line_defect(line, residual, polarity, evidence))
    return found


def _hold_down(z: NDArray[np.float32], spots: list[Defect], *, limit: float) -> None:
    compact = np.zeros(z.shape, np.uint8)
    for spot in spots:
        height, width = spot.mask.shape
        if max(height, width) < 3 * min(height, width) + 4:
            compact[spot.box] |= spot.mask.astype(np.uint8)
    near = cv2.dilate(compact, np.ones((5, 5), np.uint8)).astype(bool)
    z[near] = np.clip(z[near], -limit, limit)


def _rim_tangents(
    zones: Zones, n: int, residual: Residual
) -> tuple[NDArray[np.bool_], NDArray[np.int16]] | None:
    """Where a rim's ripple can pass for a line, and the orientation index of the rim there."""
    if zones.cladding is None:
        return None
    rim = cv2.dilate((residual.quiet < 0.8).astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    y, x = np.indices(zones.shape, np.float32)
    c = zones.cladding
    tangent = np.arctan2((x - c.cx_px) / c.rx_px**2, -(y - c.cy_px) / c.ry_px**2)
    index = np.round(np.mod(tangent, np.pi) * (n / np.pi)).astype(np.int16)
    return rim, index


def _veto_tangents(
    score: NDArray[np.float32],
    angles: NDArray[np.uint8],
    veto: tuple[NDArray[np.bool_], NDArray[np.int16]] | None,
) -> None:
    if veto is None:
        return
    rim, tangent = veto
    gap = np.abs(angles[rim].astype(np.int16) - tangent[rim])
    gap = np.minimum(gap, 36 - gap)
    values = score[rim]
    values[gap <= 5] = 0
    score[rim] = values


def _line_defect(line: TracedLine, residual: Residual, polarity: int, evidence: LineEvidence) -> Defect:
    points = np.round(line.points).astype(np.int32)
    margin = 3
    x0, y0 = np.maximum(points.min(axis=0) - margin, 0)
    height, width = residual.gray.shape
    x1, y1 = np.minimum(points.max(axis=0) + margin + 1, [width, height])
    canvas = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.polylines(canvas, [points - [x0, y0]], False, 1, thickness=3)
    return Defect(
        mask=canvas.astype(bool),
        x_px=int(x0),
        y_px=int(y0),
        detector="line",
        score=significance(float(line.scores.max()), n_tests=evidence.n_tests),
        polarity=polarity,
    )


def merge_findings(spots: list[Defect], lines: list[Defect]) -> tuple[Defect, ...]:
    return tuple(spots + lines)


def detect_defects(
    image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1, detector: str = "default"
) -> tuple[Defect, ...]:
    return detect_by_evidence(image, zones, epsilon=epsilon)
