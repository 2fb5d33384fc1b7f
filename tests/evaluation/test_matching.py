from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from evaluation_fakes import square
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.annotation import DefectClass
from endface.errors import FormatError, InputError
from endface.evaluation.labels import read_label
from endface.evaluation.matching import MatchRule, grown_body, match_label, match_scene, pair_one_to_one
from endface.evaluation.scenes import TruthScene, defect_of_mask, polyline_samples, scene_of_label


def line_scene(length=40, *, shape=(60, 80)):
    mask = np.ones((1, length), bool)
    line = defect_of_mask(mask, defect_class=DefectClass.SCRATCH, kind="scratch", x_px=10, y_px=20)
    return TruthScene("a", shape, (line,))


def finds(shape=(60, 80), **boxes):
    result = np.zeros(shape, np.uint16)
    for number, box in enumerate(boxes.values(), start=1):
        result[box] = number
    return result


def test_nothing_found_of_nothing():
    match = match_scene(TruthScene("a", (5, 5), ()), np.zeros((5, 5), np.uint16))
    assert match.found.shape == match.false.shape == (0,)


def test_nothing_found_of_something():
    match = match_scene(line_scene(), finds())
    assert not match.found.any()
    assert match.partner.tolist() == [-1]
    assert match.n_false == 0


def test_finds_without_truth_are_false():
    match = match_scene(TruthScene("a", (60, 80), ()), finds(a=np.s_[3:5, 3:5], b=np.s_[9:12, 9:12]))
    assert match.false.tolist() == [True, True]


@pytest.mark.parametrize(("offset", "hit"), [(0, True), (3, True), (4, False)])
def test_a_scratch_is_reached_within_three_pixels(offset, hit):
    match = match_scene(line_scene(), finds(a=np.s_[20 + offset, 10:50]))
    assert match.found.tolist() == [hit]


@pytest.mark.parametrize(("length", "hit"), [(17, True), (16, False)])
def test_half_of_the_centre_line_is_enough(length, hit):
    # the find's ends reach 3 px further along the line on its one inner side
    match = match_scene(line_scene(), finds(a=np.s_[20, 10 : 10 + length]))
    assert match.covered[0] == pytest.approx((length + 3) / 40)
    assert match.found.tolist() == [hit]


def test_pieces_find_a_scratch_together_but_have_one_partner():
    match = match_scene(line_scene(), finds(a=np.s_[20, 10:22], b=np.s_[20, 28:41]))
    assert match.found.all()
    assert match.partner.tolist() == [-1]  # neither reaches half on its own
    assert not match.false.any()


@pytest.mark.parametrize(("columns", "hit"), [(3, True), (2, False)])
def test_thirty_per_cent_of_a_blob(columns, hit):
    scene = TruthScene("a", (40, 40), (square(10, 10, 10),))
    match = match_scene(scene, finds((40, 40), a=np.s_[10:20, 10 : 10 + columns]))
    assert match.found.tolist() == [hit]
    assert match.covered[0] == pytest.approx(columns / 10)


def test_twenty_per_cent_on_a_grown_label_saves_a_find():
    scene = TruthScene("a", (40, 60), (square(10, 10, 10),))
    # columns up to 19 + 4 = 23 belong to the grown label
    ends = [match_scene(scene, finds((40, 60), a=np.s_[15, 23:end])).n_false for end in (28, 29)]
    assert ends == [0, 1]


def test_open_areas_save_a_find():
    area = np.zeros((20, 20), bool)
    area[:, :10] = True
    scene = TruthScene("a", (20, 20), (), open_area=area)
    match = match_scene(scene, finds((20, 20), a=np.s_[3, 8:18], b=np.s_[6, 9:19]))
    assert match.false.tolist() == [False, True]
    assert match.open_share.tolist() == pytest.approx([0.2, 0.1])


def test_other_size_is_an_error():
    with pytest.raises(InputError, match=r"a: expected an instance map of \(60, 80\)"):
        match_scene(line_scene(), np.zeros((80, 60), np.uint16))


