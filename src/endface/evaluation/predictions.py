"""What a run found, read from its folder: one row per image, one per defect, and the instance maps."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Decision
from endface.errors import FormatError, InputError
from endface.imaging.ellipse import Ellipse
from endface.store import RunFolder, read_json, read_png

T = TypeVar("T")

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
    verdict: Decision
    profile: str
    defects: tuple[FoundDefect, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class RunResults:
    """All images of a run, by image id, and the names of those that failed."""

    folder: Path
    images: dict[str, FoundImage]
    failed: frozenset[str]
    profile_setting: str = ""

    def instances(self, image_id: str) -> NDArray[np.integer]:
        """Return the (H, W) instance map of an image."""
        return read_png(RunFolder(self.folder).mask(image_id, "instances"))


def read_run(folder: Path) -> RunResults:
    """Read the tables of a run folder.

    Raises
    ------
    InputError
        If the folder or its tables are missing, or the run has no image.
    FormatError
        If a table lacks a column or holds a value of the wrong type.
    """
    paths = RunFolder(folder)
    defects: dict[str, list[FoundDefect]] = {}
    for image_id, defect in _table(paths.defect_index.with_suffix(".csv"), _defect):
        defects.setdefault(image_id, []).append(defect)
    images = {
        image_id: replace(image, defects=tuple(defects.get(image_id, ())))
        for image_id, image in _table(paths.image_labels.with_suffix(".csv"), _image)
    }
    failed = (
        frozenset(row["image"] for row in _rows(paths.failures)) if paths.failures.exists() else frozenset()
    )
    if not images and not failed:
        raise InputError(f"{folder}: expected a run with images, found an empty one", hint=_HINT)
    return RunResults(folder, images, failed, _profile_setting(paths))


def names_of(image: str) -> tuple[str, str]:
    """Return the file name of a relative path without folders, with and without its extension."""
    path = PurePosixPath(image.replace("\\", "/"))
    return path.name, path.stem


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: expected this table of a run, found no such file", hint=_HINT)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _table(path: Path, build: Callable[[dict[str, str]], T]) -> Iterator[tuple[str, T]]:
    """Yield (image_id, what `build` makes of the row), naming file and line of a row it cannot use."""
    for line, row in enumerate(_rows(path), start=2):
        try:
            yield row["image_id"], build(row)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path}, line {line}: expected the columns of a run, found {type(error).__name__}: {error}",
                hint=_HINT,
            ) from error


def _profile_setting(paths: RunFolder) -> str:
    """Profile the run was asked for, '' where its manifest does not tell."""
    if not paths.manifest.is_file():
        return ""
    settings = read_json(paths.manifest).get("settings")
    grading = settings.get("grading") if isinstance(settings, dict) else None
    return str(grading.get("profile", "")) if isinstance(grading, dict) else ""


def _defect(row: dict[str, str]) -> FoundDefect:
    return FoundDefect(
        int(row["instance"]),
        row["type"],
        _number(row["confidence"]),
        _number(row["diameter_um"]),
        _number(row["length_um"]),
    )


def _image(row: dict[str, str]) -> FoundImage:
    pitch = (_number(row["um_per_px_x"]), _number(row["um_per_px_y"]))
    return FoundImage(
        image=row["image"],
        image_id=row["image_id"],
        found=row["found"].strip().lower() == "true",
        cladding=_ellipse(row, "cladding"),
        core=_ellipse(row, "core"),
        um_per_px=None if pitch[0] is None or pitch[1] is None else (pitch[0], pitch[1]),
        verdict=Decision(row["pass_fail"]),
        profile=row["profile"],
    )


def _ellipse(row: dict[str, str], name: str) -> Ellipse | None:
    values = [_number(row[f"{name}_{part}_px"]) for part in ("cx", "cy", "rx", "ry")]
    known = [value for value in values if value is not None]
    return Ellipse(*known) if len(known) == 4 else None


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
