"""Measure every defect of one image: size, shape, position, contrast, texture, centre line.

Sizes come from the mask (the master copy), except the width of a line, which comes from its gray profile. A
missing pixel pitch leaves micrometre columns null and measures shape in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Defect, Zones, instance_map
from endface.features.columns import DEFECT_COLUMNS, to_table
from endface.features.position import positions, zones_touched
from endface.imaging.contrast import Contrast, measure_contrasts
from endface.imaging.crest import crest_waviness
from endface.imaging.focus import edge_blur_px
from endface.imaging.linewidth import (
    LineWidth,
    labels_across,
    photometric_width,
    profiles_across,
    seen_share,
    smooth_path,
    steps_across,
    unblurred_width,
)
from endface.imaging.patches import MARGIN, Floats, Patches
from endface.imaging.ringlevel import ring_level
from endface.imaging.shape import Shape, measure_shapes
from endface.imaging.skeleton import Centerline, trace_all
from endface.imaging.spotlook import SpotLook, look_at_spot, unblurred_diameter
from endface.imaging.texture import Texture, measure_textures

LINE_SLENDERNESS = 3.0  # from here on length and width are those of a line
MAX_REACH_PX = 25.0
MOST_PX = 4_000_000  # of the boxes of defects that are measured together
COMPACT_SLENDERNESS = 8.0  # beyond, the outline is that of a line and not looked at
RAGGED = 0.25  # standard uncertainty of a diameter by how far the outline is from a circle
SMALL_SPOT_PX = 5.0  # smaller spots look as wide as the blur makes them
ALIKE = 2.0  # ratio of the diameters of defects that are counted together
ASSUMED_BLUR_PX = 1.0  # where no edge of the image is clear enough to tell


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all defects of one image share."""

    gray: NDArray[np.float32]
    zones: Zones
    anatomy: NDArray[np.uint8]
    iec: NDArray[np.uint8]
    numbers: NDArray[np.uint16]
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
    >>> from endface.annotation import AnatomyZone, Calibration
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
    numbers = instance_map(defects, zones.shape)
    # writable and contiguous: compiled functions would be compiled anew for every other kind of array
    gray = np.require(image, np.float32, ["C", "W"])
    whole = np.issubdtype(image.dtype, np.integer)
    top = float(gray.max())
    scene = _Scene(
        gray=gray,
        zones=zones,
        anatomy=np.require(zones.anatomy, np.uint8, ["C", "W"]),
        iec=iec,
        numbers=numbers,
        blocked=((numbers > 0) | ~zones.valid).astype(np.uint8),
        quantum=1.0 / math.sqrt(12.0) if whole else max(1e-4 * abs(top), 1e-12),
        floor=max(abs(top) / 255.0, 1e-12),
        blur_px=_blur(edge_blur_px(gray, zones.valid) if blur_px is None else blur_px),
    )
    rows = [row for some in _in_parts(defects) for row in _measure(scene, some)]
    counts = _alike(rows)
    return to_table(
        [{"instance": k, "n_alike": n} | row for k, (n, row) in enumerate(zip(counts, rows, strict=True), 1)],
        DEFECT_COLUMNS,
    )


def _alike(rows: list[dict[str, Any]]) -> list[int]:
    """Return for each defect how many compact ones, it included, are half to twice as large."""
    sizes = np.array([row["diameter_px"] for row in rows])
    compact = np.array([not row["is_line"] for row in rows])
    ranked = np.sort(sizes[compact])
    above = np.searchsorted(ranked, sizes / ALIKE, "left")
    counts: list[int] = (np.searchsorted(ranked, sizes * ALIKE, "right") - above + ~compact).tolist()
    return counts


def _in_parts(defects: tuple[Defect, ...]) -> Iterator[list[Defect]]:
    """Yield the defects in lists whose boxes together hold no more than `MOST_PX`."""
    waiting: list[Defect] = []
    size = 0
    for defect in defects:
        height, width = defect.mask.shape
        cell = (height + 2 * MARGIN) * (width + 2 * MARGIN)
        if waiting and size + cell > MOST_PX:
            yield waiting
            waiting, size = [], 0
        waiting.append(defect)
        size += cell
    yield waiting


def _blur(blur_px: float) -> float:
    """Return the blur within what lenses and pixels make plausible."""
    return ASSUMED_BLUR_PX if math.isnan(blur_px) else min(max(blur_px, 0.4), 3.0)


def _measure(scene: _Scene, defects: list[Defect]) -> list[dict[str, object]]:
    """Return a row for each defect: what goes over pixels for all of them at once, the rest one by one."""
    patches = Patches.of([defect.mask for defect in defects])
    corners = np.array([[defect.y_px, defect.x_px] for defect in defects])
    rows, cols = (patches.rows + corners[patches.owner, 0], patches.cols + corners[patches.owner, 1])
    shapes = measure_shapes(patches, spacing=scene.spacing)
    lines = trace_all(patches, spacing=scene.spacing)
    contrasts = measure_contrasts(scene.gray, scene.anatomy, scene.blocked, patches, corners)
    low, high = (np.array([getattr(found, name) for found in contrasts]) for name in ("low", "high"))
    textures = measure_textures(scene.gray, patches.owner, rows, cols, low=low, high=high)
    centroids = np.array([[shape.row_px, shape.col_px] for shape in shapes]) + corners
    touched = zones_touched(scene.anatomy, scene.iec, patches, rows, cols, centroids=centroids)
    lying = positions(scene.zones, patches, rows, cols, centroids=centroids)
    found = zip(defects, shapes, lines, contrasts, textures, touched, lying, strict=True)
    return [_row(scene, *parts) for parts in found]


