"""Commands that make a run and look after it: run, grade, optics; profiles and config for its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endface.cli.common import (
    EXIT_REJECT,
    EXIT_SOME_FAILED,
    Assignments,
    Config,
    Debug,
    Jobs,
    Profile,
    complain,
    given,
    progress,
    readable_errors,
)

if TYPE_CHECKING:
    from endface.config import Resolved
    from endface.engines import Engine as Workers
    from endface.finishing import RunSummary
    from endface.pipeline import Afterwards

Out = Annotated[str, typer.Option("-o", "--out", metavar="OUT", help="Folder for all results.")]
Engine = Annotated[str, typer.Option(help="local, or dask: the workers of a Dask cluster.")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler, e.g. tcp://10.0.0.1:8786.")
]
FailOn = Annotated[
    str | None, typer.Option(metavar="reject", help="'reject': exit code 3 if an image is FAIL.")
]


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
    with readable_errors(debug=debug):
        _check_fail_on(fail_on)
        overrides = given(assignments, {"grading.profile": profile, "surface": surface})
        from endface.config import load_settings

        resolved = load_settings(config, overrides)
        if engine == "local" and jobs != 1 and (len(inputs) > 1 or not Path(inputs[0]).is_file()):
            from endface.engines import start_early

            start_early("endface.stages")
        from endface.pipeline import run

        with progress() as show:
            summary = run(
                inputs,
                out,
                settings=resolved,
                jobs=jobs,
                engine=engine,  # type: ignore[arg-type]  # checked there
                scheduler=scheduler,
                fresh=not resume,
                progress=show,
                then=_reporter(wanted=report),
            )
        _finish(summary, report=report, fail_on=fail_on)


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
    with readable_errors(debug=debug):
        _check_fail_on(fail_on)
        from endface.pipeline import regrade

        with progress() as show:
            summary = regrade(
                run_folder, profile=profile, out=out, jobs=jobs, progress=show, then=_reporter(wanted=report)
            )
        _finish(summary, report=report, fail_on=fail_on)


def optics_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `endface run`.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write here; default: RUN/optics.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show the map of the optics: marks that stay in place over many images, such as dust and hot pixels."""
    with readable_errors(debug=debug):
        from endface.report.optics import write_optics

        print(f"map of the optics: {write_optics(run_folder, out)}")


def profiles_command(
    name: Annotated[str | None, typer.Argument(help="Show all of one profile.")] = None,
    debug: Debug = False,
) -> None:
    """List the acceptance profiles, or print one."""
    with readable_errors(debug=debug):
        from endface.grading import load_profile, profile_names

        if name is None:
            for known in profile_names():
                print(f"{known:<24} {load_profile(known).title}")
            return
        import yaml

        content = load_profile(name).model_dump(mode="json", exclude_none=True)
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")


def config_command(
    config: Config = None,
    assignments: Assignments = None,
    profile: Profile = None,
    debug: Debug = False,
) -> None:
    """Print the settings a run would use and where each comes from, as a settings file."""
    with readable_errors(debug=debug):
        from endface.config import load_settings

        resolved = load_settings(config, given(assignments, {"grading.profile": profile}))
        print(_as_yaml(resolved), end="")


def _check_fail_on(value: str | None) -> None:
    if value not in (None, "reject"):
        from endface.errors import SettingsError

        raise SettingsError(f"--fail-on: expected reject, found {value!r}", hint="Leave it out otherwise.")


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


def _reporter(*, wanted: bool) -> Afterwards | None:
    """Return what writes the report, imported once there is something to report."""

    def write(run_folder: Path, *, engine: Workers) -> None:
        from endface.report import write_report

        write_report(run_folder, engine=engine)

    return write if wanted else None


def _finish(summary: RunSummary, *, report: bool, fail_on: str | None) -> None:
    """Say what came out, and leave with the exit code of the contract."""
    lines = [f"{summary.n_images - summary.n_failed} of {summary.n_images} images done"]
    if summary.n_reused:
        lines[0] += f" ({summary.n_reused} taken over from an earlier run)"
    verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
    lines.append(f"{summary.n_defects} defects; {verdicts or 'no verdicts'}")
    if summary.n_removed:
        lines.append(f"{summary.n_removed} files of earlier runs that no longer apply were removed")
    lines.append(f"report: {summary.folder / 'report.html'}" if report else f"results: {summary.folder}")
    print("\n".join(lines))
    for failure in summary.failures:
        complain(f"failed ({failure.stage}): {failure.error}")
        if failure.hint:
            complain(f"  hint: {failure.hint}")
    if summary.n_failed:
        raise typer.Exit(EXIT_SOME_FAILED)
    if fail_on == "reject" and summary.verdicts.get("FAIL"):
        raise typer.Exit(EXIT_REJECT)
