"""Compare a whole run with the truth and write what came out: `endface evaluate RUN TRUTH -o DIR`.

Knows the order of things and which images could be compared. The metrics are in their own modules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from endface.errors import FormatError, InputError
from endface.evaluation.agreement import (
    Pixels,
    Ranking,
    VerdictAgreement,
    ZoneErrors,
    rank,
    verdict_agreement,
    zone_errors,
)
from endface.evaluation.comparison import Compared, DefectRow, FindRow, compare
from endface.evaluation.matching import MatchRule
from endface.evaluation.metrics import (
    Confusion,
    FalseFinds,
    PodCurve,
    Recall,
    SizeBias,
    class_confusion,
    false_finds,
    pod_curves,
    presence,
    recalls,
    size_biases,
)
from endface.evaluation.page import render_page
from endface.evaluation.predictions import FoundImage, RunResults, names_of, read_run
from endface.evaluation.ranking import PixelCounts
from endface.evaluation.scenes import TruthScene
from endface.evaluation.statistics import Proportion
from endface.evaluation.truth import TruthSource, open_truth
from endface.evaluation.verdicts import true_verdict
from endface.store import write_bytes, write_json, write_table

SCHEMA_VERSION = 1


class Status(StrEnum):
    """What became of one image of the truth."""

    COMPARED = "compared"
    MISSING = "not in the run"
    FAILED = "failed in the run"
    AMBIGUOUS = "several images of the run have this name"
    OTHER_SIZE = "other size than the truth"
    BROKEN = "truth or mask cannot be read"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of the truth; counts are None where it could not be compared."""

    image_id: str
    run_image_id: str
    status: Status
    message: str = ""
    n_true: int | None = None
    n_sure: int | None = None
    n_sure_found: int | None = None
    n_faint: int | None = None
    n_faint_found: int | None = None
    n_hidden: int | None = None
    n_finds: int | None = None
    n_false: int | None = None
    fibre_found: bool | None = None
    true_verdict: str | None = None
    found_verdict: str | None = None
    judged_mm2: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything found out about a run; `notes` says in words what the figures leave out."""

    run: str
    truth: str
    truth_format: str
    n_truth: int
    n_compared: int
    status: tuple[tuple[str, int], ...]
    n_without_truth: int
    notes: tuple[str, ...]
    zones: tuple[ZoneErrors, ...]
    recall: tuple[Recall, ...]
    false_finds: FalseFinds
    pod: tuple[PodCurve, ...]
    pixels: Pixels
    ranking: Ranking
    classes: Confusion
    sizes: tuple[SizeBias, ...]
    presence: tuple[tuple[str, Proportion], ...]
    verdict: VerdictAgreement | None
    images: tuple[ImageRow, ...]


def evaluate(
    run_folder: Path,
    truth: Path,
    out: Path,
    *,
    visible_snr: float = 2.2,
    tolerance_px: float = 2.0,
    profile: str | None = None,
    rule: MatchRule | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compare a run with the truth and write the result.

    Writes `evaluation.json`, `evaluation.html`, `images.csv`, `defects.csv` (one row per true defect) and
    `finds.csv` (one row per find) into `out`.

    Parameters
    ----------
    run_folder : Path
        Output of `endface run`.
    truth : Path
        Folder of rendered truth or of label files, or a COCO file.
    visible_snr : float
        Rendered defects from this SNR on are 'sure', others 'faint'.
    tolerance_px : float
        Shift allowed in pixel precision and recall.
    profile : str, optional
        Acceptance profile of the true verdict; default: what the run used.
    seed : int
        Of the bootstrap.

    Raises
    ------
    InputError
        If there is no run, no truth, or not one image that is in both.
    FormatError
        If tables of the run or the truth as a whole cannot be read.
    """
    run, source = read_run(run_folder), open_truth(truth, visible_snr=visible_snr)
    rows: list[ImageRow] = []
    compared: list[Compared] = []
    taken: set[str] = set()
    for image_id in source.image_ids:
        row, result = _one_image(
            run, source, image_id, rule=rule, tolerance_px=tolerance_px, profile=profile, taken=taken
        )
        rows.append(row)
        compared += [result] if result else []
    _refuse_nothing(rows, run_folder, truth)
    evaluation = _summarise(rows, compared, tolerance_px=tolerance_px, rng=np.random.default_rng(seed))
    evaluation = replace(
        evaluation,
        run=run_folder.resolve().name,
        truth=truth.resolve().name,
        truth_format=source.format,
        n_without_truth=len(run.images.keys() - taken),
        notes=_notes(evaluation, run, taken),
    )
    _write(out, evaluation, compared)
    return evaluation


def _one_image(
    run: RunResults,
    source: TruthSource,
    image_id: str,
    *,
    rule: MatchRule | None,
    tolerance_px: float,
    profile: str | None,
    taken: set[str],
) -> tuple[ImageRow, Compared | None]:
    """Compare one image of the truth, or say why that is not possible."""
    status, found = _partner(run, image_id)
    if found is None:
        return ImageRow(image_id, "", status), None
    if found.image_id in taken:
        return ImageRow(image_id, found.image_id, Status.AMBIGUOUS, "it has a truth already"), None
    taken.add(found.image_id)
    try:
        scene, instances = source.load(image_id), run.instances(found.image_id)
        if scene.shape != instances.shape:
            sizes = f"truth {_size(scene.shape)}, run {_size(instances.shape)}"
            return ImageRow(image_id, found.image_id, Status.OTHER_SIZE, sizes), None
        result = compare(scene, found, instances, rule=rule, tolerance_px=tolerance_px)
    except FormatError as error:
        return ImageRow(image_id, found.image_id, Status.BROKEN, error.message), None
    wanted = profile or (found.profile if run.profile_setting != "auto" else "auto")
    verdict = true_verdict(scene, profile=wanted)
    return _image_row(image_id, found, scene, result, None if verdict is None else verdict.value), result


