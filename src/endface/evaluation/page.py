"""The evaluation as one self-contained HTML page; what is said is here, how it looks is in the template."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from endface.evaluation.comparison import DefectRow
from endface.evaluation.metrics import size_pairs
from endface.evaluation.plots import pod_plot, recall_plot, size_plot
from endface.evaluation.statistics import Bias, Kappa, Proportion

if TYPE_CHECKING:
    from endface.evaluation.evaluate import Evaluation

_UNKNOWN = "–"


def render_page(evaluation: Evaluation, defects: Sequence[DefectRow]) -> str:
    """Return the HTML of an evaluation; the same evaluation gives the same text."""
    folder = resources.files("endface.evaluation")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(share=share, number=number, interval=interval)
    template = environment.from_string((folder / "evaluation.html.j2").read_text(encoding="utf-8"))
    groups: dict[str, list[int]] = {}
    for position, row in enumerate(evaluation.recall):
        groups.setdefault(row.group, []).append(position)
    binned = {
        name: recall_plot([evaluation.recall[position] for position in positions])
        for name, positions in groups.items()
        if name.startswith(("diameter", "scratch length", "SNR"))
    }
    return template.render(
        e=evaluation,
        tables={
            name: [evaluation.recall[position] for position in positions]
            for name, positions in groups.items()
        },
        recall_plots=binned,
        pods=[(curve, pod_plot(curve)) for curve in evaluation.pod],
        size_plots={
            "diameter": size_plot(size_pairs(defects, scratches=False), "diameter"),
            "scratch length": size_plot(size_pairs(defects, scratches=True), "length"),
        },
    )


def share(value: Proportion) -> str:
    """Return a share in words.

    Examples
    --------
    >>> from endface.evaluation.statistics import wilson
    >>> share(wilson(9, 10)), share(wilson(0, 0))
    ('90.0 % (9 of 10; 59.6 to 98.2 %)', 'none to count')
    """
    if value.value is None or value.low is None or value.high is None:
        return "none to count"
    return (
        f"{100 * value.value:.1f} % ({value.hits} of {value.trials}; "
        f"{100 * value.low:.1f} to {100 * value.high:.1f} %)"
    )


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits, a dash where it is unknown.

    Examples
    --------
    >>> number(0.12345), number(None)
    ('0.123', '–')
    """
    return _UNKNOWN if value is None else f"{value:.{digits}g}"


def interval(value: Bias | Kappa) -> str:
    """Return a mean or kappa with its interval."""
    middle = value.mean if isinstance(value, Bias) else value.value
    if middle is None:
        return _UNKNOWN
    if value.low is None or value.high is None:
        return number(middle)
    return f"{number(middle)} ({number(value.low)} to {number(value.high)})"
