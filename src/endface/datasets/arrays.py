"""Images, defect masks and zone maps of a run stacked into arrays, in one NPZ or HDF5 file.

Arrays need images of one size, so there is a group per size and depth, named '720x576_uint8' (width x
height), with

========== ====================== =====================================
array      shape, dtype           holds
========== ====================== =====================================
images     (N, H, W) uint8/uint16 analysed images
masks      (N, H, W) uint8        codes of `DefectClass`
zones      (N, H, W) uint8        codes of `AnatomyZone`
image_id   (N,) text              names, in the order of the run's table
pass_fail  (N,) text              verdicts
========== ====================== =====================================

Both are written one image at a time, so memory does not grow with the number of images. Loss: IEC zones,
instance numbers and measures of defects, and the reasons of verdicts.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from endface.datasets._folders import Export, RunImage, run_images
from endface.errors import FormatError, SettingsError
from endface.store import RunFolder, read_png

LOSS = (
    "IEC zones, instance numbers and measures of defects and the reasons of verdicts are not kept; "
    "images of different sizes or depths are in different groups."
)

_VERSION = "endface arrays 1"
_MARK = "format"
_STACKS = ("images", "masks", "zones")
# members of a zip file carry a time; a fixed one keeps the bytes of two runs the same
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Stack:
    """All images of one size and depth.

    Attributes
    ----------
    name : str
        Such as '720x576_uint8'.
    images, masks, zones : (N, H, W) ndarray
        Pixels, codes of `DefectClass`, codes of `AnatomyZone`.
    image_id, pass_fail : tuple of str
        In the same order.
    """

    name: str
    images: NDArray[np.uint8] | NDArray[np.uint16]
    masks: NDArray[np.uint8]
    zones: NDArray[np.uint8]
    image_id: tuple[str, ...]
    pass_fail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    images: tuple[RunImage, ...]

    @property
    def name(self) -> str:
        return f"{self.shape[1]}x{self.shape[0]}_{self.dtype.name}"

    @property
    def labels(self) -> dict[str, list[str]]:
        return {
            "image_id": [image.image_id for image in self.images],
            "pass_fail": [image.pass_fail for image in self.images],
        }

    def pixels(self, stack: str, source: RunFolder) -> Iterator[NDArray[Any]]:
        """Yield the images or maps of the group one at a time, checked."""
        dtype = self.dtype if stack == "images" else np.dtype(np.uint8)
        kind = {"masks": "mask", "zones": "zones"}.get(stack)
        for image in self.images:
            path = source.mask(image.image_id, kind) if kind else source.image(image.image_id)
            pixels = read_png(path)
            if pixels.shape != self.shape or pixels.dtype != dtype:
                raise FormatError(
                    f"{path}: expected {self.shape} {dtype}, found {pixels.shape} {pixels.dtype}",
                    hint="Run again with --fresh.",
                )
            yield pixels


def write(run_folder: Path, out: Path, *, container: Literal["npz", "hdf5"] = "npz") -> Export:
    """Stack the images and masks of a run into one compressed file.

    Parameters
    ----------
    run_folder : Path
        Folder of a finished run.
    out : Path
        File to write; an earlier one is replaced, once the new one is complete.
    container : {'npz', 'hdf5'}
        'npz' is read by `numpy.load`, 'hdf5' needs h5py (`pip install endface[hdf5]`) and lets single
        images be read without the rest.

    Raises
    ------
    FormatError
        If there is no finished run, or a file of it is damaged.
    SettingsError
        If h5py is asked for and missing.
    """
    source = RunFolder(run_folder)
    images = run_images(run_folder)
    groups = _groups(source, images)
    writer: Callable[[Path, Sequence[_Group], RunFolder], None] = _write_npz
    if container == "hdf5":
        _h5py()
        writer = _write_hdf5
    with _whole_file(out) as temporary:
        writer(temporary, groups, source)
    return Export(out, len(images), LOSS)


def read(path: Path) -> Iterator[Stack]:
    """Yield the stacks of a file that `write` made, one size at a time, sorted by name.

    Raises
    ------
    FormatError
        If the file is none of ours.
    SettingsError
        If it is HDF5 and h5py is missing.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})", hint="Check the path.") from error
    if start == b"PK\x03\x04":
        try:
            with path.open("rb") as file, np.load(file) as archive:
                yield from _stacks(dict.fromkeys(archive.files), lambda key: archive[key], path)
        except zipfile.BadZipFile as error:
            raise FormatError(f"{path}: the file is damaged ({error})", hint="Write it anew.") from error
    elif start == b"\x89HDF":
        with _h5py().File(path, "r") as file:
            keys = [_MARK, *(f"{group}/{name}" for group in file if group != _MARK for name in file[group])]
            yield from _stacks(dict.fromkeys(keys), lambda key: file[key][()], path)
    else:
        raise FormatError(f"{path}: expected an NPZ or HDF5 file of stacked arrays", hint="Check the path.")


