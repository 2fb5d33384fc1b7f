"""Thresholds from the number of false alarms one is ready to expect, instead of gray levels.

A test is kept when, among `n_tests` tests on pure noise, fewer than `epsilon` would score as high.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The best of all positions is looked for, not one of a grid of independent places: so many times more tests.
_POSITIONS = 3.0


def score_threshold(*, n_tests: float, epsilon: float) -> float:
    """Return the score, in standard deviations, that `n_tests` normal tests exceed `epsilon` times.

    References
    ----------
    A. Desolneux, L. Moisan, J.-M. Morel, From Gestalt Theory to Image Analysis, Springer (2008), chapter 3.

    Examples
    --------
    >>> round(score_threshold(n_tests=1e6, epsilon=0.1), 2)
    5.2
    """
    return -NormalDist().inv_cdf(min(epsilon / n_tests, 0.5))


def n_spot_tests(area_px: float, spot_px2: float, *, looks: int) -> float:
    """Return how many tests are made by looking for spots everywhere, one at least.

    Parameters
    ----------
    area_px : float
        Number of pixels that are looked at.
    spot_px2 : float
        Size of the spots, the square of the standard deviation of a Gaussian.
    looks : int
        How often it is looked: sizes times polarities.

    Examples
    --------
    >>> round(n_spot_tests(1e6, 1.6**2, looks=6))
    1119058
    """
    return max(looks * _POSITIONS * area_px / (2 * math.pi * spot_px2), 1.0)


def significance(score: float, *, n_tests: float) -> float:
    """Return -log10 of the expected number of false alarms of one test with this score.

    Examples
    --------
    >>> round(significance(score_threshold(n_tests=1e6, epsilon=0.1), n_tests=1e6), 3)
    1.0
    """
    return -(math.log(n_tests) + _log_tail(score)) / math.log(10)


def _log_tail(score: float) -> float:
    """Return the logarithm of the share of a normal law above a score."""
    if score < 30.0:
        return math.log(0.5 * math.erfc(score / math.sqrt(2.0)))
    # the asymptotic series: the share itself would be nothing but rounding
    square = score * score
    return -0.5 * square - math.log(score * math.sqrt(2.0 * math.pi)) - 1.0 / square + 2.5 / square**2
