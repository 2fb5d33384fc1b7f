"""Gauge repeatability and reproducibility by analysis of variance; numbers only.

How much of the spread of a measure comes from measuring it, and how much from what is measured: equipment
variation (the same again), variation between conditions, part-to-part variation (AIAG, Measurement Systems
Analysis, 4th ed. 2010, chapter III; ANOVA method).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

INTERACTION_ALPHA = 0.25
"""Below this p the interaction of parts and conditions counts as real (AIAG's usual level)."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Spread of one measure taken apart; standard deviations in the measure's unit.

    Attributes
    ----------
    n_parts, n_conditions, n_trials : int
        Design; 1 condition for a one-way analysis, whose trials are a mean.
    repeatability : float
        Equipment variation (EV): the same part under the same condition.
    reproducibility : float
        Between conditions (AV), the part-by-condition interaction included.
    gauge, parts, total : float
        Both together (GRR), part to part (PV), all (TV).
    gauge_pct : float or None
        100 gauge / total (%GRR); None where nothing varies.
    distinct : int or None
        Number of distinct categories, floor(1.41 parts / gauge); None where the gauge does not vary.
    """

    n_parts: int
    n_conditions: int
    n_trials: float
    mean: float
    repeatability: float
    reproducibility: float
    gauge: float
    parts: float
    total: float
    gauge_pct: float | None
    distinct: int | None

    def percent(self, sd: float) -> float | None:
        """Return one of the standard deviations in percent of the total."""
        return 100.0 * sd / self.total if self.total else None


def crossed_gauge(values: ArrayLike) -> Gauge | None:
    """Analyse a balanced crossed study.

    Parameters
    ----------
    values : (P, C, N) array_like of float
        Parts x conditions x trials, N >= 2.

    Returns
    -------
    Gauge or None
        None below two parts, two conditions or two trials: then there is nothing to take apart.

    Raises
    ------
    ValueError
        If a value is not finite or the array is not three-dimensional.

    Notes
    -----
    Where the interaction is not significant (p >= 0.25) it is pooled with the error. Variances estimated
    below 0 count as 0.

    Examples
    --------
    >>> parts = np.array([10.0, 20.0, 30.0])[:, None, None]
    >>> noise = np.random.default_rng(0).normal(0, 0.5, (3, 4, 3))
    >>> found = crossed_gauge(parts + noise)
    >>> found.distinct >= 5, found.gauge_pct < 10
    (True, True)
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 3 or not np.isfinite(table).all():
        raise ValueError(f"expected finite values (parts, conditions, trials), found shape {table.shape}")
    n_parts, n_conditions, n_trials = table.shape
    if min(table.shape) < 2:
        return None
    mean, by_part, by_condition = table.mean(), table.mean(axis=(1, 2)), table.mean(axis=(0, 2))
    cells = table.mean(axis=2)
    ss_parts = n_conditions * n_trials * _squares(by_part - mean)
    ss_conditions = n_parts * n_trials * _squares(by_condition - mean)
    ss_cells = n_trials * _squares(cells - by_part[:, None] - by_condition + mean)
    ss_error = _squares(table - cells[:, :, None])
    df_cells = (n_parts - 1) * (n_conditions - 1)
    df_error = n_parts * n_conditions * (n_trials - 1)
    ms_parts, ms_conditions = ss_parts / (n_parts - 1), ss_conditions / (n_conditions - 1)
    ms_cells, ms_error = ss_cells / df_cells, ss_error / df_error
    real = ms_cells > 0 and (
        ms_error == 0 or fdtrc(df_cells, df_error, ms_cells / ms_error) < INTERACTION_ALPHA
    )
    if not real:
        ms_error = ms_cells = (ss_cells + ss_error) / (df_cells + df_error)
    interaction = max(ms_cells - ms_error, 0.0) / n_trials
    between = max(ms_conditions - ms_cells, 0.0) / (n_parts * n_trials)
    parts = max(ms_parts - ms_cells, 0.0) / (n_conditions * n_trials)
    return _gauge(n_parts, n_conditions, n_trials, float(mean), ms_error, between + interaction, parts)


def one_way_gauge(groups: Sequence[ArrayLike]) -> Gauge | None:
    """Analyse repeated measures of several parts without named conditions; groups may differ in size.

    Parameters
    ----------
    groups : sequence of (N,) array_like of float
        Measures of one part each; parts with fewer than two are left out.

    Returns
    -------
    Gauge or None
        All variation within a part is repeatability; None below two parts.

    Examples
    --------
    >>> one_way_gauge([[1.0, 1.0], [3.0, 3.0]]).gauge
    0.0
    >>> one_way_gauge([[1.0, 2.0]]) is None
    True
    """
    kept = [part for part in (np.asarray(group, np.float64) for group in groups) if len(part) >= 2]
    if len(kept) < 2:
        return None
    sizes = np.array([len(part) for part in kept])
    means = np.array([part.mean() for part in kept])
    count = int(sizes.sum())
    mean = float((sizes * means).sum() / count)
    ms_error = sum(_squares(part - part.mean()) for part in kept) / (count - len(kept))
    ms_parts = float((sizes * (means - mean) ** 2).sum()) / (len(kept) - 1)
    typical = (count - float((sizes**2).sum()) / count) / (len(kept) - 1)
    parts = max(ms_parts - ms_error, 0.0) / typical
    return _gauge(len(kept), 1, count / len(kept), mean, ms_error, 0.0, parts)


def _squares(values: NDArray[np.float64]) -> float:
    return float(np.sum(np.square(values)))


def _gauge(
    n_parts: int, n_conditions: int, n_trials: float, mean: float, error: float, between: float, parts: float
) -> Gauge:
    """Put variances into words."""
    # what sums of equal numbers leave is rounding, not spread
    tiny = (1e-9 * mean) ** 2
    error, between, parts = (value if value > tiny else 0.0 for value in (error, between, parts))
    gauge, total = math.sqrt(error + between), math.sqrt(error + between + parts)
    return Gauge(
        n_parts,
        n_conditions,
        n_trials,
        mean,
        repeatability=math.sqrt(error),
        reproducibility=math.sqrt(between),
        gauge=gauge,
        parts=math.sqrt(parts),
        total=total,
        gauge_pct=100.0 * gauge / total if total else None,
        distinct=math.floor(1.41 * math.sqrt(parts) / gauge) if gauge else None,
    )
