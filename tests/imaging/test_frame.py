"""Dead frame borders are found; vignetting, dark pictures and normal pictures stay whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.frame import find_valid_area


def surface(shape=(240, 320), *, level=120.0, noise=4.0, seed=0):
    return np.random.default_rng(seed).normal(level, noise, shape)


@pytest.mark.parametrize("black", [0, 18])
@pytest.mark.parametrize("widths", [(6, 0, 9, 10), (3, 4, 5, 6), (0, 12, 0, 0)])
def test_dead_borders_are_found(widths, black):
    top, bottom, left, right = widths
    image = surface()
    inner = np.zeros(image.shape, bool)
    inner[top : 240 - bottom, left : 320 - right] = True
    image[~inner] = np.random.default_rng(1).normal(black, 1, (~inner).sum())
    valid = find_valid_area(image.clip(0, 255).astype(np.uint8))
    assert not valid[~inner].any()
    assert np.mean(valid[inner]) > 0.97


def test_the_interlace_comb_goes_with_the_border():
    image = surface()
    image[:5] = 5
    image[5, ::2] = 5
    valid = find_valid_area(image.astype(np.float32))
    assert not valid[:6].any()
    assert valid[7:].all()


def test_the_border_of_a_dark_picture_with_a_bright_fibre_is_found():
    image = surface(level=38, noise=4)
    image[60:180, 90:240] = 130
    image[:5], image[:, -7:] = 16, 16
    valid = find_valid_area(image.clip(0, 255).astype(np.uint8))
    assert valid[5:, :-7].all()
    assert not valid[:5].any()
    assert not valid[:, -7:].any()


def test_what_rings_beside_a_border_goes_with_it():
    image = surface()
    image[:6], image[6], image[7], image[8] = 10, 170, 150, 130
    valid = find_valid_area(image.astype(np.float32))
    assert not valid[:8].any()
    assert valid[9:].all()


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.6])
def test_a_vignetted_picture_is_not_cut(strength):
    y, x = np.mgrid[-1:1:240j, -1:1:320j]
    image = surface() * np.clip(1 - strength * (x**2 + y**2) / 2, 0.02, 1)
    assert find_valid_area(image.clip(0, 255).astype(np.uint8)).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((240, 320), np.uint8),
        np.full((240, 320), 65535, np.uint16),
        surface().astype(np.float32),
        surface(level=3, noise=2).clip(0, 255).astype(np.uint8),
        np.zeros((10, 10), np.uint8),
    ],
)
def test_other_pictures_are_valid_everywhere(image):
    assert find_valid_area(image).all()


def test_scale_and_offset_do_not_matter():
    image = surface()
    image[:, :7] = 10
    assert (find_valid_area(image) == find_valid_area(image * 200 + 3000)).all()


@pytest.mark.real
def test_the_grabber_frames_lose_their_border_and_the_others_nothing(real_data):
    for path in sorted((real_data / "endface" / "scope_1152x864").iterdir())[::8]:
        assert find_valid_area(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)).all()
    for path in sorted((real_data / "endface" / "grabber_720x576").iterdir())[3::8]:
        valid = find_valid_area(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        assert not valid[:6].any()
        assert not valid[:, :7].any()
        assert valid[10:, 14:-14].all()
