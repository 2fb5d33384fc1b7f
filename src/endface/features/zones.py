"""Measure every anatomical zone of one image, and say after naming which zones are clean and why not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, Defect, Zones, instance_map
from endface.features.columns import ZONE_COLUMNS, ZONE_LABEL_COLUMNS, schema_of, to_table
from endface.imaging.ellipse import Ellipse
from endface.imaging.texture import gradient_magnitude, histogram_entropy

MEASURED_ZONES = (AnatomyZone.CORE, AnatomyZone.CLADDING, AnatomyZone.ADHESIVE, AnatomyZone.FERRULE)


def measure_zones(image: NDArray[np.generic], zones: Zones, defects: tuple[Defect, ...]) -> pl.DataFrame:
    """Measure the anatomical zones that are present in one image.

    Gray figures are those of the clean pixels: a zone's brightness should not depend on its dirt.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values at native depth; not changed.
    zones : Zones
    defects : tuple of Defect

    Returns
    -------
    polars.DataFrame
        One row per zone with at least one valid pixel, in the order core, cladding, adhesive, ferrule, with
        the columns of `ZONE_COLUMNS`. A defect counts in every zone it touches, its area by pixels.

    Examples
    --------
    >>> from endface.annotation import Calibration
    >>> anatomy = np.full((40, 40), AnatomyZone.FERRULE, np.uint8)
    >>> zones = Zones(False, "plain surface", anatomy, anatomy > 0, Calibration())
    >>> table = measure_zones(np.full((40, 40), 9, np.uint8), zones, ())
    >>> table.select("zone", "zone_area_px", "cleanliness").row(0)
    ('ferrule', 1600, 1.0)
    """
    gray = np.ascontiguousarray(image, np.float32)
    instances = instance_map(defects, zones.shape)
    steepness = gradient_magnitude(gray)
    code = zones.anatomy.astype(np.uint8)
    border = cv2.dilate(code, np.ones((5, 5), np.uint8)) != cv2.erode(code, np.ones((5, 5), np.uint8))
    smooth = np.asarray(cv2.blur(gray, (5, 5)), np.float32)
    low, high = (float(v) for v in cv2.minMaxLoc(gray)[:2])
    rows = []
    for zone in MEASURED_ZONES:
        inside = zones.mask(zone) & zones.valid
        if not inside.any():
            continue
        clean = inside & (instances == 0)
        clean = clean if clean.any() else inside
        quiet = clean & ~border
        quiet = quiet if quiet.any() else clean
        rows.append(
            {
                "zone": zone.name.lower(),
                **_areas(zones, defects, inside, instances),
                **_grays(gray[clean], smooth[quiet], steepness[quiet], low, high),
                **_geometry(zones, zone),
            }
        )
    return to_table(rows, ZONE_COLUMNS)


def label_zones(zone_table: pl.DataFrame, defect_table: pl.DataFrame) -> pl.DataFrame:
    """Label zones clean or defective from the defects that belong to them, once these are named.

    A defect belongs to the innermost zone it touches (its `anatomy_zone`), so that each is counted once;
    the covered share (`defect_area_frac`) goes by pixels and may be above 0 in a clean zone that a
    neighbour's defect reaches.

    Parameters
    ----------
    zone_table : polars.DataFrame
        Columns of `ZONE_COLUMNS`; with `image_id` where it holds more than one image.
    defect_table : polars.DataFrame
        Columns of `DEFECT_COLUMNS` and `type`; `image_id` likewise; `severity_score`,
        `severity_level` where known.

    Returns
    -------
    polars.DataFrame
        `zone_table` in its order with the columns of `ZONE_LABEL_COLUMNS` added; `n_defects` replaced by
        the count of defects that belong to the zone, the former one kept as `n_defects_touching`.
    """
    key = ["image_id", "zone"] if "image_id" in zone_table.columns else ["zone"]
    found = _worst_by_zone(defect_table, key)
    joined = zone_table.rename({"n_defects": "n_defects_touching"}).join(
        found, on=key, how="left", maintain_order="left"
    )
    counts = [pl.col(f"_{name}").fill_null(0) for name in _TYPES]
    words = [pl.when(n > 0).then(pl.format("{} " + name, n)) for n, name in zip(counts, _TYPES, strict=True)]
    state = pl.when(pl.col("n_defects") > 0).then(pl.lit("defective")).otherwise(pl.lit("clean"))
    labelled = joined.with_columns(
        pl.col("n_defects").fill_null(0),
        (pl.col("defect_area_px") / pl.col("zone_area_px")).alias("defect_area_frac"),
        pl.concat_str(words, separator=", ", ignore_nulls=True).alias("label_reason"),
    ).with_columns(state.alias("label"))
    schema = schema_of(ZONE_LABEL_COLUMNS)
    kept = [name for name in zone_table.columns if name not in schema]
    return labelled.select(
        *kept, "n_defects_touching", *(pl.col(name).cast(dtype) for name, dtype in schema.items())
    )


def _worst_by_zone(defects: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Return count, largest and worst defect of every zone; the larger one is worse at equal severity."""
    absent = {"severity_score": pl.Float64, "severity_level": pl.String}
    known = set(defects.columns)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name not in known]
    rank = ["severity_score", "area_px", "instance"]
    return (
        defects.with_columns(pl.col("anatomy_zone").alias("zone"), *missing)
        .sort([*key, *rank], descending=[False] * len(key) + [True, True, False], nulls_last=True)
        .group_by(key, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("n_defects"),
            pl.col("diameter_um").max().alias("largest_defect_um"),
            pl.col("type").first().alias("worst_type"),
            pl.col("severity_level").first().alias("worst_severity"),
            pl.col("severity_score").first().alias("worst_severity_score"),
            *((pl.col("type") == name).sum().alias(f"_{name}") for name in _TYPES),
        )
    )


