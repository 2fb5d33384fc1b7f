"""Focus: monotone in blur, blind to gain, offset, depth and noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from endface.imaging.focus import edge_blur_px, focus_score


def disc(sigma_px: float, noise: float = 0.0) -> NDArray[np.float64]:
    y, x = np.mgrid[:300, :320]
    sharp = 60.0 + 80.0 * np.clip(90.5 - np.hypot(y - 150.3, x - 160.2), 0, 1)
    return cv2.GaussianBlur(sharp, (0, 0), sigma_px) + np.random.default_rng(0).normal(0, noise, sharp.shape)


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_blur_is_found(noise: float) -> None:
    for sigma_px in (1.0, 1.5, 2.0, 3.0):
        assert edge_blur_px(disc(sigma_px, noise)) == pytest.approx(sigma_px, rel=0.2)


def test_score_falls_with_blur_and_stays_in_range() -> None:
    scores = [focus_score(disc(s, 1.0)) for s in (0.3, 0.8, 1.5, 2.5, 4.0, 6.0)]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < 0.4 < 0.9 < scores[0] <= 1


def test_gain_offset_and_depth_do_not_matter() -> None:
    image = disc(1.5, 1.0)
    one = focus_score(image)
    assert focus_score(image * 3 + 100) == pytest.approx(one, abs=1e-3)
    assert focus_score((image * 200).astype(np.uint16)) == pytest.approx(one, abs=0.01)
    assert focus_score(np.rot90(image)) == pytest.approx(one, abs=1e-3)


def test_nothing_to_see_scores_zero() -> None:
    assert focus_score(np.random.default_rng(0).normal(100, 3, (100, 100))) == 0.0
    assert focus_score(disc(1.0), np.zeros((300, 320), bool)) == 0.0
    assert focus_score(np.zeros((5, 5), np.uint8)) == 0.0


@pytest.mark.real
def test_real_images_are_sharper_than_their_blurred_copies(real_data: Path) -> None:
    for path in sorted((real_data / "endface" / "scope_1152x864").iterdir())[::12]:
        gray = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
        if gray is not None:
            assert focus_score(gray) > focus_score(cv2.GaussianBlur(gray, (0, 0), 3.0)) + 0.1
