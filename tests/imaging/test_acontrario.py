"""Thresholds: what they promise about false alarms, and that score and significance belong together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from endface.imaging.acontrario import score_threshold, significance

tests = st.floats(1e2, 1e12)
expected = st.floats(1e-6, 10.0)


@given(n_tests=tests, epsilon=expected)
@settings(max_examples=40, deadline=None)
def test_as_many_normal_tests_exceed_the_threshold_as_are_expected(n_tests, epsilon):
    threshold = score_threshold(n_tests=n_tests, epsilon=epsilon)
    assert n_tests * norm.sf(threshold) == pytest.approx(epsilon, rel=1e-6)
    assert significance(threshold, n_tests=n_tests) == pytest.approx(-math.log10(epsilon), abs=1e-6)


@given(n_tests=tests, epsilon=expected, factor=st.floats(1.01, 1e3))
@settings(max_examples=40, deadline=None)
def test_more_tests_or_fewer_false_alarms_ask_for_more(n_tests, epsilon, factor):
    threshold = score_threshold(n_tests=n_tests, epsilon=epsilon)
    assert score_threshold(n_tests=n_tests * factor, epsilon=epsilon) > threshold
    assert score_threshold(n_tests=n_tests, epsilon=epsilon / factor) > threshold
    # only the ratio counts
    same = score_threshold(n_tests=n_tests * factor, epsilon=epsilon * factor)
    assert same == pytest.approx(threshold, abs=1e-9)


@given(score=st.floats(0, 1e4), more=st.floats(1e-3, 1e4))
@settings(max_examples=40, deadline=None)
def test_significance_grows_with_the_score_and_stays_finite(score, more):
    low, high = (significance(value, n_tests=1e6) for value in (score, score + more))
    assert math.isfinite(high)
    assert high > low
