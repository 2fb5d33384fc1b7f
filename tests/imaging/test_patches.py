"""Many patches measured together are what each of them is alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from endface.imaging.contrast import FAR_PX, NEAR_PX, measure_contrast, measure_contrasts, surroundings
from endface.imaging.patches import Patches, grouped_medians
from endface.imaging.shape import measure_shape, measure_shapes
from endface.imaging.skeleton import trace, trace_all
from endface.imaging.texture import measure_texture, measure_textures


def masks(seed: int) -> list[NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    found = [
        rng.random((int(h), int(w))) < share
        for h, w, share in zip(*rng.integers(1, 25, (2, 9)), rng.uniform(0.3, 1, 9), strict=True)
    ]
    return [mask if mask.any() else ~mask for mask in found]


@pytest.mark.parametrize("seed", range(4))
def test_together_as_alone(seed: int) -> None:
    some, rng = masks(seed), np.random.default_rng(seed)
    patches = Patches.of(some)
    image = rng.normal(100, 10, (60, 70)).astype(np.float32)
    labels, blocked = (rng.integers(0, 2, image.shape).astype(np.uint8) for _ in range(2))
    corners = np.stack([rng.integers(0, [60 - m.shape[0] + 1, 70 - m.shape[1] + 1]) for m in some])
    assert measure_shapes(patches, spacing=(0.5, 0.7)) == [measure_shape(m, spacing=(0.5, 0.7)) for m in some]
    contrasts = measure_contrasts(image, labels, blocked, patches, corners)
    textures = measure_textures(
        image,
        patches.owner,
        patches.rows + corners[patches.owner, 0],
        patches.cols + corners[patches.owner, 1],
        low=np.array([found.low for found in contrasts]),
        high=np.array([found.high for found in contrasts]),
    )
    lines = trace_all(patches, spacing=(0.5, 0.7))
    for mask, (top, left), contrast, texture, line in zip(
        some, corners, contrasts, textures, lines, strict=True
    ):
        alone = measure_contrast(image, labels, blocked, mask, top=top, left=left)
        assert contrast == alone
        rows, cols = np.nonzero(mask)
        assert texture == measure_texture(image, rows + top, cols + left, low=alone.low, high=alone.high)
        single = trace(mask, spacing=(0.5, 0.7))
        np.testing.assert_array_equal(line.path_px, single.path_px)
        assert (line.length, line.n_branches, line.max_width) == (
            single.length,
            single.n_branches,
            single.max_width,
        )


@pytest.mark.parametrize("seed", range(4))
def test_surroundings_are_those_of_the_distance(seed: int) -> None:
    some = masks(seed)
    patches = Patches.of(some)
    near, ring = (patches.locate(places) for places in surroundings(patches))
    for number, mask in enumerate(some):
        away = distance_transform_edt(~np.pad(mask, FAR_PX))
        for (owner, rows, cols), low, high in ((near, 0, NEAR_PX), (ring, NEAR_PX, FAR_PX)):
            expected = np.stack(np.nonzero((away > low) & (away <= high))) - FAR_PX
            own = owner == number
            np.testing.assert_array_equal(np.stack([rows[own], cols[own]]), expected)


def test_grouped_medians_are_medians() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.normal(0, 9, 500).astype(np.float32), rng.integers(0, 40, 500)
    values[:50] = -0.0
    found = grouped_medians(values, groups, 41)
    for number in range(40):
        assert found[number] == np.median(values[groups == number].astype(float))
    assert math.isnan(found[40])


def test_no_pixel_is_an_error() -> None:
    with pytest.raises(ValueError, match="mask 1"):
        Patches.of([np.ones((2, 2), bool), np.zeros((2, 2), bool)])
