"""The published detector as a whole: protocol, laws, and what it is known to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from endface.annotation import AnatomyZone, Calibration, Zones
from endface.detection import detect_defects, load_detector
from endface.detection.mei2018 import components, detect, detect_literal, score_maps, threshold_scores
from endface.samples import read_sample
from endface.zones import plain_zones, segment_zones


def surface(seed: int = 0, *, level: float = 120.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 2, (160, 200)).astype(np.float32)


def spotted(seed: int = 0) -> np.ndarray:
    image = surface(seed)
    image[40:46, 60:66] -= 40
    image[110:116, 150:156] += 40
    return image


def two_zones(image: np.ndarray) -> Zones:
    anatomy = np.full(image.shape, AnatomyZone.FERRULE, np.uint8)
    anatomy[:, 100:] = AnatomyZone.CLADDING
    return Zones(True, "", anatomy, np.ones(image.shape, bool), Calibration())


@pytest.mark.parametrize("name", ["mei2018", "mei2018_literal"])
def test_both_are_selectable_and_follow_the_protocol(name: str) -> None:
    image = spotted()
    zones = plain_zones(image)
    found = detect_defects(image, zones, detector=name)
    assert {defect.detector for defect in found} == {"region", "line"}
    assert found == tuple(sorted(found, key=lambda d: (d.y_px, d.x_px, d.mask.shape, -d.score)))
    for defect in found:
        assert defect.mask.dtype == bool
        assert defect.area_px >= 5
        assert defect.mask.any(axis=0).all()
        assert defect.mask.any(axis=1).all()
        assert defect.score > (3 if defect.detector == "region" else 2)
    loose = load_detector(name)(image, zones, epsilon=100.0)
    assert len(loose) == len(found)


def test_spots_of_both_polarities_are_found_as_regions() -> None:
    image = spotted()
    regions = [d for d in detect(image, plain_zones(image)) if d.detector == "region"]
    centres = sorted(
        (d.y_px + (d.mask.shape[0] - 1) / 2, d.x_px + (d.mask.shape[1] - 1) / 2) for d in regions
    )
    np.testing.assert_allclose(centres, [(42.5, 62.5), (112.5, 152.5)], atol=1.5)
    # the window makes a spot of 6 px about 4 px wider, the Gaussian a little more
    assert all(9 <= d.mask.shape[0] <= 13 for d in regions)


def test_a_dark_scratch_is_found_by_the_dc_free_reading_only() -> None:
    image = surface()
    cv2.line(image, (30, 130), (170, 50), 100.0, 2)
    zones = plain_zones(image)
    for run, enough in ((detect, True), (detect_literal, False)):
        canvas = np.zeros(image.shape, bool)
        for defect in run(image, zones):
            if defect.detector == "line":
                canvas[defect.box] |= defect.mask
        on_line = np.zeros(image.shape, np.uint8)
        cv2.line(on_line, (30, 130), (170, 50), 1, 1)
        assert (canvas[on_line > 0].mean() > 0.8) == enough


def test_offset_and_gain_change_nothing() -> None:
    image = np.round(spotted() * 50).astype(np.uint16)
    changed = image + np.uint16(3000)
    zones = plain_zones(image)
    before, after = detect(image, zones), detect(changed, zones)
    assert [(d.y_px, d.x_px, d.area_px) for d in before] == [(d.y_px, d.x_px, d.area_px) for d in after]


def test_input_may_be_read_only_and_stays_as_it_is() -> None:
    image = np.round(spotted()).astype(np.uint8)
    image.setflags(write=False)
    assert detect(image, plain_zones(image))


@pytest.mark.parametrize("image", [np.zeros((60, 80), np.uint8), np.full((60, 80), 9.5, np.float32)])
def test_a_flat_image_has_no_defects(image: np.ndarray) -> None:
    assert detect(image, plain_zones(image)) == ()
    assert detect_literal(image, plain_zones(image)) == ()


def test_nothing_valid_gives_nothing() -> None:
    image = surface()
    empty = Zones(False, "", np.zeros(image.shape, np.uint8), np.zeros(image.shape, bool), Calibration())
    assert detect(image, empty) == ()


def test_step_between_zones_is_not_a_defect() -> None:
    image = surface()
    image[:, 100:] -= 60
    assert not [d for d in detect(image, two_zones(image)) if d.detector == "region"]


def test_each_zone_has_its_own_threshold() -> None:
    image = surface()
    image[:, 100:] = 120 + 10 * (image[:, 100:] - 120)
    image[78:84, 48:54] -= 30
    scores = score_maps(image, two_zones(image))
    assert scores.region[80, 50] > 3
    assert [d.x_px < 100 for d in threshold_scores(scores) if d.detector == "region"] == [True]


def test_a_quarter_turn_turns_the_findings() -> None:
    image = spotted()
    turned = np.rot90(image).copy()
    one, other = score_maps(image, plain_zones(image)), score_maps(turned, plain_zones(turned))
    np.testing.assert_allclose(np.rot90(one.region), other.region, atol=1e-2)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(np.rot90(one.line)[inner], other.line[inner], atol=0.05)


def test_stricter_levels_never_find_more_area() -> None:
    image = spotted(4)
    scores = score_maps(image, plain_zones(image))
    areas = [
        sum(d.area_px for d in threshold_scores(scores, gamma=3 * t, line_sigmas=2 * t))
        for t in (1.0, 1.3, 1.7, 2.2, 4.0)
    ]
    assert areas == sorted(areas, reverse=True)


def test_components_respect_the_area_floor_and_read_polarity_at_the_peak() -> None:
    scores = np.zeros((20, 20), np.float32)
    scores[2, 2:6] = 3
    scores[10, 2:8] = 3
    scores[10, 4] = 7
    dark = np.zeros((20, 20), bool)
    dark[10, 4] = True
    (only,) = components(scores > 2, scores, detector="line", dark=dark)
    assert (only.y_px, only.x_px, only.area_px, only.score, only.polarity) == (10, 2, 6, 7.0, -1)


@pytest.mark.real
def test_real_scratched_face_shows_its_dirt(real_data: Path) -> None:
    image = read_sample(real_data / "endface" / "grabber_720x576" / "DSCN0026.JPG").frames[0]
    found = detect(image, segment_zones(image))
    # a clear pit at (548, 362) as read off the picture
    assert any(
        d.detector == "region"
        and d.box[0].start <= 362 < d.box[0].stop
        and d.box[1].start <= 548 < d.box[1].stop
        for d in found
    )
