"""The rim as a strip: straight where the rim is whole, broken where it is chipped, and back again."""

import numpy as np
import pytest

from endface.imaging.ellipse import Ellipse
from endface.imaging.rimchart import breaks_along, bright_side_sigma, rim_strip

RIM = Ellipse(60.3, 55.1, 40, 36)


def disc(shape=(110, 120)):
    radius = RIM.radius_map(shape)
    return (60 + 140 / (1 + np.exp(-(radius - 1) * 40))).astype(np.float32)


def test_a_whole_rim_is_straight():
    strip = rim_strip(RIM, np.zeros(360), inwards_px=8, outwards_px=4)
    rows = strip.unroll(disc())
    assert np.ptp(rows, axis=1).max() < 12
    assert np.all(np.diff(rows.mean(axis=1)) > 0)
    assert np.abs(breaks_along(rows)).max() < 8


def test_a_slow_shift_of_the_rim_is_followed():
    angle = np.arange(360) * (2 * np.pi / 360)
    strip = rim_strip(RIM, 2 * np.cos(2 * angle), inwards_px=8, outwards_px=4)
    assert strip.shift_px.max() == pytest.approx(2, abs=0.1)
    x, y = strip.sample_x[8, 0], strip.sample_y[8, 0]
    assert (x, y) == pytest.approx((RIM.cx_px + RIM.rx_px + strip.shift_px[0], RIM.cy_px), abs=1e-3)


@pytest.mark.parametrize("share", [0.02, 0.7])
def test_breaks_show_however_much_of_the_rim_is_broken(share):
    rng = np.random.default_rng(3)
    strip = rng.normal(100, 1, (12, 900)).astype(np.float32)
    broken = np.zeros(900, bool)
    arc = np.arange(300, 300 + round(300 * share))
    # pieces of seven pixels with five whole ones between them
    broken[arc[arc % 12 < 7]] = True
    strip[4:8, broken] -= 20
    breaks = breaks_along(strip)[4:8]
    assert np.median(breaks[:, broken]) < -17
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
