"""Continuations of a line: found where faint, not in noise, not through a spot, never without end."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.prolong import path_spread, prolong_line
from endface.imaging.tracing import TracedLine, contrast_noise

SHAPE = (160, 240)


def blurred_noise(seed):
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.8)


def row_line(first, last, y=80.0):
    x = np.arange(first, last, dtype=np.float32)
    return TracedLine(np.stack([x, np.full_like(x, y)], axis=1), np.full(x.size, 4, np.float32))


def prolonged(line, image, polarity=1, *, silent=np.s_[:0]):
    zones = np.ones(SHAPE, np.uint8)
    noise = contrast_noise(image, zones, zones, side_px=3)
    spread = path_spread(image, noise, zones > 0, side_px=3)
    noise[silent] = np.inf
    return prolong_line(line, image, polarity=polarity, noise=noise, spread=spread, side_px=3)


def test_noise_continues_few_ends():
    image = cv2.GaussianBlur(
        np.random.default_rng(5).normal(0, 1, (900, 900)).astype(np.float32), (0, 0), 0.8
    )
    zones = np.ones(image.shape, np.uint8)
    noise = contrast_noise(image, zones, zones, side_px=3)
    spread = path_spread(image, noise, zones > 0, side_px=3)
    rng, longer = np.random.default_rng(1), 0
    for _ in range(400):
        angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(120, 780, 2)
        steps = np.arange(40)[:, None] * [np.cos(angle), np.sin(angle)]
        line = TracedLine((at + steps).astype(np.float32), np.ones(40, np.float32))
        more = prolong_line(line, image, polarity=1, noise=noise, spread=spread, side_px=3)
        longer += len(more.points) > 40
    # 800 ends, of which 5 % may go on
    assert longer < 1.5 * 0.05 * 800


@pytest.mark.parametrize("polarity", [-1, 1])
def test_a_faint_continuation_is_found(polarity):
    image = blurred_noise(2)
    image[79:82, 40:100] += 4 * polarity
    image[79:82, 100:190] += 0.6 * polarity
    more = prolonged(row_line(42, 98), image, polarity)
    assert 165 < more.points[:, 0].max() < 205
    assert 20 < more.points[:, 0].min() <= 42
    assert np.abs(more.points[:, 1] - 80).max() < 3
    assert len(more.points) == len(more.scores)


def test_it_may_bend():
    image = blurred_noise(3)
    x = np.arange(10, 160)
    y = 80 + np.where(x > 90, (x - 90) ** 2 / 500, 0)
    for column, row in zip(x, y, strict=True):
        image[round(row) - 1 : round(row) + 2, column] += 4 if column < 90 else 1
    more = prolonged(row_line(12, 90), image)
    assert more.points[:, 0].max() > 145
    assert abs(more.points[:, 1].max() - 80 - (more.points[:, 0].max() - 90) ** 2 / 500) < 3


def test_a_spot_is_no_continuation():
    image = blurred_noise(4)
    image[79:82, 40:100] += 4
    before = prolonged(row_line(42, 98), image).points[:, 0].max()
    image[77:84, 108:114] += 20
    assert prolonged(row_line(42, 98), image).points[:, 0].max() <= before + 1


def test_it_ends_at_the_border_and_on_a_ring():
    image = blurred_noise(6)
    image[79:82] += 4
    assert prolonged(row_line(60, 180), image).points[:, 0].max() < SHAPE[1] + 1
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ring = blurred_noise(7) + 4 * (np.abs(np.hypot(x - 120, y + 170) - 250) < 1.5).astype(np.float32)
    angle = np.linspace(1.5, 1.7, 50)
    arc = np.stack([120 + 250 * np.cos(angle), -170 + 250 * np.sin(angle)], axis=1).astype(np.float32)
    assert len(prolonged(TracedLine(arc, np.full(50, 4, np.float32)), ring).points) <= 50 * 3 + 96


@pytest.mark.parametrize(("last", "low", "high"), [(116, 98, 110), (190, 165, 205)])
def test_a_line_goes_on_over_a_silent_place_only_where_it_is_seen_beyond(last, low, high):
    image = blurred_noise(2)
    image[79:82, 40:100] += 4
    image[79:82, 100:last] += 1.5
    more = prolonged(row_line(42, 98), image, silent=np.s_[:, 110:118])
    assert low <= more.points[:, 0].max() <= high
