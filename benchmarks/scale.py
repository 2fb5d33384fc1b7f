"""What one image costs, what a cluster adds, and what 100 million images would take by that.

python benchmarks/scale.py -o benchmarks/results/scale.json [--page docs/scale.md] [--images 48]

Measured on this machine: end-to-end time of runs in one and two processes and on two Dask workers, files
and bytes written, operations on a store per image, and what one scheduler hands out in a second. The plan
is calculated from these figures and the assumptions printed beside it; no such cluster was run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from processes import run as run_command

from endface import pipeline
from endface.engines import available_cores
from endface.engines import on_dask as dask_engine
from endface.places import place, walk
from endface.synthesis import write_set
from endface.synthesis.presets import PRESETS

ENDFACE = (sys.executable, "-m", "endface.cli")
DISTRIBUTED = ("analyse", "optics", "settle", "draw")
STORE_METHODS = ("cat_file", "pipe_file", "info", "exists", "ls", "rm_file")
ASSUMED = {
    "images": 100_000_000,
    "images_per_run": 500_000,
    "cores_per_node": 64,
    "nodes": 20,
    "processes_per_core": 3,
    "store_latency_s": 0.03,
    "share_of_time_used": 0.8,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="page whose tables to rewrite")
    parser.add_argument("--images", type=int, default=100, help="images of each run")
    parser.add_argument("--rendered", type=int, default=12, help="how many of them differ")
    given = parser.parse_args()
    PRESETS["many"] = replace(PRESETS["scope"], frames_px=((1152, 864),), um_per_px=(0.431, 0.431))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        faces = linked(root, n=given.images, rendered=given.rendered)
        warm = root / "warm"
        run_command([*ENDFACE, "run", next(faces.iterdir()), "-o", warm, "--no-report"])
        measured: dict[str, Any] = {
            "frame": "1152x864",
            "images": given.images,
            "input_bytes_per_image": sum(path.stat().st_size for path in faces.iterdir()) // given.images,
            "one_process": timed(faces, root / "one", "--jobs", "1"),
            "driver_ms_per_image": driver_cost(root, faces),
            "two_processes": timed(faces, root / "two", "--jobs", "2"),
            "two_dask_workers": timed(faces, root / "dask", "--jobs", "2", "--engine", "dask"),
            "output": output(root / "one", given.images),
            "store": store(faces, given.images),
        }
    measured["dask"] = handed_out()
    result = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": available_cores(),
            "load_before": os.getloadavg(),
            "python": platform.python_version(),
        },
        "measured": measured,
        "assumed": ASSUMED,
        "calculated": plan(measured, **ASSUMED),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.page:
        text = given.page.read_text(encoding="utf-8")
        start, end = (text.index(mark) for mark in ("<!-- figures -->", "<!-- end of figures -->"))
        given.page.write_text(
            f"{text[:start]}<!-- figures -->\n{tables(result)}\n{text[end:]}", encoding="utf-8"
        )
    print(json.dumps(result, indent=1))


def linked(root: Path, *, n: int, rendered: int) -> Path:
    """Render some faces and link them until there are enough."""
    made = sorted((write_set(root / "set", n=rendered, seed=1, preset="many").folder / "images").iterdir())
    faces = root / "faces"
    faces.mkdir()
    for number in range(n):
        face = made[number % len(made)]
        os.link(face, faces / f"face_{number:06d}{face.suffix}")
    return faces


def timed(faces: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run the command; the seconds of its stages come from run.json."""
    cost = run_command([*ENDFACE, "run", faces, "-o", out, "--no-report", *options])
    content = json.loads((out / "run.json").read_text())
    n_images = content["counts"]["images"]
    return {
        "failed": content["counts"]["failed"],
        "wall_s": round(cost.wall_s, 2),
        "cpu_ms_per_image": round(1e3 * cost.cpu_s / n_images, 1),
        "peak_mb": round(cost.peak_mb),
        "stage_ms_per_image": {
            name: round(1e3 * seconds / n_images, 2)
            for name, seconds in content["timings"]["seconds"].items()
        },
    }


