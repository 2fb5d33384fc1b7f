"""All that the batch tells: faces, then the optics, then the pitch; and what follows for each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl

from endface.batch.brief import Brief, read_brief
from endface.batch.optics import (
    Mark,
    OpticsFind,
    OpticsTask,
    is_studied,
    optics_tasks,
    read_optics,
    study_optics,
)
from endface.batch.pitch import PitchDoubt, pitch_doubts
from endface.batch.residuals import add_residuals, residual_tasks
from endface.batch.same_face import group_faces
from endface.batch.settle import Correction, SettleTask, settle_image, settled_record
from endface.config import Settings
from endface.errors import FormatError
from endface.inputs import InputImage
from endface.places import read_all
from endface.schema import FACE_COLUMNS, OPTICS_FIND_COLUMNS, OPTICS_MARK_COLUMNS, conform
from endface.stages import Failure, Outcome
from endface.store import Record, RunFolder, batch_files, read_record, write_table

_BLOCKS_AT_ONCE = 8

CarryOut = Callable[[str, Callable[[Any], Outcome], dict[str, Any]], dict[str, Outcome]]


@dataclass(frozen=True, eq=False)
class SettledRecords:
    """The records of a run as they are to be judged, read anew from the journal at every passage.

    Attributes
    ----------
    said : dict
        image_id -> (same_face_group, n_optics_finds), in the order of the run.
    """

    folder: RunFolder
    said: dict[str, tuple[int, int]]

    def __iter__(self) -> Iterator[Record]:
        return read_all(self._read, self.said, root=self.folder.root)

    def _read(self, image_id: str) -> Record:
        record = settled_record(self.folder, image_id)
        if record is None:
            raise FormatError(f"{self.folder.record(image_id)}: damaged meanwhile", hint="Run again.")
        group, n_left_out = self.said[image_id]
        counts = {"same_face_group": group or None, "n_optics_finds": n_left_out}
        return replace(record, row=record.row | counts)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What the batch made of the records.

    Attributes
    ----------
    records : SettledRecords
        As they are to be judged, in the order given; images that failed are left out.
    files : list of Path
        Files in the run folder that hold it.
    failures : dict
        What could not be done, by image_id or scope.
    """

    records: SettledRecords
    files: list[Path] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)


def learn(
    folder: RunFolder, images: Iterable[InputImage], settings: Settings, carry_out: CarryOut, *, basis: str
) -> Knowledge:
    """Find out what the images of a run tell together, and settle each image accordingly.

    Parameters
    ----------
    images : iterable of InputImage
        Finished images. A few words of what each alone told are kept, nothing else.
    carry_out : callable
        Has tasks done: stage, function, tasks by name -> outcomes by name.
    basis : str
        Hash of what finds depend on besides the images: what is known of the optics is taken over with it.
    """
    chosen = settings.batch
    records = list(read_all(partial(read_brief, folder), images, root=folder.root))
    groups = group_faces(folder, records) if chosen.same_face else [0] * len(records)
    tasks: dict[str, OpticsTask] = {}
    if chosen.optics_dirt:
        tasks = optics_tasks(records, _face_numbers(records, groups), folder, basis=basis)
    failures = _study(tasks, carry_out)
    blocks = [name for name in tasks if name not in failures]
    marks, finds = read_optics(folder, blocks)
    doubts = pitch_doubts(records, cladding_um=settings.calibration.cladding_um)
    corrections = _corrections(records, finds, doubts if chosen.check_pitch else {}, settings)
    settle = {}
    for record in records:
        correction = corrections.get(record.image_id, Correction())
        if correction or batch_files(folder, record.image_id):
            settle[record.image_id] = SettleTask(record.image, record.image_id, folder, settings, correction)
    outcomes = carry_out("settle", settle_image, settle)
    failures |= {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure}
    said = {
        record.image_id: (group, len(corrections.get(record.image_id, Correction()).left_out))
        for record, group in zip(records, groups, strict=True)
        if record.image_id not in failures
    }
    files = [folder.optics(name) for name in blocks]
    files += [path.with_suffix(".png") for path in files]
    files += [path for name in settle if name not in failures for path in batch_files(folder, name)]
    files += _write_tables(folder, records, marks, finds, groups)
    return Knowledge(SettledRecords(folder, said), files, failures)


