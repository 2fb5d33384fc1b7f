"""The command line: parses, calls, prints. The only package that prints.

Nothing heavy is imported before a command needs it, so that `endface --help` answers at once.
"""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from endface.cli import runs, truth
from endface.cli.common import EXIT_OK

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
for module, names in (
    (runs, ("run", "grade", "optics", "profiles", "config")),
    (truth, ("synth", "evaluate", "repeatability")),
):
    for name in names:
        app.command(name)(getattr(module, f"{name}_command"))
bench.command("detectors")(truth.bench_detectors_command)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Inspect, measure, grade and annotate images of fibre end faces and other optical surfaces."""
    if version:
        from endface import __version__

        print(f"endface {__version__}")
        raise typer.Exit(EXIT_OK)


def main() -> None:
    """Run the command line."""
    # imports and compiling make millions of objects that stay: looking through them for garbage takes a tenth
    # of the time to start
    gc.set_threshold(200_000)
    for stream in (sys.stdout, sys.stderr):
        # names with letters a terminal cannot show must not end a run
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()
