"""Once all images of a run are analysed: what they tell together, verdicts, pictures, tables, manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from endface.batch import learn
from endface.config import Resolved, Settings
from endface.datasets import arrays, combined_masks, labels_folder
from endface.drawing import DrawTask, drawn_files
from endface.foreman import Foreman
from endface.inputs import InputImage
from endface.judging import Judgement, judge
from endface.manifest import analysis_basis, manifest
from endface.places import remove_tree
from endface.schema import FAILURE_COLUMNS, conform
from endface.stages import Failure, Outcome, analysed_files, draw_image
from endface.store import RunFolder, sweep, write_json, write_table


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes
    ----------
    n_images, n_failed, n_reused, n_defects : int
        Images found, not done, taken over from an earlier run; defects in all.
    verdicts : dict
        Number of images per verdict.
    n_removed : int
        Files of images that are no longer in the input, deleted.
    """

    folder: Path
    n_images: int
    n_failed: int
    n_reused: int
    n_defects: int
    n_removed: int
    verdicts: dict[str, int]
    failures: tuple[Failure, ...]
    seconds: dict[str, float] = field(default_factory=dict)


def finish(
    folder: RunFolder,
    images: Sequence[InputImage],
    done: Sequence[InputImage],
    outcomes: dict[str, Outcome],
    resolved: Resolved,
    foreman: Foreman,
) -> RunSummary:
    """Judge all images together, draw what depends on it, write tables and manifest."""
    settings = resolved.settings
    # finds do not depend on the profile, so what they say of the optics outlives a new one
    auto = settings.model_copy(update={"grading": settings.grading.model_copy(update={"profile": "auto"})})
    with foreman.timed("batch"):
        known = learn(folder, done, settings, foreman.carry_out, basis=analysis_basis(auto))
    with TemporaryDirectory() as scratch:
        with foreman.timed("judge"):
            judgement = judge(known.records, settings, scratch=Path(scratch))
        tasks = partial(_draw_tasks, folder, judgement, settings)
        drawn = foreman.carry_out("draw", draw_image, tasks(), n=judgement.images.height)
        failures = {
            image.image_id: failure
            for image in images
            for failure in (outcomes[image.image_id].failure, _failure_of(drawn, image.image_id))
            if failure is not None
        }
        failures |= known.failures
        with foreman.timed("tables"):
            tables = _write_tables(folder, judgement, failures.values(), settings)
        _write_exports(folder, settings)
        keep = (
            path
            for image_id, task in tasks()
            for path in (*analysed_files(folder, image_id, settings), *drawn_files(task))
        )
        with foreman.timed("sweep"):
            n_removed = sweep(folder, chain(keep, known.files, tables))
    content = manifest(
        images,
        {image_id: outcome.digest for image_id, outcome in outcomes.items()},
        judgement,
        resolved,
        failed={image_id: failure.stage for image_id, failure in failures.items()},
        timings=foreman.timings(),
    )
    write_json(folder.manifest, content)
    return RunSummary(
        folder=folder.root,
        n_images=len(images),
        n_failed=len(failures),
        n_reused=sum(outcome.reused for outcome in outcomes.values()),
        n_defects=judgement.defects.height,
        n_removed=n_removed,
        verdicts=content["counts"]["verdicts"],
        failures=tuple(failures.values()),
        seconds=foreman.seconds,
    )


def _failure_of(outcomes: dict[str, Outcome], image_id: str) -> Failure | None:
    return outcomes[image_id].failure if image_id in outcomes else None


def _draw_tasks(
    folder: RunFolder, judgement: Judgement, settings: Settings
) -> Iterator[tuple[str, DrawTask]]:
    """Yield the drawing of every image, by image_id, in the order of the tables."""
    columns = ("image_id", "instance", "defect_id", "type", "severity_level")
    rows = chain.from_iterable(part.select(columns).iter_rows() for part in judgement.defects)
    by_image = groupby(rows, key=itemgetter(0))
    following = next(by_image, None)
    for part in judgement.images:
        for image_id, image in part.select("image_id", "image").iter_rows():
            defects: tuple[tuple[int, str, str, str], ...] = ()
            if following is not None and following[0] == image_id:
                defects = tuple(row[1:] for row in following[1])
                following = next(by_image, None)
            yield image_id, DrawTask(image, image_id, folder, settings, defects)


def _write_tables(
    folder: RunFolder, judgement: Judgement, failures: Iterable[Failure], settings: Settings
) -> list[Path]:
    """Write all tables; returns their paths."""
    rows = pl.DataFrame([asdict(failure) for failure in failures])
    short = {folder.failures: conform(rows, FAILURE_COLUMNS), folder.clusters: judgement.clusters}
    for path, table in short.items():
        write_table(path, table)
    both = (".csv", ".parquet")
    long = {
        folder.image_labels: (judgement.images, both),
        folder.defect_index: (judgement.defects, both),
        folder.zone_features: (
            judgement.zones,
            both if settings.output.csv_beside_parquet else (".parquet",),
        ),
    }
    written = list(short)
    for stem, (parts, suffixes) in long.items():
        paths = [stem.with_suffix(suffix) for suffix in suffixes]
        parts.write(*paths)
        written += paths
    return written


def _write_exports(folder: RunFolder, settings: Settings) -> None:
    """Write the exports asked for, and remove those of earlier settings."""
    chosen = settings.output
    remove_tree(folder.exports)
    if chosen.label_folders:
        labels_folder.write(folder.root, folder.exports / "labels")
    if chosen.combined_masks:
        combined_masks.write(folder.root, folder.exports / "combined_masks")
    if chosen.arrays == "npz":
        arrays.write(folder.root, folder.exports / "arrays.npz")
    elif chosen.arrays == "hdf5":
        arrays.write(folder.root, folder.exports / "arrays.h5", container="hdf5")
