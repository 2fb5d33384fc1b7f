"""Run the detector bench and write its table as JSON and Markdown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from endface.errors import InputError
from endface.evaluation.bench.data import DataSet, real_sets, rendered_set
from endface.evaluation.bench.figures import BenchRow, OperatingPoint, Tally, judged_places
from endface.evaluation.bench.methods import DEFAULT, Method, bench_methods
from endface.store import write_bytes, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class DetectorBench:
    """The table: one row per data set and method, and the data sets left out with the reason."""

    command: str
    n_rendered: int
    seed: int
    rows: tuple[BenchRow, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def best_rivals(self) -> tuple[tuple[str, str, float, float], ...]:
        """Return (data set, method, its recall, the default's) of each method that finds more scratches.

        Compared at the default's number of false finds per image; empty where the default leads everywhere.
        """
        own = {row.data: row.equal.scratches for row in self.rows if row.method == DEFAULT and row.equal}
        ahead = []
        for row in self.rows:
            mine = own.get(row.data)
            theirs = row.equal.scratches if row.equal is not None else None
            if row.method != DEFAULT and mine is not None and theirs is not None and theirs > mine:
                ahead.append((row.data, row.method, theirs, mine))
        return tuple(ahead)


def bench_detectors(
    out: Path | None, *, n_rendered: int = 24, seed: int = 2018, real: Path | None = None
) -> DetectorBench:
    """Measure all methods on all data sets; write `detectors.json` and `detectors.md` into `out`.

    Parameters
    ----------
    out : Path or None
        Folder, made where missing; nothing is written where there is none.
    n_rendered : int
        Number of rendered images; half of them are clean.
    seed : int
        Seed of the rendered set.
    real : Path, optional
        Folder with `endface` or `darkfield`, each with images and a folder `labels`; what is not there is
        left out, and the table says so.

    Returns
    -------
    DetectorBench
        Everything but the milliseconds is the same every time.

    Raises
    ------
    InputError
        If `n_rendered` is not positive, or `real` holds no labelled images.
    """
    if n_rendered < 1:
        raise InputError(f"expected at least one rendered image, found {n_rendered}", hint="Give n >= 1.")
    others, skipped = real_sets(real)
    sets = (rendered_set(n=n_rendered, seed=seed), *others)
    rows = [row for data in sets for row in measure_methods(data, bench_methods())]
    command = f"endface bench detectors --rendered {n_rendered} --seed {seed}"
    if real is not None:
        command += " --real FOLDER"
    bench = DetectorBench(command, n_rendered, seed, tuple(rows), skipped)
    if out is not None:
        write_json(out / "detectors.json", {"schema_version": SCHEMA_VERSION, **_rounded(asdict(bench))})
        write_bytes(out / "detectors.md", markdown(bench).encode())
    return bench


def measure_methods(data: DataSet, methods: Sequence[Method]) -> tuple[BenchRow, ...]:
    """Return the figures of each method on one data set; the default's false finds set the common budget."""
    tallies = [Tally(method) for method in methods]
    for number, item in enumerate(data.images()):
        places = judged_places(item)
        for tally in tallies:
            if number == 0:  # compilation and first-use costs are nobody's speed
                tally.method.run(item.image, item.zones)
            start = time.perf_counter()
            outcome = tally.method.run(item.image, item.zones)
            outcome.finds(tally.method.own_level or tally.method.levels[len(tally.method.levels) // 2])
            ms = 1e3 * (time.perf_counter() - start)
            tally.add(item, outcome, places, ms=ms)
    budget = next(
        (tally.curve()[0].false_per_image for tally in tallies if tally.method.name == DEFAULT), None
    )
    return tuple(tally.row(data.name, equal_false=budget) for tally in tallies if tally.ms)


def markdown(bench: DetectorBench) -> str:
    """Return the table for people."""
    lines = [
        "# Detector bench",
        "",
        f"Made by `{bench.command}`. Recalls are those of sure defects.",
        "*Own* is what the thresholds of a method give; *equal* is what it finds at as many false finds per",
        "image as the default makes. Pixel figures judge scratches only, away from rims. `mei2018` reads LEI",
        "as DC-free, `mei2018_literal` to the letter.",
        "What is measured and how: docs/algorithms/mei2018.md.",
    ]
    for data in dict.fromkeys(row.data for row in bench.rows):
        rows = [row for row in bench.rows if row.data == data]
        first = rows[0]
        lines += [
            "",
            f"## {data}: {first.n_images} images, {first.n_scratches} sure scratches, "
            f"{first.n_blobs} sure blobs",
            "",
            "| method | pixel AP | TPR at FPR 1e-3 | own: false per image | own: scratches | own: blobs "
            "| equal: false per image | equal: scratches | equal: blobs | ms per image | ms per Mpx |",
            "|---|" + "---:|" * 10,
            *(_line(row) for row in rows),
        ]
    lines += [f"\nLeft out: {name} ({reason})." for name, reason in bench.skipped]
    rivals = bench.best_rivals()
    if rivals:
        lines += ["", "Finding more scratches than the default at equal false finds:"]
        lines += [
            f"- {name} on {data}: {theirs:.3f} against {mine:.3f}" for data, name, theirs, mine in rivals
        ]
    return "\n".join(lines) + "\n"


def _line(row: BenchRow) -> str:
    cells = [_share(row.pixel_ap), _share(row.pixel_tpr), *_cells(row.own), *_cells(row.equal)]
    return f"| {row.method} | {' | '.join(cells)} | {row.ms_per_image:.0f} | {row.ms_per_megapixel:.0f} |"


def _cells(point: OperatingPoint | None) -> list[str]:
    if point is None:
        return ["", "", ""]
    return [f"{point.false_per_image:.2f}", _share(point.scratches), _share(point.blobs)]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
