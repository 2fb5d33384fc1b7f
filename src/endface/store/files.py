"""The formats of the files of a run: what is written comes back the same."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from endface.errors import FormatError
from endface.imaging.draw import LINE_COLOURS, PaletteName, palette
from endface.imaging.indexed import blend_palette, index_picture
from endface.imaging.png import encode_png
from endface.places import read_bytes, write_bytes


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, keys in the order given."""
    buffer = io.BytesIO()
    # piece by piece: the whole text of a large run in small strings would take several times its size
    for piece in json.JSONEncoder(indent=1, ensure_ascii=False, allow_nan=False).iterencode(content):
        buffer.write(piece.encode())
    buffer.write(b"\n")
    write_bytes(path, buffer.getvalue())


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table as CSV or parquet, by suffix."""
    buffer = io.BytesIO()
    if path.suffix == ".csv":
        # an empty text is as good as none, and easier on the eye without its quotes
        table.with_columns(pl.selectors.string().replace("", None)).write_csv(buffer)
    else:
        table.write_parquet(buffer, compression="zstd", statistics=False)
    write_bytes(path, buffer.getvalue())


def write_gray(path: Path, image: NDArray[Any]) -> None:
    """Write a gray image as PNG of 8 or 16 bits; floats are stretched to 16."""
    if image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())
        image = np.rint((image - low) * (65535.0 / max(high - low, 1e-30))).astype(np.uint16)
    write_bytes(path, encode_png(image, content="picture"))


def write_colour(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture as PNG."""
    write_bytes(path, encode_png(image, content="picture"))


def write_overlay(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write what `draw_overlay` drew as palette PNG: a third of the size of RGB, and sooner."""
    codes = index_picture(picture, colours=LINE_COLOURS)
    write_bytes(path, encode_png(codes, content="picture", palette=blend_palette(LINE_COLOURS)))


def write_numbers(path: Path, numbers: NDArray[np.uint16]) -> None:
    """Write an instance map as gray PNG of 16 bits."""
    write_bytes(path, encode_png(numbers, content="codes"))


def write_palette(path: Path, codes: NDArray[np.uint8], *, kind: PaletteName) -> None:
    """Write a map of codes as palette PNG: viewers show colours, readers get the codes."""
    colours = np.array([swatch.rgb for swatch in palette(kind)], np.uint8)
    write_bytes(path, encode_png(codes, content="codes", palette=colours))


def write_maps(path: Path, maps: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays into one NPZ file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **maps)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_png(path: Path) -> NDArray[Any]:
    """Read an image, mask or instance map of a run back: (H, W) uint8 or uint16 values as they were written.

    Raises
    ------
    FormatError
        If it is missing or damaged.
    """
    try:
        with Image.open(io.BytesIO(read_bytes(path))) as image:
            pixels = np.asarray(image)
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be read ({error})", hint="Run again; it is then made anew."
        ) from None
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run.

    Raises
    ------
    FormatError
        If it is missing or not as it was written.
    """
    try:
        content: dict[str, Any] = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error})", hint="Run again with --fresh.") from None
    return content
