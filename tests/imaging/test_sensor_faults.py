"""Faults of the sensor: whole lines and points sharper than a lens go, scratches and blurred specks stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.sensor_faults import remove_dead_pixels, remove_sensor_lines

SHAPE = (256, 288)
ALL = np.ones(SHAPE, bool)


def noise(seed=0):
    return np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)


@pytest.mark.parametrize("step", [1.5, -4.0])
def test_a_seam_goes_and_nothing_else_changes(step):
    image = noise()
    image[:, 140:143] += step
    image[30] -= step
    remove_sensor_lines(image, ALL)
    assert np.abs(np.median(image[:, 140:143], axis=0)).max() < 0.3
    assert abs(np.median(image[30])) < 0.3
    rest = np.delete(np.delete(image - noise(), [30], axis=0), [140, 141, 142], axis=1)
    assert np.mean(np.abs(rest).max(axis=0) > 1e-5) < 0.05


def test_a_scratch_along_part_of_a_column_stays():
    image = noise()
    image[20:110, 100] -= 5
    before = image[20:110, 100].mean()
    remove_sensor_lines(image, ALL)
    assert image[20:110, 100].mean() == pytest.approx(before, abs=0.2)


def test_a_scratch_along_most_of_a_row_stays():
    image = noise()
    image[100, 45:] -= 8
    remove_sensor_lines(image, ALL)
    assert image[100, 45:].mean() < -7


@pytest.mark.parametrize("shares", [(1, 0, 0, 0), (0.5, 0.5, 0, 0), (0.4, 0.3, 0.2, 0.1)])
def test_a_point_sharper_than_optics_goes(shares):
    image = noise()
    image[100:102, 80:82] -= 30 * np.reshape(shares, (2, 2)).astype(np.float32)
    remove_dead_pixels(image, ALL)
    assert image[98:104, 78:84].min() > -4


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_speck_seen_through_optics_stays(sign):
    image = noise()
    speck = np.zeros(SHAPE, np.float32)
    speck[100, 80] = 200 * sign
    image += cv2.GaussianBlur(speck, (0, 0), 0.85)
    before = image.copy()
    remove_dead_pixels(image, ALL)
    assert (image[96:105, 76:85] == before[96:105, 76:85]).all()


def test_a_step_goes_with_its_wings_in_whole_gray_levels():
    rng = np.random.default_rng(4)
    x = np.arange(SHAPE[1]) - 150.5
    wings = np.sign(x) * 0.6 * np.exp(-np.abs(x) / 8)
    shade = np.linspace(0, 4.3, SHAPE[0])[:, None] + 0.01 * x
    image = (np.rint(rng.normal(0, 0.6, SHAPE) + shade + wings) - shade).astype(np.float32)
    before = np.abs(image[:, 135:167].mean(axis=0)).sum()
    remove_sensor_lines(image, ALL, wings=True)
    assert np.abs(image[:, 135:167].mean(axis=0)).sum() < 0.25 * before


def dead_clusters(image, n_single):
    """Draw single dead pixels and one cluster of them, resampled as a camera does; return where it lies."""
    faults = np.zeros(SHAPE, np.float32)
    rng = np.random.default_rng(9)
    for row, col in zip(rng.integers(8, 240, n_single), rng.integers(120, 280, n_single), strict=True):
        faults[row, col] = -30
    faults[60:64, 40:43] = -30
    faults[64, 43] = faults[59, 39] = -30
    shifted = cv2.warpAffine(
        faults, np.float32([[1, 0, 0.4], [0, 1, 0.3]]), SHAPE[::-1], flags=cv2.INTER_CUBIC
    )
    image += shifted
    return np.s_[54:70, 34:50]


def test_a_cluster_among_many_dead_pixels_goes_with_its_ringing():
    image = noise()
    where = dead_clusters(image, 60)
    assert image[where].min() < -25
    remove_dead_pixels(image, ALL)
    assert np.abs(image[where]).max() < 5


def test_a_weak_soft_cluster_goes_where_nearly_all_dark_specks_are_dead_pixels():
    left = []
    for n_single in (60, 4):
        image = noise()
        dead_clusters(image, n_single)
        weak = np.s_[100:103, 60:62]
        image[weak] -= 5
        remove_dead_pixels(image, ALL)
        left.append(float(image[weak].mean()))
    assert left[0] > -2
    assert left[1] < -4


def test_a_large_dark_thing_stays_among_dead_pixels():
    image = noise()
    dead_clusters(image, 60)
    image[150:155, 20:90] -= 12
    remove_dead_pixels(image, ALL)
    assert image[150:155, 20:90].max() < -5


def test_it_stays_where_dead_pixels_are_few_or_specks_are_seen_through_optics():
    image = noise()
    where = dead_clusters(image, 4)
    remove_dead_pixels(image, ALL)
    assert image[where].min() < -15
    image = noise()
    specks = np.zeros(SHAPE, np.float32)
    specks[20:240:12, 20:110:12] = -300
    image += cv2.GaussianBlur(specks, (0, 0), 1.0)
    dead_clusters(image, 60)
    before = image[16:240, 16:110].copy()
    remove_dead_pixels(image, ALL)
    assert np.mean(image[16:240, 16:110] == before) > 0.97


def test_what_is_masked_tells_nothing_and_small_images_stay():
    image, mask = noise(), ALL.copy()
    mask[:, 140] = False
    image[:, 140] = 50
    remove_sensor_lines(image, mask)
    assert (image[:, 140] == 50).all()
    tiny = np.ones((5, 5), np.float32)
    remove_dead_pixels(tiny, np.ones(tiny.shape, bool))
    remove_sensor_lines(tiny, np.ones(tiny.shape, bool))
    assert (tiny == 1).all()


def test_the_ringing_of_a_cluster_goes_with_it():
    rng = np.random.default_rng(3)
    sensor = np.zeros((130, 130), np.float32)
    sensor[60:63, 60:63] = -33
    image = cv2.resize(sensor, None, fx=1.6, fy=1.6, interpolation=cv2.INTER_LANCZOS4)
    rows, cols = rng.integers(5, 203, (2, 80))
    away = (np.abs(rows - 98) > 20) | (np.abs(cols - 98) > 20)
    image[rows[away], cols[away]] = -33
    image += rng.normal(0, 0.8, image.shape).astype(np.float32)
    remove_dead_pixels(image, np.ones(image.shape, bool))
    assert np.abs(cv2.GaussianBlur(image, (0, 0), 1.2)[86:111, 86:111]).max() < 0.7
