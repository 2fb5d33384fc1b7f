"""Where the fibre is: core, cladding, adhesive ring and ferrule as ellipses, maps and numbers in micrometres.

`segment_zones` finds them; the anatomy map (what a pixel shows) and the map of IEC 61300-3-35 zones (how it
is graded) are two things and are never mixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from endface.annotation import CUT_OFF, DRAWN_ON, AnatomyZone, Calibration, IecZone, Zones
from endface.errors import InputError
from endface.imaging.ellipse import Ellipse
from endface.imaging.fiber import FiberRings, find_fiber
from endface.imaging.frame import find_valid_area
from endface.imaging.graphics import find_graphics, paint_over
from endface.imaging.rim import find_rim_edges
from endface.imaging.rings import Ring, edge_sigma_px

_NOMINAL_CORE_UM = 9.0
_N_RIM_ANGLES = 720
# a gap or a coating is at most this large against the glass
_MAX_ADHESIVE_RATIO = 4 / 3


def segment_zones(
    image: NDArray[np.generic],
    *,
    um_per_px: tuple[float, float] | None = None,
    cladding_um: float = 125.0,
    core_um: float | None = None,
) -> Zones:
    """Find the zones of a fibre end face.

    Circles proposed on a small copy are measured in the full picture by edges along rays, RANSAC and least
    squares; a fibre is found where a whole rim is supported by most rays, with quiet levels on both sides.
    Any contrast, offset and polarity will do.

    Parameters
    ----------
    image : (H, W) ndarray
        Grey levels: uint8, uint16 or float; never changed. Pixels that are not finite count as missing.
    um_per_px : (float, float), optional
        Pixel pitch along x and y; fixes the axis ratio of the ellipses. Without it both are free and the
        pitch comes from the cladding.
    cladding_um : float
        Nominal cladding diameter.
    core_um : float, optional
        Nominal core diameter, used where the core cannot be seen; 9 um where not given, because the zone
        table of single-mode fibres is the stricter one.

    Returns
    -------
    Zones
        `found` is False with a reason where there is no fibre, or too little of one: up to a third of the rim
        may lie beyond the picture's border, which is flagged.

    Raises
    ------
    InputError
        The array is not two-dimensional.

    Notes
    -----
    An adhesive ring is marked only where a second edge is seen close outside the cladding; none is assumed
    otherwise. Limits: fibres of 64 px or more across; one fibre per picture.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-90:90, -120:120]) < 50
    >>> face = np.where(disc, 60, 180).astype(np.uint8)
    >>> zones = segment_zones(face)
    >>> zones.found, zones.core_source, round(zones.calibration.um_per_px_x, 2)
    (True, 'nominal', 1.25)
    """
    gray, valid, flags = _prepare(image)
    aspect, radius_range = None, None
    if um_per_px is not None:
        aspect = um_per_px[0] / um_per_px[1]
        expected = cladding_um / (2 * math.sqrt(um_per_px[0] * um_per_px[1]))
        radius_range = (0.7 * expected, 1.4 * expected)
    fiber = find_fiber(gray, aspect=aspect, radius_range_px=radius_range)
    if fiber.field is not None:
        valid &= fiber.field.radius_map(valid.shape) < 1
    if fiber.cladding is None:
        return _not_found(fiber.reason, valid, um_per_px, flags)
    calibration = _calibrate(fiber.cladding.ellipse, um_per_px, cladding_um)
    zones = _assemble(gray, valid, fiber, calibration, core_um or _NOMINAL_CORE_UM)
    return replace(zones, flags=(*flags, *zones.flags))


def plain_zones(image: NDArray[np.generic], *, um_per_px: tuple[float, float] | None = None) -> Zones:
    """Return the zones of a surface without a fibre: one zone, `FERRULE`, over the whole valid area.

    Examples
    --------
    >>> zones = plain_zones(np.zeros((60, 80), np.uint8))
    >>> zones.found, zones.reason, bool((zones.anatomy == AnatomyZone.FERRULE).all())
    (False, 'plain surface', True)
    """
    _, valid, flags = _prepare(image)
    return _not_found("plain surface", valid, um_per_px, flags)


def _prepare(image: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[str, ...]]:
    """Return the picture as float32, NaN where there is none and graphics painted over; valid area; flags."""
    if image.ndim != 2:
        raise InputError(
            f"expected a grey-scale picture of shape (H, W), found an array of shape {image.shape}",
            hint="Convert colour pictures to grey first.",
        )
    gray = np.array(image, np.float32)  # a copy of its own
    finite = np.isfinite(gray)
    seen = image if finite.all() else np.where(finite, gray, np.float32(0))
    valid = finite & find_valid_area(seen)
    graphics = find_graphics(seen, valid)
    drawn = bool(graphics.any())
    valid &= ~graphics
    gray, whole = paint_over(gray, valid)
    gray[~whole] = np.nan
    return gray, valid, (DRAWN_ON,) if drawn else ()


def _not_found(
    reason: str, valid: NDArray[np.bool_], um_per_px: tuple[float, float] | None, flags: tuple[str, ...]
) -> Zones:
    anatomy = np.where(valid, np.uint8(AnatomyZone.FERRULE), np.uint8(AnatomyZone.OUTSIDE))
    calibration = Calibration() if um_per_px is None else Calibration(*um_per_px, "settings")
    return Zones(
        found=False, reason=reason, anatomy=anatomy, valid=valid, calibration=calibration, flags=flags
    )


def _calibrate(cladding: Ellipse, um_per_px: tuple[float, float] | None, cladding_um: float) -> Calibration:
    if um_per_px is not None:
        return Calibration(um_per_px[0], um_per_px[1], "settings")
    return Calibration(cladding_um / (2 * cladding.rx_px), cladding_um / (2 * cladding.ry_px), "cladding")


def _assemble(
    gray: NDArray[np.float32],
    valid: NDArray[np.bool_],
    fiber: FiberRings,
    calibration: Calibration,
    core_um: float,
) -> Zones:
    assert fiber.cladding is not None
    cladding = fiber.cladding.ellipse
    if fiber.core is not None:
        core = fiber.core.ellipse
    else:
        assert calibration.um_per_px_x is not None
        core = cladding.scaled(min(core_um / (2 * cladding.rx_px * calibration.um_per_px_x), 0.9))
    angles, deviation = _measure_rim(gray, fiber.cladding)
    adhesive = _adhesive_edge(fiber)
    return Zones(
        found=True,
        reason="",
        anatomy=_anatomy_map(valid, cladding, core, adhesive),
        valid=valid,
        calibration=calibration,
        cladding=cladding,
        core=core,
        core_source="nominal" if fiber.core is None else "measured",
        confidence=_confidence(fiber),
        rim_angles_rad=angles,
        rim_deviation_px=deviation,
        rings_px=tuple(sorted(ring.ellipse.radius_px for ring in fiber.others)),
        flags=_flags(fiber, deviation),
        adhesive=adhesive,
    )


def _measure_rim(gray: NDArray[np.float32], rim: Ring) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edge along 720 rays minus the ellipse, looking further inwards: rims chip inwards."""
    radius = rim.ellipse.radius_px
    sigma = edge_sigma_px(radius)
    edges = find_rim_edges(
        gray,
        rim.ellipse,
        polarity=rim.polarity,
        inwards_px=max(0.08 * radius, 4 * sigma),
        outwards_px=max(0.04 * radius, 4 * sigma),
        sigma_px=sigma,
        n_angles=_N_RIM_ANGLES,
        n_peaks=3,
    ).nearest(min_strength=max(0.3 * rim.strength, 2 * rim.noise))
    return edges.angles_rad, edges.offset_px[:, 0]