def _row(
    scene: _Scene,
    defect: Defect,
    shape: Shape,
    line: Centerline,
    contrast: Contrast,
    texture: Texture,
    touched: dict[str, object],
    position: dict[str, object],
) -> dict[str, object]:
    look = _look(scene, defect, line)
    return {
        "x_px": defect.x_px,
        "y_px": defect.y_px,
        "width_px": defect.mask.shape[1],
        "height_px": defect.mask.shape[0],
        "centroid_x_px": shape.col_px + defect.x_px,
        "centroid_y_px": shape.row_px + defect.y_px,
        "detector": defect.detector,
        "provenance": defect.provenance,
        "confidence": _confidence(defect),
        **touched,
        **_size(scene, defect, shape, line, noise=math.hypot(contrast.noise, scene.quantum)),
        **_diameter(scene, shape, look, on_rim=position["rim_distance_norm"] == 0.0),
        **_shape(scene, shape, line),
        "roundness": look.roundness,
        "peak_snr": look.peak_snr,
        **position,
        **_intensity(scene, defect, contrast),
        **_texture(texture),
    }


def _confidence(defect: Defect) -> float:
    """Return 1 / (1 + expected number of false alarms), or 1 where a person stands behind the defect."""
    if defect.provenance != "machine":
        return 1.0
    return float(1.0 / (1.0 + 10.0 ** -min(max(defect.score, -300.0), 300.0)))


def _size(
    scene: _Scene, defect: Defect, shape: Shape, line: Centerline, *, noise: float
) -> dict[str, object]:
    is_line = line.length >= LINE_SLENDERNESS * line.mean_width
    length, width, widest = shape.major, shape.minor, line.max_width
    width_sd, resolved, waviness, snr = 0.0, True, 0.0, 0.0
    length_px = shape.major / scene.pitch
    if is_line:
        reach = min(2.0 * line.mean_width + 5.0 * scene.pitch, MAX_REACH_PX * scene.pitch)
        path_px = line.path_px + np.array([defect.y_px, defect.x_px])
        across = profiles_across(scene.gray, path_px, reach=reach, spacing=scene.spacing)
        share = seen_share(scene.gray, path_px, reach=reach, spacing=scene.spacing, across=across)
        length, length_px = share * line.length, share * line.length_px
        seen, waviness = _line_width(scene, smooth_path(path_px), reach, line.mean_width)
        if math.isnan(seen.mean):
            width, widest = line.mean_width, line.max_width
        else:
            # a patch has no one crest
            if "line" in defect.detector and line.length > COMPACT_SLENDERNESS * line.mean_width:
                snr = abs(seen.peak_gray) / noise
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
        "line_snr": snr,
        "width_resolved": resolved,
        "is_line": is_line,
        "crest_waviness": waviness,
    }


def _line_width(scene: _Scene, path_px: Floats, reach: float, width: float) -> tuple[LineWidth, float]:
    """Measure how wide and wavy a line looks where no other defect is seen, free of the fibre's rings."""
    spacing = scene.spacing
    across = profiles_across(scene.gray, path_px, reach=reach, spacing=spacing)
    margin = math.ceil(reach / min(spacing)) + 1
    top, left = np.maximum(np.floor(path_px.min(axis=0)).astype(int) - margin, 0)
    bottom, right = np.ceil(path_px.max(axis=0)).astype(int) + margin + 1
    box = slice(top, bottom), slice(left, right)
    usable: NDArray[np.bool_] | None = None
    rim = scene.zones.cladding
    if rim is not None and np.ptp(scene.anatomy[box]):
        steps, m = steps_across(path_px, reach=reach, spacing=spacing)
        points = path_px[:, :, None] + steps[:, :, None] * np.arange(-m, m + 1)
        level = ring_level(scene.gray, scene.blocked, points, rim=rim, core=scene.zones.core)
        usable = np.isfinite(level)
        across = across - np.where(usable, level, 0.0)
    if np.count_nonzero(np.bincount(scene.numbers[box].ravel())[1:]) > 1:
        number = labels_across(scene.numbers, path_px, reach=reach, spacing=spacing)
        counts = np.bincount(number[:, number.shape[1] // 2], minlength=2)
        free = (number == 0) | (number == counts[1:].argmax() + 1)
        usable = free if usable is None else usable & free
    seen = photometric_width(scene.gray, path_px, reach=reach, spacing=spacing, across=across, usable=usable)
    wavy = crest_waviness(across, path_px, width=width, reach=reach, spacing=spacing, usable=usable)
    return seen, wavy


def _look(scene: _Scene, defect: Defect, line: Centerline) -> SpotLook:
    """Return the outline of a compact defect; nothing for a line."""
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
    ragged = RAGGED * max(1.0 - shape.circularity, 0.0)
    return {
        "diameter_um": scene.um(diameter),
        "diameter_sd_um": scene.um(ragged * diameter),
        "diameter_px": diameter / scene.pitch,
    }


def _shape(scene: _Scene, shape: Shape, line: Centerline) -> dict[str, object]:
    return {
        "orientation_deg": shape.orientation_deg,
        "straightness": line.straightness,
        "tortuosity": line.turning_rad,
        "waviness": line.waviness,
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


def _texture(texture: Texture) -> dict[str, object]:
    return {
        "entropy": texture.entropy,
        "glcm_contrast": texture.glcm_contrast,
        "glcm_homogeneity": texture.glcm_homogeneity,
        "glcm_energy": texture.glcm_energy,
        "glcm_correlation": texture.glcm_correlation,
        **{f"lbp_{k}": share for k, share in enumerate(texture.lbp)},
    }
