"""Thresholds from the number of false alarms one is ready to expect, instead of gray levels.

A test is kept when, among `n_tests` tests on pure noise, fewer than `epsilon` would score as high.
"""

from __future__ import annotations

import math

from scipy.special import log_ndtr, ndtri_exp


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
    return float(-ndtri_exp(math.log(epsilon) - math.log(n_tests)))


def significance(score: float, *, n_tests: float) -> float:
    """Return -log10 of the expected number of false alarms of one test with this score.

    Examples
    --------
    >>> round(significance(score_threshold(n_tests=1e6, epsilon=0.1), n_tests=1e6), 3)
    1.0
    """
    return float(-(math.log(n_tests) + log_ndtr(-score)) / math.log(10))
