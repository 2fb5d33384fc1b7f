"""Measure every anatomical zone of one image, and say after naming which zones are clean and why not."""

from __future__ import annotations

import math
from typing import Any

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
    gray: NDArray[Any] = image if image.dtype == np.uint8 else np.ascontiguousarray(image, np.float32)
    instances = instance_map(defects, zones.shape)
    steepness = gradient_magnitude(gray)
    code = zones.anatomy * zones.valid.view(np.uint8)  # `OUTSIDE` is 0
    dirty = np.asarray(cv2.inRange(instances, 1, 65535), np.uint8)
    border = _zone_borders(zones.anatomy.astype(np.uint8, copy=False))
    smooth = np.asarray(cv2.boxFilter(gray, cv2.CV_32F, (5, 5)), np.float32)
    low, high = (float(v) for v in cv2.minMaxLoc(gray)[:2])
    rows = []
    for zone in MEASURED_ZONES:
        inside = np.asarray(cv2.inRange(code, int(zone), int(zone)), np.uint8)
        left, top, width, height = cv2.boundingRect(inside)
        if not width:
            continue
        box = (slice(top, top + height), slice(left, left + width))
        clean = _unless(inside[box], dirty[box])
        quiet = _unless(clean, border[box])
        n_covered = cv2.countNonZero(cv2.bitwise_and(inside[box], dirty[box]))
        rows.append(
            {
                "zone": zone.name.lower(),
                **_areas(zones, defects, inside, n_covered),
                **_grays(image[box], clean, low, high),
                **_quiet_grays(smooth[box], steepness[box], quiet),
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


Mask = NDArray[np.uint8]  # 0 and 255, as OpenCV takes it


def _zone_borders(code: NDArray[np.uint8]) -> Mask:
    """Return the pixels closer than 3 px to another zone."""
    window = np.ones((5, 5), np.uint8)
    return np.asarray(cv2.compare(cv2.dilate(code, window), cv2.erode(code, window), cv2.CMP_NE), np.uint8)


def _unless(mask: Mask, without: Mask) -> Mask:
    """Return a mask without some pixels, or all of it where nothing would be left."""
    rest = cv2.subtract(mask, without)
    return np.asarray(rest, np.uint8) if cv2.countNonZero(rest) else mask


def _areas(zones: Zones, defects: tuple[Defect, ...], inside: Mask, covered: int) -> dict[str, object]:
    sy, sx = zones.calibration.spacing_um
    area = cv2.countNonZero(inside)
    return {
        "zone_area_px": area,
        "zone_area_um2": area * sy * sx if zones.calibration.known else None,
        "defect_area_px": covered,
        "n_defects": sum(bool(inside[defect.box][defect.mask].any()) for defect in defects),
        "cleanliness": 1.0 - covered / area,
    }


def _grays(image: NDArray[np.generic], clean: Mask, low: float, high: float) -> dict[str, object]:
    """Return figures of the clean pixels, from the histogram of the gray levels where they are integers."""
    if image.dtype == np.uint8 or image.dtype == np.uint16:
        size = int(high) + 1
        found = cv2.calcHist([np.ascontiguousarray(image)], [0], clean, [size], [0.0, float(size)])
        histogram = np.asarray(found, np.float64).ravel()
        levels = np.flatnonzero(histogram).astype(np.float64)
        counts = histogram[histogram > 0]
    else:
        values, numbers = np.unique(image[clean > 0].astype(np.float32), return_counts=True)
        levels, counts = values.astype(np.float64), numbers.astype(np.float64)
    total = counts.sum()
    mean = float((levels * counts).sum() / total)
    return {
        "mean_intensity": mean,
        "std_intensity": math.sqrt(float(((levels - mean) ** 2 * counts).sum() / total)),
        "median_intensity": _median(levels, counts),
        "entropy": histogram_entropy(levels, counts=counts, low=low, high=high),
    }


def _median(levels: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the median of values that occur `counts` times."""
    ranks = np.cumsum(counts)
    middle = 0.5 * (ranks[-1] - 1)
    places = np.searchsorted(ranks, [math.floor(middle), math.ceil(middle)], side="right")
    return float(levels[places].mean())


def _quiet_grays(
    smooth: NDArray[np.float32], steepness: NDArray[np.float32], quiet: Mask
) -> dict[str, object]:
    """Return figures of the clean pixels away from the steps between zones."""
    mean, spread = (float(value.item()) for value in cv2.meanStdDev(smooth, mask=quiet))
    return {
        # the sum of what is left of the others; a mean under a mask takes twice as long
        "mean_gradient": cv2.sumElems(cv2.copyTo(steepness, quiet))[0] / cv2.countNonZero(quiet),
        "uniformity": max(0.0, 1.0 - spread / mean) if mean > 0 else 0.0,
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
