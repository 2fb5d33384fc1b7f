"""How equal the results of equal things are: `endface repeatability IMAGE... -o DIR`.

Two questions: what becomes of a verdict when an image changes in ways that do not matter (jittered copies),
and do several pictures of one face agree (real groups).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from endface.annotation import Decision
from endface.config import Settings
from endface.engines import Engine, WorkerLost, available_cores, make_engine
from endface.errors import InputError
from endface.evaluation.copies import (
    CopyResult,
    CopyRow,
    CopyTask,
    FaceLook,
    FaceTask,
    SizeRow,
    Unread,
    look_at_copies,
    look_at_face,
)
from endface.evaluation.faces import FaceRow, compare_faces
from endface.evaluation.repeat_page import render_repeatability
from endface.evaluation.repeat_tables import (
    GaugeRow,
    GroupRow,
    KindRow,
    SpreadRow,
    copies_only,
    copy_gauges,
    copy_spreads,
    face_gauges,
    face_spreads,
    group_rows,
    kind_rows,
    originals,
    transitions,
)
from endface.evaluation.statistics import Proportion, wilson_of
from endface.inputs import find_images
from endface.store import write_bytes, write_json, write_table

SCHEMA_VERSION = 1
Progress = Callable[[str, int, int], None]
_Task = TypeVar("_Task", CopyTask, FaceTask)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Everything found out.

    Attributes
    ----------
    equal, contrary : Proportion
        Copies whose verdict is that of their original; PASS that became FAIL or the other way round.
    causes : tuple of (str, int)
        Why verdicts of copies differ, the commonest first.
    transitions : tuple of (str, str, int)
        Verdict of the original, of the copy, how often.
    changes : tuple of CopyRow
        The copies whose verdict differs.
    groups, faces : tuple
        Real faces, and their pictures.
    """

    n_images: int
    n_copies: int
    trials: int
    seed: int
    equal: Proportion
    contrary: Proportion
    decisions: tuple[tuple[str, int], ...]
    transitions: tuple[tuple[str, str, int], ...]
    causes: tuple[tuple[str, int], ...]
    kinds: tuple[KindRow, ...]
    spreads: tuple[SpreadRow, ...]
    gauges: tuple[GaugeRow, ...]
    changes: tuple[CopyRow, ...]
    group_equal: Proportion
    groups: tuple[GroupRow, ...]
    faces: tuple[FaceRow, ...]
    face_spreads: tuple[SpreadRow, ...]
    face_gauges: tuple[GaugeRow, ...]
    unread: tuple[Unread, ...]