def _adhesive_edge(fiber: FiberRings) -> Ellipse | None:
    assert fiber.cladding is not None
    inner = fiber.cladding.ellipse.radius_px
    outside = [r.ellipse for r in fiber.others if inner < r.ellipse.radius_px < _MAX_ADHESIVE_RATIO * inner]
    return max(outside, key=lambda ellipse: ellipse.radius_px, default=None)


def _anatomy_map(
    valid: NDArray[np.bool_], cladding: Ellipse, core: Ellipse, adhesive: Ellipse | None
) -> NDArray[np.uint8]:
    anatomy = np.full(valid.shape, AnatomyZone.FERRULE, np.uint8)
    if adhesive is not None:
        _paint(anatomy, adhesive, AnatomyZone.ADHESIVE)
    _paint(anatomy, cladding, AnatomyZone.CLADDING)
    _paint(anatomy, core, AnatomyZone.CORE)
    anatomy[~valid] = AnatomyZone.OUTSIDE
    return anatomy


def _paint(anatomy: NDArray[np.uint8], ellipse: Ellipse, code: int) -> None:
    """Write `code` into the pixels whose centre lies in the ellipse, touching its box only."""
    top, left = (
        max(0, math.floor(ellipse.cy_px - ellipse.ry_px)),
        max(0, math.floor(ellipse.cx_px - ellipse.rx_px)),
    )
    box = anatomy[
        top : math.ceil(ellipse.cy_px + ellipse.ry_px) + 1,
        left : math.ceil(ellipse.cx_px + ellipse.rx_px) + 1,
    ]
    shifted = replace(ellipse, cx_px=ellipse.cx_px - left, cy_px=ellipse.cy_px - top)
    box[shifted.radius_map((box.shape[0], box.shape[1])) <= 1] = code


