from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from endface.annotation import AnatomyZone, DefectClass
from endface.errors import SettingsError
from endface.imaging.ellipse import Ellipse
from endface.synthesis import PRESETS, render_endface, render_of_set
from endface.synthesis.defects import Drawing, pit
from endface.synthesis.draws import PlannedDefect
from endface.synthesis.line_defects import scratch, scratch_path
from endface.synthesis.stage import SUPPORT_NOISE, SUPPORT_SHARE

STILL = replace(
    PRESETS["clinic"], defocus_px=(0.0, 0.0), tilt=(0.0, 0.0), optics_spots=(0, 0)
)  # nothing about the exposure is left to chance


def edge_radii(image: np.ndarray, ellipse: Ellipse, *, count: int = 180) -> tuple[np.ndarray, np.ndarray]:
    """Sub-pixel position of the steepest slope along rays, in pixels from the ellipse, and the angles."""
    angles = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    offsets = np.arange(-6.0, 6.01, 0.05)
    factor = 1.0 + offsets[None, :] / ellipse.radius_px
    x = ellipse.cx_px + ellipse.rx_px * factor * np.cos(angles)[:, None]
    y = ellipse.cy_px + ellipse.ry_px * factor * np.sin(angles)[:, None]
    profile = map_coordinates(image.astype(np.float64), [y, x], order=3)
    slope = np.abs(np.gradient(profile, axis=1))
    slope[slope < 0.3 * slope.max(axis=1, keepdims=True)] = 0.0
    return (slope * offsets).sum(axis=1) / slope.sum(axis=1), angles


def one_defect(drawing: Drawing, instrument, look, frame, *, snr: float = 12.0):
    planned = [PlannedDefect(drawing, snr, 1.0, 0)]
    rng = np.random.default_rng(5)
    parts = {"instrument": instrument, "look": look, "frame": frame}
    return render_endface(rng=rng, preset=STILL, clean=False, defects=planned, **parts)


@pytest.mark.parametrize("pitch", [(0.25, 0.25), (0.3, 0.2752)])
@pytest.mark.parametrize("which", ["cladding", "core"])
def test_the_true_ellipses_lie_on_the_rendered_edges(plain_instrument, plain_look, plain_frame, pitch, which):
    instrument = replace(plain_instrument, read_noise_gray=0.0, bits=16)
    instrument = replace(instrument, um_per_px_x=pitch[0], um_per_px_y=pitch[1])
    frame = replace(plain_frame, um_per_px_x=pitch[0], um_per_px_y=pitch[1])
    look = replace(plain_look, core_um=62.5, core_offset_um=(0.7, -0.4))
    rendered = render_endface(
        rng=np.random.default_rng(0), preset=STILL, clean=True, instrument=instrument, look=look, frame=frame
    )
    deviation, angles = edge_radii(rendered.image / 257.0, getattr(rendered.truth, which))
    # mean: radius; first harmonics: centre
    assert abs(deviation.mean()) < 0.05
    assert abs(2.0 * (deviation * np.cos(angles)).mean()) < 0.05
    assert abs(2.0 * (deviation * np.sin(angles)).mean()) < 0.05


def test_rim_line_and_crescent_do_not_move_the_rim(plain_instrument, plain_look, plain_frame):
    look = replace(plain_look, rim_line_um=1.5, rim_line=0.3, crescent_um=1.5, crescent=0.15, rim_relief=0.4)
    instrument = replace(plain_instrument, read_noise_gray=0.0, bits=16)
    rendered = render_endface(
        rng=np.random.default_rng(0),
        preset=STILL,
        clean=True,
        instrument=instrument,
        look=look,
        frame=plain_frame,
    )
    deviation, _ = edge_radii(rendered.image / 257.0, rendered.truth.cladding)
    assert float(np.median(np.abs(deviation))) < 0.25


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_renders_and_its_truth_agrees_with_itself(preset):
    for index in range(4):
        rendered = render_of_set(seed=11, index=index, preset=preset)
        truth = rendered.truth
        assert rendered.image.shape == truth.anatomy.shape == truth.classes.shape == truth.instances.shape
        assert truth.instances.dtype == np.uint16
        assert np.array_equal(truth.classes > 0, truth.instances > 0)
        assert set(np.unique(truth.instances)) <= {0, *(item.instance for item in truth.defects)}
        assert not (truth.instances[~truth.valid] > 0).any()
        assert {AnatomyZone.CORE, AnatomyZone.CLADDING, AnatomyZone.FERRULE} <= set(np.unique(truth.anatomy))
        rim, (height, width) = truth.cladding, rendered.image.shape
        assert rim.rx_px < rim.cx_px < width - rim.rx_px
        assert rim.ry_px < rim.cy_px < height - rim.ry_px
        assert rim.rx_px * truth.um_per_px_x == pytest.approx(rim.ry_px * truth.um_per_px_y)
        if truth.clean:
            assert np.array_equal(rendered.image, rendered.clean)
            assert not rendered.difference.any()


