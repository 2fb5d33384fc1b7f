"""Widths freed of the blur, and where a line ends."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from endface.imaging.linewidth import (
    labels_across,
    photometric_width,
    profiles_across,
    seen_share,
    smooth_path,
    unblurred_width,
)


def groove(
    width: float, *, first: float = 30.0, last: float = 130.0, depth: float = 40.0
) -> NDArray[np.float64]:
    """A horizontal groove of exact width in row 20, light lost as a share of a ground with a step."""
    rows = np.arange(40)
    cols = np.arange(160)
    across = np.clip(width / 2 + 0.5 - np.abs(rows - 20.0), 0, min(1.0, width))
    along = ((cols >= first) & (cols <= last)).astype(float)
    ground = np.where(cols < 80, 160.0, 80.0)
    return np.asarray(ground * (1 - depth / 160.0 * across[:, None] * along[None]))


def blurred(image: NDArray[np.float64], sigma: float, noise: float = 0.5) -> NDArray[np.float32]:
    soft = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.asarray(soft + np.random.default_rng(0).normal(0, noise, image.shape), np.float32)


def path(first: float, last: float) -> NDArray[np.float64]:
    cols = np.arange(first, last + 1)
    return np.stack([np.full(cols.size, 20.0), cols], axis=1)


@pytest.mark.parametrize("width", [3.0, 4.0, 6.0, 9.0])
@pytest.mark.parametrize("blur", [0.8, 1.2])
def test_blur_is_taken_out_of_widths(width: float, blur: float) -> None:
    seen = photometric_width(blurred(groove(width, last=75.0), blur), path(33, 72), reach=2 * width + 5)
    found, resolved = unblurred_width(seen.mean, math.hypot(blur, 0.3))
    assert resolved
    assert found == pytest.approx(width, abs=0.6)


@pytest.mark.parametrize("width", [0.3, 0.8])
def test_hairlines_have_an_upper_bound(width: float) -> None:
    blur = 1.3
    seen = photometric_width(blurred(groove(width, last=75.0), blur, 0.1), path(33, 72), reach=8)
    bound, resolved = unblurred_width(seen.mean, math.hypot(blur, 0.3))
    assert not resolved
    assert width <= bound < 2.5


def test_true_widths_grow_with_apparent_ones_and_scale() -> None:
    widths = [unblurred_width(w, 1.0)[0] for w in np.linspace(2.0, 12.0, 30)]
    assert widths == sorted(widths)
    assert unblurred_width(12.0, 2.0)[0] == pytest.approx(2 * unblurred_width(6.0, 1.0)[0], rel=1e-6)
    assert unblurred_width(3.0, 0.0)[0] == pytest.approx(3.0)


@pytest.mark.parametrize("beyond", [0, 6, 12, 20])
def test_overshoot_is_cut_off(beyond: int) -> None:
    image = blurred(groove(2.5), 1.0, 1.5)
    share = seen_share(image, path(30 - beyond, 130 + beyond / 2), reach=9)
    assert share * (100 + 1.5 * beyond) == pytest.approx(100, abs=4)


def test_a_step_of_the_ground_and_a_gap_do_not_end_a_line() -> None:
    image = groove(2.5)
    image[:, 60:75] = 160
    assert seen_share(blurred(image, 1.0), path(30, 130), reach=9) > 0.97


def test_noise_leaves_the_path_alone() -> None:
    assert seen_share(blurred(groove(2.5, depth=2.0), 1.0, 6.0), path(20, 140), reach=9) == 1.0


def test_what_shows_something_else_does_not_count() -> None:
    image = np.full((60, 160), 120.0)
    image[28:31] -= 40
    alone = photometric_width(blurred(image, 1.0), PATH, reach=15).mean
    neighbour = image.copy()
    neighbour[38:44] -= 60
    neighbour[:, :50] += 60 * (np.arange(60) > 20)[:, None]  # and an edge beside a third of the line
    labels = np.zeros(image.shape, np.uint8)
    labels[36:46], labels[:, :52] = 1, 1
    usable = labels_across(labels, PATH, reach=15) == 0
    shown = blurred(neighbour, 1.0)
    assert usable.shape == profiles_across(shown, PATH, reach=15).shape
    assert abs(photometric_width(shown, PATH, reach=15, usable=usable).mean - alone) < 0.2
    assert abs(photometric_width(shown, PATH, reach=15).mean - alone) > 0.4


def test_where_nothing_can_be_used_everything_is() -> None:
    image = np.full((60, 160), 120.0)
    image[28:31] -= 40
    shown = blurred(image, 1.0)
    nothing = np.zeros(profiles_across(shown, PATH, reach=15).shape, bool)
    assert photometric_width(shown, PATH, reach=15, usable=nothing) == photometric_width(
        shown, PATH, reach=15
    )


PATH = np.stack([np.full(140, 29.0), np.arange(10.0, 150.0)], axis=1)


def test_a_wavering_path_does_not_widen_a_line() -> None:
    image = blurred(groove(3.0, last=75.0), 0.8)
    straight = path(33, 72)
    wavering = straight + np.stack([np.sin(np.arange(40.0) / 2.0), np.zeros(40)], axis=1)
    true, seen = (photometric_width(image, way, reach=11).mean for way in (straight, smooth_path(wavering)))
    assert seen == pytest.approx(true, abs=0.15)
    # what winds is left as it is
    winding = path(0, 150) + np.stack([8 * np.sin(np.arange(151.0) / 6.0), np.zeros(151)], axis=1)
    assert smooth_path(winding) is winding


def test_uneven_lines_are_less_certain() -> None:
    even = blurred(groove(4.0), 0.8)
    uneven = even.copy()
    uneven[:, 50:70] = blurred(groove(9.0), 0.8)[:, 50:70]
    uneven[:, 80:105] = blurred(groove(6.0), 0.8)[:, 80:105]
    first, second = (photometric_width(image, path(35, 125), reach=13) for image in (even, uneven))
    assert second.sd > 1.5 * first.sd
