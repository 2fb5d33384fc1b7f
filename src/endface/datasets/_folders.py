"""What all formats share: the images of a run folder, and output folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import polars as pl

from endface.errors import FormatError, SettingsError
from endface.store import RunFolder, read_json, write_json

CARD = "dataset.json"


@dataclass(frozen=True, slots=True)
class Export:
    """What a writer wrote: where, how many images, and what the format could not hold."""

    path: Path
    n_images: int
    loss: str


@dataclass(frozen=True, slots=True)
class RunImage:
    """One finished image of a run."""

    image_id: str
    pass_fail: str


def run_images(run_folder: Path) -> tuple[RunImage, ...]:
    """Return the finished images of a run, in the order of its table.

    Raises
    ------
    FormatError
        If the folder holds no finished run.
    """
    path = RunFolder(run_folder).image_labels.with_suffix(".csv")
    try:
        # names such as 007 are text
        table = pl.read_csv(path, columns=["image_id", "pass_fail"], infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(
            f"{run_folder}: expected a finished run with {path.name}; {error}",
            hint="Give the folder that `endface run -o` wrote.",
        ) from error
    return tuple(RunImage(str(name), str(label)) for name, label in table.iter_rows())


@contextmanager
def whole_folder(out: Path, *, card: dict[str, Any]) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `out` when all went well, and vanishes otherwise.

    Parameters
    ----------
    out : Path
        May exist if it is empty or an earlier export of the same format, which is replaced.
    card : dict
        Written as `dataset.json`; `format` says whose folder it is.

    Raises
    ------
    SettingsError
        If `out` holds anything else.
    """
    _check_replaceable(out, card["format"])
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=".", suffix=".tmp", dir=out.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        write_json(temporary / CARD, card)
        old = temporary.with_suffix(".old.tmp")
        if out.exists():
            out.rename(old)
        temporary.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_card(folder: Path, *, expected: str) -> dict[str, Any]:
    """Return the `dataset.json` of an export.

    Raises
    ------
    FormatError
        If it is missing or that of another format.
    """
    card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    if card.get("format") != expected:
        raise FormatError(
            f"{folder}: expected a data set of format {expected!r}, found {card.get('format')!r} in {CARD}",
            hint="Give a folder that this format's write() made.",
        )
    return card


def _check_replaceable(out: Path, name: str) -> None:
    if not out.exists():
        return
    ours = out.is_dir() and (out / CARD).is_file() and read_json(out / CARD).get("format") == name
    if not ours and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(
            f"{out}: expected a new folder, an empty one or an earlier export of format {name!r}",
            hint="Choose another folder; nothing was written.",
        )
