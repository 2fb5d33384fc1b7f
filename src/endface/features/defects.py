"""Measure every defect of one image: size, shape, position, contrast, texture, centre line.

Sizes come from the mask (the master copy), except the width of a line, which comes from its gray profile. A
missing pixel pitch leaves micrometre columns null and measures shape in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, Defect, IecZone, Zones, instance_map
from endface.features.columns import DEFECT_COLUMNS, to_table
from endface.imaging.contrast import Contrast, measure_contrast
from endface.imaging.focus import edge_blur_px
from endface.imaging.linewidth import photometric_width, seen_share, unblurred_width
from endface.imaging.shape import Shape, measure_shape, set_pixels
from endface.imaging.skeleton import Centerline, trace
from endface.imaging.spotlook import SpotLook, look_at_spot, unblurred_diameter
from endface.imaging.texture import measure_texture

LINE_SLENDERNESS = 3.0  # from here on length and width are those of a line
MAX_REACH_PX = 25.0
COMPACT_SLENDERNESS = 8.0  # beyond, outline and margin are those of a line and not looked at
SMALL_SPOT_PX = 5.0  # smaller spots look as wide as the blur makes them
ASSUMED_BLUR_PX = 1.0  # where no edge of the image is clear enough to tell
ON_RIM = 0.04  # of the cladding radius: 2.5 um of 62.5 um
ZONE_ORDER = (
    AnatomyZone.CORE,
    AnatomyZone.CLADDING,
    AnatomyZone.ADHESIVE,
    AnatomyZone.FERRULE,
    AnatomyZone.OUTSIDE,
)
IEC_NAMES = {IecZone.A: "A", IecZone.B: "B", IecZone.C: "C", IecZone.D: "D", IecZone.OUTSIDE: "outside"}


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all defects of one image share."""

    gray: NDArray[np.float32]
    zones: Zones
    anatomy: NDArray[np.uint8]
    iec: NDArray[np.uint8]
    blocked: NDArray[np.uint8]
    quantum: float
    floor: float
    blur_px: float

    @property
    def spacing(self) -> tuple[float, float]:
        return self.zones.calibration.spacing_um

    @property
    def pitch(self) -> float:
        """Mean pitch: um (or 1) per px."""
        return math.sqrt(self.spacing[0] * self.spacing[1])

    def um(self, value: float) -> float | None:
        """Return the value where the calibration is known."""
        return value if self.zones.calibration.known else None


def measure_defects(
    image: NDArray[np.generic],
    zones: Zones,
    iec: NDArray[np.uint8],
    defects: tuple[Defect, ...],
    *,
    blur_px: float | None = None,
) -> pl.DataFrame:
    """Measure all defects of one image.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values at native depth; not changed.
    zones : Zones
    iec : (H, W) uint8 ndarray
        Codes of `IecZone`.
    defects : tuple of Defect
        Each with at least one pixel, inside the image.
    blur_px : float, optional
        Blur of the image as of `endface.imaging.focus.edge_blur_px`; measured where not given.

    Returns
    -------
    polars.DataFrame
        One row per defect in the given order with the columns of `DEFECT_COLUMNS`; none for no defects.

    Raises
    ------
    ValueError
        If a defect has no pixel.

    Notes
    -----
    `contrast` is relative to the local background and never negative; `contrast_gray` and `polarity` carry
    the sign. Widths of lines and diameters of small spots are corrected for the image's blur; a line too
    narrow for that has an upper bound for its width (`width_resolved` is false).

    Examples
    --------
    >>> from endface.annotation import Calibration
    >>> anatomy = np.full((40, 40), AnatomyZone.FERRULE, np.uint8)
    >>> zones = Zones(False, "plain surface", anatomy, anatomy > 0, Calibration(0.5, 0.5, "settings"))
    >>> image = np.full((40, 40), 120, np.uint8)
    >>> image[10:14, 20:24] = 60
    >>> pit = Defect(np.ones((4, 4), bool), x_px=20, y_px=10, detector="region", score=5.0, polarity=-1)
    >>> table = measure_defects(image, zones, np.zeros((40, 40), np.uint8), (pit,))
    >>> table.select("area_um2", "contrast", "anatomy_zone").row(0)
    (4.0, 0.5, 'ferrule')
    """
    if not defects:
        return to_table([], DEFECT_COLUMNS)
    blocked = (instance_map(defects, zones.shape) > 0) | ~zones.valid
    # writable and contiguous: compiled functions would be compiled anew for every other kind of array
    gray = np.require(image, np.float32, ["C", "W"])
    whole = np.issubdtype(image.dtype, np.integer)
    top = float(gray.max())
    scene = _Scene(
        gray=gray,
        zones=zones,
        anatomy=np.require(zones.anatomy, np.uint8, ["C", "W"]),
        iec=iec,
        blocked=blocked.astype(np.uint8),
        quantum=1.0 / math.sqrt(12.0) if whole else max(1e-4 * abs(top), 1e-12),
        floor=max(abs(top) / 255.0, 1e-12),
        blur_px=_blur(edge_blur_px(gray, zones.valid) if blur_px is None else blur_px),
    )
    return to_table(
        [_measure(scene, number, defect) for number, defect in enumerate(defects, 1)], DEFECT_COLUMNS
    )


