"""Chips along the rim, on drawn fibres: found where they are, and none on a whole rim."""

import cv2
import numpy as np
import pytest

from endface.annotation import instance_map
from endface.detection import detect_defects
from endface.zones import segment_zones

CENTRE, RADIUS = (210.4, 190.7), 120.3


def face(chips_rad, *, depth_px=4, seed=0):
    fine = np.full((4 * 380, 4 * 420), 190, np.float32)
    middle = tuple(round(4 * value) for value in CENTRE)
    cv2.circle(fine, middle, round(4 * RADIUS), 80, -1)
    cv2.circle(fine, middle, 4 * 9, 150, -1)
    truth = np.zeros(fine.shape, np.uint8)
    for angle in chips_rad:
        at = [
            round(4 * (c + (RADIUS - 2) * t))
            for c, t in zip(CENTRE, (np.cos(angle), np.sin(angle)), strict=True)
        ]
        cv2.circle(truth, at, round(4 * depth_px / 2), 1, -1)
    inside = np.hypot(*(np.indices(fine.shape)[::-1] - np.array(middle)[:, None, None])) < 4 * RADIUS
    fine[(truth > 0) & inside] = 45
    size = (420, 380)
    image = cv2.GaussianBlur(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    image += np.random.default_rng(seed).normal(0, 1.5, image.shape)
    shown = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return np.clip(image, 0, 255).astype(np.uint8), shown


def found_near_rim(image):
    zones = segment_zones(image)
    assert zones.cladding is not None
    return detect_defects(image, zones)


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_rim_has_no_chips(seed):
    assert found_near_rim(face([], seed=seed)[0]) == ()


@pytest.mark.parametrize(
    "angles",
    [[0.3], np.arange(0.2, 1.4, 0.08), np.arange(0, 2 * np.pi, 0.2)],
    ids=["one", "arc", "all round"],
)
def test_chips_are_found_one_by_one_however_many(angles):
    image, truth = face(angles)
    found = found_near_rim(image)
    number, labels = cv2.connectedComponents(truth.astype(np.uint8))
    hit = instance_map(found, truth.shape) > 0
    covered = [hit[labels == i].mean() > 0.3 for i in range(1, number)]
    assert np.mean(covered) > 0.9
    assert len(found) >= 0.9 * len(angles)
    assert all(cv2.dilate(truth.astype(np.uint8), np.ones((7, 7)))[d.box][d.mask].any() for d in found)


def test_chips_that_touch_are_cut_apart():
    angles = np.arange(0.2, 1.4, 0.055)
    apart_px = 0.055 * RADIUS
    found = found_near_rim(face(angles, depth_px=5)[0])
    assert len(found) >= 0.7 * len(angles)
    assert max(np.hypot(*one.mask.shape) for one in found) < 3 * apart_px
