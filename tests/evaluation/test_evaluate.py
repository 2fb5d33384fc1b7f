from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from evaluation_fakes import FakeFind, FakeImage, perfect, square

from endface.annotation import Calibration, Decision, DefectClass, IecZone, Zones
from endface.errors import FormatError, InputError
from endface.evaluation.agreement import verdict_agreement
from endface.evaluation.comparison import compare
from endface.evaluation.evaluate import Status, evaluate
from endface.evaluation.metrics import class_confusion, presence
from endface.evaluation.predictions import FoundDefect, FoundImage
from endface.evaluation.scenes import TrueSizes, TruthScene
from endface.evaluation.truth import open_truth
from endface.evaluation.verdicts import innermost_zone, true_verdict
from endface.grading import load_profile
from endface.imaging.ellipse import Ellipse
from endface.synthesis.write import write_set
from endface.zones import iec_map


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "set"
    write_set(folder, n=6, seed=11, preset="sample")
    return folder


@pytest.fixture(scope="module")
def scenes(rendered):
    source = open_truth(rendered)
    return [source.load(name) for name in source.image_ids]


def perfect_run(write_run, scenes):
    images = []
    for scene in scenes:
        verdict = true_verdict(scene, profile="sm_upc")
        images.append(perfect(scene, verdict=verdict.value))
    return write_run(images)


def test_a_perfect_run_scores_perfectly(write_run, rendered, scenes, tmp_path):
    result = evaluate(perfect_run(write_run, scenes), rendered, tmp_path / "out")
    assert (result.n_compared, result.n_truth, result.n_without_truth) == (6, 6, 0)
    for row in result.recall:
        assert row.found.value == row.one_to_one.value == 1.0
    assert (result.false_finds.total, result.false_finds.per_mm2) == (0, 0.0)
    assert result.false_finds.clean_images.value == 1.0
    assert (result.pixels.precision, result.pixels.recall, result.pixels.f1) == (1.0, 1.0, 1.0)
    assert result.ranking.average_precision == pytest.approx(1.0)
    assert result.ranking.aupro == pytest.approx(1.0)
    assert result.classes.right.value == 1.0
    assert all(item.um.mean == pytest.approx(0.0) for item in result.sizes)
    for zone in result.zones:
        assert zone.found.value == 1.0
        assert zone.centre_px.largest == zone.radius_pct.largest == zone.pitch_pct.largest == 0.0
    assert result.verdict.false_accepts.hits == result.verdict.false_rejects.hits == 0
    assert {curve.pod.reason for curve in result.pod} == {"nothing was missed"}


