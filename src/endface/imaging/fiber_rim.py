"""The rim of a fibre in full: where the glass ends, among the edges that lie side by side there.

Begins with a ring that was found on a small copy of the picture; what it means is decided in `fiber`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.imaging.fiber_search import MIN_SNR, is_sound, same_place
from endface.imaging.rim import ray_median, unroll
from endface.imaging.rings import Ring, edge_sigma_px, fit_ring, polish_ring

FAINT_ARC_RAD = 0.06
# cores of telecom fibres take up to 0.73 of the cladding; what is larger is glass in a coating or a wide hole
_MIN_GLASS_RATIO = 0.75
# how high the inner edge of a line must be against the outer, by the line's width against the radius
_LINE_RATIOS, _LINE_HEIGHTS = (0.04, 0.06), (0.7, 0.4)
_WHOLE_SUPPORT = 0.75
_BESIDE = 0.99
# of a crescent, at its widest, against the radius
_MAX_GAP = 0.2
_MIN_HOLE_STEP = 0.3


def full_rim(image: NDArray[np.float32], rough: Ring, aspect: float | None) -> Ring | None:
    """Measure the rim in full, beginning with that of the small copy; None where it is not sound there."""
    radius = rough.ellipse.radius_px
    hidden = not (is_sound(rough, faint=False) or is_sound(rough, faint=True))
    found: list[Ring] = []
    for arc_rad in (0.0, FAINT_ARC_RAD):
        trials = [polish_ring(image, rough.ellipse, polarity=rough.polarity, aspect=aspect, arc_rad=arc_rad)]
        if trials[0] is None or trials[0].support < 0.9:
            # edges side by side, merged on the small copy, may have led it astray
            trials.append(
                fit_ring(
                    image,
                    rough.ellipse,
                    polarity=rough.polarity,
                    band_px=max(0.07 * radius, 4.0),
                    aspect=aspect,
                    arc_rad=arc_rad,
                    min_support=0.2,
                )
            )
        found += [
            ring
            for ring in trials
            if ring is not None and (hidden or is_sound(ring, faint=arc_rad > 0, slack=1.2))
        ]
        if found:
            break
    return max(found, key=lambda ring: ring.support * ring.strength, default=None)


def glass_within(
    image: NDArray[np.float32], outer: Ring, edges: list[Edge], rings: list[Ring]
) -> Ring | None:
    """Look for the rim of the glass inside a ring that may be that of the hole or of a coating.

    From within, the first edge of about the height of the strongest is where the glass ends. What optics and
    sharpening draw along an edge is lower, and close to it.
    """
    hole = outer.ellipse
    starts = [(r.ellipse, r.polarity, r.strength / outer.strength) for r in rings if is_within(r, outer)]
    highest = max((edge.height for edge in edges), default=math.inf)
    starts += [(hole.scaled(e.ratio), e.polarity, e.height / highest) for e in edges if e.ratio < _BESIDE]
    for start, polarity, height in sorted(starts, key=lambda s: s[0].radius_px):
        if height < np.interp(1 - start.radius_px / hole.radius_px, _LINE_RATIOS, _LINE_HEIGHTS):
            continue
        found = polish_ring(image, start, polarity=polarity, aspect=hole.ry_px / hole.rx_px)
        if found is not None and same_place(found.ellipse, start, 0.02) and found.support > _WHOLE_SUPPORT:
            return found
    return None


def is_within(ring: Ring, outer: Ring) -> bool:
    """Whether a ring lies within another and is too large for a core of it."""
    one, other = ring.ellipse, outer.ellipse
    apart = math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px)
    return one.radius_px > _MIN_GLASS_RATIO * other.radius_px and apart + one.radius_px < other.radius_px


def find_hole(image: NDArray[np.float32], glass: Ring) -> Ring | None:
    """Look for the edge of a hole round the glass that does not share its centre: the gap is a crescent."""
    rim = glass.ellipse
    found = fit_ring(
        image,
        rim.scaled(1 + 0.5 * _MAX_GAP),
        polarity=-glass.polarity,
        band_px=0.5 * _MAX_GAP * rim.radius_px,
        min_strength=0.5 * _MIN_HOLE_STEP * glass.strength,  # the filter is wide there
        aspect=rim.ry_px / rim.rx_px,
    )
    if found is None or found.strength < _MIN_HOLE_STEP * glass.strength:
        return None
    # where the gap is thin the level in it is not seen, so the height of the step is not asked for
    if found.support < _WHOLE_SUPPORT or found.snr < MIN_SNR:
        return None
    apart = math.hypot(found.ellipse.cx_px - rim.cx_px, found.ellipse.cy_px - rim.cy_px)
    return found if apart + 0.99 * rim.radius_px < found.ellipse.radius_px else None


@dataclass(frozen=True, slots=True)
class Edge:
    """A step of the median profile over all rays: radius against the rim, polarity, height."""

    ratio: float
    polarity: int
    height: float


def edges_beside(image: NDArray[np.float32], rim: Ring) -> list[Edge]:
    """Find the steps of the median profile from 25 % inside a rim to 12 % outside, its own too."""
    radius = rim.ellipse.radius_px
    sigma = edge_sigma_px(radius)
    pitch = min(0.5, 0.25 * sigma)
    radii = (
        1 + np.arange((_MIN_GLASS_RATIO - 1) * radius - 4 * sigma, 0.12 * radius + 4 * sigma, pitch) / radius
    )
    polar = unroll(image, rim.ellipse, n_angles=180, radii=radii)
    polar = polar[:, np.isfinite(polar).mean(axis=0) > 0.5]
    radii = radii[: polar.shape[1]]
    if len(radii) < 8 * sigma / pitch:
        return []
    t = np.arange(-math.ceil(3 * sigma / pitch), math.ceil(3 * sigma / pitch) + 1) * pitch / sigma
    kernel = t * np.exp(-0.5 * t**2)
    slope = np.convolve(ray_median(polar), -kernel / kernel[t > 0].sum(), mode="valid")
    radii, size = radii[len(t) // 2 : len(radii) - len(t) // 2], np.abs(slope)
    peak = np.flatnonzero((size[1:-1] > size[:-2]) & (size[1:-1] >= size[2:])) + 1
    return [Edge(float(radii[k]), 1 if slope[k] > 0 else -1, float(size[k])) for k in peak]
