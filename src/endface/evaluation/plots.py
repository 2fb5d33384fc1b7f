"""Small plots as inline SVG: detection curves, shares with intervals, found against true sizes.

Knows geometry only; colours come from the page's style by class name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from endface.evaluation.metrics import PodCurve, Recall
from endface.evaluation.statistics import Proportion

_WIDTH, _HEIGHT = 380.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 12.0, 40.0


@dataclass(frozen=True, slots=True)
class _Axes:
    """From values to the plot: x linear or logarithmic, y linear."""

    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    log_y: bool = False

    def px(self, value: float) -> float:
        return round(_LEFT + _part(value, self.x, log=self.log_x) * (_WIDTH - _LEFT - _RIGHT), 1)

    def py(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - _part(value, self.y, log=self.log_y) * (_HEIGHT - _TOP - _BOTTOM), 1)


def pod_plot(curve: PodCurve) -> Markup:
    """Draw a detection curve through the shares found in bins, with a90 and a90/95 marked."""
    pod = curve.pod
    low, high = pod.smallest or 0.1, pod.largest or 10.0
    low, high = low / 1.15, max(high, pod.a90_95 or 0.0 if (pod.a90_95 or 0.0) < 3 * high else high) * 1.15
    axes = _Axes((low, high), (0.0, 1.0), log_x=True)
    parts = [_frame(axes, f"{curve.measure.replace('_um', '')} in µm", "share found")]
    for first, last, share in curve.bins:
        parts.append(_interval(axes, math.sqrt(first * last), share))
    if pod.intercept is not None:
        sizes = np.geomspace(low, high, 80)
        points = [
            (axes.px(float(x)), axes.py(float(y))) for x, y in zip(sizes, pod.probability(sizes), strict=True)
        ]
        parts.append(_path(points, "curve"))
    for value, label, style in ((pod.a90, "a90", "mark"), (pod.a90_95, "a90/95", "mark dashed")):
        if value is not None and low <= value <= high:
            x = axes.px(value)
            parts.append(f'<line class="{style}" x1="{x}" x2="{x}" y1="{axes.py(0)}" y2="{axes.py(0.9)}"/>')
            anchor, dx = ("end", -4) if label == "a90" else ("start", 4)
            parts.append(_text(x + dx, axes.py(0.03), f"{label} {value:.3g}", anchor=anchor))
    return _svg(parts, f"Probability of detection of {curve.class_name} by {curve.measure}")


def recall_plot(rows: Sequence[Recall]) -> Markup:
    """Draw shares found, one column per row, with their intervals."""
    axes = _Axes((0.0, float(len(rows))), (0.0, 1.0))
    parts = [_frame(axes, "", "share found", x_ticks=())]
    for position, row in enumerate(rows):
        x0, x1 = axes.px(position + 0.18), axes.px(position + 0.82)
        top = axes.py(row.found.value or 0.0)
        parts.append(
            f'<rect class="bar" x="{x0}" y="{top}" width="{x1 - x0:.1f}" height="{axes.py(0) - top:.1f}"/>'
        )
        parts.append(_interval(axes, position + 0.5, row.found, dot=False))
        parts.append(_text((x0 + x1) / 2, axes.py(0) + 14, _short(row.name), anchor="middle"))
        parts.append(
            _text((x0 + x1) / 2, axes.py(0) + 28, f"n={row.found.trials}", anchor="middle", style="dim")
        )
    return _svg(parts, "Share found by group")


def size_plot(pairs: Sequence[tuple[float, float]], label: str) -> Markup:
    """Draw found against true sizes of up to 3000 pairs, both axes logarithmic, with the line of equality."""
    shown = [pair for pair in pairs if min(pair) > 0][:: max(1, len(pairs) // 3000)]
    if not shown:
        return Markup("")
    values = [value for pair in shown for value in pair]
    limits = (min(values) / 1.2, max(values) * 1.2)
    axes = _Axes(limits, limits, log_x=True, log_y=True)
    ends = [(axes.px(value), axes.py(value)) for value in limits]
    parts = [_frame(axes, f"true {label} in µm", "found"), _path(ends, "mark")]
    parts += [f'<circle class="pair" cx="{axes.px(x)}" cy="{axes.py(y)}" r="2"/>' for x, y in shown]
    return _svg(parts, f"Found against true {label}")


def _short(name: str) -> str:
    """Bin in as few letters as eight of them need to stand side by side."""
    for long, short in (("below ", "<"), (" to ", "–"), (" and more", "+")):
        name = name.replace(long, short)
    return name


def _part(value: float, limits: tuple[float, float], *, log: bool) -> float:
    low, high = limits
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def _ticks(limits: tuple[float, float], *, log: bool) -> list[float]:
    if not log:
        return [limits[0] + (limits[1] - limits[0]) * step / 5 for step in range(6)]
    decades = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    inside = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    return inside if len(inside) <= 8 else [tick for tick in inside if f"{tick:e}".startswith("1")]


def _frame(axes: _Axes, x_label: str, y_label: str, *, x_ticks: Sequence[float] | None = None) -> str:
    parts = []
    for tick in _ticks(axes.y, log=axes.log_y):
        y = axes.py(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{tick:.3g}", anchor="end"))
    for tick in _ticks(axes.x, log=axes.log_x) if x_ticks is None else x_ticks:
        x = axes.px(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(_text(x, _HEIGHT - _BOTTOM + 14, f"{tick:.3g}", anchor="middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, anchor="middle", style="dim"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = f'transform="translate(11 {middle}) rotate(-90)" text-anchor="middle"'
    parts.append(f'<text class="dim" {turned}>{escape(y_label)}</text>')
    return "".join(parts)


def _interval(axes: _Axes, x_value: float, share: Proportion, *, dot: bool = True) -> str:
    if share.value is None or share.low is None or share.high is None:
        return ""
    x = axes.px(x_value)
    line = f'<line class="whisker" x1="{x}" x2="{x}" y1="{axes.py(share.low)}" y2="{axes.py(share.high)}"/>'
    return line + (f'<circle class="dot" cx="{x}" cy="{axes.py(share.value)}" r="3"/>' if dot else "")


def _path(points: Sequence[tuple[float, float]], style: str) -> str:
    text = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{style}" fill="none" points="{text}"/>'


def _text(x: float, y: float, text: str, *, anchor: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], title: str) -> Markup:
    head = f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")