def test_pairing_is_best_in_sum():
    shares = np.array([[0.9, 0.8], [0.85, 0.0]])
    assert pair_one_to_one(shares, shares, np.array([0.3, 0.3])).tolist() == [1, 0]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_order_and_numbers_do_not_matter(data):
    places = data.draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6, unique=True)
    )
    kept = data.draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places)))
    defects = [square(10 * row + 2, 10 * col + 2, 3) for row, col in places]
    order = data.draw(st.permutations(range(len(places))))
    numbers = data.draw(st.permutations([3, 7, 20, 21, 500, 1000]))
    instances = np.zeros((60, 60), np.uint16)
    for defect, keep, number in zip(defects, kept, numbers, strict=False):
        instances[defect.box] = number * keep
    shuffled = tuple(defects[index] for index in order)
    match = match_scene(TruthScene("a", (60, 60), shuffled), instances)
    assert match.found.tolist() == [kept[index] for index in order]
    assert (match.partner >= 0).tolist() == match.found.tolist()
    assert match.n_false == 0
    partners = match.partner[match.partner >= 0]
    assert len(set(partners.tolist())) == len(partners)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_more_finds_never_find_less(seed):
    rng = np.random.default_rng(seed)
    scene = TruthScene("a", (40, 40), tuple(square(r, c, 4) for r, c in [(3, 3), (20, 5), (8, 30)]))
    first = np.where(rng.random((40, 40)) < 0.2, 1, 0)
    more = np.where((first == 0) & (rng.random((40, 40)) < 0.3), 2, first)
    assert (match_scene(scene, more).covered >= match_scene(scene, first).covered).all()


def test_growing_is_round_and_stays_in_the_image():
    box, grown = grown_body(square(0, 2, 1), (10, 10), 4.0)
    rows, cols = np.nonzero(grown)
    rows, cols = rows + box[0].start, cols + box[1].start
    wanted = {(r, c) for r in range(10) for c in range(10) if np.hypot(r, c - 2) <= 3.9}
    assert wanted <= set(zip(rows.tolist(), cols.tolist(), strict=True))
    assert all(np.hypot(r, c - 2) <= 4.2 for r, c in zip(rows, cols, strict=True))


def test_label_file_to_match(label_folder):
    truth = read_label(label_folder("a") / "a.json")
    scene = scene_of_label(truth)
    assert scene.image_id == "a"
    assert [d.defect_class.label for d in scene.defects] == ["scratch", "contamination", "pit_chip"]
    instances = np.zeros(truth.shape, np.uint16)
    instances[40, 57:64] = 1
    instances[37:44, 59:62] = 1
    instances[70:75, 85:90] = 2
    instances[50:53, 90:93] = 3
    match = match_label(truth, instances)
    assert match.found.tolist() == [False, True, False]
    assert match.false.tolist() == [False, False, True]
    wide = match_label(truth, instances, rule=MatchRule(blob_reach_px=60.0))
    assert wide.found.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "change",
    [
        {"scratches": [{"points": [1, 2, 3]}]},
        {"scratches": None},
        {"blobs": [{"cx": 1, "cy": 2, "rx": 0, "ry": 1}]},
        {"blobs": [{"cx": 1, "cy": 2, "rx": 1, "ry": 1, "certainty": "maybe"}]},
        {"width": "wide"},
    ],
)
def test_broken_labels_are_named(label_folder, change):
    path = label_folder("a", **change) / "a.json"
    with pytest.raises(FormatError, match=r"a\.json: expected a label JSON"):
        read_label(path)


def test_polyline_samples_are_even():
    points = polyline_samples(np.array([[0.0, 0.0], [30.0, 40.0], [30.0, 10.0]]))
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert len(points) == 81
    assert steps.max() == pytest.approx(1.0, abs=0.3)


def test_all_orders_of_three(label_folder):
    truth = scene_of_label(read_label(label_folder("a") / "a.json"))
    instances = np.zeros(truth.shape, np.uint16)
    instances[5, 5:46] = 9
    for order in permutations(range(3)):
        scene = TruthScene("a", truth.shape, tuple(truth.defects[k] for k in order), truth.open_area)
        assert match_scene(scene, instances).found.tolist() == [k == 0 for k in order]


@pytest.mark.real
def test_real_labels_match_themselves(real_data):
    for path in sorted((real_data / "endface" / "labels").glob("*.json"))[::4]:
        scene = scene_of_label(read_label(path))
        instances = np.zeros(scene.shape, np.uint16)
        for number, defect in enumerate(scene.defects, start=1):
            instances[defect.box][defect.body] = number
        match = match_scene(scene, instances)
        assert match.found.all()
        assert match.n_false == 0
        assert not match_scene(scene, np.zeros(scene.shape, np.uint16)).found.any()
