"""Exports hold what the run holds, less the loss they state, and appear whole or not at all."""

import json
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from endface.annotation import Decision
from endface.datasets import arrays, combined_masks, labels_folder
from endface.datasets.combined_masks import combine, separate
from endface.errors import FormatError, SettingsError
from endface.store import RunFolder, write_gray, write_palette

IMAGES = {
    "007": ("PASS", (12, 20), np.uint8),
    "lot 1__fläche": ("FAIL", (12, 20), np.uint8),
    "b": ("MARGINAL", (20, 12), np.uint8),
    "c": ("PASS", (12, 20), np.uint16),
}


def make_run(root, images=IMAGES):
    run = RunFolder(root)
    rng = np.random.default_rng(1)
    for name, (_, shape, dtype) in images.items():
        write_gray(run.image(name), rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype))
        write_palette(run.mask(name, "mask"), rng.integers(0, 5, shape).astype(np.uint8), kind="defects")
        write_palette(run.mask(name, "zones"), rng.integers(0, 5, shape).astype(np.uint8), kind="anatomy")
    run.image_labels.parent.mkdir(parents=True)
    labels = pl.DataFrame({"image_id": list(images), "pass_fail": [v[0] for v in images.values()]})
    labels.write_csv(run.image_labels.with_suffix(".csv"))
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ── label folders ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["link", "copy"])
def test_label_folders(run, tmp_path, how):
    out = tmp_path / "labels"
    export = labels_folder.write(run.root, out, how=how)
    assert export.n_images == 4
    assert labels_folder.read(out) == {name: Decision(v[0]) for name, v in sorted(IMAGES.items())}
    assert {path.name for path in out.iterdir()} == {"Pass", "Fail", "Marginal", "dataset.json"}
    placed = out / "Fail" / "lot 1__fläche.png"
    assert placed.read_bytes() == run.image("lot 1__fläche").read_bytes()
    assert placed.samefile(run.image("lot 1__fläche")) == (how == "link")
    assert json.loads((out / "dataset.json").read_text())["loss"] == export.loss


# ── combined masks ──────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 4)),
    hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 4)),
)
def test_combined_codes_lose_what_they_say_and_no_more(anatomy, classes):
    mask = combine(anatomy, classes)
    assert mask.dtype == np.uint8
    assert not (mask == 0).any()
    back, defects = separate(mask)
    assert np.array_equal(back, np.where(anatomy == 4, 3, anatomy))
    assert np.array_equal(defects, (classes > 0) & (anatomy > 0))
    assert np.array_equal(combine(back, defects), mask)


def test_combined_masks(run, tmp_path):
    out = tmp_path / "combined"
    assert combined_masks.write(run.root, out).n_images == 4
    masks = {mask.image_id: mask for mask in combined_masks.read(out)}
    assert set(masks) == set(IMAGES)
    assert masks["b"].anatomy.shape == (20, 12)
    with Image.open(out / "b.png") as image:
        assert image.mode == "P"
        assert np.asarray(image).min() > 0
    Image.fromarray(np.full((3, 3), 9, np.uint8)).save(out / "foreign.png")
    with pytest.raises(FormatError, match=r"foreign\.png: expected one channel of codes 0 to 7"):
        list(combined_masks.read(out))


# ── arrays ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("container", ["npz", "hdf5"])
def test_arrays(run, tmp_path, container):
    out = tmp_path / f"stack.{container}"
    assert arrays.write(run.root, out, container=container).n_images == 4
    stacks = {stack.name: stack for stack in arrays.read(out)}
    assert list(stacks) == ["12x20_uint8", "20x12_uint16", "20x12_uint8"]
    pair = stacks["20x12_uint8"]
    assert pair.images.shape == pair.masks.shape == pair.zones.shape == (2, 12, 20)
    assert pair.image_id == ("007", "lot 1__fläche")
    assert pair.pass_fail == ("PASS", "FAIL")
    assert stacks["20x12_uint16"].images.dtype == np.uint16
    for stack in stacks.values():
        for number, name in enumerate(stack.image_id):
            with Image.open(run.mask(name, "mask")) as mask, Image.open(run.mask(name, "zones")) as zones:
                assert np.array_equal(stack.masks[number], np.asarray(mask))
                assert np.array_equal(stack.zones[number], np.asarray(zones))
            with Image.open(run.image(name)) as image:
                assert np.array_equal(stack.images[number], np.asarray(image))