def output(folder: Path, n_images: int) -> dict[str, Any]:
    """Count what a run wrote, per image."""
    sizes = {name: (folder / name).stat().st_size for name in walk(folder)}
    by_folder: Counter[str] = Counter()
    for name, size in sizes.items():
        by_folder[name.split("/")[0]] += size
    return {
        "files_per_image": round(len(sizes) / n_images, 1),
        "bytes_per_image": sum(sizes.values()) // n_images,
        "bytes_per_image_by_folder": {name: size // n_images for name, size in sorted(by_folder.items())},
    }


def driver_cost(root: Path, faces: Path) -> float:
    """Return what the driver alone takes per image: judging, tables, sweeping. Its start is included."""
    images = sorted(faces.iterdir())
    more = root / "more"
    for number in range(5):
        (more / str(number)).mkdir(parents=True)
        for path in images:
            os.link(path, more / str(number) / path.name)
    summary = pipeline.run(more, root / "judged", jobs=available_cores())
    # the stage 'batch' has these within
    nested = summary.seconds.get("optics", 0.0) + summary.seconds["settle"]
    alone = sum(spent for name, spent in summary.seconds.items() if name not in DISTRIBUTED) - nested
    return round(1e3 * alone / summary.n_images, 3)


def store(faces: Path, n_images: int) -> dict[str, Any]:
    """Count what a run asks of a store of objects, and how many answers it waits for one after the other."""
    from fsspec.implementations.memory import MemoryFileSystem

    root = place("memory://scale")
    for path in faces.iterdir():
        (root / "in" / path.name).write_bytes(path.read_bytes())
    counts: Counter[str] = Counter()
    latency_s = 0.0
    inside = threading.local()

    def counted(name: str, original: Any) -> Any:
        def method(self: MemoryFileSystem, *arguments: Any, **options: Any) -> Any:
            if getattr(inside, "one", False):  # of which it is a part
                return original(self, *arguments, **options)
            counts[name] += 1
            inside.one = True
            try:
                time.sleep(latency_s)
                return original(self, *arguments, **options)
            finally:
                inside.one = False

        return method

    originals = {name: getattr(MemoryFileSystem, name) for name in STORE_METHODS}
    try:
        for name, original in originals.items():
            setattr(MemoryFileSystem, name, counted(name, original))
        seconds = []
        for latency_s in (0.0, 0.02):
            counts.clear()
            spent = pipeline.run(str(root / "in"), str(root / f"out{latency_s}"), jobs=1).seconds
            seconds.append(sum(spent.get(name, 0.0) for name in DISTRIBUTED))
    finally:
        for name, original in originals.items():
            setattr(MemoryFileSystem, name, original)
    return {
        "operations_per_image": {name: round(n / n_images, 1) for name, n in sorted(counts.items())},
        "waits_of_a_worker_per_image": round((seconds[1] - seconds[0]) / 0.02 / n_images, 1),
    }


def handed_out(n: int = 20_000) -> dict[str, float]:
    """Give tasks that do nothing to two Dask workers: what scheduler and driver can do at most."""
    engine = dask_engine.DaskEngine(scheduler=None, jobs=2)
    try:
        list(engine.map(abs, range(200)))
        rates = {}
        for name, bundle in (("bundles_per_s", 1), ("tasks_per_s", dask_engine.MAX_BUNDLE)):
            dask_engine.MAX_BUNDLE = bundle
            start = time.perf_counter()
            list(engine.map(abs, range(n // 10 if bundle == 1 else n)))
            rates[name] = round((n // 10 if bundle == 1 else n) / (time.perf_counter() - start))
    finally:
        engine.close()
    return rates


def plan(
    measured: dict[str, Any],
    *,
    images: int,
    images_per_run: int,
    cores_per_node: int,
    nodes: int,
    processes_per_core: int,
    store_latency_s: float,
    share_of_time_used: float,
) -> dict[str, Any]:
    """Calculate what so many images take."""
    one = measured["one_process"]
    stages = one["stage_ms_per_image"]
    operations = sum(measured["store"]["operations_per_image"].values())
    busy_s = sum(stages.get(name, 0.0) for name in DISTRIBUTED) / 1e3
    alone_s = measured["driver_ms_per_image"] / 1e3
    waiting_s = store_latency_s * measured["store"]["waits_of_a_worker_per_image"]
    cores = cores_per_node * nodes
    # a core computes, or all of its processes wait for the store at once
    per_core = min(1 / busy_s, processes_per_core / (busy_s + waiting_s)) * share_of_time_used
    hours = images / (cores * per_core) / 3600
    bundle = min(dask_engine.MAX_BUNDLE, max(1, int(dask_engine.BUNDLE_S / (busy_s + waiting_s))))
    rate = cores * per_core
    output_bytes = measured["output"]["bytes_per_image"]
    return {
        "core_s_per_image": round(busy_s, 4),
        "waiting_for_store_s_per_image": round(waiting_s, 3),
        "cores": cores,
        "worker_processes": cores * processes_per_core,
        "memory_gb_per_node": math.ceil(cores_per_node * processes_per_core * 0.4),
        "images_per_s": round(rate),
        "hours": round(hours, 1),
        "core_hours": round(hours * cores),
        "runs": math.ceil(images / images_per_run),
        # while a driver judges one run, the workers analyse others
        "runs_side_by_side": math.ceil(1 + alone_s * rate),
        "driver_minutes_per_run": round(alone_s * images_per_run / 60, 1),
        "processes_that_one_scheduler_feeds": round(
            measured["dask"]["bundles_per_s"] * dask_engine.BUNDLE_S / 2
        ),
        "bundles_per_s_all_schedulers": round(rate / bundle),
        "input_tb": round(images * measured["input_bytes_per_image"] / 1e12, 1),
        "output_tb": round(images * output_bytes / 1e12, 1),
        "output_objects": round(images * measured["output"]["files_per_image"]),
        "store_operations_per_s": round(rate * operations),
        "network_gb_per_s": round(rate * (measured["input_bytes_per_image"] + output_bytes) / 1e9, 2),
    }


def tables(result: dict[str, Any]) -> str:
    """Return measured, assumed and calculated figures as tables in Markdown."""
    measured, planned = result["measured"], result["calculated"]
    one, two, dask = (measured[name] for name in ("one_process", "two_processes", "two_dask_workers"))
    written, asked = measured["output"], measured["store"]
    facts = {
        f"end to end, {measured['images']} images of {measured['frame']}, one process, start included": (
            f"{1e3 * one['wall_s'] / measured['images']:.0f} ms per image"
        ),
        "two processes": f"{1e3 * two['wall_s'] / measured['images']:.0f} ms per image",
        "two Dask workers, cluster started and ended": (
            f"{1e3 * dask['wall_s'] / measured['images']:.0f} ms per image"
        ),
        "read, analyse, write and draw one image": f"{1e3 * planned['core_s_per_image']:.0f} ms of one core",
        "judge, tabulate and sweep, per image": f"{measured['driver_ms_per_image']:.2f} ms of the driver",
        "written per image": (
            f"{written['files_per_image']:g} files, {written['bytes_per_image'] / 1e3:.0f} kB "
            f"(input {measured['input_bytes_per_image'] / 1e3:.0f} kB)"
        ),
        "asked of a store per image": (
            f"{sum(asked['operations_per_image'].values()):.0f} operations, "
            f"{asked['waits_of_a_worker_per_image']:g} waits one after the other"
        ),
        "one scheduler and one driver, on the same two cores as the workers": (
            f"{measured['dask']['bundles_per_s']} bundles/s of one task, "
            f"{measured['dask']['tasks_per_s']} tasks/s in bundles"
        ),
    }
    machine = result["machine"]
    load = machine["load_before"][0]
    head = f"Measured on {machine['cores']} cores ({machine['processor']}), which had a load of {load:.1f}:"
    parts = [head, rows(facts), "Assumed:", rows(result["assumed"]), "Calculated from both:", rows(planned)]
    return "\n" + "\n\n".join(parts) + "\n"


def rows(facts: dict[str, Any]) -> str:
    """Return facts as a table."""
    lines = [
        f"| {name.replace('_', ' ')} | {f'{value:,}' if isinstance(value, int) else value} |"
        for name, value in facts.items()
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


if __name__ == "__main__":
    main()
