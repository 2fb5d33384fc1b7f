"""Laws and rendered truth for centre lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import euler_number, label

from endface.imaging.linewidth import photometric_width
from endface.imaging.skeleton import thin, trace


def coverage(
    shape: tuple[int, int], angle_deg: float, length: float, width: float, *, spacing: tuple[float, float]
) -> NDArray[np.float64]:
    """Area coverage of a straight line of given length and width (physical units) around the middle."""
    sub = 5
    y, x = np.mgrid[: shape[0] * sub, : shape[1] * sub]
    v = -((y + 0.5) / sub - 0.5 - shape[0] / 2 + 0.23) * spacing[0]
    u = ((x + 0.5) / sub - 0.5 - shape[1] / 2 + 0.41) * spacing[1]
    a = math.radians(angle_deg)
    along, across = u * math.cos(a) + v * math.sin(a), v * math.cos(a) - u * math.sin(a)
    inside = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    return np.asarray(inside.reshape(shape[0], sub, shape[1], sub).mean(axis=(1, 3)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.55, 0.6)])
@pytest.mark.parametrize("width_px", [1.6, 3.0, 5.0])
@pytest.mark.parametrize("angle_deg", range(0, 180, 20))
def test_length_within_5_percent_at_all_angles(
    angle_deg: int, width_px: float, spacing: tuple[float, float]
) -> None:
    length = 60 * spacing[0]
    line = coverage((84, 84), angle_deg, length, width_px * spacing[0], spacing=spacing) >= 0.5
    found = trace(line, spacing=spacing)
    assert found.length == pytest.approx(length, rel=0.05)
    assert found.straightness > 0.96
    assert found.n_parts == 1


def test_length_of_an_arc() -> None:
    y, x = np.mgrid[:120, :120]
    radius, angle = np.hypot(y - 60, x - 60), np.arctan2(y - 60, x - 60)
    arc = (np.abs(radius - 45) <= 1.5) & (angle > -2) & (angle < 1)
    found = trace(arc)
    assert found.length == pytest.approx(45 * 3, rel=0.03)
    assert found.turning_rad == pytest.approx(3.0, rel=0.25)
    assert found.straightness == pytest.approx(2 * math.sin(1.5) / 3, rel=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_thinning_keeps_parts_and_holes(seed: int) -> None:
    mask = np.random.default_rng(seed).random((30, 34)) > 0.4
    thinned = thin(mask)
    assert not (thinned & ~mask).any()
    assert label(thinned, connectivity=2).max() == label(mask, connectivity=2).max() == trace(mask).n_parts
    assert euler_number(thinned, connectivity=2) == euler_number(mask, connectivity=2)


def test_quarter_turn_leaves_the_length() -> None:
    line = coverage((70, 70), 33, 50, 3, spacing=(1, 1)) >= 0.5
    assert trace(np.rot90(line)).length == pytest.approx(trace(line).length, rel=0.03)


def test_interrupted_line_is_joined_across_the_gaps() -> None:
    line = np.zeros((9, 90), bool)
    line[3:6, 5:85] = True
    line[:, 30:40] = False
    line[:, 60:64] = False
    found = trace(line)
    assert found.n_parts == 3
    assert found.length == pytest.approx(80, rel=0.03)


def test_cross_has_a_branch_point_and_four_ends() -> None:
    cross = np.zeros((41, 41), bool)
    cross[19:22, 3:38] = True
    cross[3:38, 19:22] = True
    found = trace(cross)
    assert found.n_ends == 4
    assert found.n_branches >= 1
    assert found.length == pytest.approx(35, rel=0.05)


def test_closed_ring_and_dot() -> None:
    y, x = np.mgrid[:40, :40]
    ring = np.abs(np.hypot(y - 20, x - 20) - 12) < 1.5
    assert trace(ring).n_ends == 0
    dot = trace(np.ones((1, 1), bool))
    assert (dot.n_ends, dot.n_branches, dot.skeleton_px) == (0, 0, 1)
    assert dot.length == pytest.approx(1.0, abs=0.2)
    with pytest.raises(ValueError, match="at least one pixel"):
        trace(np.zeros((2, 2), bool))


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 71, 90, 133])
@pytest.mark.parametrize("width_um", [1.5, 2.5, 4.0])
def test_photometric_width_beats_the_mask(angle_deg: int, width_um: float) -> None:
    spacing = (0.56, 0.61)
    share = coverage((90, 90), angle_deg, 40.0, width_um, spacing=spacing)
    noise = np.random.default_rng(1).normal(0, 2, share.shape)
    image = (120 - 50 * share + noise).astype(np.float32)
    line = trace(share >= 0.15, spacing=spacing)  # a generous mask, wider than the line
    seen = photometric_width(image, line.path_px, reach=2 * line.mean_width + 3, spacing=spacing)
    assert seen.mean == pytest.approx(width_um, abs=0.3)
    assert seen.peak_gray == pytest.approx(-50, rel=0.2)


def test_width_does_not_depend_on_gain_and_offset() -> None:
    share = coverage((60, 60), 30, 40, 3, spacing=(1, 1))
    path = trace(share >= 0.5).path_px
    one = photometric_width((100 - 50 * share).astype(np.float32), path, reach=9)
    two = photometric_width((7 + 300 * share).astype(np.float32), path, reach=9)
    assert two.mean == pytest.approx(one.mean, rel=1e-4)
    assert math.isnan(photometric_width(np.zeros((60, 60), np.float32), path, reach=9).mean)


@pytest.mark.parametrize("width", [1.5, 5.0])
@pytest.mark.parametrize("contrast", [2.0, 5.0])
def test_widths_of_faint_lines_are_right_on_average_and_know_how_uncertain_they_are(
    width: float, contrast: float
) -> None:
    share = coverage((70, 90), 20, 60, width, spacing=(1, 1))
    path = trace(share >= 0.5).path_px
    clear = photometric_width((100 - contrast * share).astype(np.float32), path, reach=13)
    # without noise only the unknown profile of the groove is left
    assert clear.sd == pytest.approx(0.1 * clear.mean, abs=0.03)
    rng = np.random.default_rng(4)
    faint = [
        photometric_width(
            (100 - contrast * share + rng.normal(0, 2, share.shape)).astype(np.float32), path, reach=13
        )
        for _ in range(60)
    ]
    widths = np.array([seen.mean for seen in faint])
    assert np.median(widths) == pytest.approx(clear.mean, abs=0.4)
    spread = math.hypot(1.4826 * float(np.median(np.abs(widths - np.median(widths)))), clear.sd)
    assert 0.5 < spread / np.median([seen.sd for seen in faint]) < 2.0


def test_an_end_that_turns_off_makes_a_line_less_wavy_than_waves_do() -> None:
    x = np.arange(120)
    hooked, wavy = np.zeros((60, 130), bool), np.zeros((60, 130), bool)
    for drop in range(3):
        hooked[20 + np.clip(x - 110, 0, None) + drop, x + 5] = True
        wavy[np.round(20 + 4 * np.sin(x / 8)).astype(int) + drop, x + 5] = True
    assert trace(hooked).waviness < 0.5 * trace(wavy).waviness
