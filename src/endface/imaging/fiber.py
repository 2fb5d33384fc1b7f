"""Which of the rings in a picture are the cladding and the core of a fibre, or why there is none.

Knows a fibre as concentric, closed, quiet rings; micrometres and zones are left to `endface.zones`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from endface.imaging.circles import find_circles
from endface.imaging.ellipse import Ellipse
from endface.imaging.rim import unroll
from endface.imaging.rings import Ring, fit_ring

_COARSE_PX = 256
_MIN_RADIUS_PX = 32.0
_MIN_SUPPORT = 0.6
_MIN_AGREEMENT = 0.8
_MAX_UNREST = 0.45
_MIN_SNR = 2.5
_MIN_CONTRAST = 0.03
# a rim round a clear core may be hidden over most of its length (oil) and still be the rim
_MIN_HIDDEN_SUPPORT = 0.25
_MIN_OUTER_STEP = 0.05
_MAX_CORE_RATIO = 0.9
_THIN_RING = 0.07
_FAINT_ARC_RAD = 0.06


@dataclass(frozen=True, eq=False)
class FiberRings:
    """The rings of one fibre; `cladding` is None and `reason` given where none was found."""

    cladding: Ring | None
    core: Ring | None = None
    others: tuple[Ring, ...] = ()
    reason: str = ""


def find_fiber(
    image: NDArray[np.float32],
    *,
    aspect: float | None = None,
    radius_range_px: tuple[float, float] | None = None,
) -> FiberRings:
    """Find the cladding, the core and further concentric edges of a fibre.

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
    known = image[np.isfinite(image)]
    if min(image.shape) < 2 * _MIN_RADIUS_PX or known.size == 0:
        return FiberRings(None, reason="picture too small")
    if float(np.ptp(known)) == 0:
        return FiberRings(None, reason="blank picture: all pixels have the same level")
    low, high = radius_range_px or (_MIN_RADIUS_PX, 1e9)
    # a step of a few percent of the contrast of the picture is a contour of its shading
    darkest, brightest = (
        float(level) for level in np.quantile(known[:: max(1, known.size // 40_000)], [0.01, 0.99])
    )
    least = _MIN_CONTRAST * (brightest - darkest)
    rings: list[Ring] = []
    sound: list[Ring] = []
    for arc_rad in (0.0, _FAINT_ARC_RAD):  # the second time for pictures in which single rays drown in noise
        rings = _measure_proposals(image, aspect, arc_rad)
        sound = [ring for ring in rings if _is_sound(ring, faint=arc_rad > 0) and ring.strength > least]
        if any(ring.ellipse.radius_px >= max(low, _MIN_RADIUS_PX) for ring in sound):
            break
    stops = [r for r in sound if _is_field_stop(r, image.shape, darkest, 0.01 * (brightest - darkest))]
    sound = [ring for ring in sound if not any(ring is stop for stop in stops)]
    whole = [r for r in sound if r.visible > 0.985 and low <= r.ellipse.radius_px <= high]
    cladding = _choose_cladding(whole)
    cut = [r for r in sound if r.visible <= 0.985 and r.ellipse.radius_px > _MIN_RADIUS_PX]
    if cladding is None or any(_is_cut_cladding(ring, cladding) for ring in cut):
        return FiberRings(None, reason=_why_not(rings, sound, cut, stops))
    cladding = _find_rim_outside(image, cladding, high) or cladding
    rivals = [r for r in whole if _is_rival(r, cladding)]
    if len(rivals) >= 2:
        return FiberRings(None, reason="several round objects, none of them alone")
    others = [ring for ring in sound if ring is not cladding and _concentric(ring, cladding, 0.06)]
    core = find_core(image, cladding.ellipse, others)
    return FiberRings(cladding, core, tuple(ring for ring in others if ring is not core))


def _measure_proposals(image: NDArray[np.float32], aspect: float | None, arc_rad: float) -> list[Ring]:
    """Fit a ring to every circle proposed on a small copy of the picture, its pixels square if known."""
    height, width = image.shape
    stretch = aspect or 1.0  # ry / rx: the copy is squeezed along y by it
    scale_x = min(1.0, _COARSE_PX / max(width, height / stretch))
    scale_y = scale_x / stretch
    size = (max(16, round(width * scale_x)), max(16, round(height * scale_y)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    scale_x, scale_y = size[0] / width, size[1] / height
    circles = find_circles(small, min_radius_px=4.0, max_radius_px=0.6 * min(size), count=12)
    rings: list[Ring] = []
    for circle in circles:
        start = Ellipse(
            (circle.cx_px + 0.5) / scale_x - 0.5,
            (circle.cy_px + 0.5) / scale_y - 0.5,
            circle.radius_px / scale_x,
            circle.radius_px / scale_y,
        )
        if circle.score < 0.25 * circles[0].score:
            break
        if any(_same(start, ring.ellipse, 0.05) and ring.polarity == circle.polarity for ring in rings):
            continue
        band = max(0.13 * start.radius_px, 1.5 / scale_x)
        ring = fit_ring(image, start, polarity=circle.polarity, band_px=band, aspect=aspect, arc_rad=arc_rad)
        if ring is not None:
            rings.append(ring)
    return _without_rivals(rings)


def _without_rivals(rings: list[Ring]) -> list[Ring]:
    """Of rings of one polarity that cross each other keep the one with the most evidence."""
    kept: list[Ring] = []
    for ring in sorted(rings, key=lambda r: -r.support * r.strength):
        points = ring.ellipse.points(np.linspace(0, 2 * np.pi, 48, endpoint=False))
        crossing = False
        for other in kept:
            radius = other.ellipse.normalized_radius(points[:, 0], points[:, 1])
            like = abs(math.log(ring.ellipse.radius_px / other.ellipse.radius_px)) < 0.25
            crossing |= (
                like and ring.polarity == other.polarity and radius.min() < 1.01 and radius.max() > 0.99
            )
        if not crossing:
            kept.append(ring)
    return kept


def _same(one: Ellipse, other: Ellipse, tolerance: float) -> bool:
    distance = math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px)
    return distance + abs(one.radius_px - other.radius_px) < tolerance * other.radius_px


def _concentric(ring: Ring, cladding: Ring, tolerance: float) -> bool:
    one, other = ring.ellipse, cladding.ellipse
    return math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px) < tolerance * max(
        one.radius_px, other.radius_px
    )


def _is_sound(ring: Ring, *, faint: bool) -> bool:
    """Whether a ring is closed and steady enough; more is asked where edges were smoothed along the rim."""
    if faint and (ring.support < 0.75 or ring.agreement < 0.9):
        return False
    steady = faint or (ring.support > 0.9 and ring.agreement > 0.95)
    unrest = 2 * _MAX_UNREST if steady else _MAX_UNREST
    return (
        ring.support >= _MIN_SUPPORT
        and ring.agreement >= _MIN_AGREEMENT
        and ring.unrest <= unrest
        and ring.snr >= _MIN_SNR
        and ring.strength > 3 * ring.shade
        and ring.step > 0.2 * ring.strength
    )


def _is_field_stop(ring: Ring, shape: tuple[int, int], darkest: float, noise: float) -> bool:
    """Whether a ring is the edge of the field of view: large, and all outside is plain black."""
    fills = ring.ellipse.radius_px > 0.4 * min(shape)
    return fills and ring.polarity < 0 and ring.outer_level <= darkest + noise and ring.outer_spread <= noise


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
        # a weak ring close to a strong one is a coating, a reflection or a diffraction fringe of it
        if ring.strength >= 0.4 * max(near) and ring.strength >= 0.06 * best.strength:
            return ring
    return best


def _find_rim_outside(image: NDArray[np.float32], inner: Ring, max_radius_px: float) -> Ring | None:
    """Look for a faint or hidden rim outside a ring that may be the core only.

    The median over all rays sees a rim that dirt or oil hides from most single rays.
    """
    ellipse = inner.ellipse
    limit = min(max(image.shape) / ellipse.radius_px, max_radius_px / ellipse.radius_px, 16.0)
    if limit < 1.3:
        return None
    radii = np.geomspace(1.1, limit, max(24, math.ceil(math.log(limit / 1.1) / 0.012)))
    polar = unroll(image, ellipse, n_angles=120, radii=radii)
    polar = polar[:, np.isfinite(polar).mean(axis=0) > 0.97]
    if polar.shape[1] < 24:
        return None
    profile = median_filter(np.nanmedian(polar, axis=0).astype(np.float64), size=3)
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    width = 6
    place = np.arange(width, profile.size - width)
    score = (sums[place + width] - 2 * sums[place] + sums[place - width]) / width
    best = int(np.abs(score).argmax())
    if abs(score[best]) < max(_MIN_OUTER_STEP * inner.strength, 8 * _roughness(profile)):
        return None
    start = ellipse.scaled(float(radii[place[best]]))
    aspect = ellipse.ry_px / ellipse.rx_px
    polarity = 1 if score[best] > 0 else -1
    band = 0.08 * start.radius_px
    for arc_rad in (0.0, 0.1):
        ring = fit_ring(
            image, start, polarity=polarity, band_px=band, aspect=aspect, arc_rad=arc_rad, min_support=0.2
        )
        if ring is not None and _is_hidden_rim(ring, inner):
            return ring
    return None


def _roughness(profile: NDArray[np.float64]) -> float:
    """Return the robust standard deviation of the differences of neighbours."""
    return 1.4826 * float(np.median(np.abs(np.diff(profile))))


def _is_hidden_rim(ring: Ring, inner: Ring) -> bool:
    if ring.visible <= 0.985 or not _concentric(ring, inner, 0.06):
        return False
    if _is_sound(ring, faint=True):
        return True
    # few rays only: then the step must be of the order of the core's
    plain = ring.step > 0.3 * inner.strength and ring.strength > 0.3 * inner.strength
    return plain and ring.support >= _MIN_HIDDEN_SUPPORT and ring.agreement >= 0.7


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


def _why_not(rings: list[Ring], sound: list[Ring], cut: list[Ring], stops: list[Ring]) -> str:
    if cut:
        return "fibre cut off by the picture's border"
    if any(ring.ellipse.radius_px >= _MIN_RADIUS_PX for ring in sound):
        return "the only round edge has another size than the settings say"
    if sound:
        return f"the only round edge is smaller than {2 * _MIN_RADIUS_PX:.0f} px across"
    if stops:
        return "no fibre: the only round edge is that of the field of view"
    if any(ring.support > 0.45 for ring in rings):
        return "no closed rim: round edges are there, but too few of them or too restless"
    return "no fibre: nothing round with a clear rim"


def find_core(image: NDArray[np.float32], cladding: Ellipse, rings: list[Ring]) -> Ring | None:
    """Find the edge of the core within a cladding.

    Candidates are the given rings and the steps of the median profile over all rays; each is fitted with the
    axis ratio of the cladding. The highest lasting step wins: thin index rings and reflections are taken out
    first.

    Returns
    -------
    Ring or None
        None where no step stands out of the noise.
    """
    aspect = cladding.ry_px / cladding.rx_px
    found = [ring for ring in rings if ring.ellipse.radius_px < _MAX_CORE_RATIO * cladding.radius_px]
    for radius, polarity in _profile_steps(image, cladding):
        start = cladding.scaled(radius)
        band = max(0.15 * start.radius_px, min(0.03 * cladding.radius_px, 0.6 * start.radius_px), 2.0)
        ring = fit_ring(image, start, polarity=polarity, band_px=band, aspect=aspect)
        if ring is None or ring.support < 0.7:
            ring = (
                fit_ring(image, start, polarity=polarity, band_px=band, aspect=aspect, arc_rad=0.15) or ring
            )
        if ring is not None:
            found.append(ring)
    evidence = [(_core_evidence(image, ring, cladding), ring) for ring in found if _is_core(ring, cladding)]
    best = max(evidence, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] > 0 else None


def _is_core(ring: Ring, cladding: Ellipse) -> bool:
    dx, dy = ring.ellipse.cx_px - cladding.cx_px, ring.ellipse.cy_px - cladding.cy_px
    return (
        ring.support >= 0.45
        and ring.snr >= 1.5
        and ring.agreement >= _MIN_AGREEMENT
        and ring.ellipse.radius_px < _MAX_CORE_RATIO * cladding.radius_px
        and math.hypot(dx, dy) < 0.06 * cladding.radius_px
    )


def _core_evidence(image: NDArray[np.float32], ring: Ring, cladding: Ellipse) -> float:
    """Return the height of a ring's step in a profile without thin rings, times its support."""
    ratio = ring.ellipse.radius_px / cladding.radius_px
    step = 0.005 / ratio
    radii = np.arange(step, min(1 + 0.12 / ratio, 0.93 / ratio), step)
    profile = _lasting_profile(image, ring.ellipse, radii, ratio * step)
    gap, reach = 0.02 / ratio, min(0.09 / ratio, 0.7)
    inner = profile[(radii > 1 - reach) & (radii < 1 - min(gap, 0.3))]
    outer = profile[(radii > 1 + gap) & (radii < 1 + 0.09 / ratio)]
    if inner.size == 0 or outer.size == 0:
        return 0.0
    height = ring.polarity * float(np.median(outer) - np.median(inner))
    if height < 0.5 * ring.strength:  # a thin ring: the levels on its two sides hardly differ
        return 0.0
    # a second cladding or the shade of the rim lies further out than nearly all cores
    prior = float(np.interp(ratio, [0.75, _MAX_CORE_RATIO], [1.0, 0.3]))
    return height * ring.support * prior


def _lasting_profile(
    image: NDArray[np.float32], ellipse: Ellipse, radii: NDArray[np.float64], pitch: float
) -> NDArray[np.float64]:
    """Return the median over all rays by radius, rings thinner than a few percent of the cladding taken out.

    `pitch` is the distance of two radii as a share of the cladding's radius.
    """
    profile = np.nanmedian(unroll(image, ellipse, n_angles=180, radii=radii), axis=0).astype(np.float64)
    width = 2 * max(1, round(_THIN_RING / pitch / 2)) + 1
    # mirrored at the centre, so that small cores have an inside as well
    mirrored = np.concatenate([profile[::-1], profile])
    return np.asarray(median_filter(mirrored, size=width, mode="nearest")[profile.size :])


def _profile_steps(image: NDArray[np.float32], cladding: Ellipse) -> list[tuple[float, int]]:
    """Return radii (1 = rim) and polarities of the clearest steps of the median profile inside a cladding."""
    step = max(0.5 / cladding.radius_px, 0.003)
    radii = np.arange(step, 0.93, step)
    profile = _lasting_profile(image, cladding, radii, step)
    mirrored = np.concatenate([profile[::-1], profile])
    sums = np.concatenate([[0.0], np.cumsum(mirrored)])
    place = np.arange(profile.size, 2 * profile.size)
    score = np.zeros(profile.size)
    for width in (0.03, 0.06):
        n = max(2, round(width / step))
        ahead = (sums[np.minimum(place + n, sums.size - 1)] - sums[place]) / n
        behind = (sums[place] - sums[place - n]) / n
        response = np.where(radii + width < 0.93, ahead - behind, 0.0)
        response[radii < max(0.6 * width, 1.5 * step)] = 0
        score = np.where(np.abs(response) > np.abs(score), response, score)
    strength = np.abs(score) * np.interp(radii, [0.75, 0.93], [1.0, 0.3])
    steps: list[tuple[float, int]] = []
    for k in np.argsort(-strength, kind="stable"):
        if len(steps) == 4 or strength[k] <= 0.1 * strength.max():
            break
        if all(abs(radii[k] - radius) > max(0.03, 0.12 * radius) for radius, _ in steps):
            steps.append((float(radii[k]), 1 if score[k] > 0 else -1))
    return steps
