"""Paths and addresses: the same files, the same order; faults that pass are waited out, others are not."""

from __future__ import annotations

import contextlib
import errno
import pickle
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface import pipeline, places
from endface.errors import InputError, SettingsError
from endface.inputs import find_images
from endface.places import Address, place, walk
from endface.store import open_run_folder

pytest.importorskip("fsspec", reason="addresses need the extra `cluster`")

NAMES = (
    "b.png",
    "a/x.png",
    "a.png",
    "a/.hidden/y.png",
    "a b/ü.jpg",
    "a-b/[1].tif",
    "c/d/e/z.bmp",
    "no image.txt",
)


@pytest.fixture
def memory() -> Path:
    return place(f"memory://{uuid.uuid4().hex}")


@pytest.fixture(params=["path", "address"])
def root(request: pytest.FixtureRequest, tmp_path: Path, memory: Path) -> Path:
    return tmp_path if request.param == "path" else memory


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(places.time, "sleep", waited.append)
    return waited


def fill(root: Path) -> Path:
    for name in NAMES:
        places.write_bytes(root / name, name.encode())
    return root


def test_what_is_written_is_read_listed_and_removed(root: Path) -> None:
    assert places.is_empty(root / "nothing")
    fill(root)
    assert places.read_bytes(root / "a b/ü.jpg").decode() == "a b/ü.jpg"
    assert (root / "a").is_dir()
    assert not (root / "a").is_file()
    assert (root / "a" / "x.png").is_file()
    assert sorted(walk(root)) == sorted(NAMES)
    assert places.match(root, "*/*.png") == ["a/x.png"]
    (root / "b.png").unlink()
    (root / "b.png").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        places.read_bytes(root / "b.png")
    places.remove_tree(root / "c")
    assert sorted(walk(root)) == sorted(set(NAMES) - {"b.png", "c/d/e/z.bmp"})
    places.copy_tree(root, root.with_name(root.name + "copy"))
    assert list(walk(root.with_name(root.name + "copy"))) == list(walk(root))


def test_the_same_images_in_the_same_order_everywhere(tmp_path: Path, memory: Path) -> None:
    far, near = (find_images(str(fill(root))) for root in (memory, tmp_path))
    assert [(item.image, item.image_id) for item in far] == [(item.image, item.image_id) for item in near]
    assert [item.image for item in near] == [
        "a/x.png", "a b/ü.jpg", "a-b/[1].tif", "a.png", "b.png", "c/d/e/z.bmp",
    ]  # fmt: skip
    assert [item.image for item in find_images(f"{memory}/*/*.png")] == ["a/x.png"]
    assert len(find_images([str(memory / "b.png"), str(memory)])) == len(far)
    with pytest.raises(InputError, match="no such"):
        find_images(f"{memory}/nowhere")


@given(parts=st.lists(st.text("ab-. /ü", min_size=1, max_size=4).map(str.strip), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_addresses_are_taken_apart_like_paths(parts: list[str]) -> None:
    near, far = Path("/bucket", "x", *(part.strip("/") for part in parts)), Address("s3://bucket/x")
    for part in parts:
        far /= part.strip("/")
    assert str(far) == f"s3:/{near}"
    assert (far.name, far.suffix, far.parent.name) == (near.name, near.suffix, near.parent.name)
    assert pickle.loads(pickle.dumps(far)) == far == place(str(far))
    assert far.relative_to(place("s3://bucket")).as_posix() == near.relative_to("/bucket").as_posix()


def test_an_address_is_never_taken_for_a_file_of_this_machine(memory: Path) -> None:
    for use in (
        open,
        Path.stat,
        lambda path: path.open(),
        lambda path: path.iterdir(),
        lambda path: path.stat(),
    ):
        with pytest.raises(TypeError, match="not a file of this machine"):
            use(memory / "x")


def test_an_unknown_kind_of_address_and_a_missing_package_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="nonsense"):
        place("nonsense://x/y")
    with pytest.raises(SettingsError, match="whole objects"):
        open_run_folder("http://127.0.0.1/x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(SettingsError, match="fsspec") as caught:
        place("s3://bucket/x")
    assert "endface[cluster]" in caught.value.hint


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_faults_that_pass_are_waited_out(
    number: int, tmp_path: Path, impatient: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    places.write_bytes(tmp_path / "x", b"old")
    faults: Iterator[bool] = iter([True, True, False])
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if next(faults):
            raise OSError(number, "now and then")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    places.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert len(impatient) == 2
    assert impatient[0] < impatient[1]
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_faults_that_last_are_not_waited_for(root: Path, impatient: list[float]) -> None:
    with pytest.raises(FileNotFoundError):
        places.read_bytes(root / "missing")
    assert impatient == []


def test_patience_ends_with_an_os_error(
    memory: Path, impatient: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClientError(Exception):
        """What the libraries below raise is often no OSError."""

    def broken(_: Address) -> None:
        raise ClientError("connection reset")

    monkeypatch.setattr(places, "_store", broken)
    with pytest.raises(OSError, match="connection reset"):
        places.read_bytes(memory / "x")
    assert len(impatient) == len(places.PAUSES_S)


def test_a_run_folder_may_be_an_address(memory: Path) -> None:
    open_run_folder(memory)
    assert open_run_folder(str(memory)).root == memory
    places.write_bytes(memory / "other" / "thesis.txt", b"x")
    with pytest.raises(SettingsError, match="not those of a run"):
        open_run_folder(memory / "other")
    with pytest.raises(SettingsError, match="cannot be written to memory"):
        pipeline._check_exports(memory, pipeline.Settings(output={"label_folders": True}))


def test_what_is_written_together_arrives_together(memory: Path) -> None:
    with places.together():
        for name in NAMES:
            places.write_bytes(memory / name, b"x")
        assert places.is_empty(memory)
    assert sorted(walk(memory)) == sorted(NAMES)
    assert places.are_files([memory / name for name in NAMES])
    assert not places.are_files([memory / "b.png", memory / "missing"])
    with contextlib.suppress(ZeroDivisionError), places.together():
        places.write_bytes(memory / "half", b"x")
        _ = 1 // 0
    assert not (memory / "half").exists()
