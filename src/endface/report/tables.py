"""The tables of a run folder as the report needs them; absent optional tables are empty ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from endface.errors import FormatError, InputError
from endface.places import Address, read_bytes
from endface.store import RunFolder, read_json

_IMAGE_COLUMNS = ("image", "image_id", "pass_fail", "fail_reason", "profile", "n_defects", "calibration")
_DEFECT_COLUMNS = ("defect_id", "image_id", "type", "severity_level")
_ZONE_COLUMNS = ("zone", "label", "n_defects", "defect_area_frac")
_CHARTED_COLUMNS = ("cluster_label", "anatomy_zone", "iec_zone", "diameter_um")


@dataclass(frozen=True, eq=False)
class RunTables:
    """What a run wrote, read back.

    Attributes
    ----------
    folder : RunFolder
        Where the files of the run lie.
    images : polars.DataFrame
        One row per image, in the order of the run (`image_labels.csv`).
    defects : polars.DataFrame
        One row per defect (`defect_library_index`).
    zones : polars.DataFrame
        One row per image and zone; empty where the table is absent.
    failures : polars.DataFrame
        `image, stage, error, hint`, one row per image that could not be done.
    clusters : polars.DataFrame
        `cluster, name, size, rule`; empty where nothing was clustered.
    manifest : mapping
        Content of `run.json`.
    """

    folder: RunFolder
    images: pl.DataFrame
    defects: pl.DataFrame
    zones: pl.DataFrame
    failures: pl.DataFrame
    clusters: pl.DataFrame
    manifest: Mapping[str, Any]


def read_tables(run_folder: Path) -> RunTables:
    """Read the tables of a run folder.

    Raises
    ------
    InputError
        If the folder is not that of a finished run.
    FormatError
        If a table lacks columns the report needs or `run.json` is not JSON.
    """
    folder = RunFolder(run_folder)
    images = _best_of(folder.image_labels)
    if images is None:
        raise InputError(
            f"expected the tables of a run in {run_folder}, found no image_level/image_labels.csv",
            hint="Give the folder that was the output of `endface run`, and let that command finish first.",
        )
    zones = _best_of(folder.zone_features, _ZONE_COLUMNS)
    return RunTables(
        folder=folder,
        images=_with_columns(images, _IMAGE_COLUMNS, folder.image_labels),
        defects=read_defects(folder),
        zones=pl.DataFrame() if zones is None else zones,
        failures=_csv(folder.failures, text=True),
        clusters=read_clusters(folder),
        manifest=read_json(folder.manifest) if folder.manifest.is_file() else {},
    )


def read_defects(folder: RunFolder) -> pl.DataFrame:
    """Read the index of the defect library; empty where there is none."""
    table = _best_of(folder.defect_index, _DEFECT_COLUMNS + _CHARTED_COLUMNS)
    if table is None:
        return pl.DataFrame(schema=dict.fromkeys(_DEFECT_COLUMNS, pl.String))
    return _with_columns(table, _DEFECT_COLUMNS, folder.defect_index)


def read_clusters(folder: RunFolder) -> pl.DataFrame:
    """Read the table of clusters; empty where nothing was clustered."""
    return _csv(folder.clusters)


def _best_of(stem: Path, columns: tuple[str, ...] = ()) -> pl.DataFrame | None:
    """Read the parquet file, which has types, else the CSV file beside it; None where there is neither.

    Of a parquet file only `columns` are read, where given: all of them take hundreds of megabytes.
    """
    parquet, csv = (stem.with_name(stem.name + suffix) for suffix in (".parquet", ".csv"))
    if parquet.is_file():
        source = io.BytesIO(read_bytes(parquet)) if isinstance(parquet, Address) else parquet
        table = pl.scan_parquet(source)
        names = table.collect_schema().names()
        return table.select(name for name in names if not columns or name in columns).collect()
    return _csv(csv) if csv.is_file() else None


def _csv(path: Path, *, text: bool = False) -> pl.DataFrame:
    data = read_bytes(path) if path.is_file() else b""
    if not data:
        return pl.DataFrame()
    table = pl.read_csv(data, infer_schema=False)
    if text:
        return table
    # a name such as 0001 is a name, not a number
    names = [name for name in ("image", "image_id", "defect_id", "cluster_label") if name in table.columns]
    return pl.read_csv(data, infer_schema_length=None, schema_overrides=dict.fromkeys(names, pl.String))


def _with_columns(table: pl.DataFrame, columns: tuple[str, ...], stem: Path) -> pl.DataFrame:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise FormatError(
            f"expected the columns {', '.join(columns)} in {stem}.*, found no {', '.join(missing)}",
            hint="Another version wrote it or it was changed since: run `endface run --fresh` again.",
        )
    return table
