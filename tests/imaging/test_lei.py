"""LEI: what its kernels answer to, and the rule that joins the orientations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.do2mr import zone_scores
from endface.imaging.lei import branch_kernel, equalize, line_kernels, line_scores, linear_responses

SHAPE = (80, 80)
ONE_ZONE = np.ones(SHAPE, np.uint8)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 3, SHAPE).astype(np.float32)


def line_image(angle_deg: float, *, level: float = 20.0) -> np.ndarray:
    """Draw a line through the centre, turned counter-clockwise as seen on the screen."""
    dx, dy = 30 * np.cos(np.deg2rad(angle_deg)), -30 * np.sin(np.deg2rad(angle_deg))
    image = np.zeros(SHAPE, np.uint8)
    ends = [(round(16 * (40 + s * dx)), round(16 * (40 + s * dy))) for s in (-1, 1)]
    cv2.line(image, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    return image.astype(np.float32) * (level / 255)


@pytest.mark.parametrize("level", [0.0, 50.0, 200.0])
def test_on_a_flat_surface_one_reading_gives_nothing_and_the_other_the_grey_level(level: float) -> None:
    image = np.full(SHAPE, level, np.float32)
    for response in linear_responses(image, line_kernels()):
        np.testing.assert_allclose(response, 0, atol=1e-3)
    for response in linear_responses(image, line_kernels(dc_free=False)):
        np.testing.assert_allclose(response, level, atol=1e-3)


@pytest.mark.parametrize("index", range(12))
def test_a_line_answers_most_in_its_own_orientation(index: int) -> None:
    image = line_image(15.0 * index)
    peaks = [float(response[40, 40]) for response in linear_responses(image, line_kernels())]
    assert int(np.argmax(peaks)) == index


def test_a_quarter_turn_moves_orientations_by_half() -> None:
    kernels = line_kernels()
    for i in range(6):
        np.testing.assert_allclose(np.rot90(kernels[i]), kernels[i + 6], atol=1e-6)


def test_kernels_are_symmetric_about_their_centre() -> None:
    kernels = line_kernels()
    np.testing.assert_allclose(kernels, kernels[:, ::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("offset_px", [0.0, 2.0, -3.5])
def test_a_branch_is_a_mean(offset_px: float) -> None:
    kernel = branch_kernel(length_px=15, angle_rad=0.7, offset_px=offset_px, half_px=12)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0


def test_a_linear_slope_is_no_line() -> None:
    slope = np.tile(np.arange(80, dtype=np.float32), (80, 1))
    for response in linear_responses(slope, line_kernels()):
        np.testing.assert_allclose(response[15:-15, 15:-15], 0, atol=1e-3)


def test_dark_and_bright_lines_score_alike_and_are_told_apart() -> None:
    image = noise() + line_image(30.0)
    bright = line_scores(image, ONE_ZONE, kernels=line_kernels())
    dark = line_scores(-image, ONE_ZONE, kernels=line_kernels())
    np.testing.assert_allclose(bright.scores, dark.scores, atol=1e-3)
    assert not bright.dark[40, 40]
    assert dark.dark[40, 40]


def test_one_polarity_finds_no_dark_lines() -> None:
    image = noise() - line_image(30.0, level=60)
    one = line_scores(image, ONE_ZONE, kernels=line_kernels(), both_polarities=False)
    both = line_scores(image, ONE_ZONE, kernels=line_kernels())
    assert one.scores[40, 40] < 2 < 5 < both.scores[40, 40]
    assert not one.dark.any()


def test_threshold_of_the_best_score_is_the_or_of_thresholds_per_orientation() -> None:
    image, kernels = noise(1) + line_image(100.0), line_kernels()
    joined = np.zeros(SHAPE, bool)
    for response in linear_responses(image, kernels):
        joined |= zone_scores(response, ONE_ZONE) > 2
    found = line_scores(image, ONE_ZONE, kernels=kernels, both_polarities=False).scores > 2
    np.testing.assert_array_equal(found, joined)


def test_nothing_is_scored_outside_the_zones() -> None:
    zones = ONE_ZONE.copy()
    zones[:, :30] = 0
    assert not line_scores(noise(), zones, kernels=line_kernels()).scores[:, :30].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equalising_keeps_the_order_and_levels_the_histogram(dtype: type) -> None:
    image = (noise() if dtype is np.float32 else np.round(noise())).astype(dtype)
    flat = equalize(image, np.ones(SHAPE, bool))
    order = np.argsort(image, axis=None, kind="stable")
    assert (np.diff(flat.ravel()[order]) >= 0).all()
    assert flat.max() == 255
    assert np.median(flat) == pytest.approx(127.5, abs=20)


def test_equalising_does_not_see_offset_and_gain_of_16_bit_images() -> None:
    image = np.round(noise()).astype(np.uint16)
    valid = np.ones(SHAPE, bool)
    np.testing.assert_array_equal(
        equalize(image * np.uint16(300) + np.uint16(9), valid), equalize(image, valid)
    )


def test_pixels_that_are_not_valid_take_no_part() -> None:
    image = noise()
    valid = np.ones(SHAPE, bool)
    valid[:20] = False
    other = image.copy()
    other[:20] = np.nan
    np.testing.assert_array_equal(equalize(image, valid), equalize(other, valid))
    assert equalize(image, ~np.ones(SHAPE, bool)).tolist() == np.full(SHAPE, 127.5).tolist()