def test_what_is_written(write_run, rendered, scenes, tmp_path):
    result = evaluate(perfect_run(write_run, scenes), rendered, tmp_path / "out")
    again = evaluate(tmp_path / "run", rendered, tmp_path / "again")
    assert result == again
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["schema_version"] == 1
    assert content["n_compared"] == 6
    assert content["images"][0]["status"] == "compared"
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "false accepts" in page
    assert "<svg" in page
    assert "http" not in page
    n_true = sum(len(scene.defects) for scene in scenes)
    assert pl.read_csv(tmp_path / "out" / "defects.csv").height == n_true
    assert pl.read_csv(tmp_path / "out" / "finds.csv").height == n_true
    for name in ("evaluation.json", "evaluation.html", "images.csv", "defects.csv", "finds.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_empty_run_finds_nothing(write_run, rendered, scenes, tmp_path):
    images = [FakeImage(f"{s.image_id}.png", np.zeros(s.shape, np.uint16)) for s in scenes]
    result = evaluate(write_run(images), rendered, tmp_path / "out")
    assert all(row.found.value == 0.0 for row in result.recall)
    assert result.false_finds.total == 0
    assert (result.pixels.precision, result.pixels.recall) == (None, 0.0)
    assert (result.ranking.average_precision, result.ranking.aupro) == (0.0, 0.0)
    assert all(zone.found.value == 0.0 and zone.centre_px.median is None for zone in result.zones)
    assert result.classes.right.value is None


def test_shifted_finds_are_lost_and_false(write_run, tmp_path, label_folder):
    labels = label_folder("a")
    scene = open_truth(labels).load("a")
    for shift, hits in ((0, (1, 2)), (3, (1, 2)), (20, (0, 0))):
        item = perfect(scene)
        moved = np.zeros_like(item.instances)
        moved[shift:] = item.instances[: moved.shape[0] - shift]
        run = write_run([replace(item, instances=moved)], name=f"run{shift}")
        result = evaluate(run, labels, tmp_path / "out")
        recall = {row.name: row.found.hits for row in result.recall if row.group.startswith("class")}
        assert recall["scratch"] == hits[0]
        if shift in (0, 20):
            assert result.recall[0].found.hits == (3 if shift == 0 else 0)


def test_images_that_cannot_be_compared_are_counted(write_run, tmp_path, label_folder):
    labels = label_folder("good", "missing", "failed", "twice", "big", "broken", "unreadable")
    (labels / "broken.json").write_text(json.dumps({"image": "x"}))
    scene = open_truth(labels).load("good")
    images = [perfect(scene, image=name) for name in ("good.jpg", "x/twice.jpg", "y/twice.jpg", "broken.jpg")]
    images.append(perfect(scene, image="unreadable.jpg"))
    images.append(FakeImage("big.jpg", np.zeros((10, 20), np.uint16)))
    images.append(perfect(scene, image="without_truth.jpg"))
    run = write_run(images, failed=["sub/failed.jpg"])
    (run / "pixel_level" / "masks" / "unreadable_instances.png").write_bytes(b"no image")
    result = evaluate(run, labels, tmp_path / "out")
    assert {row.image_id: row.status for row in result.images} == {
        "good": Status.COMPARED,
        "missing": Status.MISSING,
        "failed": Status.FAILED,
        "twice": Status.AMBIGUOUS,
        "big": Status.OTHER_SIZE,
        "broken": Status.BROKEN,
        "unreadable": Status.BROKEN,
    }
    assert result.n_compared == 1
    assert "6 of 7 images could not be compared" in result.notes[0]
    assert result.n_without_truth == 3
    by_id = {row.image_id: row for row in result.images}
    assert by_id["big"].message == "truth 100 x 80, run 20 x 10"
    assert by_id["missing"].n_finds is None
    assert "could not be compared" in (tmp_path / "out" / "evaluation.html").read_text()


def test_nothing_in_common_is_an_error(write_run, tmp_path, label_folder):
    labels = label_folder("a")
    run = write_run([FakeImage("other.png", np.zeros((80, 100), np.uint16))])
    with pytest.raises(InputError, match="expected images that are in both, found none: 1 not in the run"):
        evaluate(run, labels, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_folders_are_no_runs(tmp_path, label_folder):
    with pytest.raises(InputError, match="expected this table of a run"):
        evaluate(tmp_path, label_folder("a"), tmp_path / "out")


def test_broken_tables_name_their_line(write_run, tmp_path, label_folder):
    labels = label_folder("a")
    run = write_run([perfect(open_truth(labels).load("a"), verdict="MAYBE")])
    with pytest.raises(FormatError, match=r"image_labels\.csv, line 2: .*MAYBE"):
        evaluate(run, labels, tmp_path / "out")


def test_truth_without_defects_leaves_recall_unknown(write_run, tmp_path, label_folder):
    labels = label_folder("a", scratches=[], blobs=[])
    instances = np.zeros((80, 100), np.uint16)
    instances[5:8, 5:8] = 1
    result = evaluate(write_run([FakeImage("a.jpg", instances, [FakeFind()])]), labels, tmp_path / "out")
    assert result.recall == ()
    assert result.false_finds.total == 1
    assert result.false_finds.per_mm2 is None
    assert result.pixels.recall is None
    assert result.ranking.average_precision is None
    assert any("no image has a true defect" in note for note in result.notes)
    assert "recall is unknown" in (tmp_path / "out" / "evaluation.html").read_text()


def test_runs_of_a_parent_folder_match_by_name(write_run, tmp_path, label_folder):
    labels = label_folder("a")
    run = write_run([perfect(open_truth(labels).load("a"), image="scope/a.jpg")])
    row = evaluate(run, labels, tmp_path / "out").images[0]
    assert (row.status, row.run_image_id) == (Status.COMPARED, "scope__a")


def test_zone_errors_by_hand(write_run, tmp_path, label_folder):
    labels = label_folder("a", cladding_inner_alt={"cx": 50, "cy": 40, "rx": 27, "ry": 28})
    scene = open_truth(labels).load("a")
    item = perfect(scene)
    moved = Ellipse(53.0, 44.0, 33.0, 35.2)
    run = write_run([replace(item, cladding=moved, um_per_px=(0.5, 1.0))])
    cladding, core = evaluate(run, labels, tmp_path / "out").zones
    assert cladding.centre_px.median == pytest.approx(5.0)
    assert cladding.centre_um.median == pytest.approx(np.hypot(1.5, 4.0))
    assert cladding.radius_pct.median == pytest.approx(10.0)
    assert core.radius_px.median == pytest.approx(0.0)
    # either of two edges is right
    inner = replace(item, cladding=Ellipse(50.0, 40.0, 27.0, 28.0))
    nearer, _ = evaluate(write_run([inner], name="inner"), labels, tmp_path / "out").zones
    assert nearer.radius_pct.median == pytest.approx(0.0)


def test_false_finds_per_mm2_by_hand(write_run, tmp_path, label_folder):
    labels = label_folder("a")
    item = perfect(open_truth(labels).load("a"))
    instances = item.instances.copy()
    instances[20:22, 80:82] = 9
    run = write_run([replace(item, instances=instances, um_per_px=(10.0, 20.0))])
    found = evaluate(run, labels, tmp_path / "out").false_finds
    assert found.mm2 == pytest.approx((8000 - 400) * 200e-6)  # without the open area of 20 x 20
    assert found.per_mm2 == pytest.approx(1 / 1.52)
    assert found.by_class == (("other", 1),)  # a find that the table does not know


def test_confusion_by_hand(write_run, tmp_path):
    classes = (DefectClass.PIT_CHIP, DefectClass.PIT_CHIP, DefectClass.CONTAMINATION)
    scene = TruthScene("a", (40, 60), tuple(square(10, 5 + 15 * k, 4, kind=c) for k, c in enumerate(classes)))
    item = perfect(scene)
    instances = item.instances.copy()
    instances[instances == 3] = 0
    instances[30:33, 30:33] = 4
    table = tuple(
        FoundDefect(n, t, 0.5, None, None) for n, t in ((1, "pit_chip"), (2, "other"), (4, "scratch"))
    )
    found = FoundImage("a.png", "a", False, None, None, None, Decision.PASS, "", table)
    part = compare(scene, found, instances)
    result = class_confusion(part.defects, part.finds)
    assert result.counts == (
        (0, 0, 0, 0, 0),
        (0, 0, 0, 0, 1),
        (0, 0, 1, 1, 0),
        (0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0),
    )
    assert (result.right.hits, result.right.trials) == (1, 2)


@pytest.mark.parametrize(
    ("certainty", "seen", "agreed"),
    [
        (None, False, True),
        (None, True, False),
        ("faint", False, True),
        ("faint", True, True),
        ("sure", False, False),
        ("sure", True, True),
    ],
)
def test_presence_by_hand(certainty, seen, agreed):
    defects = () if certainty is None else (square(10, 10, 4, certainty=certainty),)
    instances = np.zeros((40, 60), np.uint16)
    instances[10:14, 10:14] = seen
    table = (FoundDefect(1, "contamination", 0.5, None, None),)
    found = FoundImage("a.png", "a", False, None, None, None, Decision.PASS, "", table)
    part = compare(TruthScene("a", (40, 60), defects), found, instances)
    (_, scratches), (name, regions) = presence([part.defects], [part.finds])
    assert (name, bool(regions.hits), bool(scratches.hits)) == ("regions", agreed, True)


def test_verdicts_by_hand():
    pairs = (
        [("PASS", "PASS")] * 15
        + [("PASS", "FAIL")] * 10
        + [("FAIL", "PASS")] * 5
        + [("FAIL", "FAIL")] * 20
        + [("FAIL", "MARGINAL")] * 2
    )
    result = verdict_agreement(pairs, rng=np.random.default_rng(0))
    assert result.kappa_decided.value == pytest.approx(0.4)
    assert result.kappa_decided.n == 50
    assert (result.false_accepts.hits, result.false_accepts.trials) == (5, 27)
    assert (result.false_rejects.hits, result.false_rejects.trials) == (10, 25)
    assert result.undecided.hits == 2
    assert result.kappa_all.low < result.kappa_all.value < result.kappa_all.high
    assert verdict_agreement([], rng=np.random.default_rng(0)) is None


def fibre(*defects):
    return TruthScene(
        "a",
        (400, 400),
        defects,
        has_zones=True,
        cladding=Ellipse(200.0, 200.0, 125.0, 125.0),
        core=Ellipse(200.0, 200.0, 9.0, 9.0),
        um_per_px=(0.5, 0.5),
        source="rendered",
    )


def test_true_verdicts():
    pit = replace(square(150, 200, 20, kind=DefectClass.PIT_CHIP), sizes=TrueSizes(10.0, 9.0, 9.0, 9.0))
    assert true_verdict(fibre(), profile="sm_upc") is Decision.PASS
    assert true_verdict(fibre(pit), profile="auto") is Decision.FAIL
    assert true_verdict(fibre(replace(pit, certainty="faint")), profile="sm_upc") is Decision.PASS
    assert true_verdict(replace(fibre(pit), source="label"), profile="sm_upc") is None


def test_zone_of_a_true_defect():
    profile = load_profile("sm_upc")
    names = [innermost_zone(square(200, 200 + 2 * r, 2), fibre(), profile) for r in (0, 20, 61, 90, 97)]
    assert names == ["A", "B", "C", "D", "D"]
    assert innermost_zone(square(0, 0, 2), fibre(), profile) in ("D", "outside")


def test_zones_of_true_defects_are_those_of_the_iec_map():
    scene, profile = fibre(), load_profile("sm_upc")
    zones = Zones(
        True,
        "",
        np.ones(scene.shape, np.uint8),
        np.ones(scene.shape, bool),
        Calibration(0.5, 0.5, "settings"),
        cladding=scene.cladding,
    )
    codes = iec_map(zones, profile.zone_diameters_um)
    for col in range(0, 400, 7):
        name = innermost_zone(square(120, col, 1), scene, profile)
        assert name == (IecZone(int(codes[120, col])).name if codes[120, col] else "outside")


@pytest.mark.real
def test_real_labels(real_data, write_run, tmp_path):
    labels = real_data / "endface" / "labels"
    source = open_truth(labels)
    names = source.image_ids[-2:]
    run = write_run([perfect(source.load(name)) for name in names])
    result = evaluate(run, labels, tmp_path / "out")
    assert result.n_compared == 2
    assert result.recall[0].found.value == 1.0
    assert result.verdict is None
