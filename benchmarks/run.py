"""All speed figures in one command, the rivals in turn so that a busy machine is busy for all of them.

python benchmarks/run.py -o benchmarks/results/performance.json [--images 48] [--rounds 3] [--real FOLDER]

What is measured and how is told in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import ONE_THREAD, machine, run, spread

from endface.manifest import versions
from endface.synthesis import write_set

HERE = Path(__file__).parent
PYTHON = sys.executable
ENDFACE = (PYTHON, "-m", "endface.cli")
SEED = 1152864


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--images", type=int, default=48, help="rendered end faces, 1152 x 864")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", type=Path, help="measure these images instead of rendered ones")
    parser.add_argument(
        "--no-cold", action="store_true", help="leave the first start without compiled code out"
    )
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        faces = _images(root, given)
        result: dict[str, Any] = {"machine": machine(), "versions": versions(), "images": _described(faces)}
        run([*ENDFACE, "run", faces, "-o", root / "reference", "--jobs", "1"])  # compiles what is not cached
        result["start"] = _start(root, faces, given.rounds, cold=not given.no_cold)
        env = dict.fromkeys(ONE_THREAD, "1")
        result["whole"] = _whole(root, faces, given.rounds)
        result["ceiling"] = _ceiling(root, faces, given.rounds, env)
        parts = run([PYTHON, HERE / "stage_times.py", faces, "-o", root / "stages"], env=env)
        result["stages"] = _rounded(json.loads(parts.output.splitlines()[-1]))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["whole"], indent=1))


def _images(root: Path, given: argparse.Namespace) -> Path:
    if given.real is None:
        return write_set(root / "set", n=given.images, seed=SEED, preset="scope").folder / "images"
    faces = root / "real"
    faces.mkdir()
    files = sorted(
        path for path in given.real.iterdir() if path.suffix.lower() in (".png", ".jpg", ".bmp", ".tif")
    )
    for file in files[: given.images]:
        shutil.copy(file, faces)
    return faces


def _whole(root: Path, faces: Path, rounds: int) -> dict[str, Any]:
    """Measure the rivals in turn, each at all images and at a quarter: the difference is free of start-up."""
    files = sorted(faces.iterdir())
    few = root / "few"
    few.mkdir()
    for file in files[: max(2, len(files) // 4)]:
        os.link(file, few / file.name)
    sets = {"all": faces, "few": few}
    n = {name: len(list(folder.iterdir())) for name, folder in sets.items()}
    found: dict[str, dict[str, list[Any]]] = {}
    for _ in range(rounds):
        for rival, command, env in _rivals():
            costs = {}
            for name, folder in sets.items():
                out = root / "out"
                shutil.rmtree(out, ignore_errors=True)
                costs[name] = run(command(folder, root / "reference", out), env=env)
            row = found.setdefault(
                rival, {"wall_ms": [], "cpu_ms": [], "whole_s": [], "peak_mb": [], "floor": []}
            )
            more = n["all"] - n["few"]
            row["wall_ms"].append(1e3 * (costs["all"].wall_s - costs["few"].wall_s) / more)
            row["cpu_ms"].append(1e3 * (costs["all"].cpu_s - costs["few"].cpu_s) / more)
            row["whole_s"].append(costs["all"].wall_s)
            row["peak_mb"].append(costs["all"].peak_mb)
            if rival == "floor":
                row["floor"].append(json.loads(costs["all"].output.splitlines()[-1]))
    result: dict[str, Any] = {"n_images": n["all"]}
    for rival, row in found.items():
        result[rival] = {
            "wall_ms_per_image": spread(row["wall_ms"], 1),
            "cpu_ms_per_image": spread(row["cpu_ms"], 1),
            "whole_command_s": spread(row["whole_s"], 2),
            "peak_mb_all_processes": spread(row["peak_mb"], 0),
        }
    result["floor"] = _floor(found["floor"]["floor"]) | {
        "peak_mb_all_processes": result["floor"]["peak_mb_all_processes"]
    }
    result["ratios"] = _ratios(found)
    return result


def _ceiling(root: Path, faces: Path, rounds: int, env: dict[str, str]) -> dict[str, Any]:
    """Measure what two processes give at all, beside which the ratio of two workers is to be seen."""
    rows = []
    for number in range(rounds):
        command = [PYTHON, HERE / "ceiling.py", faces, "-o", root / f"ceiling{number}"]
        rows.append(json.loads(run(command, env=env).output.splitlines()[-1]))
    return {name: spread([row[name] for row in rows], 2) for name in rows[0] if name != "n"}


def _rivals() -> list[tuple[str, Any, dict[str, str]]]:
    one = dict.fromkeys(ONE_THREAD, "1")

    def recipe(threads: int) -> Any:
        return lambda faces, _, out: [
            PYTHON, HERE / "recipe.py", *sorted(faces.iterdir()), "-o", out, "--threads", str(threads)
        ]  # fmt: skip

    def endface(jobs: int) -> Any:
        return lambda faces, _, out: [*ENDFACE, "run", faces, "-o", out, "--jobs", str(jobs)]

    return [
        ("recipe", recipe(1), one),
        (
            "floor",
            lambda faces, reference, out: [PYTHON, HERE / "floor.py", faces, reference, "-o", out],
            one,
        ),
        ("endface_1_worker", endface(1), {}),
        ("recipe_all_threads", recipe(0), {}),
        ("endface_2_workers", endface(2), {}),
    ]


def _floor(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ms per image of each step, and of the two readings of the floor."""
    steps = {step: [1e3 * row["seconds"][step] / row["n"] for row in rows] for step in rows[0]["seconds"]}
    masks = [a + b for a, b in zip(steps["decode"], steps["masks"], strict=True)]
    return {
        "steps_ms": {step: spread(values, 2) for step, values in steps.items()},
        "decode_and_masks_ms_per_image": spread(masks, 2),
        "all_files_ms_per_image": spread([sum(values) for values in zip(*steps.values(), strict=True)], 2),
        "bytes_per_image": rows[0]["bytes_per_image"],
    }