_TYPES = ("scratch", "contamination", "pit_chip", "other")


def _areas(
    zones: Zones, defects: tuple[Defect, ...], inside: NDArray[np.bool_], instances: NDArray[np.uint16]
) -> dict[str, object]:
    sy, sx = zones.calibration.spacing_um
    area = int(np.count_nonzero(inside))
    covered = int(np.count_nonzero(inside & (instances > 0)))
    return {
        "zone_area_px": area,
        "zone_area_um2": area * sy * sx if zones.calibration.known else None,
        "defect_area_px": covered,
        "n_defects": sum(bool((inside[defect.box] & defect.mask).any()) for defect in defects),
        "cleanliness": 1.0 - covered / area,
    }


def _grays(
    clean: NDArray[np.float32],
    smooth: NDArray[np.float32],
    steepness: NDArray[np.float32],
    low: float,
    high: float,
) -> dict[str, object]:
    level = float(smooth.mean())
    return {
        "mean_intensity": float(clean.mean()),
        "std_intensity": float(clean.std()),
        "median_intensity": float(np.median(clean)),
        "mean_gradient": float(steepness.mean()),
        "entropy": histogram_entropy(clean, low=low, high=high),
        "uniformity": max(0.0, 1.0 - float(smooth.std()) / level) if level > 0 else 0.0,
    }


def _geometry(zones: Zones, zone: AnatomyZone) -> dict[str, object]:
    """Return figures of the ellipse around a zone; null where there is none."""
    names = [
        c.name
        for c in ZONE_COLUMNS[ZONE_COLUMNS.index(next(c for c in ZONE_COLUMNS if c.name == "alignment")) :]
    ]
    ellipse = {AnatomyZone.CORE: zones.core, AnatomyZone.CLADDING: zones.cladding}.get(zone)
    if ellipse is None or zones.cladding is None:
        return dict.fromkeys(names)
    return _ellipse_figures(ellipse, zones.cladding, zones)


def _ellipse_figures(ellipse: Ellipse, cladding: Ellipse, zones: Zones) -> dict[str, object]:
    sy, sx = zones.calibration.spacing_um
    known = zones.calibration.known
    dx, dy = ellipse.cx_px - cladding.cx_px, ellipse.cy_px - cladding.cy_px
    radii = sorted((ellipse.rx_px * sx, ellipse.ry_px * sy))
    return {
        "alignment": max(0.0, 1.0 - float(cladding.normalized_radius(ellipse.cx_px, ellipse.cy_px))),
        "center_x_px": ellipse.cx_px,
        "center_y_px": ellipse.cy_px,
        "radius_x_px": ellipse.rx_px,
        "radius_y_px": ellipse.ry_px,
        "radius_um": math.sqrt(radii[0] * radii[1]) if known else None,
        "ellipticity": 1.0 - radii[0] / radii[1],
        "center_offset_um": math.hypot(dx * sx, dy * sy) if known else None,
        "center_offset_px": math.hypot(dx, dy),
    }
