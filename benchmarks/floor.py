"""The floor no inspection can go below: decode the images, write the files of the contract, and nothing else.

python benchmarks/floor.py IMAGES RUN -o OUT

RUN is a finished run of these images; its pictures and masks are read into memory before the clock starts,
then written again by the same encoders into as many files. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2

from endface.samples import read_sample
from endface.store import RunFolder, read_png, write_gray, write_numbers, write_overlay, write_palette

MASKS = {"zones": "anatomy", "iec": "iec", "mask": "defects"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    source, target = RunFolder(given.run), RunFolder(given.out)
    spent = dict.fromkeys(("decode", "masks", "image", "overlay"), 0.0)
    files = sorted(given.images.iterdir())
    for file in files:
        name = file.stem
        masks = {kind: read_png(source.mask(name, kind)) for kind in (*MASKS, "instances")}
        picture = cv2.imread(str(source.overlay(name)))[:, :, ::-1].copy()
        clock = [time.perf_counter()]
        image = read_sample(file, max_frames=1).image
        clock.append(time.perf_counter())
        _write_masks(target, name, masks)
        clock.append(time.perf_counter())
        write_gray(target.image(name), image)
        clock.append(time.perf_counter())
        write_overlay(target.overlay(name), picture)
        clock.append(time.perf_counter())
        for step, begin, end in zip(spent, clock, clock[1:], strict=False):
            spent[step] += end - begin
    size = sum(path.stat().st_size for path in given.out.rglob("*.png"))
    print(json.dumps({"n": len(files), "bytes_per_image": round(size / len(files)), "seconds": spent}))


def _write_masks(target: RunFolder, name: str, masks: dict) -> None:
    for kind, colours in MASKS.items():
        write_palette(target.mask(name, kind), masks[kind], kind=colours)
    write_numbers(target.mask(name, "instances"), masks["instances"])


if __name__ == "__main__":
    main()
