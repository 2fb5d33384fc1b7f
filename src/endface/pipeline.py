"""The story: annotate one image, run a folder, grade a finished run again.

read -> locate zones -> detect -> measure -> (all images) cluster and name -> grade -> write
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import ArrayLike

from endface.analysis import detect, locate, measure
from endface.annotation import Annotation
from endface.config import Resolved, Settings, flatten, load_settings
from endface.datasets import arrays, combined_masks, labels_folder
from endface.detection import load_detector
from endface.errors import FormatError, InputError, SettingsError
from endface.foreman import Foreman, Progress, hire
from endface.grading import load_profile
from endface.inputs import InputImage, find_images
from endface.judging import Judgement, judge, score, verdict_of, with_classes
from endface.manifest import analysis_basis, manifest
from endface.samples import Sample, read_sample, to_gray, white_level
from endface.schema import FAILURE_COLUMNS, conform
from endface.stages import (
    AnalyseTask,
    DrawTask,
    Failure,
    Outcome,
    RezoneTask,
    analyse_file,
    analysed_files,
    draw_image,
    drawn_files,
    rezone_image,
)
from endface.store import (
    Record,
    RunFolder,
    is_run_folder,
    open_run_folder,
    read_json,
    read_record,
    sweep,
    write_json,
    write_table,
)


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


def annotate(image: ArrayLike | Sample | str | Path, *, settings: Settings | None = None) -> Annotation:
    """Find zones and defects of one image, classify them by rules and judge the image.

    Classes come from rules on each defect's own measures; in a `run` all defects of all images are grouped
    first.

    Parameters
    ----------
    image : (H, W), (H, W, 3) or (H, W, 4) array_like, Sample, str or Path
        Pixels (RGB), a sample, or an image file.
    settings : Settings, optional
        Defaults where not given.

    Raises
    ------
    InputError
        If the file or array is no usable image.
    SettingsError
        If a profile or detector is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> blank = np.full((64, 64), 128, np.uint8)
    >>> annotate(blank).verdict.decision.value
    'INDETERMINATE'
    """
    chosen = settings or Settings()
    if isinstance(image, str | Path):
        image = read_sample(image, max_megapixels=chosen.max_megapixels, max_frames=1)
    pixels = image.image if isinstance(image, Sample) else to_gray(image)
    white = image.white_level if isinstance(image, Sample) else white_level(pixels)

    zones = locate(pixels, chosen)
    defects = detect(pixels, zones, chosen)
    measures = measure(pixels, zones, defects, chosen, white_level=white)
    table = score(with_classes(measures.defects), chosen)
    return Annotation(
        zones=zones,
        iec=measures.iec,
        defects=defects,
        table=table,
        verdict=verdict_of(table, measures.row, chosen),
    )


def run(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | Resolved | None = None,
    jobs: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Analyse all images of files, folders and globs and write a run folder.

    What an earlier, perhaps interrupted run left in `out` is taken over where image, settings and code are
    the same. The result does not depend on `jobs`; memory grows with `jobs`, not with the number of images.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        Images, folders (walked recursively) or globs.
    out : str or Path
        Run folder; new, empty, or that of an earlier run.
    settings : Settings or Resolved, optional
        Defaults where not given.
    jobs : int, optional
        Worker processes; all available cores where not given.
    fresh : bool
        Start anew instead of taking over what is there.
    progress : callable, optional
        Called with (stage, images done, images in all).

    Raises
    ------
    InputError
        If there is no image.
    SettingsError
        If a setting, profile or detector is wrong, or `out` holds something else. Nothing is written then.
    """
    resolved = _resolve(settings)
    images = find_images(inputs, exclude=Path(out))
    _check_settings(resolved.settings)
    folder = open_run_folder(out, fresh=fresh)
    folder.manifest.unlink(missing_ok=True)

    basis = analysis_basis(resolved.settings)
    tasks = {image.image_id: AnalyseTask(image, folder, resolved.settings, basis) for image in images}
    with hire(jobs, len(images), progress) as foreman:
        analysed = foreman.carry_out("analyse", analyse_file, tasks)
        done = [image.image_id for image in images if analysed[image.image_id].failure is None]
        return _finish(folder, images, done, analysed, resolved, foreman)


