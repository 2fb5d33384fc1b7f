"""The detector bench: its figures on made-up methods, its filters, and the table it writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from endface.annotation import DefectClass, instance_map
from endface.detection.mei2018 import components
from endface.errors import InputError
from endface.evaluation.bench import (
    BenchImage,
    DataSet,
    Method,
    OperatingPoint,
    bench_detectors,
    bench_methods,
    measure_methods,
)
from endface.evaluation.bench import table as table_module
from endface.evaluation.bench.data import real_sets, rendered_set
from endface.evaluation.bench.figures import judged_places, pixel_figures, point_at
from endface.evaluation.bench.filters import (
    even_gabor,
    frangi_lines,
    hessian_lines,
    line_opening,
    multiscale_lines,
)
from endface.evaluation.bench.methods import Outcome, robust_zone_scores
from endface.evaluation.matching import match_scene
from endface.evaluation.ranking import average_precision
from endface.evaluation.scenes import TruthDefect, TruthScene, defect_of_mask
from endface.zones import plain_zones

SHAPE = (120, 160)
FILTERS = [even_gabor, line_opening, multiscale_lines, frangi_lines, hessian_lines]


def scratch_image() -> np.ndarray:
    image = np.random.default_rng(0).normal(100, 2, SHAPE).astype(np.float32)
    cv2.line(image, (30, 90), (130, 40), 80.0, 2)
    return image


def scratch_truth(certainty: str = "sure") -> TruthDefect:
    mask = np.zeros(SHAPE, np.uint8)
    cv2.line(mask, (30, 90), (130, 40), 1, 2)
    defect = defect_of_mask(
        mask.astype(bool), defect_class=DefectClass.SCRATCH, kind="scratch", certainty=certainty
    )
    assert defect is not None
    return defect


def bench_image(*defects: TruthDefect, open_area: np.ndarray | None = None) -> BenchImage:
    image = scratch_image()
    return BenchImage(image, TruthScene("a", SHAPE, defects, open_area=open_area), plain_zones(image))


def data_set(*items: BenchImage) -> DataSet:
    return DataSet("made up", lambda: iter(items))


@pytest.mark.parametrize("line_filter", FILTERS)
def test_filters_answer_to_dark_and_bright_lines_alike(line_filter) -> None:
    image = scratch_image()
    strength = line_filter(image)
    assert strength.dtype == np.float32
    np.testing.assert_allclose(line_filter(200 - image), strength, atol=2e-3 * strength.max())
    on_line = strength[tuple(scratch_truth().probe.T)]
    assert np.median(on_line) > np.quantile(strength[10:30, 10:150], 0.999)


@pytest.mark.parametrize("line_filter", FILTERS)
def test_filters_do_not_see_the_level_of_a_flat_surface(line_filter) -> None:
    assert np.abs(line_filter(np.full(SHAPE, 120.0, np.float32))).max() < 1e-2


def test_gabor_keeps_quiet_away_from_a_step() -> None:
    step = np.zeros(SHAPE, np.float32)
    step[:, 80:] = 100
    strength = even_gabor(step)
    assert strength[60, 80] > 50 * strength[40:80, 80 + 14].max()


def test_robust_scores_hardly_move_with_a_strong_defect() -> None:
    values = np.random.default_rng(0).normal(0, 3, SHAPE).astype(np.float32)
    zones = np.ones(SHAPE, np.uint8)
    before = robust_zone_scores(values, zones)
    changed = values.copy()
    changed[:10] += 100
    after = robust_zone_scores(changed, zones)
    assert np.abs(after[10:] - before[10:]).max() < 0.6
    assert not robust_zone_scores(values, 0 * zones).any()


def test_pixel_figures_agree_with_the_ranking_of_finds() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(4000) < 0.1
    scores = np.round(rng.normal(0, 10, 4000) + 12 * right) + 60
    hists = [np.bincount(scores[pick].astype(int), minlength=130) for pick in (right, ~right)]
    ap, tpr = pixel_figures(*hists)
    assert ap == pytest.approx(average_precision(scores, right, n_truth=right.sum()))
    limit = np.sort(scores[~right])[::-1][int(0.001 * (~right).sum())]
    assert tpr == pytest.approx((scores[right] > limit).mean())


@pytest.mark.parametrize("hists", [([0, 0], [1, 1]), ([1, 1], [0, 0])])
def test_no_scratch_or_no_surface_gives_no_pixel_figure(hists) -> None:
    assert pixel_figures(*map(np.array, hists)) == (None, None)


def test_point_on_a_curve_is_never_better_than_its_best() -> None:
    curve = tuple(
        OperatingPoint(rate, recall, None, None, None) for rate, recall in ((9, 0.9), (1, 0.5), (0, 0.2))
    )
    recalls = [point_at(curve, rate).scratches for rate in (0, 0.5, 1, 5, 9, 50)]
    np.testing.assert_allclose(recalls, [0.2, 0.35, 0.5, 0.7, 0.9, 0.9])


def test_judged_places_leave_out_what_is_uncertain() -> None:
    open_area = np.zeros(SHAPE, bool)
    open_area[:40, :40] = True
    sure = judged_places(bench_image(scratch_truth(), open_area=open_area))
    faint = judged_places(bench_image(scratch_truth("faint")))
    assert len(sure.line) > 90
    assert len(faint.line) == 0
    for places in (sure, faint):
        assert not places.clean[tuple(scratch_truth().probe.T)].any()
        assert not places.clean[90, 28]
    assert not sure.clean[10, 10]
    assert faint.clean[10, 10]


def perfect(item: BenchImage) -> Outcome:
    (truth,) = item.scene.defects
    scores = np.zeros(SHAPE, np.float32)
    scores[truth.box][truth.body] = 10
    return Outcome(lambda: scores, lambda level: table_finds(scores, level))


def table_finds(scores: np.ndarray, level: float):
    return components(scores > level, scores, detector="line")


def test_a_perfect_method_gets_full_marks_and_a_blind_one_none() -> None:
    item = bench_image(scratch_truth())
    blind = Outcome(lambda: np.zeros(SHAPE, np.float32), lambda level: ())
    rows = measure_methods(
        data_set(item),
        [
            Method("default", lambda *_: perfect(item), (5.0,), 5.0, finds_blobs=True),
            Method("blind", lambda *_: blind, (1.0, 2.0)),
        ],
    )
    best, worst = rows
    assert (best.pixel_ap, best.pixel_tpr, best.own) == (1.0, 1.0, OperatingPoint(0.0, 1.0, None, None, None))
    assert best.equal == best.own
    assert worst.pixel_tpr == 0
    assert worst.equal == OperatingPoint(0.0, 0.0, None, None, None)
    assert worst.own is None


def test_counts_are_those_of_the_matching() -> None:
    item = bench_image(scratch_truth())
    method = next(m for m in bench_methods() if m.name == "mei2018")
    (row,) = measure_methods(data_set(item), [method])
    outcome = method.run(item.image, item.zones)
    for level, point in zip(method.levels, row.curve, strict=True):
        matched = match_scene(item.scene, instance_map(outcome.finds(level), SHAPE))
        assert (point.false_per_image, point.scratches) == (matched.n_false, float(matched.found[0]))


@pytest.fixture(scope="module")
def two_tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of the whole bench on small data."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(
        table_module, "rendered_set", lambda **_: data_set(bench_image(scratch_truth()), bench_image())
    )
    folders = [tmp_path_factory.mktemp("bench") for _ in range(2)]
    for folder in folders:
        bench_detectors(folder, n_rendered=2, seed=7)
    monkeypatch.undo()
    return folders


def test_table_holds_every_method_and_tells_what_is_left_out(two_tables: list[Path]) -> None:
    content = json.loads((two_tables[0] / "detectors.json").read_text())
    assert [row["method"] for row in content["rows"]] == [m.name for m in bench_methods()]
    assert {row["n_images"] for row in content["rows"]} == {2}
    assert [name for name, _ in content["skipped"]] == ["real end faces", "real dark field"]
    page = (two_tables[0] / "detectors.md").read_text()
    assert "not part of the repository" in page
    assert content["command"] in page
    for method in bench_methods():
        assert f"| {method.name} |" in page


def test_everything_but_time_is_the_same_again(two_tables: list[Path]) -> None:
    def without_time(folder: Path) -> list[dict]:
        rows = json.loads((folder / "detectors.json").read_text())["rows"]
        return [{key: value for key, value in row.items() if not key.startswith("ms_")} for row in rows]

    assert without_time(two_tables[0]) == without_time(two_tables[1])


def test_rendered_images_come_with_zones_and_truth() -> None:
    def shapes(items: Iterator[BenchImage]) -> list[tuple[int, ...]]:
        return [item.image.shape for item in items]

    data = rendered_set(n=2, seed=3, preset="sample")
    assert shapes(data.images()) == [item.scene.shape for item in data.images()]
    assert all(item.zones.found for item in data.images())


def test_bad_input_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one rendered image"):
        bench_detectors(tmp_path, n_rendered=0)
    with pytest.raises(InputError, match="endface/labels"):
        bench_detectors(tmp_path, n_rendered=1, real=tmp_path / "nothing")


def test_a_missing_real_set_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "darkfield" / "labels").mkdir(parents=True)
    present, absent = real_sets(tmp_path)
    assert [data.name for data in present] == ["real dark field"]
    assert absent == (("real end faces", "no folder endface/labels in the one given"),)


@pytest.mark.real
def test_real_sets_pair_every_label_with_its_image(real_data: Path) -> None:
    (faces, dark), left_out = real_sets(real_data)
    assert not left_out
    item = next(dark.images())
    assert item.image.shape == item.scene.shape == (512, 512)
    assert not item.zones.found
    assert next(faces.images()).zones.found


def test_the_default_ranks_finds_first_and_what_is_almost_one_before_noise():
    image = np.random.default_rng(3).normal(100, 2, (160, 200)).astype(np.float32)
    image[40:42, 30:170] -= 12
    image[120:122, 30:170] -= 2
    outcome = next(m for m in bench_methods() if m.name == "default").run(image, plain_zones(image))
    scores = outcome.line_scores()
    clear, faint = np.median(scores[40, 40:160]), np.median(scores[120, 40:160])
    noise = np.median(scores[70:100, 40:160])
    assert len(outcome.finds(1.0)) >= 1
    assert clear > 3 * faint
    assert faint > 1.3 * noise
