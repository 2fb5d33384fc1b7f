"""What class a single defect looks like: a score card of physical evidence, each item with its points.

Contamination is the reference: it scores 0, and a defect without any evidence is contamination. Points are
log-odds; classes get their probabilities by softmax. The points are those of a multinomial logistic
regression on rendered defects (docs/clustering.md says of which, and how well it did on others). Pits and
dust of two or three pixels look alike; their probabilities say so.
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
    Evidence("always", "what a defect is before anything is known about it", -3.5, 0),
    Evidence("thin", "length / width 2.5 to 8 (log)", -3.2, -2),
    Evidence("smooth", "thin, waviness 0.04 to 0.004 (log): no lint, no crack", 6.9, 1),
    Evidence("elongated", "axes of the moments' ellipse 1.4 to 3", 3.8, -0.7),
    Evidence("broad", "thin, a line of 2.5 to 8 um width", -2.3, -2.3),
    Evidence("bright", "brighter than its surroundings", 0, -1.7),
    Evidence("from_rim", "thin, its outermost pixel within 5 to 1.5 um of the rim", -0.1, 3.8),
    Evidence("cracked", "from_rim, waviness of its crest 0.002 to 0.01 (log)", -1.5, 2),
    Evidence("along_rim", "thin, 0.3 to 0.8 of it near the rim", -3, 3),
    Evidence("on_rim", "compact, nearest pixel within 2.5 to 0.5 um of the rim", 1, 2.8),
    Evidence("across", "on_rim, and reaches 2 to 4 um beyond the rim, where the glass ends", 0.1, -2.8),
    Evidence("short", "length 20 to 7 um (log)", -0.9, -0.4),
    Evidence("large", "compact, 7 to 20 um across (log): flakes, oil, droplets", -1.8, -3),
    Evidence("round", "clear, fills 0.7 to 0.9 of its smallest circle", -0.5, 2.9),
    Evidence("alike", "compact, not on_rim, one of 3 to 30 (log) of like size in the image", -0.4, -1.5),
    Evidence("far_out", "compact, 1.2 to 3 cladding radii from the centre", 0.3, -1.3),
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
    thin = _log_ramp(_column(table, "slenderness"), 2.5, 8.0)
    compact = 1.0 - thin
    size_um = size_of(table, "diameter_um", "diameter_px")
    rim_um = np.nan_to_num(_column(table, "rim_distance_um"), nan=np.inf)
    radius = np.nan_to_num(_column(table, "radius_norm"), nan=1.0)
    along_rim = _ramp(np.nan_to_num(_column(table, "rim_share")), 0.3, 0.8)
    on_rim = 1.0 - _ramp(rim_um, 0.5, 2.5)
    beyond_um = np.nan_to_num(_column(table, "beyond_rim_um"), nan=np.inf)
    from_rim = thin * (1.0 - _ramp(np.abs(beyond_um), 1.5, 5.0)) * (1.0 - along_rim)
    # noise averages out over the pixels of a patch
    distinct_snr = _column(table, "peak_snr") * np.sqrt(np.clip(_column(table, "area_px"), 9.0, 100.0) / 9.0)
    distinct = compact * _log_ramp(distinct_snr, 3.0, 12.0)
    clear = distinct * _log_ramp(_column(table, "diameter_px"), 3.5, 8.0)
    return {
        "always": np.ones(table.height),
        "thin": thin,
        "smooth": thin * (1.0 - _log_ramp(_column(table, "waviness"), 0.004, 0.04)),
        "elongated": _ramp(_column(table, "aspect_ratio"), 1.4, 3.0),
        "broad": thin * _log_ramp(size_of(table, "width_um", "line_width_px"), 2.5, 8.0),
        "bright": (_column(table, "polarity") > 0).astype(np.float64),
        "from_rim": from_rim,
        "cracked": from_rim * _log_ramp(_column(table, "crest_waviness"), 0.002, 0.01),
        "along_rim": thin * along_rim,
        "on_rim": compact * on_rim,
        "across": compact * on_rim * _ramp(beyond_um, 2.0, 4.0),
        "short": 1.0 - _log_ramp(size_of(table, "length_um", "length_px"), 7.0, 20.0),
        "large": compact * _log_ramp(size_um, 7.0, 20.0),
        "round": clear * _ramp(_column(table, "roundness"), 0.7, 0.9),
        "alike": compact * (1.0 - on_rim) * _log_ramp(_column(table, "n_alike"), 3.0, 30.0),
        "far_out": compact * _ramp(radius, 1.2, 3.0),
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
    # without an expression, which would cost a quarter of a millisecond per column
    return np.asarray(table[name].cast(pl.Float64).to_numpy())


def _ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _log_ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return _ramp(np.log(np.maximum(values, 1e-6)), float(np.log(low)), float(np.log(high)))
