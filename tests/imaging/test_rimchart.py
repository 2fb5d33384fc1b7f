"""The rim as a strip: straight where the rim is whole, broken where it is chipped, and back again."""

import numpy as np
import pytest

from endface.imaging.ellipse import Ellipse
from endface.imaging.rimchart import rim_breaks, rim_strip
from endface.imaging.rimnoise import bright_side_sigma

RIM = Ellipse(60.3, 55.1, 40, 36)


def disc(shape=(110, 120)):
    radius = RIM.radius_map(shape)
    return (60 + 140 / (1 + np.exp(-(radius - 1) * 40))).astype(np.float32)


def test_a_whole_rim_is_straight():
    strip = rim_strip(RIM, np.zeros(360), inwards_px=8, outwards_px=4)
    rows = strip.unroll(disc())
    assert np.ptp(rows, axis=1).max() < 12
    assert np.all(np.diff(rows.mean(axis=1)) > 0)


def test_a_slow_shift_of_the_rim_is_followed():
    angle = np.arange(360) * (2 * np.pi / 360)
    strip = rim_strip(RIM, 2 * np.cos(2 * angle), inwards_px=8, outwards_px=4)
    assert strip.shift_px.max() == pytest.approx(2, abs=0.1)
    x, y = strip.sample_x[8, 0], strip.sample_y[8, 0]
    assert (x, y) == pytest.approx((RIM.cx_px + RIM.rx_px + strip.shift_px[0], RIM.cy_px), abs=1e-3)


@pytest.mark.parametrize("width_px", [0.8, 1.2, 2.0])
def test_nothing_is_left_of_a_whole_rim_however_sharp(width_px):
    shape, rim = (230, 240), Ellipse(118.3, 112.6, 90, 90)
    distance_px = (rim.radius_map(shape) - 1) * 90
    image = (100 + 50 * np.tanh(distance_px / width_px)).astype(np.float32)
    strip = rim_strip(rim, np.zeros(360), inwards_px=8, outwards_px=4)
    # as if the edge lay a fiftieth of a pixel off its place
    assert rim_breaks(image, strip).std() < 0.02 * 50 / width_px


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_breaks_show_however_much_of_the_rim_is_broken(share):
    shape, rim = (340, 340), Ellipse(170.2, 169.7, 140, 140)
    strip = rim_strip(rim, np.zeros(360), inwards_px=8, outwards_px=4)
    image = np.random.default_rng(3).normal(100, 1, shape).astype(np.float32)
    n = strip.sample_x.shape[1]
    broken = np.zeros(n, bool)
    arc = np.arange(300, 300 + round(300 * share))
    # pieces of seven pixels with seven whole ones between them
    broken[arc[arc % 14 < 7]] = True
    y, x = strip.pixels(shape)
    column, row = strip.place(x, y)
    image[y, x] -= 20 * (broken[np.rint(column).astype(int) % n] & (np.abs(row - 6) < 2))
    breaks = rim_breaks(image, strip)[5:8]
    assert np.median(breaks[:, broken]) < -15
    assert abs(np.median(breaks[:, ~broken])) < 1


def test_noise_does_not_grow_with_dark_breaks():
    noise = np.random.default_rng(1).normal(0, 2, (5, 3000)).astype(np.float32)
    before = bright_side_sigma(noise)
    noise[:, ::3] -= 60
    assert np.allclose(bright_side_sigma(noise), before, rtol=0.15)
    assert np.all(bright_side_sigma(noise, np.zeros(noise.shape, bool)) == 0)


@pytest.mark.parametrize("column", [40, -4, 100])
def test_a_piece_comes_back_to_where_it_was_sampled(column):
    strip = rim_strip(RIM, np.zeros(360), inwards_px=8, outwards_px=4)
    n = strip.sample_x.shape[1]
    mask, left, top = strip.roll(np.ones((5, 9), bool), row=3, column=column, shape=(110, 120))
    rows, cols = np.nonzero(mask)
    assert 30 <= len(rows) <= 62
    middle = strip.sample_x[5, (column + 4) % n], strip.sample_y[5, (column + 4) % n]
    assert (left + cols.mean(), top + rows.mean()) == pytest.approx(middle, abs=0.8)


def test_a_piece_outside_the_picture_is_empty():
    strip = rim_strip(Ellipse(-200, 50, 30, 30), np.zeros(360), inwards_px=8, outwards_px=4)
    assert strip.roll(np.ones((5, 9), bool), row=3, column=4, shape=(110, 120))[0].size == 0


def test_the_rim_runs_along_rows_and_columns_at_four_places():
    strip = rim_strip(Ellipse(100, 100, 60, 60), np.zeros(360), inwards_px=6, outwards_px=3)
    n = len(strip.tilt)
    assert strip.tilt[[0, n // 4, n // 2, 3 * n // 4]].max() < 0.03
    assert strip.tilt[n // 8] == pytest.approx(np.sqrt(0.5), abs=0.02)