def _confidence(fiber: FiberRings) -> float:
    rim = fiber.cladding
    assert rim is not None
    sure = rim.support * rim.agreement * min(1.0, rim.snr / 5)
    return float(min(1.0, max(0.05, sure - 0.5 * max(0.0, rim.unrest - 0.25))))


def _flags(fiber: FiberRings, deviation: NDArray[np.float64]) -> tuple[str, ...]:
    assert fiber.cladding is not None
    flags = []
    if fiber.core is None:
        flags.append("core not visible")
    elif fiber.core.support < 0.7 or fiber.core.snr < 2:
        flags.append("core faint")
    if fiber.cladding.support < 0.75:
        flags.append("rim partly hidden")
    if fiber.cladding.visible < 0.985:
        flags.append(CUT_OFF)
    limit = max(1.5, 0.015 * fiber.cladding.ellipse.radius_px)
    if np.count_nonzero(deviation < -limit) > 0.03 * deviation.size:
        flags.append("rim chipped")
    return tuple(flags)


def iec_map(zones: Zones, diameters_um: Mapping[str, tuple[float, float]]) -> NDArray[np.uint8]:
    """Map the zones of IEC 61300-3-35: concentric circles in micrometres round the centre of the cladding.

    Parameters
    ----------
    diameters_um : mapping of str to (float, float)
        Inner (included) and outer (excluded) diameter by zone name 'A' to 'D'.

    Returns
    -------
    (H, W) uint8 ndarray
        Codes of `IecZone`; all 0 where no fibre was found or the pitch is unknown.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-90:90, -120:120]) < 50
    >>> zones = segment_zones(np.where(disc, 60, 180).astype(np.uint8))
    >>> codes = iec_map(zones, {"A": (0, 25), "B": (25, 120)})
    >>> IecZone(int(codes[90, 120])).name, IecZone(int(codes[90, 150])).name, int(codes[0, 0])
    ('A', 'B', 0)
    """
    codes = np.zeros(zones.shape, np.uint8)
    scale = zones.calibration
    if zones.cladding is None or scale.um_per_px_x is None or scale.um_per_px_y is None:
        return codes
    centre = zones.cladding
    circle = Ellipse(centre.cx_px, centre.cy_px, 0.5 / scale.um_per_px_x, 0.5 / scale.um_per_px_y)
    diameter_um = circle.radius_map(zones.shape)
    # each pixel lies between two borders; what is there is looked up
    borders = sorted({border for pair in diameters_um.values() for border in pair if border > 0})
    table = np.zeros(256, np.uint8)
    for name, (inner, outer) in diameters_um.items():
        table[sum(border <= inner for border in borders) : sum(border < outer for border in borders) + 1] = (
            IecZone[name]
        )
    for border in borders:
        codes += (diameter_um >= border).view(np.uint8)
    codes = np.asarray(cv2.LUT(codes, table), np.uint8)
    codes *= zones.valid.view(np.uint8)
    return codes


