"""What images tell together: marks of the optics, the pitch of a scope, faces seen twice."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface import pipeline
from endface.annotation import Defect
from endface.batch.brief import Brief
from endface.batch.finds import Finds
from endface.batch.optics import where_alike
from endface.batch.pitch import pitch_doubts
from endface.batch.residuals import _reduced
from endface.config import Settings, load_settings
from endface.faces import chart_from, chart_of, likely_pairs, same_face
from endface.imaging.facechart import Waves, waves_of
from endface.imaging.fixed_pattern import PatternSum, coincidence_scores, find_fixed_marks
from endface.inputs import InputImage
from endface.report.optics import write_optics
from endface.stages import AnalyseTask, analyse_file
from endface.store import RunFolder, pack_pixels
from endface.zones import segment_zones

SHAPE = (240, 280)
DIRT = ((60, 50), (210, 190), (30, 200))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def face(
    seed: int, *, radius: int = 70, dirt: bool = True, turn_deg: float = 0.0, noise: int = 0
) -> np.ndarray:
    """Draw a face with grain and a pit of its own, moved in the frame, seen through dirty optics."""
    rng = np.random.default_rng(seed)
    moved = np.random.default_rng([seed, noise])
    side = 360
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    sharp = np.where(np.hypot(x, y) < radius, 95.0, 150.0)
    sharp += cv2.GaussianBlur(rng.normal(0, 14, sharp.shape), (0, 0), 1.5)
    angle = rng.uniform(0, 6.28)
    cv2.circle(sharp, (int(180 + 50 * np.cos(angle)), int(180 + 50 * np.sin(angle))), 4, 30.0, -1)
    to = np.array([SHAPE[1] / 2, SHAPE[0] / 2]) + moved.uniform(-25, 25, 2)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), turn_deg, 1.0)
    matrix[:, 2] += to - (side - 1) / 2
    seen = cv2.warpAffine(
        cv2.GaussianBlur(sharp, (0, 0), 0.8), matrix, SHAPE[::-1], borderMode=cv2.BORDER_REFLECT
    )
    if dirt:
        for place in DIRT:
            spot = np.hypot(*(np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array(place[::-1])[:, None, None])) < 4
            seen *= 1 - 0.3 * cv2.GaussianBlur(spot.astype(float), (0, 0), 1.0)
    return np.clip(seen + moved.normal(0, 1.2, SHAPE), 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(path.suffix, image)[1]))


# ── the fixed pattern ───────────────────────────────────────────────────────────────────────────────────────


@given(st.permutations(range(6)))
@settings(max_examples=8, deadline=None)
def test_the_pattern_does_not_depend_on_the_order_of_images(order: list[int]) -> None:
    images = np.random.default_rng(0).normal(0, 1, (6, 40, 50)).astype(np.float32)
    seen = np.ones((40, 50), bool)
    one, other = PatternSum((40, 50), n_groups=6), PatternSum((40, 50), n_groups=6)
    for k in range(6):
        one.add(images[k], seen, group=k)
    for k in order:
        other.add(images[k], seen, group=k)
    np.testing.assert_array_equal(one.pattern(), other.pattern())


def test_what_two_of_six_images_show_is_no_mark() -> None:
    rng = np.random.default_rng(1)
    total = PatternSum((96, 96), n_groups=6)
    for k in range(6):
        image = rng.normal(0, 1, (96, 96)).astype(np.float32)
        image[20:26, 20:26] -= 4
        if k < 2:
            image[60:66, 60:66] -= 40
        total.add(image, np.ones((96, 96), bool), group=k)
    marks = find_fixed_marks(total.pattern(), total.groups, epsilon=0.01)
    lasting = total.agreement(marks.labels) >= 0.75
    assert lasting[marks.labels[22, 22]]
    assert marks.labels[22, 22]
    assert not (marks.labels[62, 62] and lasting[marks.labels[62, 62]])


def test_what_is_now_strong_now_weak_is_no_mark() -> None:
    # scratches cross where a camera is always aimed
    rng = np.random.default_rng(1)
    total = PatternSum((96, 96), n_groups=9)
    for k, strength in enumerate((1.0, 1.0, 12.0, 3.0, 15.0, 1.1, 6.0, 10.0, 4.0)):
        image = rng.normal(0, 0.3, (96, 96)).astype(np.float32)
        image[20:26, 20:26] += 3
        image[60:66, 60:66] += strength
        total.add(image, np.ones((96, 96), bool), group=k)
    marks = find_fixed_marks(total.pattern(), total.groups, epsilon=0.01)
    lasting = total.agreement(marks.labels) >= 0.75
    assert marks.labels[62, 62]
    assert lasting[marks.labels[22, 22]]
    assert not lasting[marks.labels[62, 62]]


def finds_at(*boxes: tuple[slice, slice]) -> Finds:
    """One bright find per box of a frame of 80 x 80."""
    packed = pack_pixels(
        [
            Defect(
                np.ones((rows.stop - rows.start, cols.stop - cols.start), bool),
                x_px=cols.start,
                y_px=rows.start,
                detector="region",
                score=9.0,
                polarity=1,
            )
            for rows, cols in boxes
        ],
        width_px=80,
    )
    n = len(boxes)
    return Finds((80, 80), (), packed, np.arange(1, n + 1), np.ones(n, bool), np.full(n, 5.0))


def test_finds_that_only_cross_are_no_mark() -> None:
    lines = [
        (slice(38, 42), slice(20, 60)), (slice(20, 60), slice(38, 42)), (slice(36, 44), slice(36, 44)),
        (slice(30, 62), slice(37, 40)), (slice(37, 40), slice(30, 64)),
    ]  # fmt: skip
    crossing, speck = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    crossing[20:62, 36:44] = crossing[36:44, 20:64] = True
    speck[9:16, 9:16] = True
    specks = [(slice(10 + k % 2, 15 + k % 3), slice(10, 16 - k % 2)) for k in range(5)]
    seen = [finds_at(*pair) for pair in zip(lines, specks, strict=True)]
    kept = where_alike(crossing | speck, seen)
    np.testing.assert_array_equal(kept, speck)


def test_a_row_that_stands_out_is_a_seam() -> None:
    rows = np.random.default_rng(2).normal(0, 0.3, (128, 160)).astype(np.float32)
    rows[70] += 0.8
    marks = find_fixed_marks(rows, np.full(rows.shape, 9), epsilon=0.01)
    assert [(side, number) for side, number, _ in marks.seams] == [("row", 70)]


def test_more_coincidences_are_surer_and_crowds_less_sure() -> None:
    counts = np.zeros((80, 80), np.int64)
    counts[20, 20], counts[20, 60] = 3, 5
    seen = np.full((80, 80), 8)
    scores = coincidence_scores(counts, seen, share=0.01, reach_px=12)
    assert scores[20, 60] > scores[20, 20] > 0
    assert coincidence_scores(counts, seen, share=0.1, reach_px=12)[20, 20] < scores[20, 20]


# ── the pitch of a scope ────────────────────────────────────────────────────────────────────────────────────


def pitches(values: list[float]) -> list[Brief]:
    return [Brief("", "", "", True, "", 640, 480, "cladding", value, 0.9 * value) for value in values]


@given(st.floats(0.2, 2.0), st.integers(5, 12))
@settings(max_examples=20, deadline=None)
def test_doubts_do_not_depend_on_the_unit(scale: float, n: int) -> None:
    found = pitch_doubts(pitches([0.4 * scale] * n + [0.4 * scale * 125 / 140]), cladding_um=125.0)
    assert list(found) == [n]
    assert found[n].known_um == 140.0
    assert found[n].scope == pytest.approx((0.4 * scale, 0.36 * scale))


@pytest.mark.parametrize(
    "values",
    [
        [0.4] * 4 + [0.357],  # too few agree
        [0.4] * 5 + [0.357] * 5,  # no majority
        [0.4, 0.401, 0.399, 0.4, 0.402, 0.403],  # all agree
    ],
)
def test_without_a_clear_majority_nothing_is_doubted(values: list[float]) -> None:
    assert pitch_doubts(pitches(values), cladding_um=125.0) == {}


def test_a_size_that_is_not_sold_is_doubted_but_not_believed() -> None:
    found = pitch_doubts(pitches([0.4] * 6 + [0.25]), cladding_um=125.0)
    assert found[6].known_um is None or abs(found[6].cladding_um - found[6].known_um) < 7


# ── the same face ───────────────────────────────────────────────────────────────────────────────────────────


def chart(image: np.ndarray) -> Waves:
    return waves_of(chart_from(chart_of(image, segment_zones(image))))


def test_a_turned_face_is_known_again_and_another_is_not() -> None:
    one = chart(face(1))
    assert same_face(one, chart(face(1, turn_deg=77, noise=1)), min_surety=6)
    assert not any(same_face(one, chart(face(seed, noise=2)), min_surety=6) for seed in range(2, 8))


def test_dirt_on_the_optics_makes_no_two_faces_one() -> None:
    charts = [chart(face(seed, dirt=True)) for seed in range(10, 15)]
    assert not any(same_face(a, b, min_surety=6) for k, a in enumerate(charts) for b in charts[:k])


def test_pairs_grow_with_images_not_with_their_square() -> None:
    described = np.random.default_rng(0).normal(size=(600, 32)).astype(np.float32)
    described[300] = described[17] + 0.01
    pairs = list(likely_pairs(described.__getitem__, len(described)))
    assert pairs == sorted(set(pairs))
    assert (17, 300) in pairs
    assert len(pairs) <= 600 * 24


def test_the_gap_shrinks_with_the_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    radius = np.hypot(*(np.mgrid[-450:450, -600:600]))
    drawn = np.select([radius < 150, radius < 175], [180.0, 60.0], 120.0)
    seen = cv2.GaussianBlur(drawn, (0, 0), 1.0) + rng.normal(0, 1.5, drawn.shape)
    write(tmp_path / "gap.png", seen.astype(np.uint8))
    folder = RunFolder(tmp_path / "out")
    image = InputImage(tmp_path / "gap.png", "gap.png", "gap")
    assert analyse_file(AnalyseTask(image, folder, Settings(), "")).failure is None
    _, zones, step = _reduced(folder, "gap")
    assert step > 1
    assert zones.adhesive is not None
    assert zones.adhesive.cx_px == pytest.approx(600 / step, abs=1)
    assert zones.adhesive.rx_px == pytest.approx(175 / step, abs=1)


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "images"
    for seed in range(7):
        write(folder / f"face {seed}.png", face(seed))
    write(folder / "face 0 turned.png", face(0, turn_deg=110, noise=1))
    write(folder / "thick.png", face(9, radius=78))
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    pipeline.run([folder], out, jobs=1)
    return out


def test_dirt_is_listed_and_not_counted(finished: Path) -> None:
    marks = rows_of(finished / "optics/optics_marks.csv")
    for x, y in DIRT:
        (mark,) = [m for m in marks if abs(int(m["x_px"]) + int(m["width_px"]) / 2 - x) < 4
                   and abs(int(m["y_px"]) + int(m["height_px"]) / 2 - y) < 4]  # fmt: skip
        assert int(mark["n_seen_in"]) >= 5
        assert mark["cause"] == "dust on the optics"
    finds = rows_of(finished / "optics/optics_finds.csv")
    assert {row["type"] for row in finds} == {"optics"}
    for row in rows_of(finished / "defect_library/defect_library_index.csv"):
        centre = np.array([float(row["centroid_x_px"]), float(row["centroid_y_px"])])
        assert min(np.hypot(*(centre - place)) for place in DIRT) > 4
    for row in rows_of(finished / "image_level/image_labels.csv"):
        assert int(row["n_optics_finds"]) == sum(f["image_id"] == row["image_id"] for f in finds)
        # its own pit is still there
        assert int(row["n_defects"]) >= 1


def test_another_cladding_is_told_by_the_scope(finished: Path) -> None:
    rows = {row["image_id"]: row for row in rows_of(finished / "image_level/image_labels.csv")}
    assert "um_per_px disagrees with its scope" in rows["thick"]["quality_flags"]
    assert "probably 140 um" in rows["thick"]["quality_flags"]
    others = [float(row["um_per_px_x"]) for name, row in rows.items() if name != "thick"]
    assert float(rows["thick"]["um_per_px_x"]) == pytest.approx(np.median(others), rel=0.01)
    assert not any("disagrees" in row["quality_flags"] for name, row in rows.items() if name != "thick")


def test_a_face_seen_twice_is_listed(finished: Path) -> None:
    rows = rows_of(finished / "same_face.csv")
    assert [row["image_id"] for row in rows] == ["face 0 turned", "face 0"]
    assert {row["same_face_group"] for row in rows} == {"1"}


def test_all_of_it_can_be_undone_and_made_anew(folder: Path, finished: Path, tmp_path: Path) -> None:
    before = {p.relative_to(finished): p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    off = {f"batch.{name}": False for name in ("optics_dirt", "check_pitch", "same_face")}
    pipeline.run([folder], finished, jobs=1, settings=load_settings(overrides=off))
    rows = rows_of(finished / "image_level/image_labels.csv")
    assert {row["n_optics_finds"] for row in rows} == {"0"}
    assert sum(int(row["n_defects"]) for row in rows) > 3 * len(rows)
    assert rows_of(finished / "same_face.csv") == []
    pipeline.run([folder], finished, jobs=1)
    after = {p.relative_to(finished): p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    assert sorted(before) == sorted(after)
    assert [name for name in before if before[name] != after[name] and name.name != "run.json"] == []


def test_the_map_is_one_page_with_its_pictures(finished: Path, tmp_path: Path) -> None:
    page = write_optics(finished, tmp_path / "map").read_text(encoding="utf-8")
    assert "dust on the optics" in page
    assert "://" not in page
    assert (tmp_path / "map" / f"optics_{SHAPE[1]}x{SHAPE[0]}.png").is_file()
    assert rows_of(tmp_path / "map/optics_marks.csv") == rows_of(finished / "optics/optics_marks.csv")
