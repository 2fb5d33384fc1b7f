"""Lines that noise would not produce, from a structure-free image."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.detection.joining import stamp, unite
from endface.detection.rows import without_chance_rows
from endface.detection.structure import RIM, Residual
from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.lines import ANGLE_STEPS, line_evidence
from endface.imaging.noise import LocalNoise, quantiles, robust_sigma
from endface.imaging.prolong import path_spread, prolong_line
from endface.imaging.tracing import (
    TracedLine,
    confirm_line,
    contrast_noise,
    line_strength,
    mean_profile,
    trace_lines,
)

# Sums over hundreds of pixels are significant at contrasts no inspector could see: lines below this contrast,
# in standard deviations of the noise of one pixel, are not counted as defects.
_VISIBLE_LINE = 0.8
_VISIBLE_AMONG_STEPS = 3.0
# A plain surface has no rings and no rim that could pass for lines. There weaker lines count, at four times
# as many false ones in each of two looks; the second, along a path, is a test of each place only.
_VISIBLE_ON_PLAIN = 0.6
_PLAIN_EPSILON = 4.0
_LEVELS = 2  # lines of 1 to 4 and of 3 to 8 pixels; wider ones are spots
_DRAWN_PX = (3, 11)  # least and greatest width of a drawn line
_SIDE_PX = 3
_SHORTEST_PX = 10
_SIDE_REACH_PX = 4
_SIDE_CONTRAST = 0.4
_PROMISING = 0.7  # share of the threshold from which a finer image is looked at


def detect_lines(
    residual: Residual,
    sigma: NDArray[np.float32],
    quiet: NDArray[np.float32],
    local: LocalNoise,
    zones: Zones,
    spots: list[Defect],
    *,
    epsilon: float,
) -> list[Defect]:
    """Find lines of either polarity and any width; what lies on `spots` is held down."""
    # a few strong pixels must not pass for a line
    z = residual.gray / sigma
    np.clip(z, -4, 4, out=z)
    z *= quiet
    # a lone spot must not pass for a line in every direction, a row of spots may
    _hold_down(z, spots, limit=1.5)
    # with too little noise to blur the steps of a gray level, contours of the shading look like lines
    blurred = robust_sigma(residual.gray[::3, ::3][residual.mask[::3, ::3]]) >= residual.least
    visible = _VISIBLE_AMONG_STEPS
    if blurred:
        visible = _VISIBLE_ON_PLAIN if zones.cladding is None else _VISIBLE_LINE
    found: list[Defect] = []
    # even noise everywhere, in units of the noise of one pixel of the image
    levels = [local.evened(np.asarray(cv2.GaussianBlur(z, (0, 0), 0.8), np.float32))]
    for _ in range(1, _LEVELS):
        levels.append(np.asarray(cv2.pyrDown(levels[-1]), np.float32))
    promising = None
    for level in reversed(range(_LEVELS)):
        lines, promising = _lines_at(
            level,
            levels[level],
            residual,
            quiet,
            local.clean,
            zones,
            where=None if promising is None else _around(promising, levels[level].shape),
            visible=visible,
            epsilon=epsilon / _LEVELS,
        )
        lines = without_chance_rows(lines, spots, zones.shape)
        found += [_line_defect(line, polarity, score, residual.gray) for line, polarity, score in lines]
        if not promising.any():
            break
    return _with_other_sides(found, residual.gray)


def _with_other_sides(lines: list[Defect], gray: NDArray[np.float32]) -> list[Defect]:
    """Make one defect of a line and those along it: a scratch in slanting light has a dark and a bright side.

    Much weaker ones are shadows of filters and sharpening, those of its own polarity the line once more.
    """
    owner = np.zeros(gray.shape, np.int32)
    scratches: list[list[Defect]] = []
    contrasts: list[float] = []
    for line in sorted(lines, key=lambda d: -d.score):
        contrast = abs(float(np.median(gray[line.box][line.mask])))
        under = np.where(line.mask, owner[line.box], 0)
        counts = np.bincount(under.ravel(), minlength=2)[1:]
        host = int(counts.argmax())
        other_side = counts[host] > 0 and line.polarity != scratches[host][0].polarity
        share = _along(line.mask, under == host + 1) if other_side else counts.sum() / line.area_px
        if share <= 0.5:
            scratches.append([line])
            contrasts.append(contrast)
            stamp(owner, line, _SIDE_REACH_PX, value=len(scratches))
        elif other_side and contrast >= _SIDE_CONTRAST * contrasts[host]:
            scratches[host].append(line)
    return [unite(parts) for parts in scratches]


def _along(line: NDArray[np.bool_], part: NDArray[np.bool_]) -> float:
    """Return the share of a line's length along which some of `part` of its mask lies."""
    depth = cv2.distanceTransform(np.pad(line, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    size = 2 * math.ceil(depth.max()) + 1
    near = cv2.dilate(part.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return float(near[depth > 0.5 * depth.max()].mean())


def _lines_at(
    level: int,
    image: NDArray[np.float32],
    residual: Residual,
    quiet: NDArray[np.float32],
    clean: NDArray[np.bool_],
    zones: Zones,
    *,
    where: NDArray[np.bool_] | None,
    visible: float,
    epsilon: float,
) -> tuple[list[tuple[TracedLine, int, float]], NDArray[np.uint8]]:
    """Find lines in `image`, decimated `level` times: full-size path, polarity, significance.

    Marks besides the pixels of `image` that come near the threshold.
    """
    step = 2**level
    parts, noisy = (np.ascontiguousarray(zones[::step, ::step]) for zones in (residual.zones, residual.noisy))
    clean = clean[::step, ::step]
    evidence = line_evidence(image, zones=parts, exclude=~clean, where=where, side_px=_SIDE_PX)
    n_tests = n_paths = max(evidence.n_tests, 1)
    epsilon = epsilon / 2
    if zones.cladding is None:
        n_paths = max(int(np.count_nonzero(parts)), 1)
        epsilon *= _PLAIN_EPSILON
    high, confirmed = (score_threshold(n_tests=n, epsilon=epsilon) for n in (n_tests, n_paths))
    shortest_px = _SHORTEST_PX / step
    sides = [(evidence.dark, evidence.dark_angle), (evidence.bright, evidence.bright_angle)]
    _veto_tangents(sides, quiet[::step, ::step], where, zones, step)
    promising = np.zeros(image.shape, np.uint8)
    candidates = []
    for polarity, (score, angles) in zip((-1, 1), sides, strict=True):
        promising |= (score > _PROMISING * high).view(np.uint8)
        candidates += [
            (polarity, line)
            for line in trace_lines(score, angles, high=high, low=0.55 * high, min_length_px=shortest_px)
        ]
    if not candidates:
        return [], promising
    noise = contrast_noise(image, parts, noisy, side_px=_SIDE_PX)
    # ripples along the rim tell nothing of a line: it crosses where it is seen on both sides
    silent = np.where(parts == RIM, np.float32(np.inf), noise)
    seen = []
    for polarity, candidate in candidates:
        line = confirm_line(
            candidate,
            image,
            polarity=polarity,
            noise=silent,
            side_px=_SIDE_PX,
            high=confirmed,
            min_contrast=visible,
            min_length_px=shortest_px,
        )
        if line is not None:
            seen.append((polarity, line))
    spread = path_spread(image, noise, clean, side_px=_SIDE_PX) if seen else 1.0
    found = []
    for polarity, line in seen:
        sure = significance(line_strength(line), n_tests=n_paths)
        longer = prolong_line(line, image, polarity=polarity, noise=silent, spread=spread, side_px=_SIDE_PX)
        longer = TracedLine(longer.points * np.float32(step), longer.scores)
        if not _follows_ring(longer, zones):
            found.append((longer, polarity, sure))
    return found, promising


def _around(promising: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where, in an image (H, W) of twice the size, it is worth to look again."""
    near = cv2.dilate(promising, np.ones((17, 17), np.uint8))
    return np.repeat(np.repeat(near, 2, axis=0), 2, axis=1)[: shape[0], : shape[1]] > 0


def _follows_ring(line: TracedLine, zones: Zones) -> bool:
    """Whether a line keeps its distance from the fibre's centre, as the fibre's own rings do.

    A straight scratch of length s at radius r changes its distance by s * s / 8 r, so only short pieces that
    touch a ring are lost with the rings.
    """
    for ellipse in (zones.cladding, zones.core):
        if ellipse is None or zones.cladding is None:
            continue
        radius_px = ellipse.normalized_radius(line.points[:, 0], line.points[:, 1]) * ellipse.radius_px
        low, middle, high = quantiles(radius_px, (0.05, 0.5, 0.95))
        if high - low < 3.0 and middle < 1.25 * zones.cladding.radius_px:
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


def _veto_tangents(
    sides: list[tuple[NDArray[np.float32], NDArray[np.uint8]]],
    quiet: NDArray[np.float32],
    where: NDArray[np.bool_] | None,
    zones: Zones,
    step: int,
) -> None:
    """Clear, in place, scores that run along the rim where it ripples: that can pass for a line there.

    `sides` are scores and angles of dark and of bright lines, which were looked for only `where`.
    """
    if zones.cladding is None:
        return
    reach = 2 * (6 // step) + 1
    rim = cv2.dilate((quiet < 0.8).view(np.uint8), np.ones((reach, reach), np.uint8)).view(bool)
    places = np.flatnonzero(rim if where is None else rim & where)
    row, col = np.divmod(places, rim.shape[1])
    c = zones.cladding
    x, y = (col * step - c.cx_px) / c.rx_px**2, (row * step - c.cy_px) / c.ry_px**2
    along = np.sin(np.deg2rad(27)) * np.hypot(x, y)
    turn = np.arange(ANGLE_STEPS) * (np.pi / ANGLE_STEPS)
    for score, angles in sides:
        angle = angles.reshape(-1)[places]
        across = np.abs(np.cos(turn)[angle] * x + np.sin(turn)[angle] * y)
        score.reshape(-1)[places[across < along]] = 0


def _line_defect(line: TracedLine, polarity: int, score: float, gray: NDArray[np.float32]) -> Defect:
    profile = mean_profile(gray, line.points, reach_px=_DRAWN_PX[1] // 2) * polarity
    width_px = int(np.clip(np.count_nonzero(profile > 0.5 * profile.max()), *_DRAWN_PX))
    points = np.round(line.points).astype(np.int32)
    left, top = np.maximum(points.min(axis=0) - width_px, 0)
    right, bottom = np.minimum(points.max(axis=0) + width_px + 1, gray.shape[::-1])
    near = np.zeros((bottom - top, right - left), np.uint8)
    cv2.polylines(near, [points - [left, top]], False, 1, thickness=width_px)
    x_px, y_px, width, height = cv2.boundingRect(near)
    return Defect(
        mask=near[y_px : y_px + height, x_px : x_px + width].astype(bool),
        x_px=int(left) + x_px,
        y_px=int(top) + y_px,
        detector="line",
        score=score,
        polarity=polarity,
    )
