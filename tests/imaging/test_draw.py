"""Overlays must show where defects are without changing what they look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from endface.imaging.draw import contact_sheet, draw_overlay, gray_base, palette
from endface.imaging.ellipse import Ellipse

SHAPE = (120, 160)
RIM = Ellipse(cx_px=80.3, cy_px=60.6, rx_px=40.0, ry_px=44.0)


def noise(dtype: type = np.uint8) -> NDArray[np.generic]:
    return np.random.default_rng(3).integers(60, 180, SHAPE).astype(dtype)


def iec_map() -> NDArray[np.uint8]:
    radius = RIM.radius_map(SHAPE)
    return np.select([radius < 0.4, radius < 0.9, radius < 1.1, radius < 2], [1, 2, 3, 4], 0).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(arrays(np.uint8, (24, 32), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 4])))
def test_no_defect_pixel_is_painted_over(mask: NDArray[np.uint8]) -> None:
    image = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 50
    rim = Ellipse(16.0, 12.0, 9.0, 9.0)
    picture = draw_overlay(image, cladding=rim, core=rim.scaled(0.5), class_mask=mask)
    assert np.array_equal(picture[mask > 0], np.repeat(gray_base(image)[mask > 0][:, None], 3, axis=1))


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_defect_is_outlined_in_the_colour_of_its_class(code: int) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[50:60, 70:80] = code
    picture = draw_overlay(noise(), cladding=None, core=None, class_mask=mask)
    coloured = np.all(picture == palette()[code].rgb, axis=-1)
    rows, cols = np.nonzero(coloured)
    assert coloured.sum() > 30
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == pytest.approx((47, 62, 67, 82), abs=2)


def test_clean_image_without_fibre_is_only_stretched() -> None:
    image = noise(np.uint16)
    image.setflags(write=False)
    picture = draw_overlay(image, cladding=None, core=None, class_mask=np.zeros(SHAPE, np.uint8))
    assert np.array_equal(picture, np.repeat(gray_base(image)[..., None], 3, axis=-1))


def test_zone_lines_lie_on_the_ellipse() -> None:
    flat = np.zeros(SHAPE, np.uint8)
    picture = draw_overlay(flat, cladding=RIM, core=None, class_mask=flat)
    rows, cols = np.nonzero(picture.any(axis=-1))
    off_px = (RIM.normalized_radius(cols, rows) - 1) * RIM.radius_px
    weights = picture[rows, cols].sum(axis=-1)
    assert np.abs(off_px).max() < 2
    assert abs(np.average(off_px, weights=weights)) < 0.15


def test_iec_borders_are_drawn_where_the_map_changes() -> None:
    flat = np.zeros(SHAPE, np.uint8)
    without = draw_overlay(flat, cladding=RIM, core=None, class_mask=flat)
    with_iec = draw_overlay(flat, cladding=RIM, core=None, class_mask=flat, iec=iec_map())
    changed = np.any(with_iec != without, axis=-1)
    radius = RIM.radius_map(SHAPE)
    for border in (0.4, 1.1):
        assert changed[np.abs(radius - border) < 0.015].mean() > 0.8
    assert not changed[radius < 0.3].any()


def test_legend_is_added_below() -> None:
    flat = np.zeros(SHAPE, np.uint8)
    plain = draw_overlay(flat, cladding=RIM, core=RIM.scaled(0.3), class_mask=flat, core_measured=False)
    legend = draw_overlay(
        flat, cladding=RIM, core=RIM.scaled(0.3), class_mask=flat, core_measured=False, legend=True
    )
    assert legend.shape[0] > SHAPE[0]
    assert np.array_equal(legend[: SHAPE[0]], plain)
    strip = legend[SHAPE[0] :].reshape(-1, 3)
    assert all((strip == swatch.rgb).all(axis=1).any() for swatch in palette()[1:])


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape of a gray image"):
        draw_overlay(noise(), cladding=None, core=None, class_mask=np.zeros((3, 3), np.uint8))


@pytest.mark.parametrize(("gain", "dtype"), [(1, np.uint16), (16, np.uint16), (1 / 255, np.float32)])
def test_stretch_does_not_depend_on_gain_or_type(gain: float, dtype: type) -> None:
    other = gray_base((noise(np.float32) * gain).astype(dtype))
    assert np.abs(other.astype(int) - gray_base(noise())).max() <= 1


def test_noise_of_a_blank_image_stays_faint() -> None:
    blank = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8)
    assert gray_base(blank).max() < 50


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (255, 255)])
def test_flat_images_stay_black_or_white(value: int, shown: int) -> None:
    assert np.all(gray_base(np.full((9, 9), value, np.uint8)) == shown)


def test_palettes_name_the_codes_of_the_masks() -> None:
    assert [swatch.name for swatch in palette("anatomy")] == [
        "outside",
        "core",
        "cladding",
        "ferrule",
        "adhesive",
    ]
    assert [swatch.name for swatch in palette("iec")] == ["outside", "A", "B", "C", "D"]
    for kind in ("defects", "anatomy", "iec"):
        assert len({swatch.rgb for swatch in palette(kind)}) == len(palette(kind))


def test_sheet_holds_every_patch_and_is_deterministic() -> None:
    patches = [noise()[:h, :w] for h, w in ((5, 90), (90, 5), (30, 30))] + [np.zeros((4, 4, 3), np.uint8)]
    captions = ["short", "a name much too long to fit below its tile_007", "ü €", ""]
    first = contact_sheet(patches, captions=captions, title="Cluster 1: scratch", columns=3)
    assert first.dtype == np.uint8
    assert first.shape[0] > 2 * 120
    assert np.array_equal(
        first, contact_sheet(patches, captions=captions, title="Cluster 1: scratch", columns=3)
    )
    assert contact_sheet([]).ndim == 3
    with pytest.raises(ValueError, match="caption for each"):
        contact_sheet(patches, captions=["one"])
