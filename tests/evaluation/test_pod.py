from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from endface.evaluation.pod import fit_pod


def sample(rng, n, *, a50=2.0, slope=4.0):
    size = np.exp(rng.uniform(math.log(0.5), math.log(8.0), n))
    return size, rng.random(n) < expit(slope * np.log(size / a50))


def test_the_likelihood_is_at_its_maximum():
    size, hit = sample(np.random.default_rng(0), 120)
    pod = fit_pod(size, hit)

    def loss(beta):
        logit = beta[0] + beta[1] * np.log(size)
        return -log_expit(np.where(hit, logit, -logit)).sum()

    best = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert (pod.intercept, pod.slope) == pytest.approx(tuple(best.x), rel=1e-4)
    assert float(pod.probability(pod.a90)) == pytest.approx(0.9)
    assert pod.a90 < pod.a90_95


def test_large_samples_find_the_true_a90():
    pod = fit_pod(*sample(np.random.default_rng(1), 20_000))
    assert pod.a90 == pytest.approx(2.0 * 9 ** (1 / 4), rel=0.03)


def test_the_bound_covers_at_its_rate():
    rng = np.random.default_rng(2)
    true = 2.0 * 9 ** (1 / 4)
    above = [fit_pod(*sample(rng, 150)).a90_95 > true for _ in range(200)]
    assert 0.90 <= np.mean(above) <= 0.99


def test_units_scale():
    size, hit = sample(np.random.default_rng(3), 200)
    one, other = fit_pod(size, hit), fit_pod(1000 * size, hit)
    assert other.a90 == pytest.approx(1000 * one.a90, rel=1e-6)
    assert other.a90_95 == pytest.approx(1000 * one.a90_95, rel=1e-5)


def test_order_does_not_matter():
    size, hit = sample(np.random.default_rng(4), 100)
    order = np.random.default_rng(5).permutation(100)
    assert fit_pod(size[order], hit[order]).a90_95 == pytest.approx(fit_pod(size, hit).a90_95)


@pytest.mark.parametrize(
    ("sizes", "hits", "reason"),
    [
        ([], [], "no defects of this kind"),
        ([1, 2], [True, True], "nothing was missed"),
        ([1, 2], [False, False], "nothing was found"),
        ([1, 2, 3, 4], [False, False, True, True], "hits and misses do not overlap in size"),
        ([1, 2, 3, 4, 5], [True, True, False, True, False], "larger ones are not found more often"),
    ],
)
def test_no_curve_and_why(sizes, hits, reason):
    pod = fit_pod(sizes, hits)
    assert pod.reason == reason
    assert pod.a90 is None


def test_few_doubtful_data_have_no_bound():
    pod = fit_pod([1, 2, 3, 4, 5, 6], [False, True, False, True, False, True])
    assert pod.a90 is not None
    assert pod.a90_95 is None


def test_sizes_are_positive():
    with pytest.raises(ValueError, match="greater than 0"):
        fit_pod([0.0, 1.0], [True, False])
