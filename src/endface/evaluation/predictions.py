"""What a run found, read from its folder: one row per image, one per defect, and the instance maps."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from endface.errors import FormatError, InputError
from endface.evaluation.masks import read_codes
from endface.imaging.ellipse import Ellipse

_HINT = "Give the folder that `endface run ... -o FOLDER` wrote."


@dataclass(frozen=True, slots=True)
class FoundDefect:
    """One row of the run's defect table: what evaluation needs of it."""

    instance: int
    type: str
    confidence: float | None
    diameter_um: float | None
    length_um: float | None


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One row of the run's image table with its defects."""

    image: str
    image_id: str
    found: bool
    cladding: Ellipse | None
    core: Ellipse | None
    um_per_px: tuple[float, float] | None
    verdict: str
    profile: str
    defects: tuple[FoundDefect, ...]


@dataclass(frozen=True, eq=False, slots=True)
class RunResults:
    """All images of a run, by image id, and the names of those that failed."""

    folder: Path
    images: dict[str, FoundImage]
    failed: frozenset[str]

    def instances(self, image_id: str) -> NDArray[np.integer]:
        """Return the (H, W) instance map of an image."""
        return read_codes(self.folder / "pixel_level" / "masks" / f"{image_id}_instances.png")


def read_run(folder: Path) -> RunResults:
    """Read the tables of a run folder.

    Raises
    ------
    InputError
        If the folder or its tables are missing, or the run has no image.
    FormatError
        If a table lacks a column or holds a value of the wrong type.
    """
    labels = _rows(folder / "image_level" / "image_labels.csv")
    defects: dict[str, list[FoundDefect]] = {}
    index = folder / "defect_library" / "defect_library_index.csv"
    for line, row in enumerate(_rows(index), start=2):
        defects.setdefault(row["image_id"], []).append(_checked(index, line, row, _defect))
    images = {}
    table = folder / "image_level" / "image_labels.csv"
    for line, row in enumerate(labels, start=2):
        found = tuple(defects.get(row["image_id"], ()))
        images[row["image_id"]] = _checked(table, line, row, lambda r, found=found: _image(r, found))
    failures = folder / "failures.csv"
    failed = frozenset(row["image"] for row in _rows(failures)) if failures.exists() else frozenset()
    if not images and not failed:
        raise InputError(f"{folder}: expected a run with images, found an empty one", hint=_HINT)
    return RunResults(folder, images, failed)


def names_of(image: str) -> tuple[str, str]:
    """Return the file name of a relative path without folders, with and without its extension."""
    path = PurePosixPath(image.replace("\\", "/"))
    return path.name, path.stem


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: expected this table of a run, found no such file", hint=_HINT)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _checked(path, line, row, build):  # type: ignore[no-untyped-def]
    try:
        return build(row)
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{path}, line {line}: expected the columns of the contract, found {type(error).__name__}: {error}",
            hint=_HINT,
        ) from error


def _defect(row: dict[str, str]) -> FoundDefect:
    return FoundDefect(
        int(row["instance"]),
        row["type"],
        _number(row["confidence"]),
        _number(row["diameter_um"]),
        _number(row["length_um"]),
    )


def _image(row: dict[str, str], defects: tuple[FoundDefect, ...]) -> FoundImage:
    pitch = (_number(row["um_per_px_x"]), _number(row["um_per_px_y"]))
    return FoundImage(
        image=row["image"],
        image_id=row["image_id"],
        found=row["found"].strip().lower() == "true",
        cladding=_ellipse(row, "cladding"),
        core=_ellipse(row, "core"),
        um_per_px=None if pitch[0] is None or pitch[1] is None else (pitch[0], pitch[1]),
        verdict=row["pass_fail"],
        profile=row["profile"],
        defects=defects,
    )


def _ellipse(row: dict[str, str], name: str) -> Ellipse | None:
    values = [_number(row[f"{name}_{part}_px"]) for part in ("cx", "cy", "rx", "ry")]
    known = [value for value in values if value is not None]
    return Ellipse(*known) if len(known) == 4 else None


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