def _ratios(found: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """Return ratios within each round, then their spread."""
    one, two = found["endface_1_worker"]["wall_ms"], found["endface_2_workers"]["wall_ms"]
    floor = [1e3 * sum(row["seconds"].values()) / row["n"] for row in found["floor"]["floor"]]
    pairs = {
        "recipe_over_endface_one_core": (found["recipe"]["wall_ms"], one),
        "recipe_over_endface_two_cores": (found["recipe_all_threads"]["wall_ms"], two),
        "endface_over_floor_one_core": (one, floor),
        "one_worker_over_two": (one, two),
    }
    return {
        name: spread([a / b for a, b in zip(above, below, strict=True)], 2)
        for name, (above, below) in pairs.items()
    }


def _start(root: Path, faces: Path, rounds: int, *, cold: bool) -> dict[str, Any]:
    """Measure import, --help and the first image with and without compiled code."""
    first = sorted(faces.iterdir())[0]
    commands = {
        "import_endface": [PYTHON, "-c", "import endface"],
        "import_pipeline": [PYTHON, "-c", "import endface.pipeline"],
        "help": [*ENDFACE, "--help"],
    }
    times = {name: [run(command).wall_s for _ in range(max(5, rounds))] for name, command in commands.items()}
    times["first_image_warm"] = []
    for number in range(rounds):
        out = root / f"one{number}"
        times["first_image_warm"].append(run([*ENDFACE, "run", first, "-o", out, "--jobs", "1"]).wall_s)
    if cold:
        env = {"NUMBA_CACHE_DIR": str(root / "empty")}
        times["first_image_cold"] = [
            run([*ENDFACE, "run", first, "-o", root / "cold", "--jobs", "1"], env=env).wall_s
        ]
    return {f"{name}_s": spread(values, 3) for name, values in times.items()}


def _described(faces: Path) -> dict[str, Any]:
    files = sorted(faces.iterdir())
    sizes = [file.stat().st_size for file in files]
    return {
        "n": len(files),
        "kinds": sorted({file.suffix for file in files}),
        "median_bytes": statistics.median(sizes),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
