from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.evaluation.statistics import (
    bias,
    bootstrap_kappa,
    cohen_kappa,
    confusion,
    spread,
    wilson,
    wilson_of,
)


def test_wilson_by_hand():
    # 8 of 10: (0.8 + 1.92073/10 -+ 1.959964 sqrt(0.16/10 + 3.841459/400)) / 1.3841459
    share = wilson(8, 10)
    half = 1.959964 * math.sqrt(0.016 + 3.841459 / 400) / 1.3841459
    assert share.value == 0.8
    assert (share.low, share.high) == pytest.approx(
        (0.99207295 / 1.3841459 - half, 0.99207295 / 1.3841459 + half)
    )
    assert (share.low, share.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_share_of_nothing_is_unknown():
    share = wilson_of([])
    assert (share.value, share.low, share.high, share.trials) == (None, None, None, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_laws(case):
    hits, trials = case
    share, mirrored = wilson(hits, trials), wilson(trials - hits, trials)
    assert 0.0 <= share.low <= share.value <= share.high <= 1.0
    assert (share.low, share.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    wide = wilson(hits, trials, confidence=0.99)
    assert wide.low <= share.low
    assert wide.high >= share.high


@pytest.mark.parametrize(("hits", "trials"), [(-1, 3), (4, 3)])
def test_impossible_shares(hits, trials):
    with pytest.raises(ValueError, match="hits"):
        wilson(hits, trials)


def test_bias_by_hand():
    found = bias([1.0, 2.0, 3.0, 6.0])
    assert (found.mean, found.median) == (3.0, 2.5)
    assert found.sd == pytest.approx(math.sqrt(14 / 3))
    half = 3.182446 * math.sqrt(14 / 3) / 2  # t of 3 degrees of freedom
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    assert bias([]).mean is None
    assert bias([2.0]).low is None


def test_spread_of_signed_errors():
    assert spread([-3.0, 1.0, 2.0]).median == 2.0
    assert spread([-3.0, 1.0]).largest == 3.0
    assert spread([]).p95 is None


def test_confusion_by_hand():
    assert confusion([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], n=3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    with pytest.raises(ValueError, match="codes"):
        confusion([0, 3], [0, 0], n=3)


def test_kappa_by_hand():
    # po = 0.7; pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    assert float(cohen_kappa([[20, 5], [10, 15]])) == pytest.approx(0.4)
    # three categories: po = 60/100, pe = 0.3*0.4 + 0.3*0.3 + 0.4*0.3
    table = [[20, 5, 5], [10, 15, 5], [10, 10, 20]]
    assert float(cohen_kappa(table)) == pytest.approx((0.55 - 0.33) / (1 - 0.33))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40),
    st.permutations(range(3)),
)
def test_kappa_laws(pairs, names):
    first, second = zip(*pairs, strict=True)
    table = confusion(first, second, n=3)
    kappa = float(cohen_kappa(table))
    same = [float(cohen_kappa(table.T)), float(cohen_kappa(table[np.ix_(names, names)]))]
    if math.isnan(kappa):
        assert all(map(math.isnan, same))
    else:
        assert same == pytest.approx([kappa, kappa])
        assert kappa <= 1.0 + 1e-12
    perfect = float(cohen_kappa(confusion(first, first, n=3)))
    assert math.isnan(perfect) if len(set(first)) == 1 else perfect == pytest.approx(1.0)


def test_bootstrap_covers_and_repeats():
    table = [[200, 50], [100, 150]]
    one = bootstrap_kappa(table, rng=np.random.default_rng(1))
    assert one == bootstrap_kappa(table, rng=np.random.default_rng(1))
    assert one.low < one.value < one.high
    # large-sample standard error of this table: 0.0386 (Fleiss, Cohen & Everitt 1969)
    assert (one.high - one.low) / (2 * 1.96) == pytest.approx(0.0405, abs=0.004)
    assert bootstrap_kappa([[5, 0], [0, 0]], rng=np.random.default_rng(1)).value is None
    assert bootstrap_kappa([[0, 0], [0, 0]], rng=np.random.default_rng(1)).n == 0
