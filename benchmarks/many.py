"""Time and memory of runs of many images: hard links of a few rendered faces, each an image of its own.

python benchmarks/many.py 1000 5000 -o benchmarks/results/many.json [--rendered 50] [--jobs 2] [--set K=V]

Overlays are left out. Peak memory is that of all processes together; it should not grow with the images.
Small frames with coarse pixels (--frame 128x96 --pitch 1.6) make a hundred thousand a matter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from processes import machine, run

from endface.manifest import versions
from endface.synthesis import write_set
from endface.synthesis.presets import PRESETS

ENDFACE = (sys.executable, "-m", "endface.cli")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("counts", nargs="+", type=int, help="numbers of images")
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--rendered", type=int, default=50, help="how many different images")
    parser.add_argument("--frame", default="1152x864", help="their size, width x height")
    parser.add_argument("--pitch", type=float, help="um per px; the same fibre in any frame by default")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="settings of the run")
    parser.add_argument(
        "--folder", type=Path, help="where the runs are written, and left; a temporary folder by default"
    )
    given = parser.parse_args()
    width, height = map(int, given.frame.split("x"))
    pitch = given.pitch or 0.431 * 864 / height
    PRESETS["many"] = replace(PRESETS["scope"], frames_px=((width, height),), um_per_px=(pitch, pitch))
    with tempfile.TemporaryDirectory() as scratch:
        root = given.folder or Path(scratch)
        faces = sorted(
            (write_set(root / "set", n=given.rendered, seed=1, preset="many").folder / "images").iterdir()
        )
        rows = []
        for count in given.counts:
            rows.append(measured(root, faces, count, given.jobs, given.set))
            print(json.dumps(rows[-1]), flush=True)
            if given.folder is None:
                shutil.rmtree(root / f"run{count}")
    first = rows[0]["peak_mb_all_processes"]
    result = {
        "machine": machine(), "versions": versions(), "frame": given.frame, "um_per_px": round(pitch, 3),
        "rendered": given.rendered, "jobs": given.jobs, "settings": given.set, "runs": rows,
        "peak_over_first": [round(row["peak_mb_all_processes"] / first, 2) for row in rows],
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(root: Path, faces: list[Path], count: int, jobs: int, settings: list[str]) -> dict[str, Any]:
    """Run `count` hard links and return what it took."""
    images, out = root / f"images{count}", root / f"run{count}"
    for number in range(count):
        # a folder holds a thousand, as an archive of a production line would
        folder = images / f"{number // 1000:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        face = faces[number % len(faces)]
        os.link(face, folder / f"face_{number:07d}{face.suffix}")
    options = [part for setting in ("output.overlays=false", *settings) for part in ("--set", setting)]
    cost = run([*ENDFACE, "run", images, "-o", out, "--jobs", str(jobs), *options], every_s=0.25)
    content = json.loads((out / "run.json").read_text())
    return {
        "images": count,
        "defects": content["counts"]["defects"],
        "failed": content["counts"]["failed"],
        "wall_s": round(cost.wall_s, 1),
        "cpu_s": round(cost.cpu_s, 1),
        "ms_per_image": round(1e3 * cost.wall_s / count, 1),
        "peak_mb_all_processes": round(cost.peak_mb),
        "largest_process_mb": round(cost.largest_mb),
        "report_kb": round((out / "report.html").stat().st_size / 1e3),
        "seconds": content["timings"]["seconds"],
    }


if __name__ == "__main__":
    main()