@dataclass(frozen=True, eq=False)
class ZoneGeometry:
    """Numbers of the zones; None where they are not known.

    Attributes
    ----------
    core_offset_um : float or None
        Distance between the centres of core and cladding.
    concentricity_error_pct : float or None
        That distance against the cladding's diameter, in percent.
    rim_roughness_px : float or None
        Root mean square of the rim's deviation from its ellipse, chips (beyond three spreads) left out.
    rim_max_deviation_px : float or None
        Largest deviation of the rim, inwards negative.
    chipped_share : float or None
        Share of the rim that lies inside its ellipse by more than three spreads and one pixel.
    area_px, area_um2 : dict
        Area of each anatomical zone within the picture, by name in lower case; `area_um2` is empty without a
        pitch.
    """

    core_diameter_px: float | None = None
    cladding_diameter_px: float | None = None
    core_diameter_um: float | None = None
    cladding_diameter_um: float | None = None
    core_offset_px: float | None = None
    core_offset_um: float | None = None
    concentricity_error_pct: float | None = None
    rim_roughness_px: float | None = None
    rim_max_deviation_px: float | None = None
    chipped_share: float | None = None
    area_px: dict[str, int] = field(default_factory=dict)
    area_um2: dict[str, float] = field(default_factory=dict)


def zone_geometry(zones: Zones) -> ZoneGeometry:
    """Measure diameters, the core's offset, the rim and the areas of the zones.

    The offset and the concentricity error are given only where the core was measured, never for a nominal
    one.
    """
    counts = np.rint(
        cv2.calcHist([zones.anatomy], [0], None, [len(AnatomyZone)], [0, len(AnatomyZone)])
    ).ravel()
    area_px = {zone.name.lower(): int(counts[zone]) for zone in AnatomyZone}
    pitch_y, pitch_x = zones.calibration.spacing_um
    area_um2 = {name: n * pitch_x * pitch_y for name, n in area_px.items()} if zones.calibration.known else {}
    geometry = ZoneGeometry(area_px=area_px, area_um2=area_um2)
    if zones.cladding is None:
        return geometry
    unit = math.sqrt(pitch_x * pitch_y) if zones.calibration.known else None
    roughness, worst, chipped = _rim_numbers(zones.rim_deviation_px)
    geometry = replace(
        geometry,
        cladding_diameter_px=2 * zones.cladding.radius_px,
        cladding_diameter_um=None if unit is None else 2 * zones.cladding.radius_px * unit,
        rim_roughness_px=roughness,
        rim_max_deviation_px=worst,
        chipped_share=chipped,
    )
    if zones.core is None or zones.core_source != "measured":
        return geometry
    dx, dy = zones.core.cx_px - zones.cladding.cx_px, zones.core.cy_px - zones.cladding.cy_px
    # against the ellipse the error needs no pitch, and pixels that are not square do no harm
    relative = math.hypot(dx / (2 * zones.cladding.rx_px), dy / (2 * zones.cladding.ry_px))
    return replace(
        geometry,
        core_diameter_px=2 * zones.core.radius_px,
        core_diameter_um=None if unit is None else 2 * zones.core.radius_px * unit,
        core_offset_px=math.hypot(dx, dy),
        core_offset_um=None if unit is None else math.hypot(dx * pitch_x, dy * pitch_y),
        concentricity_error_pct=100 * relative,
    )


def _rim_numbers(deviation: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    seen = deviation[np.isfinite(deviation)]
    if seen.size == 0:
        return None, None, None
    spread = 1.4826 * float(np.median(np.abs(seen)))
    regular = seen[np.abs(seen) <= 3 * spread] if spread > 0 else seen
    chipped = float(np.mean(seen < -max(3 * spread, 1.0)))
    return float(np.sqrt(np.mean(regular**2))), float(seen[np.abs(seen).argmax()]), chipped


def boundary_points(ellipse: Ellipse, *, angles_rad: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return points (N, 2) as x, y in pixels on the boundary of a zone, by default one per degree."""
    return ellipse.points(np.deg2rad(np.arange(360.0)) if angles_rad is None else angles_rad)