def _blur(blur_px: float) -> float:
    """Return the blur within what lenses and pixels make plausible."""
    return ASSUMED_BLUR_PX if math.isnan(blur_px) else min(max(blur_px, 0.4), 3.0)


def _measure(scene: _Scene, number: int, defect: Defect) -> dict[str, object]:
    rows, cols = pixels = set_pixels(defect.mask)
    shape = measure_shape(defect.mask, spacing=scene.spacing, pixels=pixels)
    line = trace(defect.mask, spacing=scene.spacing, pixels=pixels)
    rows, cols = rows + defect.y_px, cols + defect.x_px
    contrast = measure_contrast(
        scene.gray,
        scene.anatomy,
        scene.blocked,
        defect.mask,
        top=defect.y_px,
        left=defect.x_px,
        pixels=pixels,
    )
    position = _position(scene, rows, cols, shape.row_px + defect.y_px, shape.col_px + defect.x_px)
    look = _look(scene, defect, line)
    return {
        "instance": number,
        "x_px": defect.x_px,
        "y_px": defect.y_px,
        "width_px": defect.mask.shape[1],
        "height_px": defect.mask.shape[0],
        "centroid_x_px": shape.col_px + defect.x_px,
        "centroid_y_px": shape.row_px + defect.y_px,
        "detector": defect.detector,
        "provenance": defect.provenance,
        "confidence": _confidence(defect),
        **_zones_touched(scene, rows, cols, shape.row_px + defect.y_px, shape.col_px + defect.x_px),
        **_size(scene, defect, shape, line),
        **_diameter(scene, shape, look, on_rim=position["rim_distance_norm"] == 0.0),
        **_shape(scene, shape, line),
        **_outlook(look),
        **position,
        **_intensity(scene, defect, contrast),
        **_texture(scene, rows, cols, contrast),
    }


def _confidence(defect: Defect) -> float:
    """Return 1 / (1 + expected number of false alarms), or 1 where a person stands behind the defect."""
    if defect.provenance != "machine":
        return 1.0
    return float(1.0 / (1.0 + 10.0 ** -min(max(defect.score, -300.0), 300.0)))


def _zones_touched(
    scene: _Scene, rows: NDArray[np.int64], cols: NDArray[np.int64], row: float, col: float
) -> dict[str, object]:
    anatomy = np.bincount(scene.zones.anatomy[rows, cols], minlength=5)
    codes = scene.iec[rows, cols]
    touched = np.bincount(codes, minlength=5)
    names = [IEC_NAMES[zone] for zone in IecZone if zone and touched[zone]] or ["outside"]
    nearest = int(np.argmin((rows - row) ** 2 + (cols - col) ** 2))
    return {
        "anatomy_zone": next(zone.name.lower() for zone in ZONE_ORDER if anatomy[zone]),
        "iec_zone": names[0],
        "iec_zone_centroid": IEC_NAMES[IecZone(int(codes[nearest]))],
        "iec_zones": ";".join(names),
    }


