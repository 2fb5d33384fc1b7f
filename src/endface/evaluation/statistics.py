"""Shares, biases and agreement, each with its confidence interval; no images, no files.

Where there is nothing to count, the value is None: a share of nothing is unknown, not 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share `hits / trials` with its interval; value and interval are None where nothing was tried."""

    hits: int
    trials: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Bias:
    """Mean of signed errors with its t interval, their spread and median; None where there are too few."""

    n: int
    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    median: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 95th percentile and largest of absolute errors; None where there are none."""

    n: int
    median: float | None
    p95: float | None
    largest: float | None


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with a bootstrap interval; None where it is not defined."""

    n: int
    value: float | None
    low: float | None
    high: float | None


def wilson(hits: int, trials: int, *, confidence: float = 0.95) -> Proportion:
    """Return a share with Wilson's score interval.

    Raises
    ------
    ValueError
        If `hits` is not between 0 and `trials`.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> share = wilson(9, 10)
    >>> round(share.low, 3), round(share.high, 3)
    (0.596, 0.982)
    >>> wilson(0, 0).value is None
    True
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"expected 0 <= hits <= trials, found {hits} of {trials}")
    if trials == 0:
        return Proportion(0, 0, None, None, None)
    z = float(ndtri(0.5 + confidence / 2))
    share = hits / trials
    scale = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # at 0 and 1 the bound is exact; rounding must not put the share outside its own interval
    low = 0.0 if hits == 0 else min(share, centre - half)
    high = 1.0 if hits == trials else max(share, centre + half)
    return Proportion(int(hits), int(trials), share, low, high)


def wilson_of(flags: Sequence[bool] | NDArray[np.bool_]) -> Proportion:
    """Return the share of true flags with Wilson's interval."""
    return wilson(int(np.count_nonzero(flags)), len(flags))


def bias(errors: ArrayLike, *, confidence: float = 0.95) -> Bias:
    """Return the mean of signed errors with its Student t interval (None below two values).

    Examples
    --------
    >>> bias([1.0, 2.0, 3.0]).mean
    2.0
    """
    values = np.asarray(errors, np.float64).ravel()
    count = len(values)
    if count == 0:
        return Bias(0, None, None, None, None, None)
    mean, median = float(values.mean()), float(np.median(values))
    if count == 1:
        return Bias(1, mean, None, None, None, median)
    sd = float(values.std(ddof=1))
    half = float(stdtrit(count - 1, 0.5 + confidence / 2)) * sd / math.sqrt(count)
    return Bias(count, mean, mean - half, mean + half, sd, median)


def spread(errors: ArrayLike) -> Spread:
    """Return median, 95th percentile and maximum of the absolute errors."""
    values = np.abs(np.asarray(errors, np.float64).ravel())
    if not len(values):
        return Spread(0, None, None, None)
    middle, high = np.percentile(values, [50, 95])
    return Spread(len(values), float(middle), float(high), float(values.max()))


def confusion(truth: ArrayLike, found: ArrayLike, *, n: int) -> NDArray[np.int64]:
    """Return the (n, n) table of counts, truth in rows, found in columns, for codes 0 .. n-1.

    Examples
    --------
    >>> confusion([0, 0, 1], [0, 1, 1], n=2).tolist()
    [[1, 1], [0, 1]]
    """
    rows, cols = np.asarray(truth, np.int64).ravel(), np.asarray(found, np.int64).ravel()
    if rows.shape != cols.shape:
        raise ValueError(f"expected as many found as true codes, found {len(cols)} and {len(rows)}")
    if len(rows) and (min(rows.min(), cols.min()) < 0 or max(rows.max(), cols.max()) >= n):
        raise ValueError(f"expected codes 0 to {n - 1}")
    return np.bincount(rows * n + cols, minlength=n * n).reshape(n, n)


def cohen_kappa(table: ArrayLike) -> NDArray[np.float64]:
    """Return Cohen's kappa of (..., n, n) count tables; NaN where both raters use one category only.

    References
    ----------
    Cohen, Educ. Psychol. Meas. 20 (1960) 37, doi:10.1177/001316446002000104.

    Examples
    --------
    >>> float(cohen_kappa([[20, 5], [10, 15]]).round(3))
    0.4
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum(axis=(-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed = np.trace(counts, axis1=-2, axis2=-1) / total
        by_chance = (counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1) / total**2
        return np.asarray((agreed - by_chance) / (1 - by_chance))


def bootstrap_kappa(
    table: ArrayLike, *, rng: np.random.Generator, resamples: int = 2000, confidence: float = 0.95
) -> Kappa:
    """Return kappa of an (n, n) table with the percentile interval of the bootstrap over images.

    Drawing images with replacement is the same as drawing the table's cells from a multinomial
    distribution, which is what is done. Resamples in which kappa is undefined are left out.
    """
    counts = np.asarray(table, np.int64)
    total = int(counts.sum())
    value = float(cohen_kappa(counts)) if total else math.nan
    if math.isnan(value):
        return Kappa(total, None, None, None)
    drawn = rng.multinomial(total, counts.ravel() / total, size=resamples)
    kappas = cohen_kappa(drawn.reshape(-1, *counts.shape))
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(kappas, [tail, 100 - tail])
    return Kappa(total, value, float(low), float(high))
