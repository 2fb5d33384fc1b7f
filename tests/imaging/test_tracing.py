"""Tracing: round bends, over gaps and crossings; confirmation keeps what holds along its length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.imaging.tracing import (
    TracedLine,
    _maximum_segment,
    confirm_line,
    contrast_noise,
    line_strength,
    profile_contrast,
)
from endface.imaging.tracing import trace_lines as trace

SHAPE = (160, 200)
N = 256
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)


def ridge(distance, angle, *, height=10.0, width=1.2):
    """Score and orientation maps of a ridge: distance (px) and angle (rad) of every pixel to its crest."""
    score = height * np.exp(-((distance / width) ** 2) / 2)
    index = np.round(np.mod(angle, np.pi) * (N / np.pi)).astype(int) % N
    return score.astype(np.float32), np.broadcast_to(index, score.shape).astype(np.uint8)


def circle(radius=90.0, cx=100.0, cy=140.0):
    return ridge(np.hypot(X - cx, Y - cy) - radius, np.arctan2(Y - cy, X - cx) + np.pi / 2)


def traced(score, angle, **options):
    return trace(score, angle, high=6.0, low=3.0, **options)


def test_a_curve_is_followed_in_one_piece():
    lines = traced(*circle())
    assert len(lines) == 1
    points = lines[0].points
    assert np.abs(np.hypot(points[:, 0] - 100, points[:, 1] - 140) - 90).max() < 1.6
    assert lines[0].length_px > 0.9 * 90 * (np.pi + 2 * np.arcsin(19 / 90))
    assert (np.hypot(*np.diff(points, axis=0).T) < 1.5).all()
    assert len(lines[0].scores) == len(points)


@pytest.mark.parametrize("index", range(0, N, 37))
def test_a_straight_line_of_any_direction(index):
    t = np.pi * index / N
    across = -(X - 100) * np.sin(t) + (Y - 80) * np.cos(t)
    along = (X - 100) * np.cos(t) + (Y - 80) * np.sin(t)
    score, angle = ridge(across, t)
    score[np.abs(along) > 50] = 0
    lines = traced(score, angle)
    assert len(lines) == 1
    x, y = lines[0].points.T
    assert np.abs(-(x - 100) * np.sin(t) + (y - 80) * np.cos(t)).max() < 1.3
    assert lines[0].length_px == pytest.approx(100, abs=5)


@pytest.mark.parametrize(("gap", "pieces"), [(0, 1), (6, 1), (11, 1), (20, 2)])
def test_short_gaps_are_bridged_long_ones_are_not(gap, pieces):
    score, angle = ridge(Y - 80, 0.0)
    score[:, 100 : 100 + gap] = 0
    lines = traced(score, angle, max_gap_px=12)
    assert len(lines) == pieces
    if pieces == 1:
        assert lines[0].length_px > 190
    else:
        assert sum(line.length_px for line in lines) < 199 - gap + 4


def test_a_crossing_does_not_turn_a_line():
    first, second = ridge(Y - 80, 0.0, height=12), ridge(X - 100, np.pi / 2)
    score = np.maximum(first[0], second[0])
    angle = np.where(first[0] >= second[0], first[1], second[1])
    lines = traced(score, angle)
    assert len(lines) == 2
    assert sorted(round(line.length_px) > 150 for line in lines) == [True, True]
    spans = sorted(tuple(np.ptp(line.points, axis=0)) for line in lines)
    assert spans[0][0] < 4
    assert spans[1][1] < 4


def test_the_strongest_comes_first_and_short_ones_are_dropped():
    first, second = ridge(Y - 40, 0.0, height=8), ridge(Y - 120, 0.0, height=14)
    score = np.maximum(first[0], second[0])
    lines = traced(score, first[1])
    assert [round(float(np.median(line.points[:, 1]))) for line in lines] == [120, 40]
    score[:, 8:] = 0
    assert traced(score, first[1], min_length_px=10) == []


def test_nothing_to_trace():
    for shape in ((1, 1), (20, 30)):
        assert traced(np.zeros(shape, np.float32), np.zeros(shape, np.uint8)) == []


def test_a_dot_or_a_flat_map_ends():
    assert len(traced(np.full(SHAPE, 9, np.float32), np.zeros(SHAPE, np.uint8))) < SHAPE[0]
    assert TracedLine(np.zeros((1, 2), np.float32), np.ones(1, np.float32)).length_px == 0


def drawn(depth=3.0, *, first=40, last=160, seed=0):
    image = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    image[80:82, first:last] -= depth
    return image


PATH = np.stack([np.arange(10, 190), np.full(180, 80.5)], axis=1).astype(np.float32)


def confirm(image, *, polarity=-1, **options):
    line = TracedLine(PATH, np.full(len(PATH), 9, np.float32))
    noise = contrast_noise(image, np.ones(SHAPE, np.uint8), np.ones(SHAPE, np.uint8), side_px=3.0)
    return confirm_line(line, image, polarity=polarity, noise=noise, side_px=3.0, high=5.5, **options)


def test_the_stretch_that_shows_a_line_is_kept():
    kept = confirm(drawn())
    assert kept is not None
    assert kept.points[0, 0] == pytest.approx(40, abs=6)
    assert kept.points[-1, 0] == pytest.approx(160, abs=6)
    assert line_strength(kept) >= 5.5


def test_noise_the_wrong_sign_and_a_single_spot_are_not_confirmed():
    assert confirm(drawn(0.0)) is None
    assert confirm(drawn(), polarity=1) is None
    assert confirm(drawn(60.0, first=100, last=104)) is None
    assert confirm(drawn(1.0), min_contrast=3.0) is None
    assert confirm(drawn(8.0), min_contrast=3.0) is not None


def test_a_profile_has_contrast_on_a_ridge_and_none_on_a_slope():
    image = (3.0 * Y).astype(np.float32)
    np.testing.assert_allclose(profile_contrast(image, PATH, side_px=3.0), 0, atol=1e-3)
    image = np.zeros(SHAPE, np.float32)
    image[80:82] = 5
    np.testing.assert_allclose(profile_contrast(image, PATH, side_px=3.0), 5, atol=1e-3)
    np.testing.assert_allclose(profile_contrast(-image, PATH, side_px=3.0), -5, atol=1e-3)
    np.testing.assert_allclose(profile_contrast(image + 40, PATH[::-1], side_px=3.0), 5, atol=1e-3)


def test_contrast_noise_of_white_noise():
    # centre minus the mean of two sides: 1 + 2 / 4
    noise = np.random.default_rng(0).normal(0, 2, SHAPE).astype(np.float32)
    zones = np.ones(SHAPE, np.uint8)
    zones[:, :100] = 2
    zones[:10] = 0
    noise[:, :100] *= 3
    level = contrast_noise(noise, zones, zones, side_px=3.0)
    assert level[50, 150] == pytest.approx(2 * np.sqrt(1.5), rel=0.08)
    assert level[50, 50] == pytest.approx(6 * np.sqrt(1.5), rel=0.08)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_maximum_segment_is_the_best_of_all(values):
    first, last = _maximum_segment(np.array(values, float))
    best = max(
        sum(values[i:j]) for i, j in itertools.combinations_with_replacement(range(len(values) + 1), 2)
    )
    assert sum(values[first:last]) == best
