"""Counts turned into geometry for the bars and histograms of the page; the template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from endface.imaging.draw import palette

SIZE_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, math.inf)
ZONE_ORDER = ("core", "cladding", "adhesive", "ferrule", "outside", "A", "B", "C", "D")


@dataclass(frozen=True, slots=True)
class Segment:
    """One coloured piece of a bar, in per cent of the longest bar of its chart."""

    name: str
    count: int
    x: float
    width: float
    rgb: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart with its pieces from left to right."""

    label: str
    total: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A titled set of bars."""

    title: str
    bars: tuple[Bar, ...]
    note: str = ""


def class_colours() -> dict[str, str]:
    """Return the colour of each defect class as `#rrggbb`."""
    return {swatch.name: swatch.hex for swatch in palette("defects")[1:]}


def stacked(title: str, counts: Mapping[str, Mapping[str, int]], *, note: str = "") -> Chart:
    """Return bars, one per key of `counts`, stacked by the names within, in the order of the defect classes.

    Examples
    --------
    >>> chart = stacked("by zone", {"core": {"scratch": 1, "other": 1}, "ferrule": {"scratch": 4}})
    >>> [(bar.label, bar.total, bar.segments[-1].x) for bar in chart.bars]
    [('core', 2, 25.0), ('ferrule', 4, 0.0)]
    """
    longest = max((sum(parts.values()) for parts in counts.values()), default=0) or 1
    bars = []
    for label, parts in counts.items():
        segments, x = [], 0.0
        for name, rgb in class_colours().items():
            if count := parts.get(name, 0):
                width = 100 * count / longest
                segments.append(Segment(name, count, round(x, 3), round(width, 3), rgb))
                x += width
        bars.append(Bar(label, sum(segment.count for segment in segments), tuple(segments)))
    return Chart(title, tuple(bars), note)


def defect_charts(defects: pl.DataFrame) -> list[Chart]:
    """Return the charts of the page: defects by class, zone, IEC zone, severity and size."""
    if defects.is_empty():
        return []
    classes = list(class_colours())
    by_class = {name: {name: defects.filter(pl.col("type") == name).height} for name in classes}
    charts = [stacked("Class", by_class)]
    for column, title, order in (
        ("anatomy_zone", "Zone", ZONE_ORDER),
        ("iec_zone", "IEC zone", ZONE_ORDER),
        ("severity_level", "Severity", ("low", "medium", "high")),
    ):
        if column in defects.columns:
            charts.append(stacked(title, _cross(defects, column, order)))
    size = _size_chart(defects)
    return [*charts, size] if size is not None else charts


def _cross(defects: pl.DataFrame, column: str, order: Sequence[str]) -> dict[str, dict[str, int]]:
    rows = defects.group_by(pl.col(column).cast(pl.String).fill_null("unknown").alias("key"), "type").len()
    counts: dict[str, dict[str, int]] = {}
    for key, name, count in rows.sort("key", "type").iter_rows():
        counts.setdefault(key, {})[name] = count
    place = {name: index for index, name in enumerate(order)}
    return dict(sorted(counts.items(), key=lambda item: (place.get(item[0], len(place)), item[0])))


def _size_chart(defects: pl.DataFrame) -> Chart | None:
    column = "diameter_um"
    if column not in defects.columns or defects[column].null_count() == defects.height:
        return None
    known = defects.filter(pl.col(column).is_not_null())
    classes = known["type"].to_list()
    places = np.digitize(known[column].cast(pl.Float64).to_numpy(), SIZE_EDGES[1:-1])
    counts: dict[str, dict[str, int]] = {_bin_label(index): {} for index in range(len(SIZE_EDGES) - 1)}
    for place, name in zip(places.tolist(), classes, strict=True):
        parts = counts[_bin_label(place)]
        parts[name] = parts.get(name, 0) + 1
    unknown = defects.height - known.height
    note = f"{unknown} without a known size" if unknown else ""
    return stacked("Diameter in µm", counts, note=note)


def _bin_label(index: int) -> str:
    low, high = SIZE_EDGES[index], SIZE_EDGES[index + 1]
    if index == 0:
        return f"under {high:g}"
    return f"{low:g} and more" if math.isinf(high) else f"{low:g} – {high:g}"
