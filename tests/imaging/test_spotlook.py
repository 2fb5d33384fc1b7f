"""Outline of patches whose shape is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from endface.imaging.spotlook import SpotLook, look_at_spot, unblurred_diameter

SIZE = 64


def disc(diameter: float, *, ratio: float = 1.0, row: float = 32.0, col: float = 32.0) -> NDArray[np.float32]:
    """Share of each pixel that an ellipse covers."""
    y, x = np.mgrid[: SIZE * 4, : SIZE * 4]
    inside = np.hypot(((y + 0.5) / 4 - 0.5 - row) / ratio, (x + 0.5) / 4 - 0.5 - col) <= diameter / 2
    return inside.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3)).astype(np.float32)


def look(
    change: NDArray[np.float32], *, blur: float = 1.0, noise: float = 0.5, seed: int = 0, gain: float = 1.0
) -> SpotLook:
    """Blur, add noise, draw a mask by threshold, look."""
    soft = cv2.GaussianBlur(change, (0, 0), blur)
    chance = np.random.default_rng(seed).normal(0, noise, soft.shape)
    image = (gain * (120 + soft + chance)).astype(np.float32)
    mask = soft < 0.45 * soft.min()
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    flat = np.zeros(image.shape, np.uint8)
    return look_at_spot(image, flat, flat, box, top=int(rows[0]), left=int(cols[0]), blur_px=blur)


@pytest.mark.parametrize("diameter", [3.0, 5.0, 8.0, 14.0, 25.0])
@pytest.mark.parametrize("blur", [0.8, 1.3])
def test_discs_are_as_wide_as_drawn(diameter: float, blur: float) -> None:
    errors = []
    for k in range(8):
        found = look(-60 * disc(diameter, row=32 + 0.13 * k, col=32 - 0.21 * k), blur=blur, seed=k)
        errors.append(unblurred_diameter(found.major, found.blur) - diameter)
        assert found.diameter >= found.major - 0.8
        assert found.roundness > 0.85
    # twice the blur across or less, a spot looks hardly wider than a point
    assert abs(float(np.mean(errors))) < (0.4 if diameter > 3 * blur else 0.8)


@given(st.floats(0.1, 20.0), st.floats(0.3, 3.0), st.floats(1.01, 2.0))
@settings(max_examples=40, deadline=None)
def test_unblurred_diameters_grow_with_the_apparent_ones(apparent: float, blur: float, more: float) -> None:
    assert unblurred_diameter(apparent, blur) <= unblurred_diameter(apparent * more, blur) + 1e-9
    assert unblurred_diameter(apparent, blur) <= apparent + blur


def test_gain_does_not_matter() -> None:
    one, two = (look(-60 * disc(9.0), gain=gain) for gain in (1.0, 3.0))
    assert one.diameter == pytest.approx(two.diameter, rel=1e-3)
    assert one.roundness == pytest.approx(two.roundness, abs=1e-3)
    assert one.peak_snr == pytest.approx(two.peak_snr, rel=0.01)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_an_ellipse_fills_its_circle_by_its_axes_and_lobes_fill_less(ratio: float) -> None:
    ellipse = look(-60 * disc(10.0, ratio=ratio))
    assert ellipse.roundness == pytest.approx(1 / ratio, abs=0.07)
    assert ellipse.major / ellipse.minor == pytest.approx(ratio, abs=0.2)
    lobes = np.maximum(disc(8.0, col=27.0), disc(8.0, row=37.0, col=35.0))
    lobes = np.maximum(lobes, disc(8.0, row=27.0, col=36.0))
    assert look(-60 * lobes).roundness < look(-60 * disc(12.0)).roundness - 0.2


def test_what_is_not_there_has_no_size() -> None:
    flat = np.zeros((20, 20), np.uint8)
    image = np.full((20, 20), 50, np.float32)
    found = look_at_spot(image, flat, flat, np.ones((1, 1), bool), top=0, left=0, blur_px=1.0)
    assert math.isnan(found.diameter) or found.diameter < 4
