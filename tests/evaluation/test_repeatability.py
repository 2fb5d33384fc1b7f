"""Copies of one face agree with it; the figures are those of the book; nothing depends on the workers."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from endface.cli import app
from endface.config import Settings, load_settings
from endface.errors import InputError
from endface.evaluation.copies import FaceTask, look_at_face
from endface.evaluation.faces import register
from endface.evaluation.follow import cause_of_change, follow, frame_of, look_at, turned_settings
from endface.evaluation.gauge import crossed_gauge, one_way_gauge
from endface.evaluation.repeatability import read_groups, repeatability
from endface.imaging.jitter import Jitter, apply_jitter, jitter_matrix

# AIAG, Measurement Systems Analysis, 4th edition, the data of its gauge R&R example: appraiser, trial, part
BOOK = np.array(
    [
        [
            [0.29, -0.56, 1.34, 0.47, -0.80, 0.02, 0.59, -0.31, 2.26, -1.36],
            [0.41, -0.68, 1.17, 0.50, -0.92, -0.11, 0.75, -0.20, 1.99, -1.25],
            [0.64, -0.58, 1.27, 0.64, -0.84, -0.21, 0.66, -0.17, 2.01, -1.31],
        ],
        [
            [0.08, -0.47, 1.19, 0.01, -0.56, -0.20, 0.47, -0.63, 1.80, -1.68],
            [0.25, -1.22, 0.94, 1.03, -1.20, 0.22, 0.55, 0.08, 2.12, -1.62],
            [0.07, -0.68, 1.34, 0.20, -1.28, 0.06, 0.83, -0.34, 2.19, -1.50],
        ],
        [
            [0.04, -1.38, 0.88, 0.14, -1.46, -0.29, 0.02, -0.46, 1.77, -1.49],
            [-0.11, -1.13, 1.09, 0.20, -1.07, -0.67, 0.01, -0.56, 1.45, -1.77],
            [-0.15, -0.96, 0.67, 0.11, -1.45, -0.49, 0.21, -0.49, 1.87, -2.16],
        ],
    ]
)


def test_a_dirty_face_turned_by_a_quarter_shows_the_same():
    rng = np.random.default_rng(5)
    places = zip(rng.uniform(0, 360, 40), rng.uniform(10, 115, 40), rng.uniform(2, 9, 40), strict=True)
    image = face(spots=tuple(places))
    first, second = look_at(image, 255.0, PLAIN), look_at(np.ascontiguousarray(np.rot90(image)), 255.0, PLAIN)
    matrix = jitter_matrix(Jitter("quarter", quarters=1), frame_of(first, 255.0), image.shape)
    pairs = follow(first, second, matrix)
    assert len(first.defects) > 20
    assert not pairs.lost.any()
    assert not pairs.new.any()
    known = pairs.partner >= 0
    sizes = first.table["diameter_um"].to_numpy()[known]
    assert np.median(np.abs(second.table["diameter_um"].to_numpy()[pairs.partner[known]] / sizes - 1)) < 0.01


def test_the_gauge_of_the_book():
    found = crossed_gauge(np.transpose(BOOK, (2, 0, 1)))
    assert found is not None
    assert found.repeatability == pytest.approx(0.199933, abs=1e-6)
    assert found.reproducibility == pytest.approx(0.226838, abs=1e-6)
    assert found.gauge == pytest.approx(0.302373, abs=2e-6)
    assert found.parts == pytest.approx(1.042327, abs=1e-6)
    assert found.gauge_pct == pytest.approx(27.86, abs=0.01)
    assert found.distinct == 4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_gauges_follow_unit_and_origin(seed, shift, scale):
    values = np.random.default_rng(seed).normal(size=(5, 3, 2))
    first, second = crossed_gauge(values), crossed_gauge(shift + scale * values)
    assert first is not None
    assert second is not None
    assert second.total == pytest.approx(scale * first.total, rel=1e-6)
    assert second.gauge_pct == pytest.approx(first.gauge_pct, rel=1e-6)


def test_gauges_recover_the_variances_they_were_made_of():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 3, (400, 1, 1)) + rng.normal(0, 2, (1, 60, 1)) + rng.normal(0, 1, (400, 60, 2))
    crossed = crossed_gauge(values)
    one_way = one_way_gauge([part[:, 0] for part in values])
    assert crossed is not None
    assert one_way is not None
    assert crossed.repeatability == pytest.approx(1, rel=0.02)
    assert crossed.reproducibility == pytest.approx(2, rel=0.3)
    assert crossed.parts == pytest.approx(one_way.parts, rel=0.02) == pytest.approx(3, rel=0.1)


def test_equal_values_and_small_designs():
    same = crossed_gauge(np.full((3, 2, 2), 125.1))
    assert same is not None
    assert (same.total, same.gauge_pct, same.distinct) == (0.0, None, None)
    assert crossed_gauge(np.ones((1, 2, 2))) is None
    assert one_way_gauge([[1.0], [2.0, 3.0]]) is None
    with pytest.raises(ValueError, match="finite"):
        crossed_gauge(np.full((2, 2, 2), np.nan))


def face(*, turn_deg: float = 0.0, spots: tuple[tuple[float, float, float], ...] = ()) -> NDArray[np.uint8]:
    """Return a 140 um wide view of a fibre at 0.5 um per px; spots are degrees, radius, size in px."""
    shape, centre = (280, 300), (150.0, 140.0)
    image = np.full(shape, 150, np.float32)
    for radius, level in ((125.0, 90.0), (50.0, 130.0)):
        cv2.circle(image, (1200, 1120), round(8 * radius), level, -1, cv2.LINE_AA, 3)
    for angle, radius, size in spots:
        turned = np.deg2rad(angle + turn_deg)
        x, y = centre[0] + radius * np.cos(turned), centre[1] - radius * np.sin(turned)
        cv2.circle(image, (round(8 * x), round(8 * y)), round(4 * size), 30, -1, cv2.LINE_AA, 3)
    noise = np.random.default_rng(round(turn_deg)).normal(0, 1.5, shape)
    return np.clip(np.rint(cv2.GaussianBlur(image, (0, 0), 1.0) + noise), 0, 255).astype(np.uint8)


SPOTS = ((20.0, 90.0, 9.0), (75.0, 80.0, 16.0), (200.0, 100.0, 7.0), (310.0, 70.0, 12.0))
PLAIN = Settings()


@pytest.mark.parametrize(
    "jitter",
    [Jitter("turn", turn_deg=5.0), Jitter("quarter", quarters=3), Jitter("shift", shift_px=(1.3, -0.7))],
    ids=lambda jitter: jitter.kind,
)
def test_defects_are_followed_into_a_copy(jitter):
    image = face(spots=SPOTS)
    first = look_at(image, 255.0, PLAIN)
    frame = frame_of(first, 255.0)
    second = look_at(apply_jitter(image, jitter, frame, rng=np.random.default_rng(0)), 255.0, PLAIN)
    pairs = follow(first, second, jitter_matrix(jitter, frame, image.shape))
    assert len(first.defects) == len(SPOTS)
    assert sorted(pairs.partner) == list(range(len(SPOTS)))
    assert not pairs.lost.any()
    assert not pairs.new.any()
    both = (first.table["diameter_um"].to_numpy(), second.table["diameter_um"].to_numpy()[pairs.partner])
    assert both[1] == pytest.approx(both[0], abs=1.0)
    missed = follow(first, second, np.array([[1.0, 0.0, 30.0], [0.0, 1.0, 0.0]]))
    assert (missed.partner < 0).all()


def test_the_cause_of_another_verdict_is_told():
    first = look_at(face(spots=SPOTS[:1]), 255.0, PLAIN)
    dirty = look_at(face(spots=SPOTS), 255.0, PLAIN)
    clean = look_at(face(), 255.0, PLAIN)
    same = np.eye(2, 3)
    assert cause_of_change(first, first, follow(first, first, same), PLAIN) == ""
    assert clean.verdict.decision != dirty.verdict.decision
    assert cause_of_change(clean, dirty, follow(clean, dirty, same), PLAIN) == "lost or new defect"
    swollen = dirty.table.with_columns(dirty.table["diameter_um"] * 0.1, dirty.table["width_um"] * 0.1)
    shrunk = type(dirty)(dirty.zones, dirty.defects, swollen, dirty.row, clean.verdict)
    assert cause_of_change(dirty, shrunk, follow(dirty, shrunk, same), PLAIN) == "size"


def test_given_pitches_turn_with_the_frame():
    given = load_settings(overrides={"calibration.um_per_px": 0.4, "calibration.um_per_px_y": 0.5}).settings
    turned = turned_settings(given, quarters=1).calibration
    assert (turned.um_per_px, turned.um_per_px_y) == (0.5, 0.4)
    assert turned_settings(given, quarters=2) == given


def write(folder: Path, name: str, image: NDArray[np.uint8]) -> Path:
    path = folder / name
    cv2.imwrite(str(path), image)
    return path


def test_turned_pictures_of_one_face_are_registered(tmp_path):
    looks = [
        look_at_face(
            FaceTask(write(tmp_path, f"{turn}.png", face(turn_deg=turn, spots=SPOTS)), "", "a", PLAIN)
        )
        for turn in (0, 110)
    ]
    turn, pairs = register(*looks)
    assert turn.turn_deg == pytest.approx(110, abs=1.0)
    assert (pairs.partner >= 0).all()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A face to copy, two pictures of it, and a file that is no image."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "in").mkdir()
    write(folder / "in", "dirty.png", face(spots=SPOTS))
    write(folder, "dirty_turned.png", face(turn_deg=40, spots=SPOTS))
    (folder / "in" / "text.png").write_text("no image")
    (folder / "groups.csv").write_text("image,group\nin/dirty.png,face\ndirty_turned.png,face\n")
    return folder


def test_a_study_on_the_command_line_is_the_same_with_any_number_of_workers(study, tmp_path):
    outs = []
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        arguments = ["repeatability", str(study / "in"), "--groups", str(study / "groups.csv")]
        result = CliRunner().invoke(app, [*arguments, "--trials", "1", "--jobs", str(jobs), "-o", str(out)])
        assert result.exit_code == 1, result.output
        assert "7 copies of 1 images" in result.output
        assert "text.png" in result.output
        outs.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert outs[0] == outs[1]
    found = json.loads(outs[0]["repeatability.json"])
    assert found["equal"]["value"] == 1.0
    assert found["contrary"]["hits"] == 0
    assert found["groups"][0]["found_again"]["value"] == 1.0
    assert [row["image"] for row in found["unread"]] == ["text.png"]
    assert {row["quantity"] for row in found["spreads"]} >= {"defect diameter", "cladding diameter"}
    page = outs[0]["repeatability.html"].decode()
    assert "Gauge" in page
    assert "http" not in page


def test_bad_input_is_told(tmp_path):
    with pytest.raises(InputError, match="no image given"):
        repeatability([], tmp_path / "out")
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match="no image can be read"):
        repeatability([tmp_path / "a.png"], tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found no row"),
        ("picture,face\na,b\n", "found picture, face"),
        ("image,group\na.png,one\n", "found one of one"),
    ],
)
def test_a_bad_file_of_groups_is_refused(tmp_path, text, words):
    file = tmp_path / "groups.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_groups(file)


def test_groups_keep_their_order_and_may_be_mixed(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("image,group\nb1.png,b\na1.png,a\nb2.png,b\na2.png,a\n")
    assert [path.name for path, _ in read_groups(file)] == ["b1.png", "b2.png", "a1.png", "a2.png"]
    with pytest.raises(InputError, match="cannot be read"):
        read_groups(tmp_path / "none.csv")