def _partner(run: RunResults, image_id: str) -> tuple[Status, FoundImage | None]:
    """Image of the run that a truth is about: the same id, else the only one with that file name."""
    if image_id in run.images:
        return Status.COMPARED, run.images[image_id]
    same = [image for image in run.images.values() if image_id in names_of(image.image)]
    if len(same) == 1:
        return Status.COMPARED, same[0]
    if same:
        return Status.AMBIGUOUS, None
    failed = any(image_id in names_of(name) for name in run.failed)
    return (Status.FAILED if failed else Status.MISSING), None


def _image_row(
    image_id: str, found: FoundImage, scene: TruthScene, result: Compared, verdict: str | None
) -> ImageRow:
    sure = [row.found for row in result.defects if row.certainty == "sure"]
    faint = [row.found for row in result.defects if row.certainty == "faint"]
    return ImageRow(
        image_id,
        found.image_id,
        Status.COMPARED,
        n_true=len(result.defects),
        n_sure=len(sure),
        n_sure_found=sum(sure),
        n_faint=len(faint),
        n_faint_found=sum(faint),
        n_hidden=scene.n_empty,
        n_finds=len(result.finds),
        n_false=sum(row.outcome == "false" for row in result.finds),
        fibre_found=found.found if scene.has_zones else None,
        true_verdict=verdict,
        found_verdict=found.verdict.value,
        judged_mm2=result.judged_mm2,
    )


def _summarise(
    rows: Sequence[ImageRow], compared: Sequence[Compared], *, tolerance_px: float, rng: np.random.Generator
) -> Evaluation:
    done = [row for row in rows if row.status is Status.COMPARED]
    defects = [row for part in compared for row in part.defects]
    finds = [row for part in compared for row in part.finds]
    pixels = sum((part.pixels for part in compared), PixelCounts())
    verdicts = [(row.true_verdict, row.found_verdict) for row in done]
    return Evaluation(
        run="",
        truth="",
        truth_format="",
        n_truth=len(rows),
        n_compared=len(done),
        status=tuple((str(name), count) for name, count in Counter(row.status for row in rows).items()),
        n_without_truth=0,
        notes=(),
        zones=zone_errors([row for part in compared for row in part.zones]),
        recall=recalls(defects),
        false_finds=false_finds(
            finds,
            [row.image_id for row in done],
            [not part.defects for part in compared],
            [part.judged_mm2 for part in compared],
        ),
        pod=pod_curves(defects),
        pixels=Pixels(tolerance_px, pixels.precision, pixels.recall, pixels.f1, pixels),
        ranking=rank(defects, finds, negative_px=sum(part.negative_px for part in compared)),
        classes=class_confusion(defects, finds),
        sizes=size_biases(defects),
        presence=presence([part.defects for part in compared], [part.finds for part in compared]),
        verdict=verdict_agreement([(true, seen) for true, seen in verdicts if true and seen], rng=rng),
        images=tuple(rows),
    )


def _refuse_nothing(rows: Sequence[ImageRow], run_folder: Path, truth: Path) -> None:
    """Raise where not a single image could be compared."""
    if any(row.status is Status.COMPARED for row in rows):
        return
    counts = Counter(row.status for row in rows)
    reasons = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no image in the truth"
    example = next((f" ({row.image_id}: {row.message})" for row in rows if row.message), "")
    raise InputError(
        f"{run_folder} and {truth}: expected images that are in both, found none: {reasons}{example}",
        hint="Image names must agree: truth of `a.json` is that of `a.png` in the run.",
    )


def _notes(evaluation: Evaluation, run: RunResults, taken: set[str]) -> tuple[str, ...]:
    notes = []
    left_out = evaluation.n_truth - evaluation.n_compared
    if left_out:
        parts = [f"{count} {name}" for name, count in evaluation.status if name != Status.COMPARED]
        notes.append(
            f"{left_out} of {evaluation.n_truth} images could not be compared and are in no figure: "
            + ", ".join(parts)
        )
    without = len(run.images.keys() - taken)
    if without:
        notes.append(f"{without} images of the run have no truth and are in no figure")
    if not any(row.n_true for row in evaluation.images):
        notes.append("no image has a true defect: recall, curves and sizes are unknown, not 0")
    hidden = sum(row.n_hidden or 0 for row in evaluation.images)
    if hidden:
        notes.append(
            f"{hidden} true defects show on no pixel of their own (hidden by others) and do not count"
        )
    if evaluation.verdict is None:
        notes.append("the truth holds no sizes that a verdict could be made from: verdicts are not compared")
    return tuple(notes)


def _write(out: Path, evaluation: Evaluation, compared: Sequence[Compared]) -> None:
    defects = [row for part in compared for row in part.defects]
    finds = [row for part in compared for row in part.finds]
    write_table(out / "images.csv", _frame(evaluation.images, ImageRow))
    write_table(out / "defects.csv", _frame(defects, DefectRow))
    write_table(out / "finds.csv", _frame(finds, FindRow))
    write_json(out / "evaluation.json", {"schema_version": SCHEMA_VERSION, **_plain(evaluation)})
    write_bytes(out / "evaluation.html", render_page(evaluation, defects).encode())


def _frame(rows: Iterable[Any], row_type: type) -> pl.DataFrame:
    """Rows as a table that has its columns even where it has no rows."""
    values = [_plain(row) for row in rows]
    if not values:
        return pl.DataFrame({field.name: [] for field in fields(row_type)})
    return pl.DataFrame(values, infer_schema_length=None)


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON knows them; numbers that are not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, StrEnum) else value


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