def _study(tasks: Mapping[str, OpticsTask], carry_out: CarryOut) -> dict[str, Failure]:
    """Have the optics of all blocks studied, some at a time; returns what failed, by block."""
    failed: dict[str, Failure] = {}
    new = iter([name for name, task in tasks.items() if not is_studied(task)])
    while some := list(islice(new, _BLOCKS_AT_ONCE)):
        parts = {
            part.path.name: part
            for name in some
            for part in residual_tasks(tasks[name].folder, name, tasks[name].faces)
        }
        added = carry_out("optics", add_residuals, parts)
        failed |= {parts[name].image: done.failure for name, done in added.items() if done.failure}
        studied = carry_out(
            "optics", study_optics, {name: tasks[name] for name in some if name not in failed}
        )
        failed |= {name: done.failure for name, done in studied.items() if done.failure}
    return failed


def _face_numbers(records: Sequence[Brief], groups: Sequence[int]) -> list[int]:
    """Return the number of the face of each image: one for pictures of one group or of the same bytes."""
    names = [
        f"group {group}" if group else record.digest for record, group in zip(records, groups, strict=True)
    ]
    first = {name: number for number, name in reversed(list(enumerate(names)))}
    return [first[name] for name in names]


def _corrections(
    records: Sequence[Brief],
    finds: Sequence[OpticsFind],
    doubts: Mapping[int, PitchDoubt],
    settings: Settings,
) -> dict[str, Correction]:
    """Return what is to be corrected, by image_id."""
    left_out: dict[str, list[int]] = {}
    for find in finds:
        left_out.setdefault(find.image_id, []).append(find.instance)
    corrections = {name: Correction(left_out=tuple(numbers)) for name, numbers in left_out.items()}
    for place, doubt in doubts.items():
        name = records[place].image_id
        mine = corrections.get(name, Correction())
        corrections[name] = _with_doubt(mine, doubt, correct=settings.batch.correct_pitch)
    return corrections


def _with_doubt(correction: Correction, doubt: PitchDoubt, *, correct: bool) -> Correction:
    flag = f"um_per_px disagrees with its scope ({doubt.own[0]:.3f} against {doubt.scope[0]:.3f}"
    if doubt.known_um is None:
        flag += f": the rim found would be {doubt.cladding_um:.0f} um wide)"
        return replace(correction, flag=flag)
    flag += f": the cladding is probably {doubt.known_um:.0f} um)"
    if not correct:
        return replace(correction, flag=flag)
    note = f"um_per_px {doubt.scope[0]:.3f} of its scope used instead of {doubt.own[0]:.3f}"
    return replace(correction, flag=flag, note=note, um_per_px=doubt.scope)


def _write_tables(
    folder: RunFolder,
    records: Sequence[Brief],
    marks: Sequence[Mark],
    finds: Sequence[OpticsFind],
    groups: Sequence[int],
) -> list[Path]:
    names = {record.image_id: record.image for record in records}
    rows = [
        row
        for image_id, mine in groupby(finds, key=attrgetter("image_id"))
        for row in _find_rows(folder, names[image_id], list(mine))
    ]
    shown = sorted((group, place) for place, group in enumerate(groups) if group)
    faces = [
        {"same_face_group": group, "image": records[place].image, "image_id": records[place].image_id}
        for group, place in shown
    ]
    tables = {
        folder.optics_marks: conform(pl.DataFrame([asdict(mark) for mark in marks]), OPTICS_MARK_COLUMNS),
        folder.optics_finds: conform(pl.DataFrame(rows), OPTICS_FIND_COLUMNS, extra=False),
        folder.same_face: conform(pl.DataFrame(faces), FACE_COLUMNS),
    }
    for path, table in tables.items():
        write_table(path, table)
    return list(tables)


def _find_rows(folder: RunFolder, image: str, finds: Sequence[OpticsFind]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the marks found in one image, with what was measured of each."""
    own = read_record(folder, finds[0].image_id)
    measured = {} if own is None else {row["instance"]: row for row in own.defects.to_dicts()}
    said = {"image": image, "type": "optics", "provenance": "machine: optics"}
    for find in finds:
        yield measured.get(find.instance, {}) | asdict(find) | said