def test_arrays_are_read_by_numpy_alone(run, tmp_path):
    arrays.write(run.root, tmp_path / "stack.npz")
    with np.load(tmp_path / "stack.npz") as archive:
        assert archive["12x20_uint8/images"].shape == (1, 20, 12)
        assert archive["20x12_uint8/image_id"].tolist() == ["007", "lot 1__fläche"]


@pytest.mark.parametrize("container", ["npz", "hdf5"])
def test_arrays_are_written_without_holding_them(tmp_path, container):
    shape = (200, 300)
    run = make_run(tmp_path / "run", {f"{n:02}": ("PASS", shape, np.uint8) for n in range(40)})
    arrays.write(run.root, tmp_path / "warm", container=container)
    tracemalloc.start()
    arrays.write(run.root, tmp_path / "stack", container=container)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * shape[0] * shape[1]


def test_cut_off_files_are_refused(run, tmp_path):
    arrays.write(run.root, tmp_path / "stack.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "stack.npz").read_bytes()[:900])
    with pytest.raises(FormatError, match=r"cut\.npz: the file is damaged"):
        list(arrays.read(tmp_path / "cut.npz"))


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    (tmp_path / "text.npz").write_text("no arrays")
    for name, said in (
        ("other", "found other arrays"),
        ("text", "expected an NPZ"),
        ("none", "cannot be read"),
    ):
        with pytest.raises(FormatError, match=said):
            list(arrays.read(tmp_path / f"{name}.npz"))


def test_missing_h5py_is_said(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(SettingsError, match="h5py is not installed") as caught:
        arrays.write(run.root, tmp_path / "stack.h5", container="hdf5")
    assert "endface[hdf5]" in caught.value.hint
    assert not (tmp_path / "stack.h5").exists()


# ── all formats ─────────────────────────────────────────────────────────────────────────────────────────────

WRITERS = {
    "labels": labels_folder.write,
    "combined": combined_masks.write,
    "npz": arrays.write,
    "hdf5": lambda run, out: arrays.write(run, out, container="hdf5"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_written_twice_gives_the_same_bytes(run, tmp_path, name):
    first, again = (tmp_path / place / "out" for place in ("one", "two"))
    WRITERS[name](run.root, first)
    WRITERS[name](run.root, again)
    before = files_of(first.parent)
    assert before == files_of(again.parent)
    WRITERS[name](run.root, first)
    assert files_of(first.parent) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_broken_run_leaves_what_was_there(run, tmp_path, name):
    out = tmp_path / "exports" / "out"
    WRITERS[name](run.root, out)
    before = files_of(out.parent)
    for broken in (run.image("c"), run.mask("c", "zones")):
        broken.unlink()
    with pytest.raises((FormatError, OSError)):
        WRITERS[name](run.root, out)
    assert files_of(out.parent) == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["labels", "combined"])
def test_other_folders_are_never_replaced(run, tmp_path, name):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match="expected a new folder"):
        WRITERS[name](run.root, out)
    assert files_of(out) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("name", WRITERS)
def test_no_run(tmp_path, name):
    with pytest.raises(FormatError, match="expected a finished run"):
        WRITERS[name](tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_without_images(tmp_path, name):
    run = make_run(tmp_path / "run", {})
    assert WRITERS[name](run.root, tmp_path / "out").n_images == 0


@pytest.mark.parametrize("module", [labels_folder, combined_masks])
def test_readers_refuse_other_folders(run, tmp_path, module):
    arrays.write(run.root, tmp_path / "folder" / "stack.npz")
    with pytest.raises(FormatError, match="expected a data set of format"):
        list(module.read(tmp_path / "folder"))
