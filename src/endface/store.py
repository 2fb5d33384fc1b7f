"""The run folder: where every file lies, and writers that leave either the old file or the whole new one.

Knows paths, formats and the journal that makes a run resumable. Does not know what the numbers mean.

The journal holds one record per finished image, `journal/<image_id>.json`, whose presence says that all files
of the image are complete.
"""

from __future__ import annotations

import io
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from endface.annotation import Calibration, Zones
from endface.errors import FormatError, SettingsError
from endface.imaging.draw import LINE_COLOURS, PaletteName, palette
from endface.imaging.ellipse import Ellipse
from endface.imaging.indexed import blend_palette, index_picture
from endface.imaging.png import encode_png
from endface.places import (
    OBJECT_STORES,
    Address,
    are_files,
    is_empty,
    place,
    read_bytes,
    remove_empty_folders,
    remove_tree,
    walk,
)
from endface.places import write_bytes as write_bytes

MANIFEST = "run.json"
_BEGUN = ".begun"
_TOP_FILES = (MANIFEST, "failures.csv", "report.html", "same_face.csv")
_FOLDERS = (
    "journal",
    "optics",
    "pixel_level",
    "region_level",
    "image_level",
    "defect_library",
    "segmentation_masks",
    "clusters",
    "exports",
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run folder; CONTRACT of the outputs."""

    root: Path

    def image(self, image_id: str) -> Path:
        """Return the path of the analysed image."""
        return self.root / "pixel_level" / "images" / f"{image_id}.png"

    def mask(self, image_id: str, kind: str) -> Path:
        """Return the path of a mask; `kind` is mask, zones, iec or instances."""
        return self.root / "pixel_level" / "masks" / f"{image_id}_{kind}.png"

    def maps(self, image_id: str) -> Path:
        """Return the path of the optional pixel maps."""
        return self.root / "pixel_level" / "maps" / f"{image_id}.npz"

    def overlay(self, image_id: str) -> Path:
        """Return the path of the picture with zones and defects drawn in."""
        return self.root / "segmentation_masks" / f"{image_id}_overlay.png"

    def patch(self, defect_id: str, type_name: str, level: str) -> Path:
        """Return the path of a defect's patch."""
        return self.root / "defect_library" / type_name / level / f"{defect_id}.png"

    def record(self, image_id: str) -> Path:
        """Return the path of an image's record in the journal."""
        return self.root / "journal" / f"{image_id}.json"

    def drawn(self, image_id: str) -> Path:
        """Return the path of the note that an image's pictures are up to date."""
        return self.root / "journal" / f"{image_id}.drawn"

    @property
    def batch(self) -> RunFolder:
        """Folder, laid out like a run, of what the batch changed: settled records and masks as first found."""
        return RunFolder(self.root / "journal" / "batch")

    def chart(self, image_id: str) -> Path:
        """Return the path of the face as a chart of radius and angle."""
        return self.root / "journal" / "faces" / f"{image_id}.png"

    def optics(self, scope: str) -> Path:
        """Return the path of what is known of the optics of one scope."""
        return self.root / "journal" / "optics" / f"{scope}.json"

    @property
    def optics_marks(self) -> Path:
        """Table of marks of the optics."""
        return self.root / "optics" / "optics_marks.csv"

    @property
    def optics_finds(self) -> Path:
        """Table of finds that are marks of the optics and no defects."""
        return self.root / "optics" / "optics_finds.csv"

    @property
    def same_face(self) -> Path:
        """Table of images that show the same face."""
        return self.root / "same_face.csv"

    @property
    def image_labels(self) -> Path:
        """Table of images, without suffix."""
        return self.root / "image_level" / "image_labels"

    @property
    def defect_index(self) -> Path:
        """Table of defects, without suffix."""
        return self.root / "defect_library" / "defect_library_index"

    @property
    def zone_features(self) -> Path:
        """Table of zones, without suffix."""
        return self.root / "region_level" / "zone_defect_features"

    @property
    def clusters(self) -> Path:
        """Table of clusters."""
        return self.root / "clusters" / "clusters.csv"

    @property
    def exports(self) -> Path:
        """Folder of the optional exports."""
        return self.root / "exports"

    @property
    def failures(self) -> Path:
        """Table of what could not be done."""
        return self.root / "failures.csv"

    @property
    def manifest(self) -> Path:
        """Manifest of the run."""
        return self.root / MANIFEST


def open_run_folder(out: str | Path, *, fresh: bool = False) -> RunFolder:
    """Make or re-open a run folder; what is not a run folder is never written into.

    Raises
    ------
    SettingsError
        If `out` is a file, or a folder that holds something but no run.
    """
    root = place(out)
    if isinstance(root, Address) and root.scheme not in OBJECT_STORES:
        raise SettingsError(
            f"{out}: expected a store that writes whole objects ({', '.join(sorted(OBJECT_STORES))})",
            hint="Mount it and give the path, or choose another -o.",
        )
    if root.is_file():
        raise SettingsError(
            f"{out}: expected a folder for the output, found a file", hint="Choose another -o."
        )
    if not is_empty(root) and not is_run_folder(root):
        raise SettingsError(
            f"{out}: the folder holds files that are not those of a run",
            hint="Choose a new or empty folder for -o; nothing was written.",
        )
    if fresh:
        for name in _FOLDERS:
            remove_tree(root / name)
        for name in _TOP_FILES:
            (root / name).unlink(missing_ok=True)
    try:
        (root / "journal").mkdir(parents=True, exist_ok=True)
        if isinstance(root, Address):
            # an object says that a run began here; folders exist only by what is in them
            write_bytes(root / "journal" / _BEGUN, b"")
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{out}: cannot be made ({reason})", hint="Choose another -o.") from None
    return RunFolder(root)


def is_run_folder(root: Path) -> bool:
    """Return whether a folder is that of a run, finished or not."""
    return (root / "journal").is_dir() or (root / MANIFEST).is_file()


def sweep(folder: RunFolder, keep: Iterable[Path]) -> int:
    """Delete files of earlier runs and leftovers of a killed one; return how many were deleted."""
    # by eight bytes each: a run has ten files per image
    kept = array("q", sorted(hash(str(path)) for path in keep))
    removed = 0
    for name in set(_FOLDERS) - {"exports"}:
        for file in walk(folder.root / name):
            path = folder.root / name / file
            place_of = bisect_left(kept, hash(str(path)))
            if place_of == len(kept) or kept[place_of] != hash(str(path)):
                path.unlink(missing_ok=True)
                # the sheets of clusters belong to the report, which makes them anew
                removed += name != "clusters" and file != _BEGUN
        remove_empty_folders(folder.root / name)
    for leftover in walk(folder.root, enter=lambda _: False):
        if leftover.startswith(".") and leftover.endswith(".tmp"):
            (folder.root / leftover).unlink()
    return removed


# ── writers ─────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── readers ─────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── journal ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Record:
    """What is kept of one finished image besides its masks.

    Attributes
    ----------
    key : str
        Hash of the input's bytes, the settings and the code the results depend on.
    row : dict
        Columns of the image table that one image alone gives.
    zones : dict
        `Zones` without its maps.
    zone_rows : list of dict
        Rows of the zone table.
    defects : polars.DataFrame
        Rows of the defect table.
    """

    image: str
    image_id: str
    digest: str
    key: str
    row: dict[str, Any]
    zones: dict[str, Any]
    zone_rows: list[dict[str, Any]]
    defects: pl.DataFrame = field(repr=False)


def write_record(folder: RunFolder, record: Record) -> None:
    """Write the record of a finished image, after all of its other files."""
    columns = [[column.name, str(column.dtype), column.to_list()] for column in record.defects]
    content = _without_nan(vars(record) | {"defects": columns})
    # no indentation, and so the compiled encoder
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_bytes(folder.record(record.image_id), text.encode())


def read_record(folder: RunFolder, image_id: str) -> Record | None:
    """Return the record of an image, or None where the image is not finished."""
    path = folder.record(image_id)
    try:
        content = json.loads(read_bytes(path))
        columns = [pl.Series(name, values, getattr(pl, kind)) for name, kind, values in content["defects"]]
        return Record(**content | {"defects": pl.DataFrame(columns)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        return None


def is_finished(folder: RunFolder, image_id: str, key: str) -> bool:
    """Return whether an image is done with this key and all its files are there."""
    path = folder.record(image_id)
    try:
        if json.loads(read_bytes(path))["key"] != key:
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    files = [folder.image(image_id), *(folder.mask(image_id, kind) for kind in ("zones", "iec", "instances"))]
    return are_files(files)


def raw_mask(folder: RunFolder, image_id: str, kind: str) -> Path:
    """Return the path of a mask as one image alone gave it, whatever the batch made of it since."""
    kept = folder.batch.mask(image_id, kind)
    return kept if kept.is_file() else folder.mask(image_id, kind)


def batch_files(folder: RunFolder, image_id: str) -> list[Path]:
    """Return the files the journal holds of what the batch made of an image."""
    masks = [folder.batch.mask(image_id, kind) for kind in ("zones", "iec", "instances")]
    return [path for path in (folder.batch.record(image_id), *masks) if path.is_file()]


def forget_batch(folder: RunFolder, image_id: str) -> None:
    """Put back the masks as one image alone gave them, and drop what the batch made of it."""
    folder.batch.record(image_id).unlink(missing_ok=True)
    kept = batch_files(folder, image_id)
    for path in kept:
        if path.suffix == ".png":
            write_bytes(folder.root / path.relative_to(folder.batch.root), path.read_bytes())
    for path in kept:
        path.unlink()


def zones_to_record(zones: Zones) -> dict[str, Any]:
    """Return what a `Zones` holds besides maps and rim points, as plain values."""
    return {
        "found": zones.found,
        "reason": zones.reason,
        "calibration": asdict(zones.calibration),
        "cladding": asdict(zones.cladding) if zones.cladding else None,
        "core": asdict(zones.core) if zones.core else None,
        "core_source": zones.core_source,
        "confidence": zones.confidence,
        "rings_px": list(zones.rings_px),
        "flags": list(zones.flags),
    }


def zones_from_record(record: Mapping[str, Any], anatomy: NDArray[np.uint8]) -> Zones:
    """Rebuild `Zones` from a record and the anatomy map; rim points are not kept."""
    return Zones(
        found=record["found"],
        reason=record["reason"],
        anatomy=anatomy,
        valid=anatomy != 0,
        calibration=Calibration(**record["calibration"]),
        cladding=Ellipse(**record["cladding"]) if record["cladding"] else None,
        core=Ellipse(**record["core"]) if record["core"] else None,
        core_source=record["core_source"],
        confidence=record["confidence"],
        rings_px=tuple(record["rings_px"]),
        flags=tuple(record["flags"]),
    )


def _without_nan(value: Any) -> Any:
    """Replace numbers that are not known by None and NumPy scalars by Python's."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
