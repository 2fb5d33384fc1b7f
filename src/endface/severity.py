"""How serious a defect is: a score of 0 to 100 and a level, from size, length, contrast, class and zone.

Knows single defects. Whether an image passes is decided in `grading`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl


def score_severity(
    table: pl.DataFrame,
    *,
    size_um: float = 10.0,
    length_um: float = 50.0,
    contrast: float = 0.2,
    class_weights: Mapping[str, float] | None = None,
    zone_weights: Mapping[str, float] | None = None,
    medium_from: float = 30.0,
    high_from: float = 60.0,
    nominal_um_per_px: float = 0.5,
) -> pl.DataFrame:
    """Score how serious each defect is, from its size, length, contrast, class and zone.

    With h(v, half) = v / (v + half), which is 0 at 0, one half at `half` and tends to 1::

        extent = 1 - (1 - h(width, size_um)) (1 - h(length, length_um))    scratches
        extent = h(diameter, size_um)                                      all others
        score  = 100 * class weight * zone weight * (0.7 extent + 0.3 h(|contrast|, contrast))

    The score never falls when a defect grows, and is cut to 0..100.

    Parameters
    ----------
    table : polars.DataFrame
        One row per defect with `type`, `iec_zone`, `diameter_um`, `width_um`, `length_um`, `contrast`;
        where sizes in um are null, `diameter_px`, `length_px`, `area_px` or the box (`width_px`,
        `height_px`) stand in.
    size_um, length_um, contrast : float
        Values that score half of their term.
    class_weights, zone_weights : mapping of str to float, optional
        Weights by `type` and `iec_zone`; what is not named weighs 1.
    medium_from, high_from : float
        Scores from which the level is medium and high.
    nominal_um_per_px : float
        Pitch assumed for a score, and for nothing else, where it is unknown. The anatomical zone then
        stands in for the IEC zone: core A, cladding B, adhesive C, ferrule D.

    Returns
    -------
    polars.DataFrame
        `severity_score` (Float64, 0 to 100, 2 decimals) and `severity_level` (low, medium, high), row by row.

    Examples
    --------
    >>> pits = pl.DataFrame({"type": ["pit_chip"] * 2, "iec_zone": ["A", "D"], "diameter_um": [10.0, 10.0],
    ...                      "width_um": [8.0, 8.0], "length_um": [10.0, 10.0], "contrast": [-0.2, -0.2]})
    >>> score_severity(pits, zone_weights={"D": 0.5}).rows()
    [(50.0, 'medium'), (25.0, 'low')]
    """
    if table.is_empty():
        return pl.DataFrame(schema={"severity_score": pl.Float64, "severity_level": pl.String})
    has_um = numbers(table, "diameter_um").is_not_null()
    box = pl.max_horizontal(numbers(table, "width_px"), numbers(table, "height_px"))
    round_px = (numbers(table, "area_px") * (4.0 / math.pi)).sqrt()
    diameter_px = pl.coalesce(numbers(table, "diameter_px"), round_px, box)
    # a line of a given area and length is as wide as one divided by the other
    length_px = pl.coalesce(numbers(table, "length_px"), box)
    width_px = numbers(table, "area_px") / length_px

    def half(value: pl.Expr, at: float) -> pl.Expr:
        return (value / (value + at)).fill_null(0.0).fill_nan(0.0)

    def measure(name: str, fallback_px: pl.Expr) -> pl.Expr:
        return pl.coalesce(numbers(table, name), fallback_px * nominal_um_per_px)

    narrow = half(measure("width_um", width_px), size_um)
    long = half(measure("length_um", length_px), length_um)
    extent = (
        pl.when(pl.col("type") == "scratch")
        .then(1.0 - (1.0 - narrow) * (1.0 - long))
        .otherwise(half(measure("diameter_um", diameter_px), size_um))
    )
    zone = pl.col("iec_zone") if "iec_zone" in table.columns else pl.lit(None, pl.String)
    if "anatomy_zone" in table.columns:
        twin = {"core": "A", "cladding": "B", "adhesive": "C", "ferrule": "D"}
        anatomy = pl.col("anatomy_zone").replace_strict(twin, default="outside", return_dtype=pl.String)
        zone = pl.when(has_um).then(zone).otherwise(anatomy)
    weight = _weight(pl.col("type"), class_weights) * _weight(zone.fill_null("outside"), zone_weights)
    score = 100.0 * weight * (0.7 * extent + 0.3 * half(numbers(table, "contrast").abs(), contrast))
    return table.select(severity_score=score.clip(0.0, 100.0).round(2)).with_columns(
        severity_level=pl.when(pl.col("severity_score") >= high_from)
        .then(pl.lit("high"))
        .when(pl.col("severity_score") >= medium_from)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low"))
    )


def numbers(table: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as Float64 with null for NaN, or nulls where the table lacks it."""
    if name not in table.columns:
        return pl.lit(None, pl.Float64).alias(name)
    return pl.col(name).cast(pl.Float64).fill_nan(None)


def _weight(column: pl.Expr, weights: Mapping[str, float] | None) -> pl.Expr:
    if not weights:
        return pl.lit(1.0)
    return column.replace_strict(dict(weights), default=1.0, return_dtype=pl.Float64)
