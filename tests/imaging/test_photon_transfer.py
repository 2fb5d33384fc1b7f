"""Noise against brightness: known sensors are known again, whatever gain, black level, curve or codec."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from endface.detection.structure import remove_structure
from endface.imaging.noise import robust_sigma
from endface.imaging.photon_transfer import PhotonTransfer, photon_transfer
from endface.synthesis import render_endface
from endface.synthesis.presets import PRESETS
from endface.zones import plain_zones, segment_zones

SHAPE = (520, 720)
DARK, BRIGHT = 60.0, 210.0
EVEN = PhotonTransfer(slope=0.0, darkest=0.0, brightest=255.0)


def ground(shape=SHAPE):
    """A vignetted surface with a darker fibre and its bright core, and their zones."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    light = 1 - 0.45 * np.minimum(np.hypot(x / shape[1] - 0.5, y / shape[0] - 0.5) / 0.64, 1) ** 2
    radius = np.hypot(x - shape[1] / 2, y - shape[0] / 2)
    level, zones = 180 * light, np.ones(shape, np.uint8)
    level[radius < 150], zones[radius < 150] = DARK + 0.15 * radius[radius < 150], 2
    level[radius < 75], zones[radius < 75] = BRIGHT - 0.4 * radius[radius < 75], 4
    return level.astype(np.float32), zones


def exposed(level, a, b, seed=0):
    """Photons and read noise: variance a + b * level."""
    rng = np.random.default_rng(seed)
    return (b * rng.poisson(level / b) + rng.normal(0, np.sqrt(a), level.shape) if b else level).astype(
        np.float32
    )


def mistaken_by(curve, level, zones, true):
    """Largest error of the change of noise within a zone, of true standard deviations `true` (H, W)."""
    error = curve.loudness(level) / true
    return max(
        float(np.ptp(np.quantile(error[zones == zone], (0.01, 0.99)))) for zone in np.unique(zones)
    ) / float(np.median(error))


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.02), (0.1, 0.08), (4.0, 0.05), (0.0, 0.3)])
def test_the_noise_of_photons_is_known_from_one_image(a, b):
    level, zones = ground()
    curve = photon_transfer(exposed(level, a, b) - level, level, zones)
    assert mistaken_by(curve, level, zones, np.sqrt(a + b * level)) < 0.1
    # from end to end of the surface
    dark, bright = curve.loudness(np.array([[100, 180]], np.float32))[0]
    assert bright / dark == pytest.approx(np.sqrt((a + 180 * b) / (a + 100 * b)), rel=0.05)


def test_even_noise_is_even():
    level, zones = ground()
    noise = np.random.default_rng(1).normal(0, 2, level.shape).astype(np.float32)
    np.testing.assert_allclose(photon_transfer(noise, level, zones).loudness(level), 1, atol=0.05)


@pytest.mark.parametrize(("gain", "black"), [(1 / 255, 0), (0.5, -300), (257, 0), (3, 4000)])
def test_gain_and_black_level_do_not_count(gain, black):
    level, zones = ground()
    noise = exposed(level, 0.5, 0.05) - level
    before = photon_transfer(noise, level, zones).loudness(level)
    other = (level * gain + black).astype(np.float32)
    after = photon_transfer((noise * np.float32(gain)), other, zones).loudness(other)
    np.testing.assert_allclose(after, before, rtol=2e-3)


@pytest.mark.parametrize("gamma", [0.45, 0.55, 1.8])
def test_a_gamma_curve_lifts_or_lowers_the_noise_of_dark_parts(gamma):
    level, zones = ground()
    light = (level / 255) ** (1 / gamma) * 255
    noisy = exposed(light, 2.0, 0.03)
    image = (255 * np.clip(noisy / 255, 1e-6, None) ** gamma).astype(np.float32)
    true = np.sqrt(2.0 + 0.03 * light) * gamma * (light / 255) ** (gamma - 1)
    curve = photon_transfer(image - level, level, zones)
    assert mistaken_by(curve, level, zones, true) < 0.6 * mistaken_by(EVEN, level, zones, true)


def test_grain_of_one_zone_does_not_count():
    level, zones = ground()
    rng = np.random.default_rng(4)
    noise = exposed(level, 0.5, 0.05) - level
    noise += ((zones == 1) * rng.normal(0, 2, level.shape)).astype(np.float32)
    curve = photon_transfer(noise, level, zones)
    assert mistaken_by(curve, level, zones, np.sqrt(0.5 + 0.05 * level + 4 * (zones == 1))) < 0.15


