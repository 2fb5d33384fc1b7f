"""How straight the crest of a line runs: laws, noise, and what a mask cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from endface.imaging.crest import crest_waviness, from_parabola
from endface.imaging.linewidth import profiles_across

REACH = 14.0


def waviness_of(bent_px: float, *, noise: float = 0.0, scale: float = 1.0, seed: int = 0) -> float:
    """Waviness of a line 80 px long that a mask cut straight, 50 gray dark, zigzag by `bent_px`."""
    y, x = np.mgrid[:44, :100].astype(float)
    middle = 22.0 + bent_px * (2.0 / np.pi) * np.arcsin(np.sin(x / 5.0))
    image = 100.0 - 50.0 * np.exp(-((y - middle) ** 2) / (2 * 1.3**2))
    image = scale * (image + np.random.default_rng(seed).normal(0.0, noise, image.shape))
    path = np.stack([np.full(80, 22.0), np.arange(10.0, 90.0)], axis=1)
    across = profiles_across(image.astype(np.float32), path, reach=REACH)
    return crest_waviness(across, path, width=5.0, reach=REACH)


def test_a_straight_line_has_none_and_a_zigzag_has_that_of_its_crest() -> None:
    assert waviness_of(0.0) < 1e-3
    # distances of a zigzag are evenly spread: mean half the largest; averaging rounds its corners
    assert waviness_of(2.0) == pytest.approx(1.2533 * 1.0 / 80.0, rel=0.2)


def test_it_does_not_depend_on_contrast_or_its_sign() -> None:
    assert waviness_of(2.0, scale=0.1) == pytest.approx(waviness_of(2.0), rel=1e-3)
    assert waviness_of(2.0, scale=-1.0) == pytest.approx(waviness_of(2.0), rel=1e-3)


def test_noise_does_not_bend_a_straight_line() -> None:
    seen = [waviness_of(0.0, noise=12.0, seed=seed) for seed in range(20)]
    assert np.median(seen) < 0.003
    # a crest of half the noise may lie anywhere in reach
    lost = [waviness_of(0.0, noise=100.0, seed=seed) for seed in range(40)]
    assert np.quantile(lost, [0.5, 0.75]).tolist() == pytest.approx([0.0, 0.0], abs=0.006)
    bent = [waviness_of(2.5, noise=12.0, seed=seed) for seed in range(20)]
    assert np.median(bent) == pytest.approx(waviness_of(2.5), rel=0.3)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
def test_distance_from_a_parabola_turns_with_the_path(angle: float) -> None:
    x = np.linspace(-20.0, 20.0, 81)
    points: NDArray[np.float64] = np.stack([0.5 * np.sin(x) + 0.01 * x**2, x], axis=1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    (distance,), (extent,) = from_parabola(points @ turn, np.array([81]))
    (expected,), (length,) = from_parabola(points, np.array([81]))
    assert distance == pytest.approx(expected, rel=1e-6)
    assert extent == pytest.approx(length, rel=1e-6)
    assert from_parabola(points[:5], np.array([5]))[0][0] == 0.0


def test_points_without_weight_do_not_count() -> None:
    x = np.arange(60.0)
    points = np.stack([np.where(x > 50, 5.0, 0.0), x], axis=1)
    (distance,), _ = from_parabola(points, np.array([60]), weights=np.where(x > 50, 1e-6, 1.0))
    assert distance < 1e-3


def test_what_another_thing_shows_does_not_bend_a_line() -> None:
    y, x = np.mgrid[:44, :100].astype(float)
    image = 100.0 - 20.0 * np.exp(-((y - 22.0) ** 2) / (2 * 1.3**2))
    path = np.stack([np.full(80, 22.0), np.arange(10.0, 90.0)], axis=1)
    # a stronger line crosses it at a slant
    slant = np.abs(y - 22.0 - 0.6 * (x - 50.0))
    image -= 60.0 * np.exp(-(slant**2) / (2 * 2.0**2))
    across = profiles_across(image.astype(np.float32), path, reach=REACH)
    apart = profiles_across((slant > 6.0).astype(np.float32), path, reach=REACH) > 0.99
    crossed = crest_waviness(across, path, width=5.0, reach=REACH)
    free = crest_waviness(across, path, width=5.0, reach=REACH, usable=apart)
    assert free < 0.002 < crossed
