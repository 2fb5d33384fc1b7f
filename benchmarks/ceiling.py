"""What two processes can give on this machine at all: the same work by one process alone, and by two at once.

python benchmarks/ceiling.py IMAGES -o OUT     prints one JSON line

Processes share nothing but the machine: each has its own images in memory and its own folder. Where two at
once take longer than one alone, memory, cache or clock are shared, and no way of dealing out work mends that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=8, help="images that each process works on")
    given = parser.parse_args()
    files = sorted(given.images.iterdir())[: given.most]
    alone, together = (_seconds(files, given.out / str(n), n) for n in (1, 2))
    result = {"n": len(files)}
    for work in alone[0]:
        slower = max(row[work] for row in together)
        result[f"{work}_alone_ms"] = round(1e3 * alone[0][work] / len(files), 1)
        result[f"{work}_beside_another_ms"] = round(1e3 * slower / len(files), 1)
        result[f"{work}_one_over_two"] = round(2 * alone[0][work] / slower, 2)
    print(json.dumps(result))


def _seconds(files: list[Path], out: Path, n: int) -> list[dict[str, float]]:
    """Return what the work took in each of `n` processes that begin together."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(n), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(files, out / str(k), barrier, answers)) for k in range(n)]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return found


def _work(files: list[Path], out: Path, barrier: Barrier, answers: Any) -> None:
    import cv2

    cv2.setNumThreads(1)
    from endface.analysis import detect, locate
    from endface.config import Settings
    from endface.inputs import find_images
    from endface.samples import read_sample
    from endface.stages import AnalyseTask, analyse_file
    from endface.store import open_run_folder

    settings, folder = Settings(), open_run_folder(out)
    images = [read_sample(file, max_frames=1).image for file in files]
    ready = [(image, locate(image, settings)) for image in images]
    tasks = [AnalyseTask(source, folder, settings, "") for source in find_images(files)]
    analyse_file(replace(tasks[0], basis="warm"))  # compiled code is loaded before the clock starts
    spent = {}
    for name in ("detect", "analyse"):
        barrier.wait()
        start = time.perf_counter()
        if name == "detect":
            for image, zones in ready:
                detect(image, zones, settings)
        else:
            for task in tasks:
                analyse_file(task)
        spent[name] = time.perf_counter() - start
    answers.put(spent)


if __name__ == "__main__":
    main()
