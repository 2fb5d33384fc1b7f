"""Lobes of profiles: width of one, distance of two, and which profiles have two."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.linewidth import photometric_width
from endface.imaging.lobes import is_relief, lobe_widths, side_distances

STEP = 0.25
X = np.arange(-80, 81) * STEP
BELL = np.exp(-0.5 * (X / 3.0) ** 2)


@pytest.mark.parametrize("height", [-40.0, 25.0])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
def test_a_bell_is_as_wide_as_its_content_over_its_height(height: float, shift: float) -> None:
    profile = height * np.exp(-0.5 * ((X - shift) / 3.0) ** 2)
    widths, peaks = lobe_widths(profile[None], STEP, 0.0)
    assert widths[0] == pytest.approx(2.5066 * 3.0, rel=0.04)
    assert peaks[0] == pytest.approx(height)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_slopes_of_a_groove_are_as_far_apart_as_the_groove_is_wide(sign: float, noise: float) -> None:
    slope = sign * X / 3.0 * BELL * np.exp(0.5)
    rough = slope + np.random.default_rng(0).normal(0, noise, (40, X.size))
    groove = lobe_widths(BELL[None], STEP, 0.0)[0][0]
    assert np.median(side_distances(rough, STEP, noise)) == pytest.approx(groove, rel=0.12)


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_two_bars_are_as_far_apart_as_their_middles(gap: float) -> None:
    bars = ((gap / 2 < X) & (gap / 2 + 4 > X)).astype(float) - ((-gap / 2 > X) & (-gap / 2 - 4 < X))
    assert side_distances(bars[None], STEP, 0.0)[0] == pytest.approx(4 + gap, abs=0.3)
    assert is_relief(bars)


def test_ringing_and_a_faint_bright_flank_make_no_relief() -> None:
    rung = BELL - 0.7 * np.exp(-0.5 * (np.abs(X) - 8) ** 2)
    assert not is_relief(rung)
    assert not is_relief(-BELL)
    assert not is_relief(-BELL + 0.35 * np.exp(-0.5 * ((X - 8) / 2) ** 2))
    assert is_relief(-X * BELL)
    assert is_relief(X * BELL)


def test_nothing_is_no_relief_and_has_no_width() -> None:
    nothing = np.zeros((3, X.size))
    assert not is_relief(nothing[0])
    assert not lobe_widths(nothing, STEP, 0.0)[0].any()
    assert not side_distances(nothing, STEP, 0.0).any()


@pytest.mark.parametrize("turned", [False, True])
def test_a_groove_is_as_wide_in_slanting_light_as_in_any(turned: bool) -> None:
    rows = np.arange(60.0)[:, None]
    depth = np.repeat(np.exp(-0.5 * ((rows - 30) / 3.0) ** 2), 120, axis=1)
    path = np.stack([np.full(100, 30.0), np.arange(10.0, 110.0)], axis=1)
    dark = 120 - 40 * depth
    relief = 120 + 80 * np.gradient(depth, axis=0)
    noise = np.random.default_rng(1).normal(0, 0.5, depth.shape)
    if turned:
        dark, relief, path = dark.T, relief.T, path[:, ::-1]
        noise = noise.T
    widths = [
        photometric_width(
            cv2.GaussianBlur((image + noise).astype(np.float32), (0, 0), 0.8), path, reach=22
        ).mean
        for image in (dark, relief)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