def regrade(
    run_folder: str | Path,
    *,
    profile: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Grade a finished run again, by another profile, without looking at pixels again.

    Parameters
    ----------
    run_folder : str or Path
        Output of `run`.
    profile : str, optional
        Name or path of a profile; that of the run where not given.
    out : str or Path, optional
        Copy the run there first; the run itself is changed where not given.

    Raises
    ------
    InputError, SettingsError
        If the folder holds no finished run, or the profile is unknown.
    """
    content, resolved = _read_run(run_folder, profile=profile)
    _check_settings(resolved.settings)
    if out is not None:
        open_run_folder(out)
        shutil.copytree(run_folder, out, dirs_exist_ok=True)
    folder = RunFolder(Path(out or run_folder))
    images = [InputImage(Path(), item["image"], item["image_id"]) for item in content["inputs"]]
    earlier = {
        row["image"]: Failure(**row) for row in pl.read_csv(folder.failures, infer_schema=False).to_dicts()
    }
    folder.manifest.unlink(missing_ok=True)

    basis = analysis_basis(resolved.settings)
    ready = [image for image in images if image.image not in earlier]
    outcomes = {
        image.image_id: Outcome(failure=earlier[image.image]) for image in images if image.image in earlier
    }
    tasks = {
        image.image_id: RezoneTask(image.image, image.image_id, folder, resolved.settings, basis)
        for image in ready
    }
    with hire(jobs, len(images), progress) as foreman:
        outcomes |= foreman.carry_out("grade", rezone_image, tasks)
        done = [image.image_id for image in ready if outcomes[image.image_id].failure is None]
        return _finish(folder, images, done, outcomes, resolved, foreman)


def _resolve(settings: Settings | Resolved | None) -> Resolved:
    """Return settings with their origins, whatever form they were given in."""
    if isinstance(settings, Resolved):
        return settings
    return load_settings(overrides=settings.model_dump() if settings else None)


def _check_settings(settings: Settings) -> None:
    """Raise SettingsError for a profile or detector that does not exist, before anything is written."""
    if settings.grading.profile != "auto":
        load_profile(settings.grading.profile)
    load_detector(settings.detection.detector)
    if settings.output.arrays == "hdf5" and importlib.util.find_spec("h5py") is None:
        raise SettingsError(
            "output.arrays: hdf5 needs the package h5py, which is not installed",
            hint="pip install 'endface[hdf5]', or use npz.",
        )


# ── once all images are analysed ────────────────────────────────────────────────────────────────────────────


def _finish(
    folder: RunFolder,
    images: Sequence[InputImage],
    done: Sequence[str],
    outcomes: dict[str, Outcome],
    resolved: Resolved,
    foreman: Foreman,
) -> RunSummary:
    """Judge all images together, draw what depends on it, write tables and manifest."""
    settings = resolved.settings
    with foreman.timed("judge"):
        records = [_record(folder, image_id) for image_id in done]
        judgement = judge(records, settings)
    tasks = _draw_tasks(folder, done, judgement, settings)
    drawn = foreman.carry_out("draw", draw_image, tasks)
    failures = {
        image.image_id: failure
        for image in images
        for failure in (outcomes[image.image_id].failure, _failure_of(drawn, image.image_id))
        if failure is not None
    }
    tables = _write_tables(folder, judgement, failures.values(), settings)
    _write_exports(folder, settings)
    keep = [path for image_id in done for path in analysed_files(folder, image_id, settings)]
    keep += [path for task in tasks.values() for path in drawn_files(task)]
    n_removed = sweep(folder, [*keep, *tables])
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


def _record(folder: RunFolder, image_id: str) -> Record:
    record = read_record(folder, image_id)
    if record is None:
        raise FormatError(f"{folder.record(image_id)}: damaged meanwhile", hint="Run again.")
    return record


def _draw_tasks(
    folder: RunFolder, done: Sequence[str], judgement: Judgement, settings: Settings
) -> dict[str, DrawTask]:
    columns = ["instance", "defect_id", "type", "severity_level"]
    found = judgement.defects.select("image_id", *columns).partition_by("image_id", as_dict=True)
    defects = {key[0]: tuple(part.select(columns).iter_rows()) for key, part in found.items()}
    names = dict(judgement.images.select("image_id", "image").iter_rows())
    return {
        image_id: DrawTask(names[image_id], image_id, folder, settings, defects.get(image_id, ()))
        for image_id in done
    }


def _write_tables(
    folder: RunFolder, judgement: Judgement, failures: Iterable[Failure], settings: Settings
) -> list[Path]:
    """Write all tables; returns their paths."""
    rows = pl.DataFrame([asdict(failure) for failure in failures])
    written = {
        folder.failures: conform(rows, FAILURE_COLUMNS),
        folder.clusters: judgement.clusters,
        folder.image_labels.with_suffix(".csv"): judgement.images,
        folder.image_labels.with_suffix(".parquet"): judgement.images,
        folder.defect_index.with_suffix(".csv"): judgement.defects,
        folder.defect_index.with_suffix(".parquet"): judgement.defects,
        folder.zone_features.with_suffix(".parquet"): judgement.zones,
    }
    if settings.output.csv_beside_parquet:
        written[folder.zone_features.with_suffix(".csv")] = judgement.zones
    for path, table in written.items():
        write_table(path, table)
    return list(written)


def _write_exports(folder: RunFolder, settings: Settings) -> None:
    """Write the exports asked for, and remove those of earlier settings."""
    chosen = settings.output
    shutil.rmtree(folder.exports, ignore_errors=True)
    if chosen.label_folders:
        labels_folder.write(folder.root, folder.exports / "labels")
    if chosen.combined_masks:
        combined_masks.write(folder.root, folder.exports / "combined_masks")
    if chosen.arrays == "npz":
        arrays.write(folder.root, folder.exports / "arrays.npz")
    elif chosen.arrays == "hdf5":
        arrays.write(folder.root, folder.exports / "arrays.h5", container="hdf5")


def _read_run(run_folder: str | Path, *, profile: str | None = None) -> tuple[dict[str, Any], Resolved]:
    """Return the manifest of a finished run and its settings, with another profile where one is given."""
    root = Path(run_folder)
    if not is_run_folder(root):
        raise InputError(
            f"{root}: expected the folder of a run, found no run.json", hint="Give the -o of a run."
        )
    path = RunFolder(root).manifest
    if not path.is_file():
        raise InputError(
            f"{root}: the run is not finished", hint="Complete it by the same `endface run` command."
        )
    content = read_json(path)
    values = flatten(content["settings"])
    origins = content["settings_from"]
    if profile is not None:
        values["grading.profile"] = profile
        origins = origins | {"grading.profile": "command line"}
    settings = load_settings(overrides=values).settings
    keys = flatten(settings.model_dump())
    return content, Resolved(settings, {key: origins.get(key, "default") for key in keys})
