"""Ellipse fits: exact points come back, wrong points do no harm, a fixed aspect stays fixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.imaging.ellipse import Ellipse, fit_ellipse_ransac, refine_ellipse

RIM = Ellipse(150.3, 120.7, 60.2, 65.6)


def rim_points(ellipse, rng, *, n=240, noise=0.2, wrong=0.0):
    points = ellipse.points(np.linspace(0, 2 * np.pi, n, endpoint=False)) + rng.normal(0, noise, (n, 2))
    off = rng.random(n) < wrong
    points[off] = ellipse.points(rng.uniform(0, 2 * np.pi, off.sum())) + rng.uniform(-25, 25, (off.sum(), 2))
    return points


@settings(max_examples=25, deadline=None)
@given(
    cx=st.floats(-50, 500),
    cy=st.floats(-50, 500),
    radius=st.floats(5, 400),
    aspect=st.floats(0.88, 1.14),
)
def test_exact_points_give_the_ellipse_back(cx, cy, radius, aspect):
    rim = Ellipse(cx, cy, radius / np.sqrt(aspect), radius * np.sqrt(aspect))
    points = rim.points(np.linspace(0, 2 * np.pi, 90, endpoint=False))
    found = fit_ellipse_ransac(points, tolerance_px=0.02 * radius, rng=np.random.default_rng(0))
    found = refine_ellipse(points, found)
    assert np.allclose(
        [found.cx_px, found.cy_px, found.rx_px, found.ry_px],
        [cx, cy, rim.rx_px, rim.ry_px],
        atol=1e-3 * radius,
    )


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.5])
def test_wrong_points_do_no_harm(wrong):
    rng = np.random.default_rng(3)
    points = rim_points(RIM, rng, wrong=wrong)
    start = fit_ellipse_ransac(points, tolerance_px=1.0, rng=np.random.default_rng(0))
    found = refine_ellipse(points, start)
    assert abs(found.cx_px - RIM.cx_px) < 0.1
    assert abs(found.cy_px - RIM.cy_px) < 0.1
    assert abs(found.rx_px - RIM.rx_px) < 0.1
    assert abs(found.ry_px - RIM.ry_px) < 0.1


def test_a_fixed_aspect_stays_fixed_and_helps_where_half_the_rim_is_gone():
    rng = np.random.default_rng(5)
    points = rim_points(RIM, rng)
    half = points[points[:, 1] > RIM.cy_px - 5]
    aspect = RIM.ry_px / RIM.rx_px
    start = fit_ellipse_ransac(half, tolerance_px=1.0, rng=np.random.default_rng(0), aspect=aspect)
    found = refine_ellipse(half, start, aspect=aspect)
    assert found.ry_px / found.rx_px == pytest.approx(aspect)
    assert abs(found.radius_px - RIM.radius_px) < 0.3


def test_the_fit_moves_with_the_points():
    points = rim_points(RIM, np.random.default_rng(1))
    here, there = (refine_ellipse(p, Ellipse(c, c, 63, 63)) for p, c in ((points, 130), (points + 40, 170)))
    assert there.cx_px - here.cx_px == pytest.approx(40, abs=1e-3)
    assert there.rx_px == pytest.approx(here.rx_px, abs=1e-3)


def test_too_few_points_give_none():
    assert fit_ellipse_ransac(np.zeros((5, 2)), tolerance_px=1, rng=np.random.default_rng(0)) is None
    assert fit_ellipse_ransac(np.zeros((50, 2)), tolerance_px=1, rng=np.random.default_rng(0)) is None
