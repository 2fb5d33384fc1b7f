"""Spots: right place, right size, right sign; nothing where nothing is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.acontrario import score_threshold
from endface.imaging.noise import middle_pixels, robust_sigma
from endface.imaging.regions import region_evidence

SHAPE = (192, 224)
SCALES = (0.8, 1.6, 3.2)


def noise(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def discs(*items, shape=SHAPE, blur=0.8):
    """Blurred discs (x, y, diameter_px, contrast), drawn eight times as large and averaged."""
    image = np.zeros(shape, np.float32)
    for x, y, diameter, contrast in items:
        large = np.zeros((shape[0] * 8, shape[1] * 8), np.uint8)
        cv2.circle(large, (round(8 * x + 3.5), round(8 * y + 3.5)), round(4 * diameter), 255, -1)
        image += (
            contrast / 255 * cv2.resize(large.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
        )
    return cv2.GaussianBlur(image, (0, 0), blur)


def find(image, *, zones=None, epsilon=0.1, grain=False):
    zones = np.ones(image.shape, np.uint8) if zones is None else zones
    tests = [max(zones.size / (2 * np.pi * s * s), 1) for s in SCALES]
    limits = [score_threshold(n_tests=n, epsilon=epsilon / 12) for n in tests]

    def level(values, factor):
        live = middle_pixels(zones, factor) > 0
        return np.full(values.shape, max(robust_sigma(values[live]), 1e-3), np.float32)

    return region_evidence(image, level, zones, thresholds=limits, finest_px=SCALES[0], grain=grain)


def test_noise_is_evened():
    image = noise() * np.linspace(0.9, 1.5, SHAPE[1], dtype=np.float32) + discs((60, 90, 8, -30))
    found = find(image).noise
    assert found.clean.shape == SHAPE
    assert not found.clean[85:96, 55:66].any()
    assert found.clean.mean() > 0.9
    even = found.evened(image)
    thirds = [np.s_[:, :70], np.s_[:, 70:150], np.s_[:, 150:]]
    before, after = ([robust_sigma(part[k][found.clean[k]]) for k in thirds] for part in (image, even))
    assert max(before) > 1.3 * min(before)
    assert max(after) < 1.15 * min(after)
    # an image with nothing but noise is hardly changed
    np.testing.assert_allclose(find(noise()).noise.evened(noise()), noise(), rtol=0.25)


def grained(seed, coarse_px=3.0):
    """A grain of standard deviation 2 under fine noise of a third."""
    field = cv2.GaussianBlur(noise(seed, (400, 400)), (0, 0), coarse_px)
    return 2 * field / field.std() + noise(seed + 100, (400, 400)) / 3


@pytest.mark.parametrize("seed", range(3))
def test_small_spots_are_seen_through_a_coarser_grain(seed):
    places = [(40 + 80 * i, 40 + 80 * j) for i in range(5) for j in range(5)]
    image = grained(seed) + discs(*((x, y, 2.5, -16) for x, y in places), shape=(400, 400))
    seen, blind = (find(image, grain=grain) for grain in (True, False))
    hits, before = (sum(found.labels[y, x] > 0 for x, y in places) for found in (seen, blind))
    assert hits == len(places)
    assert before < 5
    none, also_none = (len(find(grained(seed), grain=grain).scores) for grain in (True, False))
    assert none <= also_none + 1


def test_even_noise_and_grain_of_the_size_of_spots_are_left_as_they_are():
    for image in (noise(shape=(400, 400)), grained(0, coarse_px=0.8)):
        seen, plain = (find(image, grain=grain) for grain in (True, False))
        np.testing.assert_array_equal(seen.labels, plain.labels)


def test_noise_has_no_spots():
    counts = [len(find(noise(seed)).scores) - 1 for seed in range(8)]
    assert np.mean(counts) < 0.6


@pytest.mark.parametrize("diameter", [4, 6, 9, 14])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_disc_keeps_its_place_its_size_and_its_sign(diameter, sign):
    evidence = find(noise() + discs((100.3, 90.7, diameter, 25 * sign)))
    number = evidence.labels[91, 100]
    assert number > 0
    assert evidence.polarity[number] == sign
    y, x = np.nonzero(evidence.labels == number)
    assert np.hypot(x.mean() - 100.3, y.mean() - 90.7) < 0.7
    assert 2 * np.sqrt(len(x) / np.pi) == pytest.approx(diameter, abs=1.2)


def test_an_outline_does_not_depend_on_the_contrast():
    areas = []
    for contrast in (20, 40, 80, 160):
        evidence = find(noise() + discs((60, 60, 9, -contrast)))
        areas.append(np.count_nonzero(evidence.labels == evidence.labels[60, 60]))
    assert max(areas) <= 1.15 * min(areas)


def test_turning_the_contrast_turns_the_sign():
    image = noise() + discs((60, 60, 7, -30), (150, 100, 5, 25))
    first, second = find(image), find(-image)
    assert ((first.labels > 0) == (second.labels > 0)).all()
    for x, y in ((60, 60), (150, 100)):
        assert first.polarity[first.labels[y, x]] == -second.polarity[second.labels[y, x]]


def test_the_gain_does_not_count():
    image = noise() + discs((60, 60, 7, -30), (150, 100, 5, 25))
    assert (find(32 * image).labels == find(image).labels).all()


def test_a_stronger_spot_scores_more():
    scores = []
    for contrast in (12, 20, 30, 50):
        evidence = find(noise() + discs((100, 90, 5, -contrast)))
        scores.append(evidence.scores[evidence.labels[90, 100]])
    assert scores[0] > 5
    assert (np.diff(scores) > 0).all()


def test_labels_scores_and_signs_belong_together():
    image = noise() + discs((40, 40, 6, -30), (90, 60, 9, 30), (150, 120, 12, -20), (200, 170, 4, 30))
    evidence = find(image)
    numbers = np.unique(evidence.labels)
    assert (numbers == np.arange(len(evidence.scores))).all()
    assert evidence.scores.shape == evidence.polarity.shape
    assert (evidence.scores[1:] > 0).all()
    assert set(evidence.polarity[1:]) <= {-1, 1}
    for x, y, sign in ((40, 40, -1), (90, 60, 1), (150, 120, -1), (200, 170, 1)):
        assert evidence.polarity[evidence.labels[y, x]] == sign


def test_zone_0_is_not_looked_at():
    zones = np.ones(SHAPE, np.uint8)
    zones[:, 120:] = 0
    image = noise() + discs((60, 60, 7, -30), (180, 100, 7, -30))
    evidence = find(np.where(zones > 0, image, 0), zones=zones)
    assert evidence.labels[60, 60] > 0
    assert (evidence.labels[:, 124:] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 60), (40, 40)])
def test_nothing_in_nothing(shape):
    evidence = find(np.zeros(shape, np.float32))
    assert evidence.labels.shape == shape
    assert not evidence.labels.any()
    assert len(evidence.scores) == 1


def test_the_input_is_not_changed():
    image = noise() + discs((60, 60, 7, -30))
    before = image.copy()
    image.flags.writeable = False
    find(image)
    assert (image == before).all()


def test_a_film_does_not_hide_behind_its_own_fringes():
    rows, cols = np.mgrid[:600, :600]
    away = np.hypot(rows - 300, cols - 300)
    fringes = np.where(away < 120, 20 * np.cos(away / 3), 0).astype(np.float32)
    evidence = find(noise(shape=fringes.shape) + fringes)
    assert (evidence.labels[away < 110] > 0).mean() > 0.5
    assert (evidence.labels[away > 130] > 0).mean() < 0.01


@pytest.mark.parametrize(("contrast", "n_spots"), [(12, 1), (40, 2)])
def test_the_echo_of_a_spot_is_weak_and_decays(contrast, n_spots):
    # analogue video rings: a bright shadow to the right of everything dark
    image = noise() + discs((100, 90, 7, -80), (113, 90, 6, contrast))
    assert len(find(image).scores) - 1 == n_spots
