"""How serious a defect is: a score of 0 to 100 and a level, from size, length, contrast, class and zone.

Knows single defects. Whether an image passes is decided in `grading`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TWINS = {"core": "A", "cladding": "B", "adhesive": "C", "ferrule": "D"}


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
    has_um = ~np.isnan(numbers(table, "diameter_um"))
    box = np.fmax(numbers(table, "width_px"), numbers(table, "height_px"))
    area_px = numbers(table, "area_px")
    diameter_px = _first(numbers(table, "diameter_px"), np.sqrt(area_px * (4.0 / math.pi)), box)
    # a line of a given area and length is as wide as one divided by the other
    length_px = _first(numbers(table, "length_px"), box)
    width_px = area_px / length_px

    def half(name: str, fallback_px: Floats, at: float) -> Floats:
        value = _first(numbers(table, name), fallback_px * nominal_um_per_px)
        return np.nan_to_num(value / (value + at), nan=0.0)

    narrow, long = half("width_um", width_px, size_um), half("length_um", length_px, length_um)
    scratch = np.array([name == "scratch" for name in table["type"]], np.bool_)
    extent = np.where(scratch, 1.0 - (1.0 - narrow) * (1.0 - long), half("diameter_um", diameter_px, size_um))
    strength = np.abs(numbers(table, "contrast"))
    visible = np.nan_to_num(strength / (strength + contrast), nan=0.0)
    zones = _words(table, "iec_zone")
    if "anatomy_zone" in table.columns:
        anatomy = _words(table, "anatomy_zone")
        zones = [
            zone if known else _TWINS.get(name or "", "outside")
            for zone, name, known in zip(zones, anatomy, has_um, strict=True)
        ]
    weight = _weights(_words(table, "type"), class_weights)
    weight *= _weights([zone or "outside" for zone in zones], zone_weights)
    score = np.round(np.clip(100.0 * weight * (0.7 * extent + 0.3 * visible), 0.0, 100.0), 2)
    levels = np.where(score >= high_from, "high", np.where(score >= medium_from, "medium", "low"))
    return pl.DataFrame(
        {"severity_score": score, "severity_level": levels.tolist()},
        schema={"severity_score": pl.Float64, "severity_level": pl.String},
    )


def numbers(table: pl.DataFrame, name: str) -> Floats:
    """Return a column as float64, NaN where null or where the table lacks it."""
    # without expressions, whose planning would cost more than what is done with the numbers of an image
    if name not in table.columns:
        return np.full(table.height, np.nan)
    return np.asarray(table[name].cast(pl.Float64).to_numpy())


def _words(table: pl.DataFrame, name: str) -> list[str | None]:
    return table[name].to_list() if name in table.columns else [None] * table.height


def _first(*choices: Floats) -> Floats:
    """Return, for every row, the first value that is known."""
    result = choices[0]
    for other in choices[1:]:
        result = np.where(np.isnan(result), other, result)
    return result


def _weights(names: Sequence[str | None], weights: Mapping[str, float] | None) -> Floats:
    return np.array([(weights or {}).get(name or "", 1.0) for name in names], np.float64)
