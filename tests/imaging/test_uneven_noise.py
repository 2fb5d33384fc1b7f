"""Noise that is no even normal noise stays quiet: grains of moulded ferrules, blocks of a codec."""

import cv2
import numpy as np
import pytest

from endface.detection import detect_defects
from endface.detection.spots import detect_spots
from endface.detection.structure import remove_structure
from endface.imaging.noise import Tail, noise_skew, silent_blocks
from endface.zones import plain_zones


def spots_of(image):
    zones = plain_zones(image)
    residual = remove_structure(image, zones)
    return detect_spots(residual, residual.noise(residual.gray)[0], zones, epsilon=0.1)[0]


def grainy(rng, shape=(480, 480)):
    noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 2)
    noise /= noise.std()
    skewed = noise + np.float32(0.1) * (noise**2 - 1)
    return (120 + 6 * skewed + rng.normal(0, 1, shape)).astype(np.float32)


def coded(image, quality):
    grey = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_grains_are_quiet_and_a_pit_among_them_is_found(seed):
    image = grainy(np.random.default_rng(seed))
    assert len(spots_of(image)) <= 1
    cv2.circle(image, (200, 300), 6, 30.0, -1)
    assert any(d.mask.shape[0] > 6 and abs(d.x_px - 194) < 6 for d in spots_of(image))


@pytest.mark.parametrize("quality", [40, 65, 90])
def test_what_a_codec_leaves_of_noise_is_quiet(quality):
    rng = np.random.default_rng(quality)
    image = 150 + 0.05 * np.arange(480) + rng.normal(0, 1.5, (480, 480))
    assert len(spots_of(coded(image, quality))) <= 1


@pytest.mark.parametrize("seed", [1, 3])
def test_blocks_of_a_codec_are_no_lines(seed):
    image = 150 + 0.05 * np.arange(480) + np.random.default_rng(seed).normal(0, 4, (480, 480))
    image = coded(image, 30)
    assert not any("line" in d.detector for d in detect_defects(image, plain_zones(image)))


def test_skew_is_of_the_bulk():
    noise = np.random.default_rng(3).normal(0, 1, (300, 300)).astype(np.float32)
    inside = np.ones(noise.shape, bool)
    speckled = noise.copy()
    speckled[::25, ::25] += 8
    assert noise_skew(speckled, inside) < 0.05
    assert (
        noise_skew(-grainy(np.random.default_rng(4)) + 120, inside[:1, :1].repeat(480, 0).repeat(480, 1)) == 0
    )


def test_bending_a_tail_raises_the_score_needed():
    tail = Tail(1.0, 0.02)
    assert tail.bent(0.0) == tail
    assert tail.bent(0.05).raw_score(5.0) == pytest.approx(tail.raw_score(5.0) + 0.05 * 24, rel=0.02)


def test_blocks_of_noise_are_not_silent():
    rng = np.random.default_rng(5)
    slope = np.add.outer(np.arange(64), np.arange(80)) * 0.2
    assert not silent_blocks((100 + slope + rng.normal(0, 1, slope.shape)).astype(np.uint8)).any()
    assert silent_blocks(np.round(100 + slope).astype(np.uint8)).all()
    assert not silent_blocks(np.zeros((64, 64), np.uint16)).any()
    assert silent_blocks(np.zeros((5, 5), np.uint8)).sum() == 0
