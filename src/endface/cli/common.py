"""What commands share: options, exit codes, errors in words, progress bars and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from endface.foreman import Progress

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_REJECT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

Profile = Annotated[
    str | None, typer.Option(help="Acceptance profile: auto, a name (see `endface profiles`) or a YAML file.")
]
Config = Annotated[Path | None, typer.Option(help="YAML file with settings (see `endface config`).")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: all cores.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where unforeseen errors come from.")]


@contextmanager
def readable_errors(*, debug: bool) -> Iterator[None]:
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
        complain(f"error: {error.message}")
        if error.hint:
            complain(f"  hint: {error.hint}")
        raise typer.Exit(EXIT_INTERRUPTED if error.stopped else EXIT_USAGE) from None
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on where it stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OSError as error:
        if debug:
            raise
        complain(f"error: {error}")
        complain("  hint: Once files can be read and written again, the same command goes on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def complain(text: str) -> None:
    """Print to the error stream."""
    print(text, file=sys.stderr)


def given(assignments: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return settings given by --set and by options of their own; the latter win."""
    from endface.config import parse_assignment

    values = dict(parse_assignment(text) for text in assignments or ())
    return values | {key: value for key, value in options.items() if value is not None}


@contextmanager
def progress() -> Iterator[Progress]:
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


def print_tables(tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence[str]]]]) -> None:
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
