"""Uneven light that glass and ferrule share is known as light; what lies on one of them is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.detection import detect_defects
from endface.imaging.ellipse import Ellipse
from endface.imaging.shadow import shared_light
from endface.zones import segment_zones

SHAPE = (480, 640)
RIM = Ellipse(322.3, 238.6, 140.0, 140.0)
BOX = (slice(40, 440), slice(120, 520))


def face(light: np.ndarray | float, *, spot: float = 0.0) -> np.ndarray:
    """Draw a bright fibre in a darker ferrule under some light, with a scratch if `spot` is not 0."""
    radius = RIM.radius_map(SHAPE)
    glass, line = (0.5 * (1 - np.tanh((radius - edge) * RIM.rx_px / 0.8)) for edge in (1.0, 1.02))
    sharp = 110 - 50 * line + 130 * glass
    scratch = np.zeros(SHAPE)
    cv2.line(scratch, (290, 200), (350, 230), spot, 2)
    seen = (sharp - cv2.GaussianBlur(scratch, (0, 0), 1.0)) * light
    noisy = seen + np.random.default_rng(0).normal(0, 1.5, SHAPE)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def shadow(depth: float, angle_deg: float) -> np.ndarray:
    """Light that falls by a share along a direction, within half a radius or so."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = (x - RIM.cx_px) * np.cos(np.deg2rad(angle_deg)) + (y - RIM.cy_px) * np.sin(np.deg2rad(angle_deg))
    return 1 - depth * 0.5 * (1 + np.tanh((along - 60) / 55))


def light_on(image: np.ndarray) -> np.ndarray | None:
    radius = RIM.radius_map(SHAPE)[BOX].astype(np.float32)
    return shared_light(
        image.astype(np.float32), np.ones(SHAPE, bool), radius, box=BOX, radius_px=RIM.radius_px
    )


@pytest.mark.parametrize("angle_deg", [0, 130, 270])
def test_a_shadow_across_both_is_light(angle_deg) -> None:
    truth = shadow(0.5, angle_deg)
    light = light_on(face(truth))
    assert light is not None
    ratio = light / truth[BOX]
    ring = np.abs(RIM.radius_map(SHAPE)[BOX] - 1) < 0.3
    assert np.ptp(np.log(ratio[ring])) < 0.35 * np.ptp(np.log(truth[BOX][ring]))


@pytest.mark.parametrize("depth", [0.0, 0.1])
def test_light_as_good_as_even_is_left_alone(depth) -> None:
    assert light_on(face(shadow(depth, 40))) is None


def test_a_film_on_the_glass_is_no_light() -> None:
    film = np.where(RIM.radius_map(SHAPE) < 1, shadow(0.5, 20), 1.0)
    assert light_on(face(film)) is None


def test_glass_alone_tells_nothing() -> None:
    image = face(shadow(0.5, 20)).astype(np.float32)
    radius = RIM.radius_map(SHAPE)
    inside = radius < 0.95
    found = shared_light(image, inside, radius[BOX].astype(np.float32), box=BOX, radius_px=RIM.radius_px)
    assert found is None


def test_in_a_shadow_there_is_what_is_there() -> None:
    light = shadow(0.5, 100)
    for spot, count in ((0.0, 0), (60.0, 1)):
        image = face(light, spot=spot)
        found = detect_defects(image, segment_zones(image))
        near = [d.detector for d in found if RIM.normalized_radius(d.x_px, d.y_px) < 1.4]
        # where the light falls steepest some of it is left at the rim
        assert sum(name != "rim" for name in near) == count
        assert len(near) <= count + 2