def _size(scene: _Scene, defect: Defect, shape: Shape, line: Centerline) -> dict[str, object]:
    is_line = line.length >= LINE_SLENDERNESS * line.mean_width
    length, width, widest = shape.major, shape.minor, line.max_width
    width_sd, resolved = 0.0, True
    length_px = shape.major / scene.pitch
    if is_line:
        reach = min(2.0 * line.mean_width + 5.0 * scene.pitch, MAX_REACH_PX * scene.pitch)
        path_px = line.path_px + np.array([defect.y_px, defect.x_px])
        share = seen_share(scene.gray, path_px, reach=reach, spacing=scene.spacing)
        length, length_px = share * line.length, share * line.length_px
        seen = photometric_width(scene.gray, path_px, reach=reach, spacing=scene.spacing)
        if math.isnan(seen.mean):
            width, widest = line.mean_width, line.max_width
        else:
            blur = scene.blur_px * scene.pitch
            width, resolved = unblurred_width(seen.mean, blur)
            widest = unblurred_width(seen.maximum, blur)[0]
            above, below = (unblurred_width(seen.mean + k * seen.sd, blur)[0] for k in (1, -1))
            width_sd = 0.5 * (above - below)
    return {
        "area_px": shape.area_px,
        "area_um2": scene.um(shape.area),
        "length_um": scene.um(length),
        "length_px": length_px,
        "width_um": scene.um(width),
        "line_width_px": width / scene.pitch,
        "max_width_um": scene.um(max(widest, width)),
        "max_line_width_px": max(widest, width) / scene.pitch,
        "width_sd_um": scene.um(width_sd),
        "width_resolved": resolved,
        "is_line": is_line,
    }


def _look(scene: _Scene, defect: Defect, line: Centerline) -> SpotLook:
    """Return outline, margin and inside of a compact defect; nothing for a line."""
    if line.length > COMPACT_SLENDERNESS * line.mean_width:
        return SpotLook()
    return look_at_spot(
        scene.gray,
        scene.anatomy,
        scene.blocked,
        defect.mask,
        top=defect.y_px,
        left=defect.x_px,
        blur_px=scene.blur_px,
        spacing=scene.spacing,
    )


def _diameter(scene: _Scene, shape: Shape, look: SpotLook, *, on_rim: bool) -> dict[str, object]:
    """Return the diameter: of the mask or of the patch at half its peak, whichever is larger.

    Detectors cut the soft edge of large spots off and draw small ones as wide as their blur: those have the
    major axis of the patch at half its peak, which noise at its border does not lengthen, freed of the blur.
    On a rim the mask alone counts, since the level on one side of it says little about the other.
    """
    diameter = shape.diameter
    if not on_rim and look.major < SMALL_SPOT_PX * scene.pitch:
        diameter = unblurred_diameter(look.major, look.blur)
    elif not on_rim and not math.isnan(look.diameter):
        diameter = max(diameter, unblurred_diameter(look.diameter, look.blur))
    return {"diameter_um": scene.um(diameter), "diameter_px": diameter / scene.pitch}


def _outlook(look: SpotLook) -> dict[str, object]:
    aspect = 1.0 if math.isnan(look.major) else look.major / look.minor
    return {
        "outline_aspect": aspect,
        "irregularity": look.irregularity,
        "lit_edge": look.lit_edge,
        "one_sided": look.one_sided,
        "fringe": look.fringe,
        "mottling": look.mottling,
        "peak_snr": look.peak_snr,
    }


def _waviness(path_px: NDArray[np.float64], spacing: tuple[float, float]) -> float:
    """Return the rms distance of a path from its best parabola, over the path's extent."""
    path = (path_px - path_px.mean(axis=0)) * np.array(spacing)
    if len(path) < 6:
        return 0.0
    along = path @ np.linalg.svd(path, full_matrices=False)[2].T
    scale = float(np.ptp(along[:, 0]))
    if scale <= 0.0:
        return 0.0
    x = along[:, 0] / scale
    curve = np.stack([np.ones_like(x), x, x * x], axis=1)
    rest = along[:, 1] - curve @ np.linalg.lstsq(curve, along[:, 1], rcond=None)[0]
    return float(np.sqrt(np.mean(rest * rest))) / scale


