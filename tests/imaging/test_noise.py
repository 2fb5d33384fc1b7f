"""Noise: scale laws, noise that changes from place to place, tails heavier than normal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.imaging.noise import (
    Tail,
    block_sigma,
    enlarge_blocks,
    fit_tail,
    middle_lattice,
    near_strong,
    robust_sigma,
)


def white(shape, sigma=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape).astype(np.float32)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_sigma_scales_with_the_values_and_knows_no_sign(scale, seed):
    values = white(501, seed=seed)
    assert robust_sigma(-np.float32(scale) * values) == pytest.approx(scale * robust_sigma(values), rel=1e-5)


def test_sigma_of_nothing_is_zero():
    assert robust_sigma(np.empty(0, np.float32)) == 0
    assert robust_sigma(np.zeros(10, np.float32)) == 0


def test_a_fifth_of_defects_hardly_moves_sigma():
    values = white(20_000, sigma=2)
    values[:4000] = 500
    assert robust_sigma(values) == pytest.approx(2, rel=0.4)
    assert np.std(values) > 100


def test_sigma_is_as_steady_as_its_number_of_values_allows():
    found = [robust_sigma(white(2000, seed=seed)) for seed in range(200)]
    assert np.mean(found) == pytest.approx(1, abs=0.01)
    # a median: 1.17 / root n
    assert np.std(found) * np.sqrt(2000) < 1.1


@given(size=st.integers(3, 200), step=st.sampled_from([1, 3, 5]))
def test_the_lattice_mirrors_onto_itself(size, step):
    places = np.arange(size)[middle_lattice((size, 1), step)[0]]
    assert places.size == 0 or places[0] == size - 1 - places[-1]


@pytest.mark.parametrize("turned", [np.rot90, np.flipud, np.fliplr, lambda part: np.rot90(part, 2)])
def test_maps_of_noise_turn_with_the_image(turned):
    values, mask = white((97, 163)), white((97, 163), seed=1) > -1.5
    levels, other = (block_sigma(v, m, block_px=33) for v, m in ((values, mask), map(turned, (values, mask))))
    np.testing.assert_allclose(other, turned(levels), rtol=1e-4)
    large, also = (
        enlarge_blocks(part, shape, block_px=33)
        for part, shape in ((levels, values.shape), (other, turned(values).shape))
    )
    np.testing.assert_allclose(also, turned(large), rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 5), (32, 32), (65, 97)])
def test_any_size_of_image(shape):
    values = white(shape)
    levels = block_sigma(values, np.ones(shape, bool), block_px=32)
    sigma = enlarge_blocks(levels, shape, block_px=32)
    assert sigma.shape == shape
    assert np.isfinite(sigma).all()
    assert (sigma > 0).all()


@given(ratio=st.floats(1, 2), slope=st.one_of(st.just(0.0), st.floats(1e-3, 0.2)))
@settings(max_examples=30, deadline=None)
def test_a_normal_score_undoes_the_tail(ratio, slope):
    normal = np.linspace(0, 8, 50, dtype=np.float32)
    heavy = normal * (ratio + slope * (normal - 1.645))
    back = Tail(ratio, slope).normal_score(heavy.astype(np.float32))
    np.testing.assert_allclose(back, normal, rtol=2e-3, atol=2e-3)
    assert (np.diff(back) > 0).all()


def test_negative_scores_count_as_none():
    for tail in (Tail(1.2, 0.0), Tail(1.2, 0.1)):
        np.testing.assert_allclose(tail.normal_score(np.array([-5, 0], np.float32)), 0, atol=1e-6)


def test_a_heavy_tail_is_seen_and_taken_back():
    normal = white(400_000)
    heavy = normal * (1 + 0.1 * np.maximum(np.abs(normal) - 1.645, 0))
    tail = fit_tail(heavy)
    assert tail.slope > 0.08
    # on the safe side, and never by more than a few tenths where the tests are
    back = tail.normal_score(np.float32(5 * (1 + 0.1 * (5 - 1.645))) * np.ones(1, np.float32))
    assert 4.2 < float(back[0]) <= 5.05


def test_defects_of_one_sign_do_not_pass_for_a_tail():
    scores = white(100_000)
    scores[:2000] = -20
    tail = fit_tail(scores)
    assert tail.ratio < 1.1
    assert tail.slope < 0.05


def test_too_few_scores_change_nothing():
    assert fit_tail(white(200)) == Tail(1.0, 0.0)


def test_near_strong_is_a_square_round_what_stands_out():
    scores = np.zeros((40, 40), np.float32)
    scores[20, 20], scores[5, 5] = -7, 5
    near = near_strong(scores, limit=6.0, reach_px=3)
    assert near.sum() == 49
    assert near[17:24, 17:24].all()
