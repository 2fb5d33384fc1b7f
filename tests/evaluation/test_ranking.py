from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from endface.evaluation.ranking import PixelCounts, aupro, average_precision, pixel_counts


def masks():
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    return truth


def test_perfect_pixels():
    counts = pixel_counts(masks(), masks())
    assert (counts.precision, counts.recall, counts.f1) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("shift", "share"), [(2, 1.0), (3, 0.9), (12, 0.0)])
def test_shifted_pixels(shift, share):
    counts = pixel_counts(masks(), np.roll(masks(), shift, axis=1))
    assert counts.precision == counts.recall == pytest.approx(share)


def test_empty_pixels_are_unknown_or_zero():
    empty = np.zeros((40, 40), bool)
    nothing = pixel_counts(empty, empty)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
    missed = pixel_counts(masks(), empty)
    assert (missed.precision, missed.recall, missed.f1) == (None, 0.0, 0.0)


def test_neutral_pixels_count_only_when_right():
    truth = masks()
    found = np.ones((40, 40), bool)
    assert pixel_counts(truth, found, neutral=found).precision == 1.0
    assert pixel_counts(truth, found).precision < 0.2


def test_counts_add_up():
    one, two = PixelCounts(1, 2, 3, 4), PixelCounts(10, 20, 30, 40)
    assert one + two == PixelCounts(11, 22, 33, 44)


def test_average_precision_by_hand():
    # ranked: right, wrong, right, and one of three never found: 1/3 * 1 + 1/3 * 2/3
    assert average_precision([0.9, 0.8, 0.7], [True, False, True], n_truth=3) == pytest.approx(5 / 9)
    assert average_precision([], [], n_truth=2) == 0.0
    assert average_precision([0.5], [False], n_truth=0) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_average_precision_is_at_least_the_step_sum(pairs):
    scores, right = map(np.array, zip(*pairs, strict=True))
    if not right.any():
        return
    ours = average_precision(scores, right, n_truth=int(right.sum()))
    assert average_precision_score(right, scores) <= ours + 1e-12
    assert ours <= 1.0
    assert average_precision(3.0 * scores + 1, right, n_truth=int(right.sum())) == pytest.approx(ours)


def test_aupro_by_hand():
    # all overlap at no cost, then nothing but false pixels
    assert aupro([0.9, 0.1], [1.0, 0.0], [0, 100], n_truth=1, negative_px=100) == 1.0
    # half the overlap until a rate of 0.15, all of it from there
    assert aupro([0.9, 0.1], [0.5, 0.5], [0, 15], n_truth=1, negative_px=100) == pytest.approx(0.75)
    assert aupro([], [], [], n_truth=1, negative_px=100) == 0.0
    assert aupro([0.5], [0.0], [1], n_truth=0, negative_px=100) is None


def test_aupro_takes_ties_together():
    tied = aupro([0.5, 0.5], [1.0, 0.0], [0, 30], n_truth=1, negative_px=100)
    assert tied == aupro([0.5, 0.5], [0.0, 1.0], [30, 0], n_truth=1, negative_px=100)
