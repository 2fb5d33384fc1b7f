"""Commands that tell how right the results are: synth, evaluate, repeatability, bench detectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endface.cli.common import (
    EXIT_SOME_FAILED,
    Assignments,
    Config,
    Debug,
    Jobs,
    Profile,
    complain,
    given,
    print_tables,
    progress,
    readable_errors,
)

if TYPE_CHECKING:
    from endface.evaluation.evaluate import Evaluation


def synth_command(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for images/ and truth/.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    preset: Annotated[str, typer.Option(help="Kind of microscope and fibre, e.g. sample, hard.")] = "clinic",
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of real clean images: put defects onto these.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Render end-face images with exact truth into DIR; half of them are clean."""
    with readable_errors(debug=debug):
        from endface.synthesis import write_set

        with progress() as show:
            made = write_set(out, n=n, seed=seed, preset=preset, backgrounds=backgrounds, progress=show)
        print(f"{len(made.image_ids)} images, {made.n_clean} of them clean; {made.n_defects} defects")
        print(f"images: {made.folder / 'images'}")


def evaluate_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `endface run`.")],
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="Folder of `endface synth` or of labels, or a COCO file.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the figures.")],
    profile: Annotated[
        str | None, typer.Option(help="Acceptance profile of the true verdict; default: that of the run.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare a finished run with the truth: zones, defects, sizes and verdicts."""
    with readable_errors(debug=debug):
        from endface.evaluation.evaluate import evaluate

        found = evaluate(run_folder, truth, out, profile=profile)
        print("\n".join(_figures(found)))
        print(f"evaluation: {out / 'evaluation.html'}")
        if found.n_compared < found.n_truth:
            raise typer.Exit(EXIT_SOME_FAILED)


def repeatability_command(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the figures.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE...]", help="Images, folders or globs to copy.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Pictures of the same face: columns image and group.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Copies of each of the seven kinds.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same copies.")] = 0,
    config: Config = None,
    profile: Profile = None,
    jobs: Jobs = None,
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Measure whether verdicts, counts and sizes stay when an image is moved, turned, lit otherwise."""
    with readable_errors(debug=debug):
        from endface.config import load_settings

        settings = load_settings(config, given(assignments, {"grading.profile": profile})).settings
        from endface.evaluation.repeat_tables import in_tables
        from endface.evaluation.repeatability import repeatability

        with progress() as show:
            found = repeatability(
                inputs or (),
                out,
                groups=groups,
                settings=settings,
                trials=trials,
                seed=seed,
                jobs=jobs,
                progress=show,
            )
        print_tables(in_tables(found))
        print(f"repeatability: {out / 'repeatability.html'}")
        for item in found.unread:
            complain(f"failed: {item.error}\n  hint: {item.hint}")
        if found.unread:
            raise typer.Exit(EXIT_SOME_FAILED)


def bench_detectors_command(
    rendered: Annotated[int, typer.Option(min=1, metavar="N", help="How many rendered images.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rendered images.")] = 2018,
    real: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder with labelled images (endface, darkfield).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write detectors.json and .md here.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print one table of detection methods, published ones among them: how right and how fast."""
    with readable_errors(debug=debug):
        from endface.evaluation.bench import bench_detectors, markdown

        print(markdown(bench_detectors(out, n_rendered=rendered, seed=seed, real=real)), end="")


def _figures(found: Evaluation) -> Iterator[str]:
    """Yield what to print of an evaluation: counts, recalls, false finds, notes."""
    yield f"{found.n_compared} of {found.n_truth} images compared"
    recalls = {(item.group, item.name): item.found for item in found.recall}
    recalls |= {("zones", item.ellipse): item.found for item in found.zones}
    shown = {
        "sure scratches found": ("class, sure", "scratch"),
        "sure defects found": ("certainty", "sure"),
        "faint defects found": ("certainty", "faint"),
        "fibres found": ("zones", "cladding"),
    }
    for words, key in shown.items():
        if key in recalls:
            yield f"{words}: {recalls[key].hits} of {recalls[key].trials}"
    wrong = found.false_finds
    yield f"false finds: {wrong.total}, median {wrong.median:g} per image"
    if found.verdict is not None:
        kappa = found.verdict.kappa_all.value
        accepts, rejects = found.verdict.false_accepts, found.verdict.false_rejects
        yield (
            f"verdicts: {accepts.hits} of {accepts.trials} falsely accepted, "
            f"{rejects.hits} of {rejects.trials} falsely rejected, "
            f"kappa {'unknown' if kappa is None else format(kappa, '.2f')}"
        )
    yield from (f"note: {note}" for note in found.notes)
