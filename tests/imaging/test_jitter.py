"""Copies go where the matrix says, keep their frame and change nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.facechart import face_chart, likely_turns, turn_matrix, waves_of
from endface.imaging.jitter import KINDS, Frame, Jitter, apply_jitter, draw_jitter, jitter_matrix, noise_level

SHAPE = (90, 120)
WHOLE = (slice(0, 90), slice(0, 120))


def spot(x: float, y: float, shape: tuple[int, int] = SHAPE) -> NDArray[np.float32]:
    rows, cols = np.indices(shape)
    return (200 * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / (2 * 2.5**2))).astype(np.float32)


def centre_of(image: NDArray[np.float32]) -> NDArray[np.float64]:
    rows, cols = np.indices(image.shape)
    return np.array([(cols * image).sum(), (rows * image).sum()]) / image.sum()


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(40, 80),
    y=st.floats(30, 60),
    shift=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    turn=st.floats(-5, 5),
    quarters=st.integers(0, 3),
    aspect=st.floats(0.9, 1.1),
)
def test_a_spot_goes_where_the_matrix_says(x, y, shift, turn, quarters, aspect):
    frame = Frame(WHOLE, (57.0, 48.0), aspect, 255.0)
    jitter = Jitter("any", shift_px=shift, turn_deg=turn, quarters=quarters)
    copy = apply_jitter(spot(x, y), jitter, frame, rng=np.random.default_rng(0))
    expected = jitter_matrix(jitter, frame, SHAPE) @ [x, y, 1.0]
    assert copy.shape == (SHAPE if quarters % 2 == 0 else SHAPE[::-1])
    assert centre_of(copy) == pytest.approx(expected, abs=0.06)


def test_turning_keeps_an_ellipse_that_is_a_circle_in_um():
    rim = Ellipse(60.0, 45.0, 30.0, 33.0)
    frame = Frame(WHOLE, (60.0, 45.0), 1.1, 255.0)
    points = rim.points(np.linspace(0, 2 * np.pi, 50))
    moved = np.column_stack([points, np.ones(50)]) @ jitter_matrix(Jitter("t", turn_deg=5), frame, SHAPE).T
    assert rim.normalized_radius(*moved.T) == pytest.approx(np.ones(50))


def test_dead_borders_stay_and_nothing_dark_turns_in():
    image = np.full(SHAPE, 120, np.uint8)
    image[:, :8] = 0
    frame = Frame((slice(0, 90), slice(8, 120)), (60.0, 45.0), 1.0, 255.0)
    copy = apply_jitter(image, Jitter("t", (1.5, 0.0), 5.0), frame, rng=np.random.default_rng(0))
    assert not copy[:, :8].any()
    assert copy[:, 8:].min() == copy[:, 8:].max() == 120


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_copies_have_the_type_of_the_original_and_are_small_changes(kind, dtype):
    rng = np.random.default_rng(3)
    image = np.clip(spot(60, 45) + rng.normal(40, 2, SHAPE), 0, 255).astype(dtype)
    frame = Frame(WHOLE, (60.0, 45.0), 1.0, 255.0)
    copies = [
        apply_jitter(image, draw_jitter(kind, trial=1, rng=(own := np.random.default_rng(7))), frame, rng=own)
        for _ in range(2)
    ]
    assert copies[0].dtype == dtype
    assert np.array_equal(*copies)
    assert float(copies[0].max()) <= 255
    if kind in ("blur", "noise", "jpeg"):
        change = copies[0].astype(np.float64) - image
        assert 0 < change.std() < 2.5


def test_noise_is_added_at_the_image_s_own_level():
    image = np.random.default_rng(0).normal(100, 4, (300, 300)).astype(np.float32)
    frame = Frame((slice(0, 300), slice(0, 300)), (150.0, 150.0), 1.0, 255.0)
    copy = apply_jitter(image, Jitter("noise", noise_share=0.5), frame, rng=np.random.default_rng(1))
    assert noise_level(copy) / noise_level(image) == pytest.approx(np.sqrt(1.25), rel=0.02)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="expected one of shift"):
        draw_jitter("melt", trial=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("turn_deg", [-171.3, -40.0, 0.0, 12.7, 133.2])
def test_the_turn_of_a_face_under_pixels_that_are_not_square_is_found(turn_deg):
    rng = np.random.default_rng(5)
    texture = cv2.GaussianBlur(rng.normal(0, 30, (200, 200)).astype(np.float32), (0, 0), 2) + 100
    rim = Ellipse(100.0, 95.0, 50.0, 50.0)
    other = Ellipse(102.0, 101.0, 50.0, 54.5)
    matrix = turn_matrix(rim, other, turn_deg)
    turned = cv2.warpAffine(texture, matrix, (210, 210), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    charts = [face_chart(image, ring, outer=1.3) for image, ring in ((texture, rim), (turned, other))]
    best = likely_turns(*map(waves_of, charts))[0]
    assert best.turn_deg == pytest.approx(turn_deg, abs=0.3)
    assert best.surety > 10
