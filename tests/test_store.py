"""The run folder: what is written comes back, a failed write leaves the old file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from endface import store
from endface.annotation import Calibration, Zones
from endface.errors import FormatError, SettingsError
from endface.imaging.ellipse import Ellipse
from endface.schema import DEFECT_COLUMNS, IMAGE_COLUMNS, conform


@given(seed=st.integers(0, 99), dtype=st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=10, deadline=None)
def test_images_and_masks_come_back(seed: int, dtype: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("png") / "x.png"
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (33, 41)).astype(dtype)
    store.write_gray(path, image)
    back = store.read_png(path)
    assert back.dtype == dtype
    assert np.array_equal(back, image)


def test_masks_are_palette_images_of_their_codes(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 5, (33, 41)).astype(np.uint8)
    store.write_palette(tmp_path / "m.png", codes, kind="anatomy")
    assert np.array_equal(store.read_png(tmp_path / "m.png"), codes)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
        assert len(set(image.getpalette()[:15:3])) > 2


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.txt"
    store.write_bytes(path, b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["t.txt"]


def test_folders_that_are_no_run_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(SettingsError, match="not those of a run"):
        store.open_run_folder(tmp_path / "mine", fresh=True)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(SettingsError, match="found a file"):
        store.open_run_folder(tmp_path / "mine" / "thesis.txt")


def test_fresh_removes_only_what_a_run_writes(tmp_path: Path) -> None:
    folder = store.open_run_folder(tmp_path / "run")
    store.write_bytes(folder.overlay("a"), b"x")
    store.write_bytes(tmp_path / "run" / "my notes.txt", b"x")
    store.open_run_folder(tmp_path / "run", fresh=True)
    assert not folder.overlay("a").exists()
    assert (tmp_path / "run" / "my notes.txt").exists()


def test_sweep_keeps_what_it_is_told(tmp_path: Path) -> None:
    folder = store.open_run_folder(tmp_path / "run")
    for name in ("a", "b"):
        store.write_bytes(folder.image(name), b"x")
    store.write_bytes(folder.patch("b_001", "other", "low"), b"x")
    (folder.image("a").parent / ".123-4.tmp").write_bytes(b"x")
    assert store.sweep(folder, [folder.image("a")]) == 3
    assert folder.image("a").exists()
    assert not (tmp_path / "run" / "defect_library").exists()


def record(**changes: object) -> store.Record:
    values = {
        "image": "sub/a.png",
        "image_id": "sub__a",
        "digest": "d",
        "key": "k",
        "row": {"focus_score": np.float64(0.1) + 0.2, "width_px": np.int64(3), "found": np.bool_(True)},
        "zones": {},
        "zone_rows": [{"zone": "core", "entropy": float("nan")}],
        "columns": store.columns_of(pl.DataFrame({"instance": [1, 2], "area_um2": [0.1, None]})),
    }
    return store.Record(**(values | changes))


def test_records_come_back_to_the_last_digit(tmp_path: Path) -> None:
    folder = store.open_run_folder(tmp_path / "run")
    store.write_record(folder, record())
    back = store.read_record(folder, "sub__a")
    assert back is not None
    assert back.row == {"focus_score": 0.1 + 0.2, "width_px": 3, "found": True}
    assert back.zone_rows == [{"zone": "core", "entropy": None}]
    assert back.defects.equals(record().defects)


def test_an_image_is_finished_only_with_key_and_all_files(tmp_path: Path) -> None:
    folder = store.open_run_folder(tmp_path / "run")
    assert store.read_record(folder, "sub__a") is None
    store.write_record(folder, record())
    assert not store.is_finished(folder, "sub__a", "k")
    for path in [
        folder.image("sub__a"),
        *(folder.mask("sub__a", kind) for kind in ("zones", "iec", "instances")),
    ]:
        store.write_bytes(path, b"x")
    assert store.is_finished(folder, "sub__a", "k")
    assert not store.is_finished(folder, "sub__a", "other")
    folder.record("sub__a").write_text("{ cut off")
    assert not store.is_finished(folder, "sub__a", "k")
    assert store.read_record(folder, "sub__a") is None


def test_zones_come_back() -> None:
    anatomy = np.full((20, 20), 3, np.uint8)
    anatomy[0] = 0
    zones = Zones(
        found=True,
        reason="",
        anatomy=anatomy,
        valid=anatomy > 0,
        calibration=Calibration(0.5, 0.55, "cladding"),
        cladding=Ellipse(9.5, 10.5, 8.0, 7.5),
        confidence=0.75,
        rings_px=(9.0,),
        flags=("core not visible",),
        adhesive=Ellipse(9.0, 10.5, 9.5, 9.0),
    )
    back = store.zones_from_record(store.zones_to_record(zones), anatomy)
    assert np.array_equal(back.valid, zones.valid)
    for name in (
        "found",
        "calibration",
        "cladding",
        "core",
        "core_source",
        "confidence",
        "rings_px",
        "flags",
        "adhesive",
    ):
        assert getattr(back, name) == getattr(zones, name)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(FormatError, match=r"x\.png"):
        store.read_png(tmp_path / "x.png")
    with pytest.raises(FormatError, match="absent"):
        store.read_json(tmp_path / "absent.json")


def test_empty_tables_have_all_columns_and_types(tmp_path: Path) -> None:
    table = conform(pl.DataFrame(), DEFECT_COLUMNS)
    assert table.columns == [column.name for column in DEFECT_COLUMNS]
    store.write_table(tmp_path / "t.parquet", table)
    assert pl.read_parquet(tmp_path / "t.parquet").schema == table.schema
    store.write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text().strip() == ",".join(table.columns)


def test_unknown_numbers_are_empty_and_flags_are_words(tmp_path: Path) -> None:
    rows = pl.DataFrame({"image": ["a"], "found": [False], "focus_score": [float("nan")], "notes": [""]})
    store.write_table(tmp_path / "t.csv", conform(rows, IMAGE_COLUMNS))
    header, row = (tmp_path / "t.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert (cells["found"], cells["focus_score"], cells["notes"], cells["core_rx_px"]) == (
        "false",
        "",
        "",
        "",
    )
