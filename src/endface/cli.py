"""The command line: parses, calls, prints. The only module that prints.

Nothing heavy is imported before a command needs it, so that `endface --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from endface.config import Resolved
    from endface.evaluation.evaluate import Evaluation
    from endface.foreman import Progress
    from endface.pipeline import RunSummary

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_REJECT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="endface",
    help="Inspect, measure, grade and annotate images of fibre end faces and other optical surfaces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # boxes and colours would double the time that --help takes
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench = typer.Typer(help="Measure the project against rivals.", no_args_is_help=True)
app.add_typer(bench, name="bench")

Profile = Annotated[
    str | None, typer.Option(help="Acceptance profile: auto, a name (see `endface profiles`) or a YAML file.")
]
Config = Annotated[Path | None, typer.Option(help="YAML file with settings (see `endface config`).")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
]
Out = Annotated[str, typer.Option("-o", "--out", metavar="OUT", help="Folder for all results.")]
Engine = Annotated[str, typer.Option(help="local, or dask: the workers of a Dask cluster.")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler, e.g. tcp://10.0.0.1:8786.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: all cores.")]
FailOn = Annotated[
    str | None, typer.Option(metavar="reject", help="'reject': exit code 3 if an image is FAIL.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where unforeseen errors come from.")]


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Inspect, measure, grade and annotate images of fibre end faces and other optical surfaces."""
    if version:
        from endface import __version__

        print(f"endface {__version__}")
        raise typer.Exit(EXIT_OK)


@app.command("run")
def run_command(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, folders, globs; or s3://bucket/folder.")
    ],
    out: Out,
    config: Config = None,
    profile: Profile = None,
    surface: Annotated[str | None, typer.Option(help="fiber, or plain: one zone without a fibre.")] = None,
    jobs: Jobs = None,
    engine: Engine = "local",
    scheduler: Scheduler = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on where an earlier run stopped, or start anew.")
    ] = True,
    fail_on: FailOn = None,
    assignments: Assignments = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    debug: Debug = False,
) -> None:
    """Find zones and defects in a folder of images, name, measure and grade them, and write it all to OUT."""
    with _readable_errors(debug=debug):
        _check_fail_on(fail_on)
        overrides = _overrides(assignments, {"grading.profile": profile, "surface": surface})
        from endface.config import load_settings

        resolved = load_settings(config, overrides)
        from endface.pipeline import run

        with _progress() as show:
            summary = run(
                inputs,
                out,
                settings=resolved,
                jobs=jobs,
                engine=engine,  # type: ignore[arg-type]  # checked there
                scheduler=scheduler,
                fresh=not resume,
                progress=show,
            )
        _finish(summary, report=report, fail_on=fail_on)


@app.command("grade")
def grade_command(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder written by `endface run`.")],
    profile: Profile = None,
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="Write here; default: change RUN itself.")
    ] = None,
    jobs: Jobs = None,
    fail_on: FailOn = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    debug: Debug = False,
) -> None:
    """Grade a finished run again, e.g. by another profile, without analysing the images again."""
    with _readable_errors(debug=debug):
        _check_fail_on(fail_on)
        from endface.pipeline import regrade

        with _progress() as show:
            summary = regrade(run_folder, profile=profile, out=out, jobs=jobs, progress=show)
        _finish(summary, report=report, fail_on=fail_on)