@pytest.mark.parametrize("diameter_um", [2.0, 3.0, 6.0, 10.0])
def test_the_mask_of_a_pit_has_its_diameter(plain_instrument, plain_look, plain_frame, diameter_um):
    rng = np.random.default_rng(1)
    drawing = pit(rng, plain_frame, x_um=35.1, y_um=8.3, diameter_um=diameter_um, rim=0.0)
    item = one_defect(drawing, plain_instrument, plain_look, plain_frame).truth.defects[0]
    drawn = 2.0 * math.sqrt(item.area_um2 / math.pi)
    seen = 2.0 * math.sqrt(item.visible_area_um2 / math.pi)
    assert seen == pytest.approx(drawn, abs=0.35)
    assert (item.zone, item.defect_class) == (AnatomyZone.CLADDING, DefectClass.PIT_CHIP)


@pytest.mark.parametrize("profile", ["dark", "bright"])
def test_the_mask_of_a_scratch_has_its_length_and_width(plain_instrument, plain_look, plain_frame, profile):
    rng = np.random.default_rng(1)
    path = scratch_path(rng, x_um=0.0, y_um=-30.0, length_um=60.0, angle_rad=0.4, bend_rad=0.2)
    drawing = scratch(rng, plain_frame, path, width_um=3.0, profile=profile)
    rendered = one_defect(drawing, plain_instrument, plain_look, plain_frame)
    item = rendered.truth.defects[0]
    assert item.length_um == pytest.approx(60.0, rel=1e-6)
    # at 0.4 of its depth a Gaussian is 1.15 times as wide as at half depth
    assert item.visible_area_um2 / item.length_um == pytest.approx(1.15 * 3.0, rel=0.2)
    rows, cols = np.nonzero(rendered.truth.instances == 1)
    x_um, y_um = plain_frame.to_um(cols, rows)
    assert float(np.hypot(np.ptp(x_um), np.ptp(y_um))) == pytest.approx(item.diameter_um, rel=0.1)


@pytest.mark.parametrize("kind", ["pit", "scratch"])
def test_what_a_defect_changes_lies_inside_its_mask(plain_instrument, plain_look, plain_frame, kind):
    rng = np.random.default_rng(4)
    if kind == "pit":
        drawing = pit(rng, plain_frame, x_um=20.0, y_um=20.0, diameter_um=5.0)
    else:
        path = scratch_path(rng, x_um=30.0, y_um=9.0, length_um=60.0, angle_rad=1.0, bend_rad=0.3)
        drawing = scratch(rng, plain_frame, path, width_um=1.0, profile="dark")
    rendered = one_defect(drawing, plain_instrument, plain_look, plain_frame)
    item, support = rendered.truth.defects[0], rendered.truth.instances == 1
    threshold = max(SUPPORT_SHARE * abs(item.contrast_gray), SUPPORT_NOISE * item.noise_gray)
    size = np.maximum(-rendered.difference, 0.0)  # both are dark: bright rims do not count
    assert size[~support].max() < threshold <= size[support].min() + 1e-4
    # the file shows the difference, up to rounding of two images
    change = rendered.image.astype(float) - rendered.clean.astype(float)
    np.testing.assert_allclose(change, rendered.difference, atol=1.001)


@pytest.mark.parametrize("snr", [1.0, 2.2, 8.0])
def test_a_scratch_has_the_signal_to_noise_ratio_it_was_given(plain_instrument, plain_look, plain_frame, snr):
    rng = np.random.default_rng(1)
    path = scratch_path(rng, x_um=0.0, y_um=-40.0, length_um=50.0, angle_rad=0.1, bend_rad=0.0)
    drawing = scratch(rng, plain_frame, path, width_um=1.0, profile="dark")
    rendered = one_defect(drawing, plain_instrument, plain_look, plain_frame, snr=snr)
    item = rendered.truth.defects[0]
    assert item.snr == pytest.approx(snr, rel=0.01)
    noise = float(rendered.clean[20:200, 20:100].astype(float).std())
    assert item.noise_gray == pytest.approx(noise, rel=0.08)


def test_a_small_spot_needs_more_contrast_than_a_large_one(plain_instrument, plain_look, plain_frame):
    items, instrument = [], replace(plain_instrument, blur_x_px=0.7, blur_y_px=0.7)
    for diameter in (0.3, 4.0):
        drawing = pit(
            np.random.default_rng(1), plain_frame, x_um=-75.0, y_um=3.0, diameter_um=diameter, rim=0.0
        )
        items.append(one_defect(drawing, instrument, plain_look, plain_frame, snr=3.0).truth.defects[0])
    assert abs(items[0].contrast_gray) > 1.1 * abs(items[1].contrast_gray)
    assert items[0].snr == pytest.approx(items[1].snr, rel=0.01)


def test_the_same_generator_state_gives_the_same_image():
    first, second = (render_endface(rng=np.random.default_rng(7), preset="hard") for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.truth.defects == second.truth.defects


def test_dirt_on_the_optics_is_the_same_in_every_image_of_a_set():
    renders = [render_of_set(seed=2, index=k, preset="dirty_optics") for k in range(3)]
    assert len({item.truth.instrument.spots for item in renders}) == 1
    assert len(renders[0].truth.instrument.spots) >= 6


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(SettingsError) as caught:
        render_endface(rng=np.random.default_rng(0), preset="nope")
    assert "clinic" in caught.value.hint
