"""Probability of detection against size from hits and misses, with a90 and a90/95.

The model of MIL-HDBK-1823A (2009), appendix G: POD(a) = 1 / (1 + exp(-(b0 + b1 ln a))), fitted by maximum
likelihood; a90/95 is the upper one-sided 95 % bound of a90 by the likelihood ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit, ndtri

_LOGIT_90 = math.log(9.0)


@dataclass(frozen=True, slots=True)
class Pod:
    """A fitted curve of probability of detection.

    Attributes
    ----------
    intercept, slope : float or None
        b0 and b1 of the model; None where the data do not determine them, and then `reason` says why.
    a90, a90_95 : float or None
        Size found with probability 0.9, and the bound that it exceeds with 5 % probability only.
    smallest, largest : float or None
        Range of the sizes tried: outside it every figure is an extrapolation.
    """

    n: int
    hits: int
    intercept: float | None
    slope: float | None
    a90: float | None
    a90_95: float | None
    smallest: float | None
    largest: float | None
    reason: str = ""

    def probability(self, size: ArrayLike) -> NDArray[np.float64]:
        """Return POD at sizes; NaN where there is no curve."""
        sizes = np.asarray(size, np.float64)
        if self.intercept is None or self.slope is None:
            return np.full(sizes.shape, np.nan)
        return np.asarray(expit(self.intercept + self.slope * np.log(sizes)))


def fit_pod(sizes: ArrayLike, found: ArrayLike, *, confidence: float = 0.95) -> Pod:
    """Fit POD against the logarithm of size.

    Parameters
    ----------
    sizes : (N,) array_like of float
        Greater than 0, any unit.
    found : (N,) array_like of bool

    Notes
    -----
    MIL-HDBK-1823A asks for at least 60 targets, with hits and misses overlapping in size. Where all were
    hit, all missed, or one size divides hits from misses, the likelihood has no maximum and no curve is
    given. a90/95 is None where the bound is infinite.

    References
    ----------
    MIL-HDBK-1823A, Nondestructive Evaluation System Reliability Assessment, 2009, appendix G.

    Examples
    --------
    >>> fit_pod([1.0, 2.0, 3.0], [True, True, True]).reason
    'nothing was missed'
    """
    size, hit = np.asarray(sizes, np.float64).ravel(), np.asarray(found, bool).ravel()
    if size.shape != hit.shape or not (size > 0).all():
        raise ValueError("expected as many sizes as hits, all sizes greater than 0")
    low, high = (float(size.min()), float(size.max())) if len(size) else (None, None)
    n_hits = int(np.count_nonzero(hit))
    reason = _why_not(size, hit)
    if reason:
        return Pod(len(size), n_hits, None, None, None, None, low, high, reason)
    logs = np.log(size)
    b0, b1, best = _fit_logistic(logs, hit)
    if b1 <= 0:
        reason = "larger ones are not found more often"
        return Pod(len(size), n_hits, b0, b1, None, None, low, high, reason)
    x90 = (_LOGIT_90 - b0) / b1
    bound = _upper_bound(logs, hit, x90, best, confidence)
    a90_95 = None if bound is None else _exp(bound)
    return Pod(len(size), n_hits, b0, b1, _exp(x90), a90_95, low, high)


def _why_not(size: NDArray[np.float64], hit: NDArray[np.bool_]) -> str:
    if not len(size):
        return "no defects of this kind"
    if hit.all():
        return "nothing was missed"
    if not hit.any():
        return "nothing was found"
    if size[hit].min() >= size[~hit].max() or size[hit].max() <= size[~hit].min():
        return "hits and misses do not overlap in size"
    return ""


def _fit_logistic(x: NDArray[np.float64], hit: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Maximum-likelihood intercept, slope and log-likelihood by damped Newton steps."""
    shift, scale = float(x.mean()), float(x.std())
    design = np.stack([np.ones_like(x), (x - shift) / scale], axis=1)
    beta = np.zeros(2)
    value = _log_likelihood(design @ beta, hit)
    for _ in range(100):
        p = expit(design @ beta)
        weight = p * (1 - p)
        step = np.linalg.solve((design * weight[:, None]).T @ design, design.T @ (hit - p))
        factor = 1.0
        while (new := _log_likelihood(design @ (beta + factor * step), hit)) < value and factor > 1e-6:
            factor /= 2
        beta = beta + factor * step
        if abs(new - value) < 1e-12 and np.abs(step).max() < 1e-9:
            break
        value = new
    slope = float(beta[1] / scale)
    return float(beta[0] - slope * shift), slope, _log_likelihood(design @ beta, hit)


def _upper_bound(
    x: NDArray[np.float64], hit: NDArray[np.bool_], x90: float, best: float, confidence: float
) -> float | None:
    """Largest ln a90 that the likelihood ratio does not reject, None where it never does."""
    allowed = float(ndtri(confidence)) ** 2

    def excess(candidate: float) -> float:
        return 2 * (best - _profile(x - candidate, hit)) - allowed

    width = max(float(np.ptp(x)), 1e-3)
    for reach in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        if excess(x90 + reach * width) > 0:
            return float(brentq(excess, x90, x90 + reach * width, xtol=1e-9))
    return None


def _profile(offset: NDArray[np.float64], hit: NDArray[np.bool_]) -> float:
    """Largest log-likelihood over slopes >= 0 of a curve that passes 0.9 at offset 0."""
    slope = 0.0
    value = _log_likelihood(_LOGIT_90 + slope * offset, hit)
    for _ in range(100):
        p = expit(_LOGIT_90 + slope * offset)
        curvature = float((p * (1 - p) * offset**2).sum())
        step = float(((hit - p) * offset).sum()) / max(curvature, 1e-300)
        factor = 1.0
        while factor > 1e-9:
            trial = max(0.0, slope + factor * step)
            new = _log_likelihood(_LOGIT_90 + trial * offset, hit)
            if new >= value:
                break
            factor /= 2
        else:
            break
        done = abs(new - value) < 1e-12
        slope, value = trial, new
        if done:
            break
    return value


def _log_likelihood(logit: NDArray[np.float64], hit: NDArray[np.bool_]) -> float:
    return float(np.asarray(log_expit(np.where(hit, logit, -logit))).sum())


def _exp(value: float) -> float | None:
    """Size of a logarithm; None where it is beyond what a float holds."""
    return math.exp(value) if value < 700 else None
