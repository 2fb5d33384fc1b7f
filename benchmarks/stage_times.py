"""Processor time of each stage of `endface run`, in one process, and the parts of detection.

python benchmarks/stage_times.py IMAGES -o OUT     prints one JSON line
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES = {
    "read": ("read_bytes", "decode_sample"),
    "zones": ("locate",),
    "detect": ("detect",),
    "measure": ("measure",),
    "write": ("write_gray", "write_palette", "write_numbers", "write_record"),
    "draw": ("named_alone", "draw"),
}
TOGETHER = {
    "learn": "learn",
    "judge": "judge",
    "tables": "_write_tables",
    "sweep": "sweep",
    "manifest": "manifest",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    from endface import finishing, pipeline, stages
    from endface.report import write_report

    spent: dict[str, float] = defaultdict(float)
    # compiled code is loaded and libraries are warm before the clock starts
    pipeline.run([sorted(given.images.iterdir())[0]], given.out / "warm", jobs=1)
    for stage, names in STAGES.items():
        for name in names:
            setattr(stages, name, _timed(getattr(stages, name), stage, spent))
    for stage, name in TOGETHER.items():
        setattr(finishing, name, _timed(getattr(finishing, name), stage, spent))
    start = time.process_time()
    summary = pipeline.run([given.images], given.out / "run", jobs=1, fresh=True)
    whole = time.process_time() - start
    start = time.process_time()
    write_report(given.out / "run")
    spent["report"] = time.process_time() - start
    n = summary.n_images
    print(json.dumps({
        "n": n,
        "n_defects": summary.n_defects,
        "whole_ms_per_image": 1e3 * (whole + spent["report"]) / n,
        "ms_per_image": {stage: 1e3 * seconds / n for stage, seconds in spent.items()},
        "run_seconds": summary.seconds,
        "detect_parts_ms": _parts_of_detection(given.images),
    }))  # fmt: skip


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **options)
        finally:
            spent[stage] += time.process_time() - start

    return timed


def _parts_of_detection(images: Path, most: int = 8) -> dict[str, float]:
    """Return ms per image of the functions that `detect_defects` and the default detector call themselves."""
    from endface.analysis import locate
    from endface.config import Settings
    from endface.detection import detect_defects
    from endface.samples import read_sample

    files = sorted(images.iterdir())[:most]
    ready = []
    for file in files:
        image = read_sample(file, max_frames=1).image
        ready.append((image, locate(image, Settings())))
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for image, zones in ready:
        detect_defects(image, zones)
    profile.disable()
    parts = {}
    for (path, _, name), (_, _, _, total, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        from_detection = any("detection" in Path(caller[0]).parts for caller in callers)
        if from_detection and "endface" in path and 1e3 * total / len(files) >= 0.5:
            parts[f"{Path(path).stem}.{name}"] = round(1e3 * total / len(files), 2)
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    main()