def test_a_scratched_part_that_is_a_little_darker_is_no_sensor():
    # an even surface, a quarter of which is rough and has lost two of 192 gray levels
    rng = np.random.default_rng(2)
    level = 192 - 2 * (np.mgrid[:400, :400][1] < 100) + rng.normal(0, 0.5, (400, 400))
    noise = rng.normal(0, 1, level.shape) * np.where(level < 191, 3, 1)
    zones = np.ones(level.shape, np.uint8)
    level[150:250, 150:250], zones[150:250, 150:250] = 80, 2
    curve = photon_transfer(noise.astype(np.float32), level.astype(np.float32), zones)
    loudness = curve.loudness(np.array([[80, 192]], np.float32))[0]
    assert 1 / 2.5 < loudness[1] / loudness[0] < 2.5


def test_defects_hardly_count():
    level, zones = ground()
    noise = exposed(level, 0.5, 0.05) - level
    dirty = noise.copy()
    dirty[::9, ::7] -= 40
    dirty[100:160, 20:120] += 15
    before, after = (photon_transfer(values, level, zones).loudness(level) for values in (noise, dirty))
    np.testing.assert_allclose(after, before, rtol=0.1)


def test_nothing_is_said_beyond_what_was_seen():
    curve = PhotonTransfer(slope=0.01, darkest=50, brightest=150)
    levels = np.array([[0, 50, 100, 150, 255]], np.float32)
    np.testing.assert_allclose(curve.loudness(levels)[0], np.exp([-0.5, -0.5, 0, 0.5, 0.5]), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (40, 40)])
def test_small_or_even_images_have_even_noise(shape):
    level = np.full(shape, 100, np.float32)
    noise = np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)
    for values in (noise, np.zeros(shape, np.float32)):
        curve = photon_transfer(values, level, np.ones(shape, np.uint8))
        assert (curve.loudness(level) == 1).all()
    assert photon_transfer(noise, level, np.zeros(shape, np.uint8)).slope == 0


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_what_a_codec_leaves_of_noise_does_not_explode(quality):
    level, zones = ground()
    grey = np.clip(np.round(exposed(level, 1.0, 0.05)), 0, 255).astype(np.uint8)
    coded = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
    loudness = photon_transfer(coded.astype(np.float32) - level, level, zones).loudness(level)
    assert 0.4 < loudness.min() < loudness.max() < 2.5


def spread_by_brightness(residual, zone, n=4):
    inside = np.flatnonzero((residual.zones == zone).ravel())
    order = inside[np.argsort(residual.background.ravel()[inside])]
    return np.array([robust_sigma(residual.gray.ravel()[part]) for part in np.array_split(order, n)])


def test_a_ramp_of_photons_is_even_once_its_structure_is_gone():
    level = np.repeat(np.linspace(60, 220, 640, dtype=np.float32)[None], 400, axis=0)
    image = exposed(level, 0.3, 0.05)
    residual = remove_structure(image, plain_zones(image))
    spread = spread_by_brightness(residual, 1)
    assert spread.max() / spread.min() < 1.08
    raw = replace(residual, gray=residual.gray * residual.loudness)
    assert np.ptp(spread_by_brightness(raw, 1)) > 5 * np.ptp(spread)


@pytest.mark.parametrize("seed", [11, 12])
def test_rendered_faces_are_even_from_vignetted_corner_to_bright_middle(seed):
    preset = replace(
        PRESETS["sample"],
        read_noise_gray=(0.4, 0.6),
        shot_noise_gray=(0.06, 0.1),
        noise_lift=(0.0, 0.0),
        vignetting=(0.45, 0.5),
        grain_gray=(0.05, 0.1),
        jpeg=0.0,
    )
    made = render_endface(rng=np.random.default_rng(seed), preset=preset, clean=True)
    residual = remove_structure(made.image, segment_zones(made.image))
    raw = replace(residual, gray=residual.gray * residual.loudness)
    before, after = (np.ptp(spread_by_brightness(part, 1)) for part in (raw, residual))
    assert after < 0.5 * before
    assert after < 0.07 * spread_by_brightness(residual, 1).mean()
