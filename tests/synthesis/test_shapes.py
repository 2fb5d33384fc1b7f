from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.synthesis.shapes import Frame, coverage, ellipse_distance, polyline_distance, smooth_noise


@settings(max_examples=30, deadline=None)
@given(
    semi=st.floats(2.0, 8.0),
    flat=st.floats(0.5, 1.0),
    angle=st.floats(0.0, math.pi),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_coverage_sums_to_the_area_wherever_the_ellipse_lies(semi, flat, angle, shift):
    frame = Frame(64, 64, 32.0 + shift[0], 32.0 + shift[1], 0.5, 0.5)
    x, y = frame.grid((0, 0, 64, 64))
    distance = ellipse_distance(x, y, semi_major_um=semi, semi_minor_um=flat * semi, angle_rad=angle)
    area = float(coverage(distance, pitch_um=0.5).sum()) * 0.25
    assert area == pytest.approx(math.pi * semi * semi * flat, rel=0.03)


def test_polyline_distance_is_that_of_the_nearest_segment():
    frame = Frame(40, 50, 5.0, 6.0, 0.5, 0.4)
    points = np.array([[1.0, 1.0], [6.0, 4.0], [15.0, 2.0]])
    distance, arc = polyline_distance(points, frame=frame, box=(0, 0, 40, 50), reach_um=100.0)
    x, y = frame.grid((0, 0, 40, 50))
    dense = np.concatenate([np.linspace(points[k], points[k + 1], 4000) for k in (0, 1)])
    for row, col in ((3, 4), (20, 30), (39, 49), (8, 12)):
        brute = np.hypot(x[0, col] - dense[:, 0], y[row, 0] - dense[:, 1])
        assert abs(distance[row, col]) == pytest.approx(brute.min(), abs=2e-3)
    assert arc.max() == pytest.approx(np.hypot(5, 3) + np.hypot(9, 2), abs=1e-4)


def test_the_sign_of_the_distance_changes_with_the_direction_of_travel():
    frame = Frame(20, 20, 10.0, 10.0, 1.0, 1.0)
    points = np.array([[-8.0, -1.0], [8.0, 2.0]])
    there, _ = polyline_distance(points, frame=frame, box=(0, 0, 20, 20), reach_um=99.0)
    back, _ = polyline_distance(points[::-1], frame=frame, box=(0, 0, 20, 20), reach_um=99.0)
    np.testing.assert_allclose(there, -back, atol=1e-4)


@pytest.mark.parametrize("scale", [0.5, 1.5, 6.0, 20.0])
def test_smooth_noise_has_unit_variance_at_every_scale(scale):
    noise = smooth_noise(np.random.default_rng(2), (500, 600), scale_px=scale)
    assert noise.shape == (500, 600)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.15)


def test_a_frame_turns_pixels_into_um_and_back():
    frame = Frame(100, 100, 40.2, 51.7, 0.6, 0.55)
    assert frame.to_px(*frame.to_um(12.5, 88.25)) == pytest.approx((12.5, 88.25))