@app.command("optics")
def optics_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `endface run`.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write here; default: RUN/optics.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show the map of the optics: marks that stay in place over many images, such as dust and hot pixels."""
    with _readable_errors(debug=debug):
        from endface.report.optics import write_optics

        print(f"map of the optics: {write_optics(run_folder, out)}")


@app.command("profiles")
def profiles_command(
    name: Annotated[str | None, typer.Argument(help="Show all of one profile.")] = None,
    debug: Debug = False,
) -> None:
    """List the acceptance profiles, or print one."""
    with _readable_errors(debug=debug):
        from endface.grading import load_profile, profile_names

        if name is None:
            for known in profile_names():
                print(f"{known:<24} {load_profile(known).title}")
            return
        import yaml

        content = load_profile(name).model_dump(mode="json", exclude_none=True)
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")


@app.command("config")
def config_command(
    config: Config = None,
    assignments: Assignments = None,
    profile: Profile = None,
    debug: Debug = False,
) -> None:
    """Print the settings a run would use and where each comes from, as a settings file."""
    with _readable_errors(debug=debug):
        from endface.config import load_settings

        resolved = load_settings(config, _overrides(assignments, {"grading.profile": profile}))
        print(_as_yaml(resolved), end="")


@app.command("synth")
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
    with _readable_errors(debug=debug):
        from endface.synthesis import write_set

        with _progress() as show:
            made = write_set(out, n=n, seed=seed, preset=preset, backgrounds=backgrounds, progress=show)
        print(f"{len(made.image_ids)} images, {made.n_clean} of them clean; {made.n_defects} defects")
        print(f"images: {made.folder / 'images'}")


@app.command("evaluate")
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
    with _readable_errors(debug=debug):
        from endface.evaluation.evaluate import evaluate

        found = evaluate(run_folder, truth, out, profile=profile)
        print("\n".join(_figures(found)))
        print(f"evaluation: {out / 'evaluation.html'}")
        if found.n_compared < found.n_truth:
            raise typer.Exit(EXIT_SOME_FAILED)


@app.command("repeatability")
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
    with _readable_errors(debug=debug):
        from endface.config import load_settings

        settings = load_settings(config, _overrides(assignments, {"grading.profile": profile})).settings
        from endface.evaluation.repeat_tables import in_tables
        from endface.evaluation.repeatability import repeatability

        with _progress() as show:
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
        _print_tables(in_tables(found))
        print(f"repeatability: {out / 'repeatability.html'}")
        for item in found.unread:
            _complain(f"failed: {item.error}\n  hint: {item.hint}")
        if found.unread:
            raise typer.Exit(EXIT_SOME_FAILED)


@bench.command("detectors")
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
    with _readable_errors(debug=debug):
        from endface.evaluation.bench import bench_detectors, markdown

        print(markdown(bench_detectors(out, n_rendered=rendered, seed=seed, real=real)), end="")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # names with letters a terminal cannot show must not end a run
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()


# ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _readable_errors(*, debug: bool) -> Iterator[None]:
    """Turn errors a user can mend into two lines and exit code 2, Ctrl-C into advice."""
    from endface.errors import EndfaceError

    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("numba").setLevel(logging.WARNING)
        logging.getLogger("PIL").setLevel(logging.WARNING)
    try:
        yield
    except EndfaceError as error:
        if debug:
            raise
        _complain(f"error: {error.message}")
        if error.hint:
            _complain(f"  hint: {error.hint}")
        raise typer.Exit(EXIT_INTERRUPTED if error.stopped else EXIT_USAGE) from None
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on where it stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OSError as error:
        if debug:
            raise
        _complain(f"error: {error}")
        _complain("  hint: Once files can be read and written again, the same command goes on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def _check_fail_on(value: str | None) -> None:
    if value not in (None, "reject"):
        from endface.errors import SettingsError

        raise SettingsError(f"--fail-on: expected reject, found {value!r}", hint="Leave it out otherwise.")


def _overrides(assignments: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    from endface.config import parse_assignment

    given = dict(parse_assignment(text) for text in assignments or ())
    return given | {key: value for key, value in options.items() if value is not None}


def _as_yaml(resolved: Resolved) -> str:
    """Return settings as YAML with the origin of each value behind it."""
    import yaml

    lines: list[str] = []
    open_sections: list[str] = []
    for key, value, origin in resolved.rows():
        *sections, name = key.split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != sections[: depth + 1]:
                lines.append("  " * depth + f"{section}:")
        open_sections = sections
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
        lines.append(f"{'  ' * len(sections) + name}: {text}".ljust(44) + f"  # {origin}")
    return "\n".join(lines) + "\n"


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show bars with rate and time left on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, rate="")
            speed = bars.tasks[tasks[stage]].speed
            bars.update(tasks[stage], completed=done, rate=f"{speed:.1f}/s" if speed else "")

        yield show


def _print_tables(tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence[str]]]]) -> None:
    """Print (title, headings, rows) as tables, numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, headings, rows in tables:
        table = Table(title=title, title_justify="left")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _finish(summary: RunSummary, *, report: bool, fail_on: str | None) -> None:
    """Write the report, say what came out, and leave with the exit code of the contract."""
    lines = [f"{summary.n_images - summary.n_failed} of {summary.n_images} images done"]
    if summary.n_reused:
        lines[0] += f" ({summary.n_reused} taken over from an earlier run)"
    verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
    lines.append(f"{summary.n_defects} defects; {verdicts or 'no verdicts'}")
    if summary.n_removed:
        lines.append(f"{summary.n_removed} files of earlier runs that no longer apply were removed")
    if report:
        from endface.report import write_report

        lines.append(f"report: {write_report(summary.folder)}")
    else:
        lines.append(f"results: {summary.folder}")
    print("\n".join(lines))
    for failure in summary.failures:
        _complain(f"failed ({failure.stage}): {failure.error}")
        if failure.hint:
            _complain(f"  hint: {failure.hint}")
    if summary.n_failed:
        raise typer.Exit(EXIT_SOME_FAILED)
    if fail_on == "reject" and summary.verdicts.get("FAIL"):
        raise typer.Exit(EXIT_REJECT)


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


if __name__ == "__main__":
    main()
