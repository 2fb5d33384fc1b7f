"""What was drawn into a picture is told from what the optics show; strokes are painted over."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.annotation import DRAWN_ON
from endface.detection import detect_defects
from endface.imaging.graphics import find_graphics, paint_over
from endface.samples import to_gray
from endface.zones import plain_zones, segment_zones

SHAPE = (480, 640)


def surface(seed: int = 0, *, noise: float = 2.5, sharpness_px: float = 1.0) -> np.ndarray:
    """Draw a face with a scratch and dust, seen through a lens, float."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sharp = np.where(np.hypot(x - 320, y - 240) < 130, 95.0, 150.0) + 0.05 * (x - 320)
    cv2.line(sharp, (500, 290), (560, 340), 60.0, 2)
    cv2.circle(sharp, (160, 120), 6, 70.0, -1)
    blurred = cv2.GaussianBlur(sharp, (0, 0), sharpness_px)
    return blurred + np.random.default_rng(seed).normal(0, noise, SHAPE)


def stored(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def cross_hairs(image: np.ndarray, level: int) -> None:
    cv2.line(image, (0, 240), (639, 240), level, 1)
    cv2.line(image, (320, 0), (320, 479), level, 1)
    cv2.circle(image, (320, 240), 60, level, 1)


def text(image: np.ndarray, level: int) -> None:
    cv2.putText(image, "2024-05-06 LOT 12", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, level, 2, cv2.LINE_AA)


def box(image: np.ndarray, level: int) -> None:
    cv2.rectangle(image, (400, 420), (620, 465), level, -1)
    cv2.putText(image, "100 um", (450, 452), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 128, 2)


@pytest.mark.parametrize("draw", [cross_hairs, text, box])
@pytest.mark.parametrize("level", [0, 255, 210])
def test_what_is_drawn_is_found_and_nothing_else(draw, level) -> None:
    clean = stored(surface())
    image = clean.copy()
    draw(image, level)
    drawn = image != clean
    graphics = find_graphics(image)
    assert graphics[drawn].mean() > 0.95
    near = cv2.dilate(drawn.astype(np.uint8), np.ones((25, 41))) > 0
    assert not graphics[~near].any()


@pytest.mark.parametrize("sharpness_px", [0.65, 1.0, 2.0])
@pytest.mark.parametrize("gain", [0.5, 1.0, 1.6, 2.2])
def test_what_a_lens_drew_is_no_graphics_however_overexposed(gain, sharpness_px) -> None:
    image = surface(sharpness_px=sharpness_px)
    bright = np.zeros(SHAPE)
    cv2.line(bright, (100, 300), (560, 330), 300.0, 3)
    cv2.line(bright, (90, 60), (90, 400), -300.0, 3)
    image += cv2.GaussianBlur(bright, (0, 0), sharpness_px)
    assert not find_graphics(stored(gain * image)).any()


def test_neither_depth_nor_gain_nor_polarity_matters() -> None:
    image = stored(surface())
    cross_hairs(image, 255)
    text(image, 255)
    found = find_graphics(image)
    for other in (
        image.astype(np.uint16) * 257,
        image / np.float32(255),
        255 - image,
        image.astype(np.int64),
    ):
        np.testing.assert_array_equal(find_graphics(other), found)
    assert np.mean(find_graphics(np.ascontiguousarray(image[:, ::-1])) != found[:, ::-1]) < 2e-3


@pytest.mark.parametrize("quality", [95, 85, 75])
def test_white_lines_are_found_through_a_codec(quality) -> None:
    clean = stored(surface())
    image = clean.copy()
    cross_hairs(image, 255)
    seen = cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
    )
    graphics = find_graphics(seen)
    assert graphics[image != clean].mean() > 0.9
    assert graphics.mean() < 0.03


def test_a_saturated_scratch_across_a_cross_hair_stays() -> None:
    image = surface()
    scratch = np.zeros(SHAPE)
    cv2.line(scratch, (60, 100), (300, 420), 400.0, 3)
    image = stored(image + cv2.GaussianBlur(scratch, (0, 0), 0.8))
    clean = image.copy()
    cross_hairs(image, 255)
    near = cv2.dilate((image != clean).astype(np.uint8), np.ones((35, 35))) > 0
    assert not find_graphics(image)[~near].any()


@pytest.mark.parametrize("colour", [(0, 255, 0), (255, 255, 0), (255, 0, 0), (0, 0, 255), (160, 100, 190)])
def test_colours_show_graphics_as_bright_as_the_surface(colour) -> None:
    clean = stored(surface())
    image = np.dstack([clean] * 3)
    cross_hairs(image, colour)
    text(image, colour)
    drawn = (image != clean[..., None]).any(axis=2)
    graphics = find_graphics(to_gray(image))
    assert graphics[drawn].mean() > 0.9
    assert graphics.mean() < 0.08
    np.testing.assert_array_equal(to_gray(np.dstack([clean] * 3)), clean)


def test_a_tint_is_no_graphics() -> None:
    clean = surface()
    image = np.dstack([stored(clean * share) for share in (1.0, 0.8, 0.5)])
    gray = to_gray(image)
    assert gray.max() < 200
    assert not find_graphics(gray).any()


def test_only_where_it_is_valid() -> None:
    image = stored(surface())
    image[:, :6] = 0
    valid = np.ones(SHAPE, bool)
    valid[:, :8] = False
    assert not find_graphics(image, valid).any()


def test_painting_leaves_the_surface_alone() -> None:
    gray = surface().astype(np.float32)
    valid = np.ones(SHAPE, bool)
    valid[200:203] = False
    valid[300:340, 100:200] = False
    before = gray.copy()
    painted, whole = paint_over(gray, valid)
    np.testing.assert_array_equal(gray, before)
    np.testing.assert_array_equal(painted[valid], gray[valid])
    assert whole[201, 10:-10].all()
    assert not whole[310:330, 110:190].any()


def test_a_face_under_cross_hairs_is_the_same_face() -> None:
    clean = stored(surface())
    image = clean.copy()
    cross_hairs(image, 255)
    text(image, 255)
    bare, zones = segment_zones(clean), segment_zones(image)
    assert DRAWN_ON in zones.flags
    assert DRAWN_ON not in bare.flags
    assert bare.cladding is not None
    assert zones.cladding is not None
    assert zones.cladding.radius_px == pytest.approx(bare.cladding.radius_px, rel=2e-3)
    assert zones.cladding.cx_px == pytest.approx(bare.cladding.cx_px, abs=0.15)
    places = [
        [(round(d.x_px / 8), round(d.y_px / 8)) for d in detect_defects(*pair)]
        for pair in ((clean, bare), (image, zones))
    ]
    assert places[0] == places[1]


def test_a_plain_surface_is_flagged_as_well() -> None:
    image = stored(np.random.default_rng(0).normal(90, 3, SHAPE))
    cross_hairs(image, 255)
    zones = plain_zones(image)
    assert DRAWN_ON in zones.flags
    assert detect_defects(image, zones) == ()
