"""The story: annotate one image, run a folder, grade a finished run again.

read -> locate zones -> detect -> measure -> (all images) what they tell together -> cluster and name ->
grade -> write
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from numpy.typing import ArrayLike

from endface.analysis import detect, locate, measure
from endface.annotation import Annotation
from endface.config import Resolved, Settings, flatten, load_settings
from endface.detection import load_detector
from endface.engines import Engine, EngineName
from endface.errors import InputError, SettingsError
from endface.finishing import RunSummary, finish
from endface.foreman import Progress, hire
from endface.grading import load_profile
from endface.inputs import InputImage, find_images
from endface.judging import score, verdict_of, with_classes
from endface.manifest import analysis_basis, likeness
from endface.places import Address, copy_tree, place, read_bytes
from endface.samples import Sample, read_sample, to_gray, white_level
from endface.stages import (
    AnalyseTask,
    Failure,
    Outcome,
    RezoneTask,
    analyse_file,
    rezone_image,
)
from endface.store import (
    RunFolder,
    is_run_folder,
    open_run_folder,
    read_json,
)


class Afterwards(Protocol):
    """What is done with a finished run folder, with the help of its workers."""

    def __call__(self, run_folder: Path, *, engine: Engine) -> object:
        """Do it."""


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
    engine: EngineName = "local",
    scheduler: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    then: Afterwards | None = None,
) -> RunSummary:
    """Analyse all images of files, folders and globs and write a run folder.

    What an earlier, perhaps interrupted run left in `out` is taken over where image, settings and code are
    the same. The result does not depend on `jobs`; memory grows with `jobs`, not with the number of images.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        Images, folders (walked recursively) or globs; paths, or addresses such as s3://bucket/folder.
    out : str or Path
        Run folder; new, empty, or that of an earlier run. A path or an address.
    settings : Settings or Resolved, optional
        Defaults where not given.
    jobs : int, optional
        Worker processes; all available cores where not given.
    engine : {'local', 'dask'}
        Processes of this machine, or workers of a Dask cluster, which must see the same `inputs` and `out`.
    scheduler : str, optional
        Address of a running Dask scheduler; 'dask' starts `jobs` workers on this machine without it.
    fresh : bool
        Start anew instead of taking over what is there.
    progress : callable, optional
        Called with (stage, images done, images in all).
    then : callable, optional
        What to do with the finished folder while the workers are still there, e.g. `write_report`.

    Raises
    ------
    InputError
        If there is no image.
    SettingsError
        If a setting, profile or detector is wrong, or `out` holds something else. Nothing is written then.
    EngineLost
        If the scheduler of a cluster is gone and does not come back.
    """
    resolved = _resolve(settings)
    images = find_images(inputs, exclude=out)
    _check_settings(resolved.settings)
    _check_exports(place(out), resolved.settings)
    # workers need not have the same working directory
    folder = open_run_folder(place(out).absolute(), fresh=fresh)
    folder.manifest.unlink(missing_ok=True)

    basis = analysis_basis(resolved.settings)
    tasks = ((image.image_id, AnalyseTask(image, folder, resolved.settings, basis)) for image in images)
    with hire(
        jobs, len(images), progress, engine_name=engine, scheduler=scheduler, alike=likeness
    ) as foreman:
        analysed = foreman.carry_out("analyse", analyse_file, tasks, n=len(images))
        done = [image for image in images if analysed[image.image_id].failure is None]
        summary = finish(folder, images, done, analysed, resolved, foreman)
        if then is not None:
            then(folder.root, engine=foreman.engine)
    return replace(summary, folder=place(out))


def regrade(
    run_folder: str | Path,
    *,
    profile: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    then: Afterwards | None = None,
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
    jobs, progress, then
        As `run` takes them.

    Raises
    ------
    InputError, SettingsError
        If the folder holds no finished run, or the profile is unknown.
    """
    content, resolved = _read_run(run_folder, profile=profile)
    _check_settings(resolved.settings)
    if out is not None:
        open_run_folder(out)
        copy_tree(place(run_folder), place(out))
    folder = RunFolder(place(out or run_folder))
    images = [InputImage(Path(), item["image"], item["image_id"]) for item in content["inputs"]]
    earlier = {
        row["image"]: Failure(**row)
        for row in pl.read_csv(read_bytes(folder.failures), infer_schema=False).to_dicts()
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
        done = [image for image in ready if outcomes[image.image_id].failure is None]
        summary = finish(folder, images, done, outcomes, resolved, foreman)
        if then is not None:
            then(folder.root, engine=foreman.engine)
    return summary


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


def _check_exports(out: Path, settings: Settings) -> None:
    """Raise SettingsError for exports that can only be written to a folder of this machine."""
    chosen = settings.output
    if isinstance(out, Address) and (
        chosen.label_folders or chosen.combined_masks or chosen.arrays != "none"
    ):
        raise SettingsError(
            f"output.label_folders, combined_masks, arrays: cannot be written to {out}",
            hint="Leave them out, or give a folder of this machine for -o.",
        )


def _read_run(run_folder: str | Path, *, profile: str | None = None) -> tuple[dict[str, Any], Resolved]:
    """Return the manifest of a finished run and its settings, with another profile where one is given."""
    root = place(run_folder)
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