def repeatability(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    groups: str | Path | None = None,
    settings: Settings | None = None,
    trials: int = 2,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Repeatability:
    """Measure how repeatable verdicts, counts and sizes are, and write what came out.

    Writes `repeatability.json`, `repeatability.html`, `copies.csv` (one row per image and copy),
    `sizes.csv` (one row per defect and look) and `faces.csv` (one row per picture of a real face) into `out`.

    Parameters
    ----------
    inputs : sequence of str or Path
        Images, folders or globs to make copies of; may be empty where `groups` is given.
    groups : str or Path, optional
        CSV file with the columns `image` (path, relative to the file) and `group` (name of the face): several
        pictures of the same face.
    settings : Settings, optional
        Defaults where not given.
    trials : int
        Copies of each kind.
    seed : int
        The same seed gives the same copies.
    jobs : int, optional
        Worker processes; the result does not depend on it.

    Raises
    ------
    InputError
        If there is no image to look at, none can be read, or the file of groups is not what it should be.

    Notes
    -----
    Classes come from the rules on single defects, as in `endface.annotate`. In a run they also depend on the
    other images' defects.
    """
    images = find_images(inputs, exclude=Path(out)) if inputs else ()
    faces = read_groups(groups) if groups is not None else []
    if not images and not faces:
        raise InputError("no image given", hint="Give images, or pictures of the same face by --groups.")
    chosen = settings or Settings()
    copy_tasks = [CopyTask(image, chosen, trials, seed) for image in images]
    face_tasks = [FaceTask(path, path.name, group, chosen) for path, group in faces]
    engine = make_engine(min(jobs or available_cores(), max(len(copy_tasks), len(face_tasks))))
    try:
        results = _carry_out(engine, look_at_copies, copy_tasks, "copies", progress)
        looks = _carry_out(engine, look_at_face, face_tasks, "groups", progress)
    except BaseException:
        engine.close(at_once=True)
        raise
    engine.close()
    found, rows, sizes = _summarise(results, looks, trials=trials, seed=seed)
    _write(Path(out), found, rows, sizes)
    return found


def read_groups(path: str | Path) -> list[tuple[Path, str]]:
    """Read which pictures show the same face.

    Raises
    ------
    InputError
        If the file cannot be read, lacks the columns `image` and `group`, or a group has one picture only.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read: {error}", hint="Give a CSV file in UTF-8.") from None
    if not rows or not {"image", "group"} <= rows[0].keys():
        raise InputError(
            f"{file}: expected rows with the columns image and group, found "
            f"{', '.join(rows[0]) if rows else 'no row'}",
            hint="One row per picture: its path, relative to the file, and the name of the face.",
        )
    pictures = [(file.parent / (row["image"] or ""), row["group"] or "") for row in rows]
    single = [group for group, count in Counter(group for _, group in pictures).items() if count < 2]
    if single:
        raise InputError(
            f"{file}: expected two pictures or more of each face, found one of {', '.join(sorted(single))}",
            hint="Add a picture of the same face or leave the row out.",
        )
    return sorted(pictures, key=lambda item: [group for _, group in pictures].index(item[1]))


def _carry_out(
    engine: Engine,
    function: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    stage: str,
    progress: Progress | None,
) -> list[_Result | Unread]:
    """Return results in the order of the tasks, whenever they arrive."""
    places = {id(task): place for place, task in enumerate(tasks)}
    found: dict[int, _Result | Unread] = {}
    for task, result in engine.map(function, tasks):
        found[places[id(task)]] = _died(task) if isinstance(result, WorkerLost) else result
        if progress is not None:
            progress(stage, len(found), len(tasks))
    return [found[place] for place in range(len(tasks))]


def _died(task: CopyTask | FaceTask) -> Unread:
    return Unread(task.image, "its process died", "Is there enough memory? Try fewer --jobs.")


def _summarise(
    results: Sequence[CopyResult | Unread], looks: Sequence[FaceLook | Unread], *, trials: int, seed: int
) -> tuple[Repeatability, list[CopyRow], list[SizeRow]]:
    unread = tuple(item for item in (*results, *looks) if isinstance(item, Unread))
    if len(unread) == len(results) + len(looks):
        raise InputError(f"no image can be read; {unread[0].error}", hint=unread[0].hint)
    done = [item for item in results if isinstance(item, CopyResult)]
    pictures = [item for item in looks if isinstance(item, FaceLook)]
    rows = [row for result in done for row in result.copies]
    sizes = [row for result in done for row in result.sizes]
    first = originals(rows)
    copies = copies_only(rows)
    changes = [row for row in copies if row.decision != first[row.image_id].decision]
    opposite = {Decision.PASS.value, Decision.FAIL.value}
    faces: list[FaceRow] = []
    face_sizes: list[SizeRow] = []
    for group in dict.fromkeys(look.group for look in pictures):
        own, own_sizes = compare_faces([look for look in pictures if look.group == group])
        faces += own
        face_sizes += own_sizes
    groups = group_rows(faces)
    summary = Repeatability(
        n_images=len(first),
        n_copies=len(copies),
        trials=trials,
        seed=seed,
        equal=wilson_of([row.decision == first[row.image_id].decision for row in copies]),
        contrary=wilson_of([{row.decision, first[row.image_id].decision} == opposite for row in copies]),
        decisions=tuple(Counter(row.decision for row in first.values()).most_common()),
        transitions=transitions(rows),
        causes=tuple(Counter(row.cause for row in changes).most_common()),
        kinds=kind_rows(rows),
        spreads=copy_spreads(rows, sizes),
        gauges=copy_gauges(rows, sizes),
        changes=tuple(changes),
        group_equal=wilson_of([row.decision == _commonest(groups, row.group) for row in faces]),
        groups=groups,
        faces=tuple(faces),
        face_spreads=face_spreads(faces, face_sizes),
        face_gauges=face_gauges(faces, face_sizes),
        unread=unread,
    )
    return summary, rows, sizes + face_sizes


def _commonest(groups: Sequence[GroupRow], name: str) -> str:
    return next(row.decisions[0][0] for row in groups if row.group == name)


def _write(out: Path, found: Repeatability, rows: list[CopyRow], sizes: list[SizeRow]) -> None:
    write_table(out / "copies.csv", _frame(rows, CopyRow))
    write_table(out / "sizes.csv", _frame(sizes, SizeRow))
    write_table(out / "faces.csv", _frame(found.faces, FaceRow))
    write_json(out / "repeatability.json", {"schema_version": SCHEMA_VERSION, **asdict(found)})
    write_bytes(out / "repeatability.html", render_repeatability(found).encode())


def _frame(rows: Sequence[Any], row_type: type) -> pl.DataFrame:
    """Rows as a table that has its columns even where it has no rows."""
    if not rows:
        return pl.DataFrame(schema={item.name: pl.String for item in fields(row_type)})
    return pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None)
