"""What class a single defect looks like: a score card of physical evidence, each item with its points.

Contamination is the reference: it scores 0, and a defect without any evidence is contamination. Points are
log-odds; classes get their probabilities by softmax. Pits and dust of two or three pixels look alike; their
probabilities say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

CLASSES: Final = ("scratch", "contamination", "pit_chip")
OTHER: Final = "other"
UNDECIDED = 0.45  # a best class less likely than this is 'other'
ASSUMED_UM_PER_PX = 0.5  # sizes in px are judged as if this were the pitch where none is known


@dataclass(frozen=True, slots=True)
class Evidence:
    """One item of the score card: full points where it applies fully, a share where it applies in part."""

    name: str
    meaning: str
    scratch: float
    pit_chip: float


SCORE_CARD: Final = (
    Evidence("always", "what a defect is before anything is known about it", -2.3, -1.8),
    Evidence("thin_straight", "length / width 3 to 12 (log), times straightness 0.7 to 0.95", 4.5, 1.0),
    Evidence(
        "thin_curly", "length / width 3 to 12 (log), times 1 - straightness: lint, or a crack", 0.5, 0.0
    ),
    Evidence("elongated", "axes of the moments' ellipse 1.4 to 2.8", 3.0, 0.4),
    Evidence("broad_line", "a line of 4 to 10 um width", -2.5, -1.0),
    Evidence("line_found", "the line detector saw it, and it is thin", 0.5, 0.0),
    Evidence("on_rim", "compact, nearest pixel within 2.5 to 0.5 um of the cladding rim", 0.0, 4.0),
    Evidence("rim_found", "the rim detector saw it, and it is compact", 0.0, 2.0),
    Evidence("sizeable", "compact, 2.5 to 5 um across (log)", 0.0, 1.8),
    Evidence("large", "compact, 10 to 30 um across (log): flakes, oil, droplets", -2.0, -4.0),
    Evidence("dark", "compact and darker than its surroundings", -1.0, 0.4),
    Evidence("raised_rim", "compact, margin of opposite polarity 0 to 0.2 of its contrast", 0.0, 0.9),
    Evidence(
        "far_out", "compact, 1.2 to 3 cladding radii from the centre: the ferrule gathers dust", 0.0, -1.0
    ),
    Evidence("in_parts", "compact, of 1 to 3 pieces: a hole with a lit edge", 0.0, 2.0),
)


def rule_classes(table: pl.DataFrame) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Classify each defect by the score card alone.

    Parameters
    ----------
    table : polars.DataFrame
        Columns of `endface.features.DEFECT_COLUMNS`.

    Returns
    -------
    types : (N,) str ndarray
        'scratch', 'contamination', 'pit_chip', or 'other' where no class reaches `UNDECIDED`.
    confidences : (N,) float64 ndarray
        Probability of the type; for 'other' one minus that of the best class.

    Examples
    --------
    >>> from endface.features import DEFECT_COLUMNS
    >>> from endface.features.columns import to_table
    >>> rule_classes(to_table([], DEFECT_COLUMNS))[0].size
    0
    """
    return decide(class_probabilities(table))


def decide(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return the likeliest class of each row, or 'other', and how sure that is."""
    if probabilities.shape[0] == 0:
        return np.empty(0, "U13"), np.empty(0)
    best = probabilities.max(axis=1)
    types = np.array(CLASSES, "U13")[probabilities.argmax(axis=1)]
    undecided = best < UNDECIDED
    types[undecided] = OTHER
    return types, np.where(undecided, 1.0 - best, best)


def class_probabilities(table: pl.DataFrame) -> NDArray[np.float64]:
    """Return the (N, 3) probabilities of `CLASSES` for each defect."""
    applies = applicable_evidence(table)
    scores = np.zeros((table.height, 3))
    for item in SCORE_CARD:
        scores[:, 0] += item.scratch * applies[item.name]
        scores[:, 2] += item.pit_chip * applies[item.name]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True)) if table.height else scores
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def applicable_evidence(table: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return for each item of `SCORE_CARD` how far (0 to 1) it applies to each defect."""
    thin = _log_ramp(_column(table, "slenderness"), 3.0, 12.0)
    straight = _ramp(_column(table, "straightness"), 0.7, 0.95)
    compact = 1.0 - thin
    size_um = size_of(table, "diameter_um", "diameter_px")
    width_um = size_of(table, "width_um", "line_width_px")
    rim_um = np.nan_to_num(_column(table, "rim_distance_um"), nan=np.inf)
    radius = np.nan_to_num(_column(table, "radius_norm"), nan=1.0)
    detector = table["detector"]
    return {
        "always": np.ones(table.height),
        "thin_straight": thin * straight,
        "thin_curly": thin * (1.0 - straight),
        "elongated": _ramp(_column(table, "aspect_ratio"), 1.4, 2.8),
        "broad_line": thin * _log_ramp(width_um, 4.0, 10.0),
        "line_found": thin * detector.str.contains("line").to_numpy(),
        "on_rim": compact * (1.0 - _ramp(rim_um, 0.5, 2.5)),
        "rim_found": compact * detector.str.contains("rim").to_numpy(),
        "sizeable": compact * _log_ramp(size_um, 2.5, 5.0),
        "large": compact * _log_ramp(size_um, 10.0, 30.0),
        "dark": compact * (_column(table, "polarity") < 0),
        "raised_rim": compact * _ramp(_column(table, "halo"), 0.0, 0.2),
        "far_out": compact * _ramp(radius, 1.2, 3.0),
        "in_parts": compact * _ramp(_column(table, "n_subregions"), 1.0, 3.0),
    }


def size_of(table: pl.DataFrame, name_um: str, name_px: str) -> NDArray[np.float64]:
    """Return a size in um, from pixels by `ASSUMED_UM_PER_PX` where the pitch is unknown."""
    return np.where(
        np.isnan(_column(table, name_um)),
        ASSUMED_UM_PER_PX * _column(table, name_px),
        _column(table, name_um),
    )


def _column(table: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as float64, null as NaN."""
    return table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _log_ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return _ramp(np.log(np.maximum(values, 1e-6)), float(np.log(low)), float(np.log(high)))
