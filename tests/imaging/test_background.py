"""Background: planes and bowls come back, defects do not leak in, charts of fibres go there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.imaging.background import concentric_background, polar_grid
from endface.imaging.ellipse import Ellipse
from endface.imaging.illumination import smooth_background

SHAPE = (160, 200)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
ALL = np.ones(SHAPE, bool)
RIM = Ellipse(101.3, 80.6, 55.0, 60.0)
CORE = Ellipse(103.0, 79.5, 20.0, 21.8)


NOISE = np.random.default_rng(3).normal(0, 1, SHAPE).astype(np.float32)


@given(slope_x=st.floats(-0.3, 0.3), slope_y=st.floats(-0.3, 0.3), level=st.floats(-50, 200))
@settings(max_examples=10, deadline=None)
def test_a_plane_is_background(slope_x, slope_y, level):
    plane = (level + slope_x * X + slope_y * Y).astype(np.float32)
    error = np.abs(smooth_background(plane + NOISE, ALL, scale_px=10) - plane)
    assert np.sqrt(np.mean(error[30:-30, 30:-30] ** 2)) < 0.12
    # mirrored borders bend a plane: the error stays below that of half the window
    assert error.max() < 0.5 * 10 * (abs(slope_x) + abs(slope_y)) + 0.6


def test_a_bowl_is_background():
    bowl = 150 - 10 * (((X - 90) / 100) ** 2 + ((Y - 70) / 80) ** 2)
    error = np.abs(smooth_background(bowl + NOISE, ALL, scale_px=8) - bowl)
    assert np.sqrt(np.mean(error[24:-24, 24:-24] ** 2)) < 0.15
    assert error.max() < 2.5


def test_vignetting_is_followed_into_the_corners():
    squared = ((X - 110) / 250) ** 2 + ((Y - 70) / 250) ** 2
    light = (200 / (1 + squared) ** 2).astype(np.float32)
    rest = light + NOISE - smooth_background(light + NOISE, ALL, scale_px=10)
    corners = [
        rest[rows, cols].mean() for rows in (np.s_[:8], np.s_[-8:]) for cols in (np.s_[:8], np.s_[-8:])
    ]
    assert np.abs(corners).max() < 0.8


def test_defects_do_not_leak_into_the_background():
    plane = (100 + 0.1 * X).astype(np.float32) + np.random.default_rng(0).normal(0, 1, SHAPE).astype(
        np.float32
    )
    dirty = plane.copy()
    dirty[60:68, 80:88] = 0
    dirty[120, 20:180] -= 30
    difference = smooth_background(dirty, ALL, scale_px=10) - smooth_background(plane, ALL, scale_px=10)
    assert np.abs(difference).max() < 0.4


def test_what_lies_outside_the_mask_does_not_count():
    mask = (X - 100) ** 2 + (Y - 80) ** 2 > 40**2
    ground = 100 + 0.1 * X + NOISE
    image = np.where(mask, ground, 20).astype(np.float32)
    other = np.where(mask, ground, 250).astype(np.float32)
    first, second = (smooth_background(i, mask, scale_px=10) for i in (image, other))
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert np.abs(first - ground + NOISE)[mask].max() < 1.5


def test_background_follows_gain_and_offset():
    image = (80 + 10 * np.sin(X / 40) + np.random.default_rng(1).normal(0, 1, SHAPE)).astype(np.float32)
    base = smooth_background(image, ALL, scale_px=12)
    np.testing.assert_allclose(smooth_background(4 * image, ALL, scale_px=12), 4 * base, atol=0.01)
    np.testing.assert_allclose(smooth_background(image + 50, ALL, scale_px=12), base + 50, atol=0.05)
    np.testing.assert_allclose(smooth_background(-image, ALL, scale_px=12), -base, atol=0.01)


def test_the_input_is_not_changed():
    image = X.copy()
    image.flags.writeable = False
    smooth_background(image, ALL, scale_px=10)
    assert (image == X).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 90), (20, 20)])
def test_tiny_and_empty(shape):
    image = np.full(shape, 7, np.float32)
    np.testing.assert_allclose(smooth_background(image, np.ones(shape, bool), scale_px=8), 7, atol=1e-2)
    assert np.isfinite(smooth_background(image, np.zeros(shape, bool), scale_px=8)).all()


@pytest.mark.parametrize("core", [None, CORE])
def test_a_chart_goes_there_and_back(core):
    smooth = (100 + 20 * np.sin(X / 13) * np.cos(Y / 17)).astype(np.float32)
    grid = polar_grid(RIM, core, SHAPE)
    back = grid.roll(grid.unroll(smooth))
    inside = RIM.radius_map(SHAPE)[grid.box] < 1.2
    assert np.abs(back - smooth[grid.box])[inside].max() < 0.25


def test_rows_of_a_chart_are_the_ellipses():
    grid = polar_grid(RIM, CORE, SHAPE)
    for row, ellipse in ((grid.rim_row, RIM), (grid.core_row, CORE)):
        low = int(row)
        share = row - low
        x = (1 - share) * grid.sample_x[low] + share * grid.sample_x[low + 1]
        y = (1 - share) * grid.sample_y[low] + share * grid.sample_y[low + 1]
        np.testing.assert_allclose(ellipse.normalized_radius(x, y), 1, atol=0.02)


def test_chart_coordinates_undo_each_other():
    grid = polar_grid(RIM, CORE, SHAPE)
    top, left = grid.box[0].start, grid.box[1].start
    for row, column in ((25, 10), (40, 100), (60, 200)):
        x, y = grid.sample_x[row, column], grid.sample_y[row, column]
        near = (round(float(y)) - top, round(float(x)) - left)
        assert grid.rho[near] == pytest.approx(row, abs=1.2)
        turn = (grid.theta[near] - column) * 2 * np.pi / grid.sample_x.shape[1]
        assert abs((turn + np.pi) % (2 * np.pi) - np.pi) * row < 1.2


def chart(*, crescent=True, noise=1.0, seed=0):
    rows, angles = np.mgrid[:80, :512].astype(np.float32)
    values = 120 + 30 * np.cos(rows / 5)
    if crescent:
        values = values + 40 * np.exp(-(((rows - 55) / 4) ** 2)) * (1 + np.cos(angles * 2 * np.pi / 512)) / 2
    return (values + np.random.default_rng(seed).normal(0, noise, values.shape)).astype(np.float32)


def test_rings_and_crescents_are_structure():
    image = chart()
    model = concentric_background(image)
    assert model.shape == image.shape
    rest = (image - model)[10:]
    assert np.std(rest) < 1.25
    # nothing is left that nine neighbours of white noise would not show
    assert np.abs(mean_of_nine(rest)).max() < 5.5 / 3


def mean_of_nine(values):
    kernel = np.ones(9) / 9
    return np.apply_along_axis(lambda row: np.convolve(row, kernel, "valid"), 1, values)


def test_a_spot_and_a_radial_scratch_are_no_structure():
    clean = chart()
    dirty = clean.copy()
    dirty[40:46, 100:112] -= 40
    dirty[20:70, 300:303] -= 20
    rest = dirty - concentric_background(dirty)
    assert np.median(rest[40:46, 100:112]) < -32
    assert np.median(rest[20:70, 300:303]) < -15


def test_the_model_turns_with_the_chart():
    image = chart(noise=1.0)
    model = concentric_background(image)
    for turn, difference in ((64, 1e-4), (78, 0.1)):
        turned = concentric_background(np.roll(image, turn, axis=1))
        np.testing.assert_allclose(turned, np.roll(model, turn, axis=1), atol=difference)


def test_a_thin_reflection_on_half_of_a_rim_is_structure_and_a_wide_film_is_not():
    around = np.abs(np.arange(512) - 256) * 2 * np.pi / 512
    arch = np.where(around < np.pi / 2, np.cos(around) ** 2, 0).astype(np.float32)
    image = chart(crescent=False, noise=2.0)
    image[50:54] += 40 * arch
    rest = image - concentric_background(image)
    assert np.abs(mean_of_nine(rest[50:54])).max() < 10
    image = chart(crescent=False, noise=2.0)
    image[45:65, 180:330] -= 25
    assert np.median((image - concentric_background(image))[50:60, 190:320]) < -18
