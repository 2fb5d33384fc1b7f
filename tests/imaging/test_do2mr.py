"""DO2MR: laws of ranking, the sigma rule and the cleaning after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.imaging.do2mr import (
    rank_residual,
    segment_residual,
    shrink_zones,
    smooth_gaussian,
    zone_scores,
)

ONE_ZONE = np.ones((40, 50), np.uint8)


def noise(seed: int = 0, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 3, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_residual_of_a_flat_image_is_zero(dtype: type) -> None:
    assert not rank_residual(np.full((20, 30), 77, dtype)).any()


def test_residual_is_the_largest_minus_the_smallest_of_the_window() -> None:
    image = noise()
    residual = rank_residual(image, window_px=5)
    window = image[10:15, 20:25]
    assert residual[12, 22] == window.max() - window.min()


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.1, 10), offset=st.floats(-100, 100), seed=st.integers(0, 99))
def test_residual_ignores_offset_and_follows_gain(gain: float, offset: float, seed: int) -> None:
    image = noise(seed)
    changed = rank_residual((gain * image + offset).astype(np.float32))
    np.testing.assert_allclose(changed, gain * rank_residual(image), atol=1e-3 * gain + 1e-3)


def test_residual_does_not_know_polarity_or_orientation() -> None:
    image = noise()
    np.testing.assert_allclose(rank_residual(-image), rank_residual(image), atol=1e-4)
    np.testing.assert_array_equal(rank_residual(np.rot90(image).copy()), np.rot90(rank_residual(image)))


@pytest.mark.parametrize(("size", "window"), [(1, 5), (4, 5), (6, 7)])
def test_window_widens_a_spot_by_its_side_less_one(size: int, window: int) -> None:
    image = np.zeros((40, 40), np.uint8)
    image[15 : 15 + size, 15 : 15 + size] = 9
    wide = rank_residual(image, window_px=window) > 0
    # within a spot larger than the window the residual is 0; these are not
    assert wide.any(axis=0).sum() == size + window - 1


def test_smoothing_keeps_the_mean_and_its_input() -> None:
    image = noise()
    before = image.copy()
    smooth = smooth_gaussian(image)
    assert smooth.std() < 0.5 * image.std()
    np.testing.assert_array_equal(image, before)
    assert smooth.sum() == pytest.approx(image.sum(), rel=1e-3)


def test_scores_have_mean_0_and_spread_1_in_each_zone() -> None:
    zones = ONE_ZONE.copy()
    zones[:, 25:] = 4
    zones[:3] = 0
    values = noise()
    values[:, 25:] *= 7
    scores = zone_scores(values, zones)
    for zone in (1, 4):
        inside = scores[zones == zone]
        assert (inside.mean(), inside.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert not scores[zones == 0].any()


def test_scores_ignore_gain_and_offset() -> None:
    values = noise()
    np.testing.assert_allclose(
        zone_scores(3 * values + 20, ONE_ZONE), zone_scores(values, ONE_ZONE), atol=1e-3
    )


def test_zone_without_spread_scores_nothing() -> None:
    assert not zone_scores(np.full((40, 50), 0.1, np.float32), ONE_ZONE).any()


def test_dirt_hides_itself_behind_its_own_spread() -> None:
    """The known weakness of mean and standard deviation, kept on purpose."""
    values = noise()
    values[5, 5] += 40
    alone = zone_scores(values, ONE_ZONE)[5, 5]
    values[20:30] += 80
    assert zone_scores(values, ONE_ZONE)[5, 5] < 0.4 * alone


def test_shrinking_takes_a_band_off_both_sides_of_a_seam_only() -> None:
    zones = ONE_ZONE.copy()
    zones[:, 25:] = 2
    small = shrink_zones(zones, margin_px=4)
    np.testing.assert_array_equal(np.flatnonzero(small[0] == 0), np.arange(21, 29))
    assert small[0, 0] == 1
    assert small[-1, -1] == 2
    assert shrink_zones(zones, margin_px=0) is zones


@settings(max_examples=15, deadline=None)
@given(low=st.floats(0.5, 3), more=st.floats(0, 3))
def test_a_stricter_gamma_never_adds_pixels(low: float, more: float) -> None:
    scores = smooth_gaussian(zone_scores(noise(3), ONE_ZONE)) * 3
    assert not (segment_residual(scores, gamma=low + more) & ~segment_residual(scores, gamma=low)).any()


def test_lone_pixels_and_thin_lines_are_cleaned_away() -> None:
    scores = np.zeros((30, 30), np.float32)
    scores[3, 3] = scores[10, :] = scores[20, 5:9] = 9
    assert not segment_residual(scores, gamma=3.0).any()