def _shape(scene: _Scene, shape: Shape, line: Centerline) -> dict[str, object]:
    return {
        "orientation_deg": shape.orientation_deg,
        "straightness": line.straightness,
        "tortuosity": line.turning_rad,
        "waviness": _waviness(line.path_px, scene.spacing),
        "slenderness": line.length / line.mean_width,
        "aspect_ratio": shape.aspect_ratio,
        "circularity": shape.circularity,
        "solidity": shape.solidity,
        "eccentricity": shape.eccentricity,
        "extent": shape.extent,
        "perimeter_px": shape.perimeter / scene.pitch,
        "euler_number": shape.euler_number,
        "n_holes": line.n_parts - shape.euler_number,
        "n_subregions": line.n_parts,
        **{f"hu_{k}": value for k, value in enumerate(shape.hu, 1)},
        "skeleton_px": line.skeleton_px,
        "mask_width_mean_px": line.mean_width / scene.pitch,
        "mask_width_max_px": line.max_width / scene.pitch,
        "n_branch_points": line.n_branches,
        "n_end_points": line.n_ends,
    }


def _position(
    scene: _Scene, rows: NDArray[np.int64], cols: NDArray[np.int64], row: float, col: float
) -> dict[str, object]:
    rim = scene.zones.cladding
    names = (
        "distance_px",
        "distance_um",
        "angle_deg",
        "radius_norm",
        "rim_distance_norm",
        "rim_distance_um",
        "rim_share",
    )
    if rim is None:
        return dict.fromkeys(names)
    sy, sx = scene.spacing
    dx, dy = col - rim.cx_px, row - rim.cy_px
    radii = rim.normalized_radius(cols, rows)
    inner, outer = float(radii.min()), float(radii.max())
    gap = max(0.0, inner - 1.0, 1.0 - outer)
    radius = math.sqrt(rim.rx_px * sx * rim.ry_px * sy)
    return {
        "distance_px": math.hypot(dx, dy),
        "distance_um": scene.um(math.hypot(dx * sx, dy * sy)),
        "angle_deg": math.degrees(math.atan2(-dy * sy, dx * sx)) % 360.0,
        "radius_norm": float(rim.normalized_radius(col, row)),
        "rim_distance_norm": gap,
        "rim_distance_um": scene.um(gap * radius),
        "rim_share": float(np.mean(np.abs(radii - 1.0) < ON_RIM)),
    }


def _intensity(scene: _Scene, defect: Defect, found: Contrast) -> dict[str, object]:
    noise = math.hypot(found.noise, scene.quantum)
    measured = 0 if abs(found.difference) < 0.7 * found.rms else int(np.sign(found.difference))
    return {
        "contrast": found.rms / max(found.background, scene.floor),
        "contrast_gray": found.difference,
        "snr": found.rms / noise,
        "polarity": defect.polarity or measured,
        "mean_intensity": found.mean,
        "std_intensity": found.std,
        "min_intensity": found.minimum,
        "max_intensity": found.maximum,
        "local_mean": found.background,
        "local_noise": found.noise,
        "halo": found.halo,
        "edge_gradient_mean": found.edge_mean,
        "edge_gradient_std": found.edge_std,
        "edge_sharpness": found.edge_mean / max(found.rms, noise),
    }


def _texture(
    scene: _Scene, rows: NDArray[np.int64], cols: NDArray[np.int64], found: Contrast
) -> dict[str, object]:
    texture = measure_texture(scene.gray, rows, cols, low=found.low, high=found.high)
    return {
        "entropy": texture.entropy,
        "glcm_contrast": texture.glcm_contrast,
        "glcm_homogeneity": texture.glcm_homogeneity,
        "glcm_energy": texture.glcm_energy,
        "glcm_correlation": texture.glcm_correlation,
        **{f"lbp_{k}": share for k, share in enumerate(texture.lbp)},
    }
