"""One image alone: its zones, its defects, their measures, and what makes the image doubtful.

Pixels in, plain tables out. Does not know files, other images of the run, classes or limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Defect, Zones, instance_map
from endface.config import Settings
from endface.detection import detect_defects
from endface.detection.joining import trim
from endface.features import measure_defects, measure_zones
from endface.grading import Profile, choose_profile, load_profile
from endface.imaging.focus import edge_blur_px, score_of_blur
from endface.samples import FrameArray
from endface.zones import iec_map, plain_zones, segment_zones, zone_geometry


@dataclass(frozen=True, eq=False)
class Measures:
    """What one image alone tells.

    Attributes
    ----------
    iec : (H, W) uint8 ndarray
        Codes of `IecZone`.
    defects : polars.DataFrame
        One row per defect, `instance` from 1.
    zones : polars.DataFrame
        One row per anatomical zone.
    row : dict
        Columns of the image table that need no other image and no class.
    """

    iec: NDArray[np.uint8]
    defects: pl.DataFrame
    zones: pl.DataFrame
    row: dict[str, Any]


def locate(image: FrameArray, settings: Settings) -> Zones:
    """Find the zones of an image as the settings say."""
    given = settings.calibration
    um_per_px = None if given.um_per_px is None else (given.um_per_px, given.um_per_px_y or given.um_per_px)
    if settings.surface == "plain":
        return plain_zones(image, um_per_px=um_per_px)
    return segment_zones(image, um_per_px=um_per_px, cladding_um=given.cladding_um, core_um=given.core_um)


def detect(image: FrameArray, zones: Zones, settings: Settings) -> tuple[Defect, ...]:
    """Find the defects of an image as the settings say; no two share a pixel, boxes are tight.

    Where a fibre was looked for and is not there, the picture shows something else: no defects are counted.
    """
    if not zones.found and settings.surface == "fiber":
        return ()
    chosen = settings.detection
    found = detect_defects(image, zones, epsilon=chosen.epsilon, detector=chosen.detector)
    return _disjoint(found, zones.shape)


def _disjoint(defects: tuple[Defect, ...], shape: tuple[int, int]) -> tuple[Defect, ...]:
    """Give every pixel to one defect, so that tables and masks agree; what is small lies on what is large."""
    small_first = sorted(range(len(defects)), key=lambda k: defects[k].area_px)
    owner = instance_map(tuple(defects[k] for k in small_first), shape)
    numbers = np.argsort(small_first) + 1
    own = [replace(defect, mask=owner[defect.box] == n) for defect, n in zip(defects, numbers, strict=True)]
    return tuple(trim(defect) for defect in own if defect.mask.any())


def measure(
    image: FrameArray,
    zones: Zones,
    defects: tuple[Defect, ...],
    settings: Settings,
    *,
    white_level: float,
    notes: tuple[str, ...] = (),
) -> Measures:
    """Measure defects, zones and the image itself."""
    profile = profile_for(zones, settings)
    iec = iec_of(zones, profile)
    blur_px = edge_blur_px(image, zones.valid)
    focus = score_of_blur(blur_px)
    flags = quality_flags(image, zones, settings, white_level=white_level, focus=focus)
    table = measure_defects(image, zones, iec, defects, blur_px=blur_px)
    return Measures(
        iec=iec,
        defects=table,
        zones=measure_zones(image, zones, defects),
        row=_image_row(zones, focus, flags, notes) | {"profile": profile_name(profile, settings)},
    )


def profile_for(zones: Zones, settings: Settings) -> Profile | None:
    """Return the acceptance profile of an image; None where none applies (a plain surface on 'auto')."""
    name = settings.grading.profile
    if name != "auto":
        return load_profile(name)
    if settings.surface == "plain":
        return None
    return load_profile(choose_profile(core_diameter_um(zones)))


def profile_name(profile: Profile | None, settings: Settings) -> str:
    """Return what `load_profile` takes to get this profile again; empty for none."""
    if profile is None:
        return ""
    return profile.name if settings.grading.profile == "auto" else settings.grading.profile


def core_diameter_um(zones: Zones) -> float | None:
    """Return the diameter of a core that was seen, or None."""
    pitch = zones.calibration
    if zones.core is None or zones.core_source != "measured" or pitch.um_per_px_x is None:
        return None
    pitch_y = pitch.um_per_px_y or pitch.um_per_px_x
    return 2 * math.sqrt(zones.core.rx_px * pitch.um_per_px_x * zones.core.ry_px * pitch_y)


def iec_of(zones: Zones, profile: Profile | None) -> NDArray[np.uint8]:
    """Return the IEC map for a profile, all outside where none applies."""
    if profile is None:
        return np.zeros(zones.shape, np.uint8)
    return iec_map(zones, profile.zone_diameters_um)


def quality_flags(
    image: FrameArray, zones: Zones, settings: Settings, *, white_level: float, focus: float
) -> tuple[str, ...]:
    """Name what makes an image doubtful, in words a user understands."""
    limits = settings.quality
    seen = image if zones.valid.all() else image[zones.valid]
    flags = [] if zones.found or settings.surface == "plain" else [f"no fibre found: {zones.reason}"]
    if seen.size and np.count_nonzero(seen >= white_level) > seen.size * limits.saturated_fraction:
        flags.append("saturated")
    if not seen.size or float(seen.mean()) < limits.dark_level * white_level:
        flags.append("too dark")
    if focus < limits.min_focus_score:
        flags.append("out of focus")
    pitch = zones.calibration.um_per_px_x
    if pitch is not None and pitch > limits.max_um_per_px:
        flags.append(f"too coarse ({pitch:.2g} um per px)")
    return (*flags, *(flag for flag in zones.flags if flag not in flags))


def _image_row(zones: Zones, focus: float, flags: tuple[str, ...], notes: tuple[str, ...]) -> dict[str, Any]:
    geometry = zone_geometry(zones)
    pitch = zones.calibration
    row: dict[str, Any] = {
        "width_px": zones.shape[1],
        "height_px": zones.shape[0],
        "found": zones.found,
        "not_found_reason": zones.reason,
        "um_per_px_x": pitch.um_per_px_x,
        "um_per_px_y": pitch.um_per_px_y,
        "calibration": pitch.source,
        "core_offset_um": geometry.core_offset_um,
        "concentricity_error_pct": geometry.concentricity_error_pct,
        "focus_score": focus,
        "quality_flags": "; ".join(flags),
        "notes": "; ".join(notes),
    }
    for name, ellipse in (("cladding", zones.cladding), ("core", zones.core)):
        for part in ("cx_px", "cy_px", "rx_px", "ry_px"):
            row[f"{name}_{part}"] = getattr(ellipse, part) if ellipse is not None else None
    return row
