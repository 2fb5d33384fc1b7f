"""A folder of images in, a run folder out: complete, resumable, the same bytes whatever happens."""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

import endface
from endface import drawing, judging, parts, pipeline
from endface.config import load_settings
from endface.errors import InputError, SettingsError
from endface.schema import DEFECT_COLUMNS, FAILURE_COLUMNS, IMAGE_COLUMNS, ZONE_COLUMNS

SHAPE = (260, 300)


def end_face(seed: int = 0, *, defects: bool = True) -> np.ndarray:
    """Draw a 50/125 um fibre of 1 um per px with a scratch, a pit and a speck."""
    rng = np.random.default_rng(seed)
    scale = 8
    canvas = np.full((SHAPE[0] * 2, SHAPE[1] * 2), 150, np.uint8)
    centre = (SHAPE[1] * scale + seed * 3, SHAPE[0] * scale - seed * 2)
    cv2.circle(canvas, centre, 180 * scale, 95, -1, cv2.LINE_AA, shift=3)
    cv2.circle(canvas, centre, 72 * scale, 125, -1, cv2.LINE_AA, shift=3)
    if defects:
        x, y = centre[0] // scale, centre[1] // scale
        cv2.line(canvas, (x - 60, y - 100), (x + 90, y - 20), 60, 3, cv2.LINE_AA)
        cv2.circle(canvas, (x + 30, y + 30), 7, 30, -1, cv2.LINE_AA)
        cv2.circle(canvas, (x - 90, y + 60), 5 + seed % 3, 200, -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(cv2.resize(canvas, SHAPE[::-1], interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    return np.clip(image + rng.normal(0, 1.5, SHAPE), 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(path.suffix, image)[1]))
    return path


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for k in range(4):
        write(folder / f"face {k}.png", end_face(k, defects=k != 3))
    write(folder / "deep" / "gray16.tif", end_face(5).astype(np.uint16) * 257)
    return folder


@pytest.fixture(scope="session")
def finished(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    pipeline.run([faces], out, jobs=1)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run, without what may differ between two equal ones."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = json.loads(files["run.json"])
    del manifest["timings"]
    return files | {"run.json": json.dumps(manifest).encode()}


def assert_same(one: Path, other: Path) -> None:
    first, second = contents(one), contents(other)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ── the contract ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_file_of_the_contract_is_there(finished: Path) -> None:
    images = rows_of(finished / "image_level" / "image_labels.csv")
    ids = [row["image_id"] for row in images]
    assert ids == ["deep__gray16", "face 0", "face 1", "face 2", "face 3"]
    for image_id in ids:
        assert (finished / "pixel_level" / "images" / f"{image_id}.png").is_file()
        assert (finished / "segmentation_masks" / f"{image_id}_overlay.png").is_file()
        for kind in ("mask", "zones", "iec", "instances"):
            assert (finished / "pixel_level" / "masks" / f"{image_id}_{kind}.png").is_file()
    defects = rows_of(finished / "defect_library" / "defect_library_index.csv")
    assert defects
    for row in defects:
        patch = finished / "defect_library" / row["type"] / row["severity_level"] / f"{row['defect_id']}.png"
        assert patch.is_file()
    assert (finished / "failures.csv").read_text() == "image,stage,error,hint\n"


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("image_level/image_labels.parquet", IMAGE_COLUMNS),
        ("defect_library/defect_library_index.parquet", DEFECT_COLUMNS),
        ("region_level/zone_defect_features.parquet", ZONE_COLUMNS),
    ],
)
def test_tables_start_with_the_columns_of_the_contract(finished: Path, file: str, columns: tuple) -> None:
    table = pl.read_parquet(finished / file)
    assert table.columns[: len(columns)] == [column.name for column in columns]
    csv_file = (finished / file).with_suffix(".csv")
    if csv_file.exists():
        assert len(rows_of(csv_file)) == table.height


def test_masks_and_tables_say_the_same(finished: Path, faces: Path) -> None:
    codes = {"scratch": 1, "contamination": 2, "pit_chip": 3, "other": 4}
    for row in rows_of(finished / "image_level" / "image_labels.csv"):
        masks = {
            kind: np.asarray(Image.open(finished / f"pixel_level/masks/{row['image_id']}_{kind}.png"))
            for kind in ("mask", "zones", "iec", "instances")
        }
        own = [
            item
            for item in rows_of(finished / "defect_library" / "defect_library_index.csv")
            if item["image_id"] == row["image_id"]
        ]
        assert int(row["n_defects"]) == len(own) == masks["instances"].max()
        for item in own:
            here = masks["instances"] == int(item["instance"])
            assert here.sum() == int(item["area_px"])
            assert set(np.unique(masks["mask"][here])) == {codes[item["type"]]}
            ys, xs = np.nonzero(here)
            assert (xs.min(), ys.min()) == (int(item["x_px"]), int(item["y_px"]))
            assert float(item["centroid_x_px"]) == pytest.approx(xs.mean(), abs=0.01)
            assert item["iec_zone"] in "ABCD" or item["iec_zone"] == "outside"
        for name in codes:
            assert (row[name] == "true") == any(item["type"] == name for item in own)
        assert masks["zones"].max() <= 4
        assert masks["iec"].max() <= 4


def test_images_are_kept_at_their_depth(finished: Path, faces: Path) -> None:
    image = np.asarray(Image.open(finished / "pixel_level/images/deep__gray16.png"))
    assert image.dtype == np.uint16
    assert np.array_equal(image, end_face(5).astype(np.uint16) * 257)


def test_the_fibre_is_measured(finished: Path) -> None:
    for row in rows_of(finished / "image_level" / "image_labels.csv"):
        assert row["found"] == "true"
        assert float(row["cladding_rx_px"]) == pytest.approx(90, rel=0.03)
        assert float(row["um_per_px_x"]) == pytest.approx(125 / 180, rel=0.03)
        assert row["calibration"] == "cladding"
        assert row["profile"] == "mm_pc"


def test_a_clean_face_passes_and_dirty_ones_are_told(finished: Path) -> None:
    rows = {row["image_id"]: row for row in rows_of(finished / "image_level" / "image_labels.csv")}
    assert int(rows["face 3"]["n_defects"]) <= 1
    assert all(int(rows[f"face {k}"]["n_defects"]) >= 3 for k in range(3))


# ── the same bytes ──────────────────────────────────────────────────────────────────────────────────────────


def test_two_processes_write_what_one_writes(faces: Path, finished: Path, tmp_path: Path) -> None:
    pipeline.run([faces], tmp_path / "two", jobs=2)
    assert_same(finished, tmp_path / "two")


def test_a_finished_run_is_taken_over(faces: Path, finished: Path) -> None:
    before = contents(finished)
    stamps = {path: path.stat().st_mtime_ns for path in (finished / "pixel_level").rglob("*.png")}
    summary = pipeline.run([faces], finished, jobs=1)
    assert summary.n_reused == summary.n_images == 5
    assert contents(finished) == before
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_lost_and_damaged_files_come_back(faces: Path, finished: Path) -> None:
    before = contents(finished)
    (finished / "pixel_level/masks/face 0_zones.png").unlink()
    (finished / "pixel_level/masks/face 1_mask.png").unlink()
    (finished / "journal/face 2.json").write_text("{")
    (finished / "segmentation_masks/leftover.png").write_bytes(b"x")
    pipeline.run([faces], finished, jobs=1)
    assert contents(finished) == before


def test_images_that_are_gone_leave_nothing_behind(faces: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline.run([faces], out, jobs=1)
    one = pipeline.run([faces / "face 0.png"], out, jobs=1)
    assert one.n_removed > 0
    alone = tmp_path / "alone"
    pipeline.run([faces / "face 0.png"], alone, jobs=1)
    assert_same(out, alone)


def test_other_settings_redo_what_they_touch(faces: Path, tmp_path: Path) -> None:
    image, out = faces / "face 0.png", tmp_path / "out"
    pipeline.run([image], out, jobs=1)
    weights = load_settings(overrides={"severity.high_from": 99.0, "severity.medium_from": 98.0})
    assert pipeline.run([image], out, jobs=1, settings=weights).n_reused == 1
    assert {row["severity_level"] for row in rows_of(out / "defect_library/defect_library_index.csv")} == {
        "low"
    }
    assert not (out / "defect_library" / "scratch" / "high").exists()
    epsilon = load_settings(overrides={"detection.epsilon": 1e-3})
    assert pipeline.run([image], out, jobs=1, settings=epsilon).n_reused == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_any_moment_and_completed_it_is_the_same(
    faces: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "endface.cli",
        "run",
        str(faces),
        "-o",
        str(out),
        "--jobs",
        "2",
        "--no-report",
    ]
    chance = random.Random(5)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 20
        wanted = chance.randint(1, 25)
        while process.poll() is None and time.monotonic() < limit:
            if out.is_dir() and sum(1 for path in out.rglob("*") if path.is_file()) >= wanted:
                break
            time.sleep(0.005)
        process.kill()
        process.wait()
        wait_until_quiet(out)
    pipeline.run([faces], out, jobs=1)
    assert_same(finished, out)


def wait_until_quiet(folder: Path) -> None:
    """Give workers of a killed run the moment they need to notice."""
    seen = -1
    for _ in range(50):
        now = sum(path.stat().st_mtime_ns for path in folder.rglob("*.png")) if folder.is_dir() else 0
        if now == seen:
            return
        seen = now
        time.sleep(0.2)


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def bad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    face = end_face(0)
    (folder / "text.png").write_text("this is no image\n" * 10)
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(bytes(cv2.imencode(".jpg", face)[1])[:3000])
    write(folder / "deep.tif", face.astype(np.uint16) * 16)
    Image.merge("CMYK", [Image.fromarray(255 - face)] * 3 + [Image.new("L", SHAPE[::-1], 0)]).save(
        folder / "cmyk.jpg"
    )
    write(folder / "black.png", np.zeros(SHAPE, np.uint8))
    write(folder / "white.png", np.full(SHAPE, 255, np.uint8))
    ramp = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1]))
    write(folder / "foreign.png", (ramp // 37 % 2 * 90 + ramp % 50 + 40).astype(np.uint8))
    write(folder / "a.png", face)
    write(folder / "a.jpg", end_face(1))
    write(folder / "Übergröße mit Leerzeichen.bmp", end_face(2))
    (folder / "notes.txt").write_text("not mine")
    return folder


def test_bad_files_are_named_and_everything_else_is_complete(bad_folder: Path, tmp_path: Path) -> None:
    summary = pipeline.run([bad_folder], tmp_path / "out", jobs=1)
    failures = {row["image"]: row for row in rows_of(tmp_path / "out" / "failures.csv")}
    assert set(failures) == {"text.png", "empty.png", "cut.jpg"}
    assert all(row["hint"] and row["stage"] == "read" for row in failures.values())
    assert summary.n_failed == 3
    rows = {row["image"]: row for row in rows_of(tmp_path / "out" / "image_level/image_labels.csv")}
    assert len(rows) == 8
    assert {rows["a.png"]["image_id"], rows["a.jpg"]["image_id"]} == {"a_png", "a_jpg"}
    for name in ("black.png", "white.png", "foreign.png"):
        assert rows[name]["pass_fail"] == "INDETERMINATE", rows[name]
        assert rows[name]["fail_reason"]
        assert rows[name]["found"] == "false"
        assert rows[name]["cladding_rx_px"] == ""
    assert "too dark" in rows["black.png"]["quality_flags"]
    assert "saturated" in rows["white.png"]["quality_flags"]
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["counts"]["failed"] == 3
    assert [item["status"] for item in manifest["inputs"]].count("failed: read") == 3


def test_an_unforeseen_error_costs_one_image_only(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from endface import stages

    original = stages.detect

    def fragile(image: np.ndarray, zones: object, settings: object) -> object:
        if image.dtype == np.uint16:
            raise RuntimeError("something nobody thought of")
        return original(image, zones, settings)

    monkeypatch.setattr(stages, "detect", fragile)
    summary = pipeline.run([faces], tmp_path / "out", jobs=1)
    (failure,) = summary.failures
    assert (failure.image, failure.stage) == ("deep/gray16.tif", "detect")
    assert "something nobody thought of" in failure.error
    assert len(rows_of(tmp_path / "out/image_level/image_labels.csv")) == 4


def test_nothing_but_failures_still_makes_a_run(bad_folder: Path, tmp_path: Path) -> None:
    summary = pipeline.run([bad_folder / "text.png"], tmp_path / "out", jobs=1)
    assert summary.n_failed == summary.n_images == 1
    header = (tmp_path / "out/image_level/image_labels.csv").read_text().strip()
    assert header == ",".join(column.name for column in IMAGE_COLUMNS)
    failures = (tmp_path / "out" / "failures.csv").read_text().splitlines()
    assert failures[0] == ",".join(column.name for column in FAILURE_COLUMNS)


def test_wrong_settings_write_nothing(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for overrides in ({"grading.profile": "nonsense"}, {"detection.detector": "nonsense"}):
        with pytest.raises(SettingsError, match="nonsense"):
            pipeline.run([faces], out, settings=load_settings(overrides=overrides))
    with pytest.raises(InputError):
        pipeline.run([tmp_path / "absent"], out)
    assert not out.exists()


# ── one image, other profiles, plain surfaces, exports ─────────────────────────────────────────────────────


def test_annotate_agrees_with_the_run(faces: Path, finished: Path) -> None:
    annotation = endface.annotate(faces / "face 0.png")
    instances = np.asarray(Image.open(finished / "pixel_level/masks/face 0_instances.png"))
    assert np.array_equal(annotation.instances(), instances)
    assert annotation.table.height == len(annotation.defects)
    assert {"type", "severity_score", "severity_level"} <= set(annotation.table.columns)
    same = endface.annotate(np.dstack([end_face(0)] * 3))
    assert same.verdict == annotation.verdict


def test_grading_again_is_running_with_that_profile(faces: Path, finished: Path, tmp_path: Path) -> None:
    before = contents(finished)
    pipeline.regrade(finished, profile="sm_upc", out=tmp_path / "again", jobs=1)
    assert contents(finished) == before
    settings = load_settings(overrides={"grading.profile": "sm_upc"})
    pipeline.run([faces], tmp_path / "directly", settings=settings, jobs=1)
    assert_same(tmp_path / "again", tmp_path / "directly")
    pipeline.regrade(tmp_path / "again", profile="auto", jobs=1)
    rows = rows_of(tmp_path / "again/image_level/image_labels.csv")
    assert {row["profile"] for row in rows} == {"mm_pc"}
    assert rows == rows_of(finished / "image_level/image_labels.csv")


def test_grading_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder of a run"):
        pipeline.regrade(tmp_path)


def test_plain_surface_has_no_verdict(faces: Path, tmp_path: Path) -> None:
    settings = load_settings(
        overrides={"surface": "plain", "output.combined_masks": True, "output.arrays": "npz"}
    )
    pipeline.run([faces / "face 0.png"], tmp_path / "out", settings=settings, jobs=1)
    (row,) = rows_of(tmp_path / "out/image_level/image_labels.csv")
    assert (row["pass_fail"], row["found"], row["um_per_px_x"]) == ("INDETERMINATE", "false", "")
    assert "no fibre" not in row["quality_flags"]
    assert (tmp_path / "out/exports/combined_masks/face 0.png").is_file()
    assert (tmp_path / "out/exports/arrays.npz").is_file()


def test_images_judged_one_by_one_give_the_same_tables(
    faces: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "image_level")
    monkeypatch.setattr(judging, "IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(parts, "ROWS_IN_MEMORY", 1)
    assert pipeline.run([faces], out, jobs=1).n_reused == 5
    assert_same(finished, out)


def test_a_defect_the_run_names_otherwise_is_drawn_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out, other = faces / "face 0.png", tmp_path / "out", tmp_path / "other"
    pipeline.run([image], out, jobs=1)
    # alone every defect is called 'other', the run knows better
    monkeypatch.setattr(drawing, "rule_classes", lambda table: (["other"] * table.height, None))
    summary = pipeline.run([image], other, jobs=1)
    assert summary.n_defects > 0
    assert summary.n_removed == 0
    assert_same(out, other)
