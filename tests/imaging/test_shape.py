"""Laws and rendered truth for the shape of patches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import euler_number, label

from endface.imaging.shape import edge_pixels, measure_shape


def blob(seed: int, size: int = 24) -> NDArray[np.bool_]:
    """Some smooth random patch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    field = np.zeros((size, size))
    for _ in range(4):
        (cy, cx), s = rng.uniform(6, size - 6, 2), rng.uniform(2, 4)
        field = np.maximum(field, np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * s * s)))
    return np.asarray(field > 0.6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), sy=st.floats(0.3, 2.0), sx=st.floats(0.3, 2.0))
def test_quarter_turn_swaps_pitches_and_adds_90_degrees(seed: int, sy: float, sx: float) -> None:
    mask = blob(seed)
    one = measure_shape(mask, spacing=(sy, sx))
    two = measure_shape(np.rot90(mask), spacing=(sx, sy))
    for name in (
        "area",
        "major",
        "minor",
        "aspect_ratio",
        "perimeter",
        "circularity",
        "solidity",
        "diameter",
    ):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=2e-4), name
    assert two.euler_number == one.euler_number
    assert two.hu == pytest.approx(one.hu, abs=1e-6)
    if one.aspect_ratio > 1.05:
        assert (two.orientation_deg - one.orientation_deg - 90.0 + 90.0) % 180.0 == pytest.approx(
            90.0, abs=0.1
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.1, 5.0))
def test_lengths_scale_with_the_pitch_and_shape_does_not(seed: int, factor: float) -> None:
    mask = blob(seed)
    one, two = measure_shape(mask), measure_shape(mask, spacing=(factor, factor))
    assert two.area == pytest.approx(one.area * factor**2)
    for name in ("major", "minor", "perimeter", "diameter"):
        assert getattr(two, name) == pytest.approx(getattr(one, name) * factor, rel=1e-4)
    for name in ("aspect_ratio", "eccentricity", "circularity", "solidity", "extent"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-3)
    assert two.hu == pytest.approx(one.hu, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_euler_number_is_that_of_scikit_image(seed: int) -> None:
    mask = np.random.default_rng(seed).random((20, 23)) > 0.5
    assert measure_shape(mask).euler_number == euler_number(mask, connectivity=2)


@pytest.mark.parametrize("diameter_um", [2.0, 3.0, 4.0, 6.0, 8.0, 10.0])
@pytest.mark.parametrize("spacing", [(0.43, 0.43), (0.56, 0.61), (0.8, 0.8)])
def test_diameter_of_discs_is_unbiased(diameter_um: float, spacing: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :60]
    errors = []
    for cy, cx in 30 + rng.random((60, 2)):
        disc = np.hypot((y - cy) * spacing[0], (x - cx) * spacing[1]) <= diameter_um / 2
        errors.append(measure_shape(disc, spacing=spacing).diameter - diameter_um)
    assert abs(np.mean(errors)) < 0.1
    assert np.max(np.abs(errors)) < 0.8 * max(spacing)


def test_perimeter_and_circularity_of_a_disc() -> None:
    y, x = np.mgrid[:80, :80]
    shape = measure_shape(np.hypot(y - 40.2, x - 39.7) <= 30)
    assert shape.perimeter == pytest.approx(60 * math.pi, rel=0.02)
    assert shape.circularity > 0.97
    assert shape.eccentricity < 0.1


@pytest.mark.parametrize("angle_deg", range(0, 180, 15))
def test_orientation_is_counter_clockwise_in_um(angle_deg: int) -> None:
    spacing = (0.5, 1.0)
    y, x = np.mgrid[:121, :61]
    u, v = (x - 30) * spacing[1], -(y - 60) * spacing[0]
    angle = math.radians(angle_deg)
    along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
    shape = measure_shape((np.abs(along) <= 20) & (np.abs(across) <= 3.3), spacing=spacing)
    assert (shape.orientation_deg - angle_deg + 90) % 180 - 90 == pytest.approx(0, abs=1.5)
    assert 0 <= shape.orientation_deg < 180


def test_single_pixel_and_empty() -> None:
    shape = measure_shape(np.ones((1, 1), bool), spacing=(0.5, 0.5))
    assert (shape.area_px, shape.major, shape.aspect_ratio, shape.euler_number) == (1, 0.5, 1.0, 1)
    with pytest.raises(ValueError, match="at least one pixel"):
        measure_shape(np.zeros((3, 3), bool))


def test_edge_pixels_of_a_square() -> None:
    assert edge_pixels(np.ones((5, 5), bool))[0].size == 16


def test_parts_and_holes() -> None:
    ring = np.ones((7, 7), bool)
    ring[3, 3] = False
    assert measure_shape(ring).euler_number == 0
    assert label(ring, connectivity=2).max() == 1
