"""Spots in a row: by chance they make no line, a row beyond chance and a scratch with spots on it do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from endface.annotation import Defect
from endface.detection import detect_defects
from endface.detection.rows import without_chance_rows
from endface.imaging.tracing import TracedLine
from endface.zones import plain_zones

SHAPE = (360, 360)


def strewn(seed: int, n: int = 40) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    return list(zip(rng.uniform(10, 350, n).tolist(), rng.uniform(10, 350, n).tolist(), strict=True))


def picture(spots: list[tuple[float, float]], *, depth: float = 60.0, seed: int = 0) -> NDArray[np.float32]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.full(SHAPE, 140.0, np.float32)
    for cx, cy in spots:
        image -= np.float32(depth) * (np.hypot(x - cx, y - cy) < 3.2)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.asarray(image + np.random.default_rng(seed).normal(0, 1.5, SHAPE), np.float32)


def lines(image: NDArray[np.float32]) -> list[Defect]:
    return [d for d in detect_defects(image, plain_zones(image)) if "line" in d.detector]


def test_strewn_spots_hardly_ever_make_a_line() -> None:
    assert sum(len(lines(picture(strewn(seed), seed=seed))) for seed in range(6)) <= 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_row_of_many_spots_is_a_line(turned: bool) -> None:
    row = [(60 + 11.0 * k, 120 + 5.0 * k) for k in range(12)]
    image = picture(strewn(1, 15) + row)
    found = lines(np.ascontiguousarray(image.T) if turned else image)
    assert max(max(line.mask.shape) for line in found) > 120


def test_a_scratch_with_spots_on_it_is_a_line() -> None:
    image = picture([*strewn(2, 15), (100.0, 200.0), (140.0, 201.0), (185.0, 200.0)])
    image[199:202, 60:240] -= 8
    assert max(max(line.mask.shape) for line in lines(image)) > 150


def test_nothing_changes_without_spots_or_with_spots_elsewhere() -> None:
    points = np.stack([np.arange(20.0, 80.0), np.full(60, 40.0)], axis=1).astype(np.float32)
    found = [(TracedLine(points, np.full(60, 2.0, np.float32)), -1, 5.0)]
    spot = Defect(np.ones((5, 5), bool), x_px=200, y_px=200, detector="region", score=9.0, polarity=-1)
    assert without_chance_rows(found, [], SHAPE) == found
    assert without_chance_rows(found, [spot], SHAPE) == found
    assert without_chance_rows([], [spot], SHAPE) == []
