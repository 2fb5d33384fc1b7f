"""Texture against scikit-image, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from endface.imaging.contrast import measure_contrast, surroundings
from endface.imaging.patches import Patches
from endface.imaging.texture import (
    LEVELS,
    entropy_map,
    gradient,
    histogram_entropy,
    lbp_map,
    measure_texture,
)


def test_lbp_is_that_of_scikit_image() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.float32)
    theirs = local_binary_pattern(image.astype(np.uint8), 8, 1, "uniform")
    assert (lbp_map(image) == theirs)[1:-1, 1:-1].mean() > 0.999


def test_glcm_is_that_of_scikit_image_away_from_the_border() -> None:
    image = np.random.default_rng(1).integers(0, LEVELS, (200, 210)).astype(np.uint8)
    image = np.maximum(image, np.roll(image, 1, axis=1))
    rows, cols = (index.ravel() for index in np.indices(image.shape))
    ours = measure_texture(image.astype(np.float32), rows, cols, low=0, high=LEVELS)
    matrix = graycomatrix(image, [1], [0, np.pi / 2], LEVELS, symmetric=True).sum(axis=3, keepdims=True)
    matrix = matrix / matrix.sum()
    for name in ("contrast", "homogeneity", "energy", "correlation"):
        assert getattr(ours, f"glcm_{name}") == pytest.approx(graycoprops(matrix, name)[0, 0], rel=1e-6)
    assert sum(ours.lbp) == pytest.approx(1.0)


def test_texture_does_not_depend_on_gain_and_offset() -> None:
    image = np.random.default_rng(2).normal(100, 20, (20, 20)).astype(np.float32)
    rows, cols = np.arange(5, 15), np.arange(4, 14)
    one = measure_texture(image, rows, cols, low=50, high=150)
    two = measure_texture(image * 4 + 8, rows, cols, low=208, high=608)
    assert one == two


def test_maps_of_a_flat_image_are_zero() -> None:
    flat = np.full((20, 20), 9, np.float32)
    assert not entropy_map(flat).any()
    assert not np.any(gradient(flat))
    assert histogram_entropy(flat.ravel(), low=9, high=9) == 0.0


def test_gradient_of_a_ramp() -> None:
    dx, dy = gradient(np.tile(np.arange(20, dtype=np.float32) * 3, (20, 1)))
    assert dx[5:-5, 5:-5] == pytest.approx(3.0)
    assert dy[5:-5, 5:-5] == pytest.approx(0.0)


def test_background_is_taken_within_a_zone() -> None:
    image = np.full((40, 40), 100, np.float32)
    image[:, 20:] = 200
    zones = (np.arange(40) >= 20).astype(np.uint8)[None].repeat(40, axis=0)
    image[15:20, 15:25] *= 0.9
    none = np.zeros((40, 40), np.uint8)
    found = measure_contrast(image, zones, none, np.ones((5, 10), bool), top=15, left=15)
    assert found.background == pytest.approx(150)
    assert found.difference == pytest.approx(-15)
    assert found.noise == 0.0


@pytest.mark.parametrize("crowded", [0.0, 0.9, 0.97, 1.0])
def test_crowded_surroundings_still_give_a_background(crowded: float) -> None:
    rng = np.random.default_rng(3)
    image = np.full((30, 30), 100, np.float32)
    image[10:12, 10:12] = 50
    blocked = (rng.random((30, 30)) < crowded).astype(np.uint8)
    none = np.zeros((30, 30), np.uint8)
    assert measure_contrast(image, none, blocked, np.ones((2, 2), bool), top=10, left=10).background == 100


def test_patch_that_fills_the_image() -> None:
    image = np.full((3, 3), 7, np.float32)
    none = np.zeros((3, 3), np.uint8)
    found = measure_contrast(image, none, none, np.ones((3, 3), bool), top=0, left=0)
    assert (found.rms, found.difference, found.background) == (0.0, 0.0, 7.0)


def test_surroundings_are_disjoint_rings() -> None:
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:7] = True
    patches = Patches.of([mask])
    places = (np.stack(patches.locate(part)[1:]) for part in surroundings(patches))
    near, ring = (set(zip(*part.tolist(), strict=True)) for part in places)
    assert not near & ring
    assert not near & set(zip(*np.nonzero(mask), strict=True))
