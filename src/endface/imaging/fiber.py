"""Which of the rings in a picture are the cladding and the core of a fibre, or why there is none.

Knows a fibre as concentric, closed, quiet rings; micrometres and zones are left to `endface.zones`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.fiber_core import find_core
from endface.imaging.fiber_rim import (
    FAINT_ARC_RAD,
    edges_beside,
    find_hole,
    full_rim,
    glass_within,
    is_within,
)
from endface.imaging.fiber_search import (
    MIN_SNR,
    MIN_SUPPORT,
    N_ROUGH_ANGLES,
    Copy,
    is_sound,
    measure_proposals,
    same_place,
    small_copy,
)
from endface.imaging.noise import quantiles
from endface.imaging.rim import quick_median, ray_median, unroll
from endface.imaging.rings import Ring, fit_ring, polish_ring
from endface.imaging.sliding import running_median

# longest side of the copies on which circles are proposed and rings are judged
_MEASURED_PX = 512
_MIN_RADIUS_PX = 32.0
_MIN_CONTRAST = 0.03
# a rim round a clear core may be hidden over most of its length (oil) and still be the rim
_MIN_HIDDEN_SUPPORT = 0.25
_MIN_OUTER_STEP = 0.05
# size of the copy circles are proposed on, and smoothing along the rim: the last is for pictures in which
# single rays drown in noise
_ATTEMPTS = ((128, 0.0), (256, 0.0), (256, FAINT_ARC_RAD))
_MIN_VISIBLE = 0.65
_WHOLE = 0.985
_MIN_RIM_TO_CORE = 1.2
_MIN_RING_STEP = 0.3
_GROUND_PX = 128
_PLAIN_GROUND = 0.015
_DARK_GROUND = 0.25
_HALO = 0.12
# the edge of the field is seldom sharp
_WITHIN_STOP = 0.95
_MAX_SWINGS = 4


@dataclass(frozen=True, eq=False)
class FiberRings:
    """The rings of one fibre; `cladding` is None and `reason` given where none was found.

    `field` is the round field of view where the picture shows its edge: beyond it there is nothing.
    """

    cladding: Ring | None
    core: Ring | None = None
    others: tuple[Ring, ...] = ()
    reason: str = ""
    field: Ellipse | None = None


def find_fiber(
    image: NDArray[np.float32],
    *,
    aspect: float | None = None,
    radius_range_px: tuple[float, float] | None = None,
) -> FiberRings:
    """Find the cladding, the core and further concentric edges of a fibre.

    Rings are proposed and judged on small copies of the picture; those of the fibre are measured in full.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        NaN where the picture shows nothing.
    aspect : float, optional
        Known ry / rx of a round thing in this picture.
    radius_range_px : tuple of float, optional
        Smallest and largest radius the cladding can have.

    Returns
    -------
    FiberRings
    """
    step = max(1, math.isqrt(image.size // 40_000))
    known = image[::step, ::step]
    known = known[np.isfinite(known)]
    if min(image.shape) < 2 * _MIN_RADIUS_PX or known.size == 0:
        return FiberRings(None, reason="picture too small")
    if float(np.ptp(known)) == 0 and float(np.nanmax(image) - np.nanmin(image)) == 0:
        return FiberRings(None, reason="blank picture: all pixels have the same level")
    low, high = radius_range_px or (_MIN_RADIUS_PX, 1e9)
    # a step of a few percent of the contrast of the picture is a contour of its shading
    darkest, brightest = (float(level) for level in quantiles(known, (0.01, 0.99)))
    least = _MIN_CONTRAST * (brightest - darkest)
    copy = small_copy(image, _MEASURED_PX)
    rings: list[Ring] = []
    sound: list[Ring] = []
    for coarse_px, arc_rad in _ATTEMPTS:
        rings = measure_proposals(copy, coarse_px, aspect, arc_rad)
        sound = [ring for ring in rings if is_sound(ring, faint=arc_rad > 0) and ring.strength > least]
        if any(ring.ellipse.radius_px >= max(low, _MIN_RADIUS_PX) for ring in sound):
            break
    stop = next((r for r in sound if _is_field_stop(copy, r, darkest, 0.03 * (brightest - darkest))), None)
    if stop is not None:
        field = stop.ellipse.scaled(_WITHIN_STOP)
        inside = np.where(field.radius_map((image.shape[0], image.shape[1])) < 1, image, np.float32(np.nan))
        found = find_fiber(inside, aspect=aspect, radius_range_px=radius_range_px)
        reason = found.reason and "no fibre: the only round edge is that of the field of view"
        return replace(found, field=field, reason=reason)
    whole = [r for r in sound if r.visible > _MIN_VISIBLE and low <= r.ellipse.radius_px <= high]
    # a ring beyond the border is looked at only where there is no whole one: contours of shading are such
    cladding = _choose_cladding([r for r in whole if r.visible > _WHOLE]) or _choose_cladding(whole)
    cut = [r for r in sound if r.visible <= _MIN_VISIBLE and r.ellipse.radius_px > _MIN_RADIUS_PX]
    if cladding is None or any(_is_cut_cladding(ring, cladding) for ring in cut):
        return FiberRings(None, reason=_why_not(rings, sound, cut))
    cladding = _find_rim_outside(copy, cladding, high, rings) or cladding
    if sum(_is_rival(ring, cladding) for ring in whole) >= 2:
        return FiberRings(None, reason="several round objects, none of them alone")
    near = [r for r in sound if _concentric(r, cladding, 0.06) or is_within(r, cladding)]
    return _measure_fully(image, cladding, aspect, near)


def _measure_fully(
    image: NDArray[np.float32], rough: Ring, aspect: float | None, concentric: list[Ring]
) -> FiberRings:
    """Measure the rings of a fibre that was found on a small copy in the picture itself."""
    outer = full_rim(image, rough, aspect)
    if outer is None:
        return FiberRings(
            None, reason="no closed rim: round edges are there, but too few of them or too restless"
        )
    edges = edges_beside(image, outer)
    cladding = glass_within(image, outer, edges, concentric) or outer
    rim = cladding.ellipse
    starts = [(ring.ellipse, ring.polarity, rim) for ring in concentric]
    starts += [
        (outer.ellipse.scaled(edge.ratio), edge.polarity, outer.ellipse)
        for edge in edges
        if edge.height > _MIN_RING_STEP * outer.strength
        and edge.ratio * outer.ellipse.radius_px > rim.radius_px
    ]
    rings = [cladding] if same_place(outer.ellipse, rim, 0.012) else [cladding, outer]
    for start, polarity, like in starts:
        if any(same_place(start, other.ellipse, 0.004) and polarity == other.polarity for other in rings):
            continue  # it would be measured once more
        ring = _polished(image, start, polarity, like)
        if ring is not None and not any(same_place(ring.ellipse, other.ellipse, 0.012) for other in rings):
            rings.append(ring)
    if not any(ring.ellipse.radius_px > rim.radius_px for ring in rings[1:]):
        hole = find_hole(image, cladding)
        rings += [hole] if hole is not None else []
    core = find_core(image, rim, rings[1:])
    found = FiberRings(cladding, core, tuple(ring for ring in rings[1:] if ring is not core))
    doubt = _doubt(image, found)
    return FiberRings(None, reason=doubt) if doubt else found


def _concentric(ring: Ring, cladding: Ring, tolerance: float) -> bool:
    one, other = ring.ellipse, cladding.ellipse
    return math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px) < tolerance * max(
        one.radius_px, other.radius_px
    )


def _is_field_stop(copy: Copy, ring: Ring, darkest: float, tolerance: float) -> bool:
    """Whether a ring is the edge of the field of view: large, and all outside is black up to the border."""
    if ring.polarity > 0 or copy.ellipse_here(ring.ellipse).radius_px < 0.4 * min(copy.image.shape):
        return False
    radius = copy.ellipse_here(ring.ellipse).radius_map((copy.image.shape[0], copy.image.shape[1]))
    beyond = copy.image[(radius > 2 - _WITHIN_STOP) & np.isfinite(copy.image)]
    return beyond.size > 0 and float(np.quantile(beyond, 0.95)) <= darkest + tolerance


def _choose_cladding(rings: list[Ring]) -> Ring | None:
    """Choose the outermost clear ring of the family of concentric rings with the most evidence.

    Size counts more than contrast there: a round speck is darker than a fibre, but never as large.
    """
    rings = [ring for ring in rings if ring.ellipse.radius_px >= _MIN_RADIUS_PX]
    if not rings:
        return None
    best = max(rings, key=lambda r: r.support * math.sqrt(r.strength) * r.ellipse.radius_px)
    family = [r for r in rings if _concentric(r, best, 0.06)]
    for ring in sorted(family, key=lambda r: -r.ellipse.radius_px):
        radius = ring.ellipse.radius_px
        near = [r.strength for r in family if radius / 1.3 < r.ellipse.radius_px < radius * 1.3]
        # a weaker ring close to a strong one is a coating, a reflection or a diffraction fringe of it
        if ring.strength >= 0.75 * max(near) and ring.strength >= 0.06 * best.strength:
            return ring
    return best


def _find_rim_outside(copy: Copy, inner: Ring, max_radius_px: float, rings: list[Ring]) -> Ring | None:
    """Look for a faint or hidden rim outside a ring that may be the core only.

    The median over all rays sees a rim that dirt or oil hides from most single rays.
    """
    around = [r for r in rings if r.ellipse.radius_px < max_radius_px and _is_rim_round_core(r, inner)]
    if around:
        return max(around, key=lambda ring: ring.support * ring.strength)
    ellipse = copy.ellipse_here(inner.ellipse)
    limit = min(max(copy.image.shape) / ellipse.radius_px, max_radius_px / inner.ellipse.radius_px, 16.0)
    if limit < 1.3:
        return None
    radii = np.geomspace(1.1, limit, max(24, math.ceil(math.log(limit / 1.1) / 0.012)))
    polar = unroll(copy.image, ellipse, n_angles=120, radii=radii)
    polar = polar[:, np.isfinite(polar).mean(axis=0) > 0.97]
    if polar.shape[1] < 24:
        return None
    profile = np.asarray(running_median(ray_median(polar), 3), np.float64)
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    width = 6
    place = np.arange(width, profile.size - width)
    score = (sums[place + width] - 2 * sums[place] + sums[place - width]) / width
    best = int(np.abs(score).argmax())
    if abs(score[best]) < max(_MIN_OUTER_STEP * inner.strength, 8 * _roughness(profile)):
        return None
    start = ellipse.scaled(float(radii[place[best]]))
    for arc_rad in (0.0, 0.1):
        ring = fit_ring(
            copy.image,
            start,
            polarity=1 if score[best] > 0 else -1,
            band_px=0.08 * start.radius_px,
            aspect=ellipse.ry_px / ellipse.rx_px,
            arc_rad=arc_rad,
            min_support=0.2,
            n_angles=N_ROUGH_ANGLES,
        )
        if ring is not None:
            ring = replace(ring, ellipse=copy.ellipse_there(ring.ellipse))
            if _is_hidden_rim(ring, inner) or _is_rim_round_core(ring, inner):
                return ring
    return None


def _roughness(profile: NDArray[np.float64]) -> float:
    """Return the robust standard deviation of the differences of neighbours."""
    return 1.4826 * quick_median(np.abs(np.diff(profile)))


def _is_hidden_rim(ring: Ring, inner: Ring) -> bool:
    if ring.visible <= _MIN_VISIBLE or not _concentric(ring, inner, 0.06):
        return False
    if is_sound(ring, faint=True):
        return True
    # few rays only: then the step must be of the order of the core's
    plain = ring.step > 0.3 * inner.strength and ring.strength > 0.3 * inner.strength
    return plain and ring.support >= _MIN_HIDDEN_SUPPORT and ring.agreement >= 0.7


def _is_rim_round_core(ring: Ring, inner: Ring) -> bool:
    """Whether a ring too faint or dirty to be sound alone shares its centre with a sound one well within."""
    return (
        ring.ellipse.radius_px > _MIN_RIM_TO_CORE * inner.ellipse.radius_px
        and ring.visible > _MIN_VISIBLE
        and _concentric(ring, inner, 0.02)
        and ring.strength > 0.1 * inner.strength
        and ring.step > 0.1 * inner.step
        and min(ring.support, ring.agreement - 0.15) > 0.5
        and ring.snr >= MIN_SNR
    )


def _is_cut_cladding(ring: Ring, inner: Ring) -> bool:
    """Whether a ring that the picture cuts off is the rim to which a whole one inside is the core."""
    larger = ring.ellipse.radius_px > 1.3 * inner.ellipse.radius_px
    return (
        larger
        and ring.visible > 0.3
        and ring.strength > 0.3 * inner.strength
        and _concentric(ring, inner, 0.06)
    )


def _is_rival(ring: Ring, cladding: Ring) -> bool:
    like = abs(math.log(ring.ellipse.radius_px / cladding.ellipse.radius_px)) < 0.4
    return like and ring.polarity == cladding.polarity and not _concentric(ring, cladding, 0.5)


def _why_not(rings: list[Ring], sound: list[Ring], cut: list[Ring]) -> str:
    if cut:
        return "fibre cut off by the picture's border"
    if any(ring.ellipse.radius_px >= _MIN_RADIUS_PX for ring in sound):
        return "the only round edge has another size than the settings say"
    if sound:
        return f"the only round edge is smaller than {2 * _MIN_RADIUS_PX:.0f} px across"
    if any(ring.support > 0.45 for ring in rings):
        return "no closed rim: round edges are there, but too few of them or too restless"
    return "no fibre: nothing round with a clear rim"


def _polished(image: NDArray[np.float32], start: Ellipse, polarity: int, rim: Ellipse) -> Ring | None:
    """Measure a ring round the centre of the rim in full; None where it is not a ring of its own."""
    found = polish_ring(image, start, polarity=polarity, aspect=rim.ry_px / rim.rx_px, n_angles=180)
    good = found is not None and found.support > MIN_SUPPORT and same_place(found.ellipse, start, 0.02)
    return found if good else None


def _doubt(image: NDArray[np.float32], fiber: FiberRings) -> str:
    """Say why what looks like a fibre is none, or nothing."""
    rim = fiber.cladding
    if rim is None:
        return ""
    if _count_swings(image, rim) > _MAX_SWINGS:
        return "no fibre: one ring after the other"
    return _doubt_of_disc(image, rim) if rim.polarity < 0 and fiber.core is None else ""


def _count_swings(image: NDArray[np.float32], rim: Ring) -> int:
    """Count how often the median profile outside a rim and its coating goes up or down like it."""
    ellipse = rim.ellipse
    limit = min(max(image.shape) / ellipse.radius_px, 4.0)
    polar = unroll(image, ellipse, n_angles=90, radii=np.arange(1.15, limit, 0.01))
    profile = ray_median(polar[:, np.isfinite(polar).mean(axis=0) > 0.5])
    count, turn, way = 0, profile[:1].sum(), 0
    for level in profile:
        change = level - turn
        if abs(change) > 0.7 * rim.strength and np.sign(change) != way:
            count, way = count + 1, np.sign(change)
        if way * change > 0:
            turn = level
    return count


def _doubt_of_disc(image: NDArray[np.float32], rim: Ring) -> str:
    """Say why a bright disc without a core is no fibre, or nothing: lamps, droplets and cells are such."""
    copy = small_copy(image, _GROUND_PX)
    radius = copy.ellipse_here(rim.ellipse).radius_map((copy.image.shape[0], copy.image.shape[1]))
    ground = copy.image[(radius > 1.25) & np.isfinite(copy.image)]
    # light from nowhere: a surface that is lit well enough to be seen may be as plain as it likes
    dark = quick_median(ground) < _DARK_GROUND * quick_median(copy.image[radius < 0.9])
    if dark and float(np.ptp(np.quantile(ground, [0.02, 0.98]))) < _PLAIN_GROUND * rim.strength:
        return "no fibre: a bright disc on a plain dark ground"
    near, far = ((radius > low) & (radius < high) for low, high in ((1.12, 1.25), (1.6, 1.9)))
    levels = [copy.image[where & np.isfinite(copy.image)] for where in (near, far)]
    if quick_median(levels[1]) - quick_median(levels[0]) > _HALO * rim.strength:
        return "no fibre: a bright disc in a dark halo"
    return ""
