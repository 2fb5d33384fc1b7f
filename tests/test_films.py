"""Films: seen as a whole where their parts are too weak, and nothing seen where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.annotation import instance_map
from endface.detection import detect_defects
from endface.detection.fields import unite_fields
from endface.imaging.loudness import CELL_PX, loud_regions, octave
from endface.zones import plain_zones

SHAPE = (480, 560)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)


def noise(seed, sigma=2.0):
    return np.random.default_rng(seed).normal(0, sigma, SHAPE).astype(np.float32)


def fringes(seed, x, y, radius, height):
    """Draw a film: fringes that wander, none longer or wider than others."""
    waves = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32), (0, 0), 6)
    film = np.hypot(X - x, Y - y) < radius
    return (height * np.cos(waves / waves.std() * 6) * film).astype(np.float32), film


def test_a_faint_film_is_one_find_with_its_whole_extent():
    waves, film = fringes(1, 300, 220, 70, 2.4)
    image = 120 + 0.05 * X + waves + noise(2)
    found = detect_defects(image, plain_zones(image))
    largest = max(found, key=lambda one: one.area_px)
    drawn = instance_map((largest,), SHAPE) > 0
    assert drawn[film].mean() > 0.7
    assert film[drawn].mean() > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_noise_that_grows_with_the_light_is_no_film(seed):
    light = 1 + 0.4 * np.cos(X / 300) * np.cos(Y / 260)
    image = 100 * light + noise(seed) * light
    assert not [d for d in detect_defects(image, plain_zones(image)) if "film" in d.detector]


def test_a_scratch_and_a_pit_with_its_rings_are_no_film():
    distance = np.hypot(X - 200, Y - 200) - 9
    rings = 14 * np.cos(distance / 2) / (1 + np.maximum(distance, 0) / 4) ** 2
    image = 120 + noise(3) + np.where(distance < 0, -60, rings).astype(np.float32)
    cv2.line(image, (300, 60), (500, 400), 90, 2)
    found = detect_defects(image, plain_zones(image))
    assert not [d for d in found if "film" in d.detector]


def test_what_single_finds_explain_is_no_evidence():
    scores = octave(noise(5, 1.0)) / np.float32(0.55)
    zones = np.ones(SHAPE, np.uint8)
    nothing, known = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    scores[100:160, 100:160] *= 2
    known[96:164, 96:164] = True
    (region,) = loud_regions(scores, zones, nothing, thresholds=(5, 5, 5))
    assert region.mask[100 // CELL_PX : 160 // CELL_PX, 100 // CELL_PX : 160 // CELL_PX].mean() > 0.9
    assert not loud_regions(scores, zones, known, thresholds=(5, 5, 5))


def test_a_film_takes_in_its_pieces_and_leaves_the_scratch_that_crosses_it():
    zones = plain_zones(np.zeros(SHAPE, np.float32))
    image = 120 + noise(7)
    waves, film = fringes(8, 280, 240, 90, 2.4)
    image = image + waves
    cv2.line(image, (20, 120), (540, 360), 100, 2)
    found = detect_defects(image, plain_zones(image))
    assert len([d for d in found if "film" in d.detector]) == 1
    scratch = max(found, key=lambda one: one.mask.shape[1])
    assert "line" in scratch.detector
    assert "film" not in scratch.detector
    drawn = instance_map((scratch,), SHAPE)
    assert (drawn[film] > 0).mean() < 0.1
    assert unite_fields([scratch], [], zones) == [scratch]
