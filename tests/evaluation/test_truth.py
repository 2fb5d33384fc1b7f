from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.errors import FormatError, InputError
from endface.evaluation.coco import decode_rle
from endface.evaluation.truth import open_truth
from endface.synthesis.write import write_set


def compress(runs):
    """Encode run lengths as pycocotools does."""
    text = ""
    for position, run in enumerate(runs):
        value, more = run - (runs[position - 2] if position > 2 else 0), True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(48 + (bits | (0x20 if more else 0)))
    return text


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_run_lengths_round_trip(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 60), rng.integers(1, 60))) < rng.random()
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    assert (decode_rle(runs, mask.shape) == mask).all()
    assert (decode_rle(compress(runs), mask.shape) == mask).all()


def coco(tmp_path, **changes):
    raw = {
        "images": [{"id": 1, "file_name": "sub/a.png", "width": 10, "height": 8}],
        "categories": [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dust"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[2, 1, 5, 1, 5, 3, 2, 3]]},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 1,
                "segmentation": {"counts": [40, 8, 32], "size": [8, 10]},
            },
            {"id": 3, "image_id": 1, "category_id": 2, "iscrowd": 1, "segmentation": {"counts": [72, 8]}},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(raw | changes))
    return path


def test_coco(tmp_path):
    source = open_truth(coco(tmp_path))
    assert (source.format, source.image_ids) == ("coco", ("sub__a",))
    scene = source.load("sub__a")
    dust, scratch = scene.defects
    assert (dust.kind, dust.defect_class.label, dust.box) == ("dust", "contamination", np.s_[1:3, 2:5])
    assert scratch.is_line
    assert scratch.box == np.s_[0:8, 5:6]
    assert scene.open_area[:, 9].all()
    assert scene.open_area.sum() == 8
    assert not scene.has_zones


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": [{"image_id": 1, "category_id": 9, "segmentation": []}]},
        {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": [3, 4]}}]},
        {"annotations": [{"category_id": 1}]},
        {"images": [{"id": 1}]},
    ],
)
def test_broken_coco(tmp_path, change):
    path = coco(tmp_path, **change)
    with pytest.raises(FormatError, match=r"coco\.json.*expected COCO"):
        open_truth(path).load("sub__a")


def test_empty_truths_are_errors(tmp_path):
    with pytest.raises(InputError, match="found none"):
        open_truth(tmp_path)
    with pytest.raises(InputError, match="found nothing"):
        open_truth(tmp_path / "nowhere")
    with pytest.raises(InputError, match="empty COCO file"):
        open_truth(coco(tmp_path, images=[], annotations=[]))


@pytest.mark.parametrize("text", ["no json", "[1, 2]", '{"a": 1}'])
def test_other_files_are_errors(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FormatError, match=r"a\.json: expected"):
        open_truth(tmp_path)


def test_labels(label_folder):
    source = open_truth(label_folder("b", "a"))
    assert (source.format, source.image_ids) == ("labels", ("a", "b"))
    scene = source.load("a")
    assert scene.cladding.ry_px == 32.0
    assert scene.core_visible == "clear"
    assert scene.open_area[70, 90]
    assert [defect.certainty for defect in scene.defects] == ["sure", "sure", "faint"]


def test_rendered(tmp_path):
    written = write_set(tmp_path / "set", n=2, seed=4, preset="sample")
    source = open_truth(tmp_path / "set")
    assert (source.format, source.image_ids) == ("rendered", written.image_ids)
    scenes = [source.load(name) for name in written.image_ids]
    assert sum(len(scene.defects) + scene.n_empty for scene in scenes) == written.n_defects
    for scene in scenes:
        assert scene.has_zones
        assert scene.cladding is not None
        assert scene.um_per_px is not None
        for defect in scene.defects:
            assert (defect.certainty == "sure") == (defect.sizes.snr >= 2.2)
    strict = open_truth(tmp_path / "set", visible_snr=1e9)
    assert {d.certainty for name in written.image_ids for d in strict.load(name).defects} <= {"faint"}
    path = tmp_path / "set" / "truth" / f"{written.image_ids[0]}.json"
    record = json.loads(path.read_text())
    record["zones"]["cladding_alternative"] = record["zones"]["cladding"] | {"rx_px": 77.0}
    path.write_text(json.dumps(record))
    assert source.load(written.image_ids[0]).cladding_alternative.rx_px == 77.0
    (tmp_path / "set" / "truth" / f"{written.image_ids[0]}_instances.png").unlink()
    with pytest.raises(FormatError, match="_instances"):
        source.load(written.image_ids[0])
