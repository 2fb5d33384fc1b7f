"""Edges along rays: position and height of a known step, both polarities, missing pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from endface.imaging.ellipse import Ellipse
from endface.imaging.rim import find_rim_edges, unroll

RIM = Ellipse(100.4, 90.2, 50.3, 54.8)


def disc(shape, rim, *, inside, outside, blur):
    distance = (rim.radius_map(shape).astype(np.float64) - 1) * rim.radius_px
    return (inside + (outside - inside) * 0.5 * (1 + erf(distance / (blur * np.sqrt(2))))).astype(np.float32)


@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize("blur", [0.7, 2.0])
def test_the_step_is_found_where_it_is(polarity, blur):
    image = disc((180, 200), RIM, inside=100, outside=100 + polarity * 80, blur=blur)
    start = Ellipse(101.0, 89.5, 51.5, 53.0)
    edges = find_rim_edges(image, start, polarity=polarity, inwards_px=8, outwards_px=8, sigma_px=1.2)
    points = edges.points(start)
    assert len(points) == 360
    assert np.abs(RIM.normalized_radius(points[:, 0], points[:, 1]) - 1).max() * RIM.radius_px < 0.1
    assert edges.strength.max() <= 81


def test_the_other_polarity_sees_nothing_there():
    image = disc((180, 200), RIM, inside=40, outside=160, blur=1)
    edges = find_rim_edges(image, RIM, polarity=-1, inwards_px=8, outwards_px=8, sigma_px=1.2)
    assert np.isnan(edges.offset_px).all() or np.nanmax(edges.strength) < 1


def test_of_two_edges_the_nearest_strong_one_is_taken():
    inner, outer = RIM, RIM.scaled(1.1)
    image = disc((180, 200), inner, inside=40, outside=100, blur=0.8)
    image += disc((180, 200), outer, inside=0, outside=90, blur=0.8)
    edges = find_rim_edges(image, inner, polarity=1, inwards_px=9, outwards_px=9, sigma_px=1.0, n_peaks=3)
    assert np.median(edges.offset_px[:, 0]) == pytest.approx(0.1 * RIM.radius_px, abs=0.3)
    assert np.abs(edges.nearest(min_strength=20).offset_px).max() < 0.2
    assert np.isnan(edges.nearest(min_strength=1e6).offset_px).all()


def test_rays_that_leave_the_picture_are_not_visible():
    image = disc((120, 200), RIM, inside=40, outside=160, blur=1)  # the rim ends at row 145
    edges = find_rim_edges(image, RIM, polarity=1, inwards_px=8, outwards_px=8, sigma_px=1.2)
    below = RIM.cy_px + RIM.ry_px * np.sin(edges.angles_rad) > 121
    assert not edges.visible[below].any()
    assert edges.visible[~below].mean() > 0.95
    assert np.isnan(edges.offset_px[below & (np.sin(edges.angles_rad) > 0.9)]).all()


def test_unrolling_a_radial_picture_gives_equal_rows():
    rho = RIM.radius_map((180, 200)) * 100
    polar = unroll(rho, RIM, n_angles=64, radii=np.linspace(0.3, 1.4, 50))
    assert np.abs(polar - 100 * np.linspace(0.3, 1.4, 50)).max() < 0.6
