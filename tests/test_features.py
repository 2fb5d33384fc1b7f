"""Measures of defects and zones: laws, rendered truth, and the labels of real images."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from endface.annotation import AnatomyZone, Calibration, Defect, IecZone, Zones
from endface.features import (
    DEFECT_COLUMNS,
    ZONE_COLUMNS,
    ZONE_LABEL_COLUMNS,
    label_zones,
    measure_defects,
    measure_zones,
    pixel_maps,
)
from endface.features.columns import schema_of
from endface.imaging.ellipse import Ellipse
from endface.rules import class_probabilities

UM = (0.6, 0.55)  # row, column
Image = NDArray[np.float64]


def fibre(shape: tuple[int, int] = (240, 260), spacing: tuple[float, float] | None = UM) -> Zones:
    """A 60/20 um fibre in the middle."""
    sy, sx = spacing or UM
    cladding = Ellipse(shape[1] / 2 + 0.3, shape[0] / 2 - 0.2, 30 / sx, 30 / sy)
    core = Ellipse(cladding.cx_px + 1, cladding.cy_px, 10 / sx, 10 / sy)
    anatomy = np.full(shape, AnatomyZone.FERRULE, np.uint8)
    anatomy[cladding.radius_map(shape) <= 1] = AnatomyZone.CLADDING
    anatomy[core.radius_map(shape) <= 1] = AnatomyZone.CORE
    pitch = Calibration(sx, sy, "settings") if spacing else Calibration()
    return Zones(True, "", anatomy, np.ones(shape, bool), pitch, cladding, core, "measured", 1.0)


def iec_map(zones: Zones) -> NDArray[np.uint8]:
    assert zones.cladding is not None
    radius = zones.cladding.radius_map(zones.shape)
    codes = np.select([radius <= 0.5, radius <= 1.0, radius <= 1.1, radius <= 1.8], [1, 2, 3, 4], 0)
    return codes.astype(np.uint8)


def face(zones: Zones) -> Image:
    image = np.select(
        [zones.anatomy == AnatomyZone.CORE, zones.anatomy == AnatomyZone.CLADDING], [150, 90], 120.0
    )
    return np.asarray(image + np.random.default_rng(0).normal(0, 1, zones.shape))


def from_mask(mask: NDArray[np.bool_], *, detector: str = "region", polarity: int = -1) -> Defect:
    y, x = np.nonzero(mask)
    box = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
    return Defect(box.copy(), int(x.min()), int(y.min()), detector, 4.0, polarity)


def spot(zones: Zones, x_um: float, y_um: float, diameter_um: float) -> Image:
    """Coverage of a disc at a place in um from the centre of the fibre (y up)."""
    assert zones.cladding is not None
    y, x = np.mgrid[: zones.shape[0] * 4, : zones.shape[1] * 4]
    v = -((y + 0.5) / 4 - 0.5 - zones.cladding.cy_px) * UM[0] - y_um
    u = ((x + 0.5) / 4 - 0.5 - zones.cladding.cx_px) * UM[1] - x_um
    inside = np.hypot(u, v) <= diameter_um / 2
    return np.asarray(inside.reshape(zones.shape[0], 4, zones.shape[1], 4).mean(axis=(1, 3)))


def stroke(zones: Zones, angle_deg: float, length_um: float, width_um: float) -> Image:
    """Coverage of a straight line from the centre of the fibre outwards."""
    assert zones.cladding is not None
    y, x = np.mgrid[: zones.shape[0] * 4, : zones.shape[1] * 4]
    v = -((y + 0.5) / 4 - 0.5 - zones.cladding.cy_px) * UM[0]
    u = ((x + 0.5) / 4 - 0.5 - zones.cladding.cx_px) * UM[1]
    a = math.radians(angle_deg)
    along, across = u * math.cos(a) + v * math.sin(a), v * math.cos(a) - u * math.sin(a)
    inside = (along >= 0) & (along <= length_um) & (np.abs(across) <= width_um / 2)
    return np.asarray(inside.reshape(zones.shape[0], 4, zones.shape[1], 4).mean(axis=(1, 3)))


def scene() -> tuple[Image, Zones, tuple[Defect, ...]]:
    """A fibre with a pit, a scratch across all zones and a flake."""
    zones = fibre()
    image = face(zones)
    defects = []
    for share, depth in (
        (spot(zones, 18, 5, 5), -50),
        (stroke(zones, 30, 50, 2.4), -40),
        (spot(zones, -30, -25, 12), 35),
    ):
        image = image + depth * share
        defects.append(from_mask(share >= 0.5, polarity=int(np.sign(depth))))
    return image, zones, tuple(defects)


def test_no_defects_give_a_typed_empty_table() -> None:
    zones = fibre()
    table = measure_defects(face(zones), zones, iec_map(zones), ())
    assert table.height == 0
    assert dict(table.schema) == schema_of(DEFECT_COLUMNS)


def test_columns_are_unique_documented_and_finite() -> None:
    image, zones, defects = scene()
    table = measure_defects(image, zones, iec_map(zones), defects)
    assert dict(table.schema) == schema_of(DEFECT_COLUMNS)
    assert len({c.name for c in DEFECT_COLUMNS}) == len(DEFECT_COLUMNS)
    assert all(c.meaning for c in DEFECT_COLUMNS + ZONE_COLUMNS + ZONE_LABEL_COLUMNS)
    numbers = table.select(pl.selectors.float())
    assert np.isfinite(numbers.to_numpy()).all()
    assert table.null_count().sum_horizontal().item() == 0


def test_known_scene() -> None:
    image, zones, defects = scene()
    pit, scratch, flake = measure_defects(image, zones, iec_map(zones), defects).to_dicts()
    assert pit["diameter_um"] == pytest.approx(5.0, abs=0.3)
    assert pit["area_um2"] == pytest.approx(math.pi * 6.25, rel=0.08)
    assert (pit["anatomy_zone"], pit["iec_zone"], pit["is_line"]) == ("cladding", "B", False)
    assert pit["contrast_gray"] == pytest.approx(-50, abs=6)
    assert pit["contrast"] == pytest.approx(50 / 90, abs=0.08)
    assert pit["snr"] > 20
    assert pit["distance_um"] == pytest.approx(math.hypot(18, 5), abs=0.1)
    assert pit["angle_deg"] == pytest.approx(math.degrees(math.atan2(5, 18)), abs=0.5)
    assert scratch["length_um"] == pytest.approx(50, rel=0.03)
    assert scratch["width_um"] == pytest.approx(2.4, abs=0.3)
    assert scratch["orientation_deg"] == pytest.approx(30, abs=1)
    assert scratch["iec_zones"] == "A;B;C;D"
    assert (scratch["anatomy_zone"], scratch["iec_zone"], scratch["is_line"]) == ("core", "A", True)
    assert scratch["rim_distance_um"] == 0.0
    assert scratch["contrast_gray"] == pytest.approx(-40, abs=8)
    assert flake["polarity"] == 1
    assert flake["diameter_um"] == pytest.approx(12, abs=0.4)
    assert flake["rim_distance_um"] == pytest.approx(math.hypot(30, 25) - 36, abs=0.4)


@pytest.mark.parametrize("diameter_um", [2.0, 4.0, 7.0, 10.0])
def test_diameter_bias_is_below_0_3_um(diameter_um: float) -> None:
    zones = fibre((80, 90))
    image = face(zones)
    errors = []
    for k in range(12):
        share = spot(zones, 0.31 * k, -0.23 * k, diameter_um)
        defect = from_mask(share >= 0.5)
        table = measure_defects(image - 40 * share, zones, iec_map(zones), (defect,))
        errors.append(table["diameter_um"][0] - diameter_um)
    assert abs(np.mean(errors)) <= 0.3


@pytest.mark.parametrize("angle_deg", [0, 40, 75])
def test_edges_of_core_and_rim_leave_widths_alone(angle_deg: float) -> None:
    zones = fibre()
    for depth in (-25, 25):
        share = stroke(zones, angle_deg, 42, 2.4)
        image = cv2.GaussianBlur(face(zones) + depth * share, (0, 0), 1.0)
        defect = from_mask(share >= 0.5, polarity=int(np.sign(depth)))
        table = measure_defects(image, zones, iec_map(zones), (defect,), blur_px=1.0)
        assert table["width_um"][0] == pytest.approx(2.4, abs=0.4)


def test_order_of_defects_only_permutes_rows() -> None:
    image, zones, defects = scene()
    one = measure_defects(image, zones, iec_map(zones), defects).drop("instance")
    two = measure_defects(image, zones, iec_map(zones), defects[::-1]).drop("instance")
    assert_frame_equal(one, two.reverse())


def test_gain_and_offset_leave_geometry_and_texture() -> None:
    image, zones, defects = scene()
    one = measure_defects(image, zones, iec_map(zones), defects)
    two = measure_defects(image * 2.5, zones, iec_map(zones), defects)
    gray = {c.name for c in DEFECT_COLUMNS if c.unit.startswith("gray")}
    same = [c.name for c in DEFECT_COLUMNS if c.name not in gray]
    assert_frame_equal(one.select(same), two.select(same), rel_tol=1e-3, abs_tol=1e-3)
    assert two["contrast_gray"].to_list() == pytest.approx((2.5 * one["contrast_gray"]).to_list(), rel=1e-3)
    three = measure_defects(image + 40, zones, iec_map(zones), defects)
    for name in ("width_um", "snr", "contrast_gray", "glcm_contrast", "edge_sharpness"):
        assert three[name].to_list() == pytest.approx(one[name].to_list(), rel=1e-2), name


def test_quarter_turn() -> None:
    image, zones, defects = scene()
    assert zones.cladding is not None
    rim = zones.cladding
    turned_rim = Ellipse(rim.cy_px, zones.shape[1] - 1 - rim.cx_px, rim.ry_px, rim.rx_px)
    turned = replace(
        zones,
        anatomy=np.rot90(zones.anatomy),
        valid=np.rot90(zones.valid),
        calibration=Calibration(UM[0], UM[1], "settings"),
        cladding=turned_rim,
    )
    masks = []
    for defect in defects:
        full = np.zeros(zones.shape, bool)
        full[defect.box] = defect.mask
        masks.append(from_mask(np.rot90(full), polarity=defect.polarity))
    one = measure_defects(image, zones, iec_map(zones), defects)
    two = measure_defects(np.rot90(image), turned, np.rot90(iec_map(zones)), tuple(masks))
    for name, tolerance in (
        ("diameter_um", 1e-3),
        ("length_um", 0.02),
        ("width_um", 0.05),
        ("area_um2", 1e-9),
    ):
        assert two[name].to_list() == pytest.approx(one[name].to_list(), rel=tolerance), name
    for name in ("solidity", "contrast", "glcm_energy", "radius_norm", "iec_zones", "hu_1", "lbp_3"):
        expected = one[name].to_list()
        assert two[name].to_list() == (expected if name == "iec_zones" else pytest.approx(expected, abs=1e-4))
    assert two["orientation_deg"][1] == pytest.approx(one["orientation_deg"][1] + 90, abs=0.1)
    assert two["angle_deg"][0] == pytest.approx(one["angle_deg"][0] + 90, abs=0.1)


def test_sizes_scale_with_the_pitch() -> None:
    image, zones, defects = scene()
    twice = replace(zones, calibration=Calibration(2 * UM[1], 2 * UM[0], "settings"))
    one = measure_defects(image, zones, iec_map(zones), defects)
    two = measure_defects(image, twice, iec_map(zones), defects)
    for name in ("diameter_um", "length_um", "width_um", "max_width_um", "distance_um"):
        assert two[name].to_list() == pytest.approx((2 * one[name]).to_list(), rel=1e-3), name
    for name in ("diameter_px", "line_width_px", "straightness", "solidity"):
        assert two[name].to_list() == pytest.approx(one[name].to_list(), rel=1e-3), name


def test_unknown_pitch_leaves_micrometres_empty() -> None:
    image, zones, defects = scene()
    unknown = replace(zones, calibration=Calibration())
    table = measure_defects(image, unknown, iec_map(zones), defects)
    for column in DEFECT_COLUMNS:
        empty = column.unit in ("um", "um2")
        assert (table[column.name].null_count() == table.height) is empty, column.name


def test_plain_surface_has_no_positions() -> None:
    image, zones, defects = scene()
    plain = replace(zones, found=False, cladding=None, core=None)
    table = measure_defects(image, plain, np.zeros(zones.shape, np.uint8), defects)
    assert table["radius_norm"].null_count() == table.height
    assert set(table["iec_zone"]) == {"outside"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_image_types_and_read_only_views(dtype: type) -> None:
    image, zones, defects = scene()
    typed = np.clip(image, 0, 255).astype(dtype)
    before = typed.copy()
    typed.flags.writeable = False
    table = measure_defects(typed, zones, iec_map(zones), defects)
    assert (typed == before).all()
    assert table["diameter_um"][0] == pytest.approx(5.0, abs=0.3)


def test_defects_at_the_image_border_and_of_one_pixel() -> None:
    zones = fibre((60, 64))
    corner = Defect(np.ones((3, 4), bool), 60, 57, "region", 2.0)
    dot = Defect(np.ones((1, 1), bool), 0, 0, "region", 2.0)
    whole = Defect(np.ones((60, 64), bool), 0, 0, "region", -400.0)
    table = measure_defects(np.zeros((60, 64)), zones, iec_map(zones), (corner, dot, whole))
    assert table["area_px"].to_list() == [12, 1, 3840]
    assert table["confidence"].to_list() == pytest.approx([0.990099, 0.990099, 0.0], abs=1e-5)
    assert np.isfinite(table.select(pl.selectors.float()).to_numpy()).all()


def test_people_are_believed() -> None:
    _, zones, defects = scene()
    drawn = replace(defects[0], provenance="edited", score=-3.0)
    assert measure_defects(face(zones), zones, iec_map(zones), (drawn,))["confidence"][0] == 1.0


def test_zones_table() -> None:
    image, zones, defects = scene()
    table = measure_zones(image, zones, defects)
    assert dict(table.schema) == schema_of(ZONE_COLUMNS)
    assert table["zone"].to_list() == ["core", "cladding", "ferrule"]
    core, cladding, ferrule = table.to_dicts()
    assert core["mean_intensity"] == pytest.approx(150, abs=0.5)
    assert core["radius_um"] == pytest.approx(10)
    assert core["center_offset_um"] == pytest.approx(UM[1])
    assert core["ellipticity"] == pytest.approx(0.0)
    assert cladding["zone_area_um2"] == pytest.approx(math.pi * (900 - 100), rel=0.01)
    assert [row["n_defects"] for row in (core, cladding, ferrule)] == [1, 2, 2]
    assert ferrule["radius_um"] is None
    clean = measure_zones(image, zones, ())
    assert clean["cleanliness"].to_list() == [1.0, 1.0, 1.0]
    covered = sum(d.area_px for d in defects)
    assert table["defect_area_px"].sum() == pytest.approx(covered, abs=20)


def test_labels_of_zones() -> None:
    image, zones, defects = scene()
    table = measure_defects(image, zones, iec_map(zones), defects).with_columns(
        pl.Series("type", ["pit_chip", "scratch", "contamination"]),
        pl.Series("severity_score", [50.0, 80.0, 20.0]),
        pl.Series("severity_level", ["medium", "high", "low"]),
    )
    labelled = label_zones(measure_zones(image, zones, defects), table)
    core, cladding, ferrule = labelled.to_dicts()
    assert (core["label"], core["worst_type"], core["worst_severity"]) == ("defective", "scratch", "high")
    assert cladding["n_defects"] == 1
    assert cladding["label_reason"] == "1 pit_chip"
    assert cladding["largest_defect_um"] == pytest.approx(5, abs=0.3)
    assert ferrule["worst_severity_score"] == 20.0
    clean = label_zones(measure_zones(image, zones, ()), table.clear())
    assert set(clean["label"]) == {"clean"}
    assert clean["n_defects"].to_list() == [0, 0, 0]
    assert dict(clean.schema) == dict(labelled.schema)


def test_labels_of_zones_of_many_images_do_not_mix() -> None:
    image, zones, defects = scene()
    defect_table = measure_defects(image, zones, iec_map(zones), defects).with_columns(
        pl.lit("scratch").alias("type"), pl.lit("one").alias("image_id")
    )
    one = measure_zones(image, zones, defects)
    both = pl.concat([one.with_columns(image_id=pl.lit(name)) for name in ("one", "two")])
    labelled = label_zones(both, defect_table.sample(fraction=1.0, shuffle=True, seed=1))
    assert labelled["label"].to_list() == ["defective"] * 3 + ["clean"] * 3


def test_pixel_maps() -> None:
    image, zones, _ = scene()
    maps = pixel_maps(image, zones)
    for values in vars(maps).values():
        assert values.shape == zones.shape
    assert maps.lbp.max() <= 9
    edge = maps.gradient[zones.shape[0] // 2]
    assert int(np.argmax(edge[:100])) == pytest.approx(zones.shape[1] / 2 - 30 / UM[1], abs=2)


@pytest.mark.real
def test_sizes_of_labelled_spots_on_real_images(real_data: Path) -> None:
    """Masks drawn from the label ellipses measure as large as those say, with unequal pitch."""
    folder = real_data / "endface"
    record = json.loads((folder / "labels" / "DSCN0030.json").read_text())
    gray = cv2.imdecode(
        np.fromfile(folder / "grabber_720x576" / "DSCN0030.JPG", np.uint8), cv2.IMREAD_GRAYSCALE
    )
    rim = record["cladding"]
    cladding = Ellipse(rim["cx"], rim["cy"], rim["rx"], rim["ry"])
    pitch = Calibration(62.5 / rim["rx"], 62.5 / rim["ry"], "cladding")
    anatomy = np.where(cladding.radius_map(gray.shape) <= 1, 2, 3).astype(np.uint8)
    zones = Zones(True, "", anatomy, gray > 12, pitch, cladding)
    defects, expected = [], []
    for blob in record["blobs"]:
        canvas = np.zeros(gray.shape, np.uint8)
        axes = (max(blob["rx"], 0.8), max(blob["ry"], 0.8))
        y, x = np.mgrid[: gray.shape[0], : gray.shape[1]]
        canvas = np.hypot((x - blob["cx"]) / axes[0], (y - blob["cy"]) / axes[1]) <= 1
        if canvas.any():
            defects.append(from_mask(canvas))
            expected.append(2 * max(axes[0] * 62.5 / rim["rx"], axes[1] * 62.5 / rim["ry"]))
    table = measure_defects(gray, zones, anatomy, tuple(defects))
    error = table["diameter_um"].to_numpy() - np.array(expected)
    # labels were drawn around what is seen, blur included: the spots themselves are up to a pixel smaller
    assert -0.65 < float(np.median(error)) < 0.1
    assert (table["contrast_gray"] < 0).mean() > 0.8


@pytest.mark.parametrize(("start_um", "length_um", "beyond_um"), [(15, 15, 0), (0, 19, -11), (0, 39, 9)])
def test_how_far_a_line_reaches_beyond_the_rim(start_um: float, length_um: float, beyond_um: float) -> None:
    zones = fibre()
    share = stroke(zones, 30, start_um + length_um, 2.4) - stroke(zones, 30, start_um, 2.4)
    image = face(zones) - 40 * share
    table = measure_defects(image, zones, zones.anatomy, (from_mask(share >= 0.5),))
    assert table["beyond_rim_um"][0] == pytest.approx(beyond_um, abs=0.8)


def test_a_jagged_line_from_the_rim_is_a_crack_and_a_smooth_or_crossing_one_a_scratch() -> None:
    zones = fibre()
    share = stroke(zones, 30, 30, 1.6) - stroke(zones, 30, 6, 1.6)
    table = measure_defects(face(zones) - 40 * share, zones, zones.anatomy, (from_mask(share >= 0.5),))

    def chances(crest_waviness: float, beyond_rim_um: float) -> tuple[float, float]:
        changed = {"crest_waviness": crest_waviness, "beyond_rim_um": beyond_rim_um}
        looks = table.with_columns(pl.lit(value).alias(name) for name, value in changed.items())
        scratch, _, pit_chip = class_probabilities(looks.with_columns(rim_share=pl.lit(0.1)))[0]
        return scratch, pit_chip

    jagged, smooth, crossing, inside = chances(0.02, 0), chances(0, 0), chances(0.02, 20), chances(0.02, -20)
    assert jagged[0] < smooth[0] < crossing[0]
    assert jagged[1] > smooth[1] > crossing[1]
    assert crossing == inside
    assert crossing[0] > 0.8


def test_alike_are_compact_defects_half_to_twice_as_large() -> None:
    zones = fibre()
    sizes = [3.0, 3.0, 4.0, 9.0, 10.0, 25.0]
    places = [(-20.0, 12.0), (-12.0, 12.0), (-4.0, 12.0), (10.0, 12.0), (-14.0, -8.0), (14.0, -12.0)]
    shares = [spot(zones, *at, size) for at, size in zip(places, sizes, strict=True)]
    image = face(zones) - 60 * np.maximum.reduce(shares)
    spots = tuple(from_mask(share >= 0.5) for share in shares)
    assert measure_defects(image, zones, zones.anatomy, spots)["n_alike"].to_list() == [3, 3, 3, 2, 2, 1]


def test_iec_names_cover_the_codes() -> None:
    assert {zone.name for zone in IecZone} == {"OUTSIDE", "A", "B", "C", "D"}


def test_documentation_lists_every_column() -> None:
    text = (Path(__file__).parents[1] / "docs" / "features.md").read_text(encoding="utf-8")
    for column in DEFECT_COLUMNS + ZONE_COLUMNS + ZONE_LABEL_COLUMNS:
        assert f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |" in text, column.name