def _groups(source: RunFolder, images: Sequence[RunImage]) -> list[_Group]:
    """Sort images by size and depth; only the heads of the files are read."""
    found: dict[tuple[tuple[int, int], np.dtype[Any]], list[RunImage]] = {}
    for image in images:
        path = source.image(image.image_id)
        try:
            with Image.open(path) as head:
                shape, deep = (head.height, head.width), head.mode.startswith("I")
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error})", hint="Run again with --fresh.") from error
        found.setdefault((shape, np.dtype(np.uint16 if deep else np.uint8)), []).append(image)
    groups = [_Group(shape, dtype, tuple(members)) for (shape, dtype), members in found.items()]
    return sorted(groups, key=lambda group: group.name)


# ── NPZ ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_npz(path: Path, groups: Sequence[_Group], source: RunFolder) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _write_member(archive, _MARK, np.array(_VERSION))
        for group in groups:
            for name, texts in group.labels.items():
                _write_member(archive, f"{group.name}/{name}", np.array(texts, np.str_))
            for stack in _STACKS:
                _write_stack(archive, group, stack, source)


def _write_member(archive: zipfile.ZipFile, key: str, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    with archive.open(_member(key), "w") as member:
        member.write(buffer.getvalue())


def _write_stack(archive: zipfile.ZipFile, group: _Group, stack: str, source: RunFolder) -> None:
    """Write the head of an array of N images, then the images as they come."""
    dtype = group.dtype if stack == "images" else np.dtype(np.uint8)
    dtype = dtype.newbyteorder("<")
    head = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (len(group.images), *group.shape),
    }
    with archive.open(_member(f"{group.name}/{stack}"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, head)
        for pixels in group.pixels(stack, source):
            member.write(np.ascontiguousarray(pixels, dtype).tobytes())


def _member(key: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{key}.npy", _ZIP_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


# ── HDF5 ────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_hdf5(path: Path, groups: Sequence[_Group], source: RunFolder) -> None:
    h5py = _h5py()
    with h5py.File(path, "w") as file:
        file[_MARK] = _VERSION
        for group in groups:
            node = file.create_group(group.name)
            for name, texts in group.labels.items():
                node.create_dataset(name, data=texts, dtype=h5py.string_dtype())
            for stack in _STACKS:
                dtype = group.dtype if stack == "images" else np.uint8
                data = node.create_dataset(
                    stack,
                    (len(group.images), *group.shape),
                    dtype,
                    # one image a chunk: that is how they are written and read
                    chunks=(1, *group.shape),
                    compression="gzip",
                    compression_opts=1,
                )
                for number, pixels in enumerate(group.pixels(stack, source)):
                    data[number] = pixels


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise SettingsError(
            "HDF5 was asked for, but the package h5py is not installed",
            hint="pip install endface[hdf5], or choose npz.",
        ) from error
    module: ModuleType = h5py
    return module


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────


def _stacks(keys: Mapping[str, None], load: Callable[[str], Any], path: Path) -> Iterator[Stack]:
    if _MARK not in keys or _text(load(_MARK)) != _VERSION:
        raise FormatError(
            f"{path}: expected {_VERSION!r}, found other arrays", hint="Give a file that write() made."
        )
    for name in sorted({key.split("/")[0] for key in keys} - {_MARK}):
        images, masks, zones = (load(f"{name}/{stack}") for stack in _STACKS)
        image_id, pass_fail = (
            tuple(_text(item) for item in load(f"{name}/{column}")) for column in ("image_id", "pass_fail")
        )
        yield Stack(name, images, masks, zones, image_id, pass_fail)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def _whole_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the name of `out` when all went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        yield temporary
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
