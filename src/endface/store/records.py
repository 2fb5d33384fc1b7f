"""The journal: one record per finished image, which makes a run resumable.

`journal/<image_id>.json` is written last; that it is there says that all files of the image are complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Calibration, Zones
from endface.imaging.ellipse import Ellipse
from endface.places import are_files, read_all, read_bytes, write_bytes
from endface.store.folder import RunFolder

Columns = list[list[Any]]


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
    columns : list of [str, str, list]
        Columns of the defect table, from `columns_of`: name, polars type, values.
    pixels : str
        Where the defects lie, from `pack_pixels`.
    """

    image: str
    image_id: str
    digest: str
    key: str
    row: dict[str, Any]
    zones: dict[str, Any]
    zone_rows: list[dict[str, Any]]
    columns: Columns = field(repr=False)
    pixels: str = ""

    @property
    def defects(self) -> pl.DataFrame:
        """Rows of the defect table."""
        return stacked([self.columns])


def write_record(folder: RunFolder, record: Record) -> None:
    """Write the record of a finished image, after all of its other files."""
    content = vars(record)
    try:
        text = _as_text(content)
    except ValueError:  # a number that is not known
        text = _as_text(_without_nan(content))
    write_bytes(folder.record(record.image_id), text.encode())


def read_record(folder: RunFolder, image_id: str) -> Record | None:
    """Return the record of an image, or None where the image is not finished."""
    content = read_content(folder, image_id)
    try:
        for _, kind, _ in content["columns"]:
            getattr(pl, kind)
        return Record(**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def columns_of(table: pl.DataFrame) -> Columns:
    """Return the columns of a table as a record holds them."""
    return [[column.name, str(column.dtype), column.to_list()] for column in table]


def stacked(tables: Iterable[Columns]) -> pl.DataFrame:
    """Put tables held as columns below each other; a value is null where a table lacks its column.

    Once for many images: making a table takes a millisecond, however short it is.

    Examples
    --------
    >>> one, other = [["n", "Int64", [1, 2]]], [["n", "Int64", [3]], ["word", "String", ["a"]]]
    >>> stacked([one, other]).rows()
    [(1, None), (2, None), (3, 'a')]
    """
    tables = list(tables)
    kinds = {name: kind for columns in tables for name, kind, _ in columns}
    joined: dict[str, list[Any]] = {name: [] for name in kinds}
    for columns in tables:
        own = {name: values for name, _, values in columns}
        height = len(columns[0][2]) if columns else 0
        for name, values in joined.items():
            values += own.get(name) or [None] * height
    return pl.DataFrame([pl.Series(name, joined[name], getattr(pl, kind)) for name, kind in kinds.items()])


def read_content(folder: RunFolder, image_id: str) -> dict[str, Any]:
    """Return a record as it is stored; empty where there is none.

    For those who need little of it: tables take three times as long.
    """
    try:
        content: dict[str, Any] = json.loads(read_bytes(folder.record(image_id)))
        return content
    except (OSError, ValueError):
        return {}


def is_finished(folder: RunFolder, image_id: str, key: str) -> bool:
    """Return whether an image is done with this key and all its files are there."""
    if read_content(folder, image_id).get("key") != key:
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
    paths = [folder.batch.record(image_id), *masks]
    there = read_all(lambda path: path.is_file(), paths, root=folder.root)
    return [path for path, is_there in zip(paths, there, strict=True) if is_there]


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
        "adhesive": asdict(zones.adhesive) if zones.adhesive else None,
    }


def zones_from_record(record: Mapping[str, Any], anatomy: NDArray[np.uint8]) -> Zones:
    """Rebuild `Zones` from a record and the anatomy map; rim points are not kept."""
    cladding, core = rims_from_record(record)
    adhesive = record.get("adhesive")
    return Zones(
        found=record["found"],
        reason=record["reason"],
        anatomy=anatomy,
        valid=anatomy != 0,
        calibration=Calibration(**record["calibration"]),
        cladding=cladding,
        core=core,
        core_source=record["core_source"],
        confidence=record["confidence"],
        rings_px=tuple(record["rings_px"]),
        flags=tuple(record["flags"]),
        adhesive=adhesive and Ellipse(**adhesive),
    )


def rims_from_record(record: Mapping[str, Any]) -> tuple[Ellipse | None, Ellipse | None]:
    """Return cladding and core from what `zones_to_record` returned."""
    cladding, core = (record[name] and Ellipse(**record[name]) for name in ("cladding", "core"))
    return cladding, core


def _as_text(content: Mapping[str, Any]) -> str:
    # no indentation, and so the compiled encoder
    return json.dumps(
        content,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        default=lambda value: value.item(),
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
