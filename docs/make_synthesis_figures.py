"""Compare rendered with real end faces: statistics side by side, and pictures beside pictures.

    python docs/make_synthesis_figures.py REAL_FOLDER docs/figures

REAL_FOLDER holds the labelled real images (`grabber_720x576/`, `scope_1152x864/`, `labels/`); of
them the statistics figure shows numbers only. Without it only the picture sheet of the presets is made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

from endface.imaging.ellipse import Ellipse
from endface.samples import read_sample
from endface.synthesis import PRESETS, render_of_set
from endface.synthesis.compare import PROFILE_REACH_PX, FaceStatistics, face_statistics

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PAIRS = {"grabber": "grabber_720x576", "scope": "scope_1152x864"}
NUMBERS = {
    "noise_ferrule_gray": "noise, ferrule [gray]",
    "noise_cladding_gray": "noise, cladding [gray]",
    "noise_core_gray": "noise, core [gray]",
    "ferrule_gray": "ferrule [gray]",
    "cladding_share": "cladding / ferrule",
    "corner_share": "corner / ferrule",
    "gradient_median": "gradient, median [gray/px]",
    "gradient_p99": "gradient, 99 % [gray/px]",
    "rim_width_px": "rim width [px]",
    "overshoot_share": "overshoot at the rim",
    "undershoot_share": "undershoot at the rim",
}


def rendered_statistics(preset: str, *, n: int = 24, seed: int = 100) -> list[FaceStatistics]:
    found = []
    for index in range(n):
        made = render_of_set(seed=seed, index=index, preset=preset)
        found.append(face_statistics(made.image, made.truth.cladding, valid=made.truth.valid))
    return found


def real_statistics(folder: Path, kind: str) -> list[FaceStatistics]:
    found = []
    for path in sorted((folder / kind).iterdir()):
        label = folder / "labels" / f"{path.stem}.json"
        if not label.is_file():
            continue
        rim = json.loads(label.read_text())["cladding"]
        gray = read_sample(path).frames[0]
        # the dead border of a grabber is nearly black
        rows, cols = np.nonzero(gray > 40)
        valid = np.zeros(gray.shape, bool)
        valid[rows.min() + 6 : rows.max() - 6, cols.min() + 6 : cols.max() - 6] = True
        ellipse = Ellipse(rim["cx"], rim["cy"], rim["rx"], rim["ry"])
        found.append(face_statistics(gray, ellipse, valid=valid))
    return found


Sets = dict[str, list[FaceStatistics]]


def draw_statistics(real: Sets, made: Sets, out: Path) -> None:
    figure, axes = plt.subplots(3, 4, figsize=(13, 8), constrained_layout=True)
    for axis, (name, label) in zip(axes.flat, NUMBERS.items(), strict=False):
        columns, ticks = [], []
        for preset in PAIRS:
            columns += [[getattr(s, name) for s in real[preset]]]
            columns += [[getattr(s, name) for s in made[preset]]]
            ticks += [f"{preset}\nreal", f"{preset}\nrendered"]
        axis.boxplot(columns, widths=0.6, showfliers=False, medianprops={"color": "C3"})
        for k, values in enumerate(columns):
            axis.plot(np.full(len(values), k + 1.0), values, ".", ms=3, color="C0" if k % 2 else "0.4")
        axis.set_xticks(range(1, 5), ticks, fontsize=8)
        axis.set_title(label, fontsize=9)
    axis = axes.flat[-1]
    steps = np.arange(-PROFILE_REACH_PX, PROFILE_REACH_PX + 1)
    for k, preset in enumerate(PAIRS):
        for which, style in ((real[preset], "--"), (made[preset], "-")):
            mean = np.median([s.rim_profile for s in which], axis=0)
            axis.plot(
                steps, mean, style, color=f"C{k}", label=f"{preset} {'real' if style == '--' else 'rendered'}"
            )
    axis.set_title("profile across the rim [px]", fontsize=9)
    axis.legend(fontsize=7)
    figure.savefig(out, dpi=90)


def print_table(real: Sets, made: Sets) -> None:
    for preset in PAIRS:
        for name, label in NUMBERS.items():
            a, b = (np.median([getattr(s, name) for s in which]) for which in (real[preset], made[preset]))
            print(f"| {preset} | {label} | {a:.2f} | {b:.2f} |")


def draw_presets(out: Path) -> None:
    names = sorted(PRESETS)
    figure, axes = plt.subplots(len(names), 4, figsize=(10, 1.9 * len(names)), constrained_layout=True)
    for row, name in zip(axes, names, strict=True):
        for k, axis in enumerate(row):
            axis.imshow(render_of_set(seed=1, index=k, preset=name).image, cmap="gray", vmin=0)
            axis.set_axis_off()
        row[0].set_title(name, fontsize=9, loc="left")
    figure.savefig(out, dpi=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path, nargs="?", help="folder of labelled real images")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw_presets(arguments.out / "synthesis_presets.png")
    if arguments.real is not None:
        real = {preset: real_statistics(arguments.real, kind) for preset, kind in PAIRS.items()}
        made = {preset: rendered_statistics(preset) for preset in PAIRS}
        draw_statistics(real, made, arguments.out / "synthesis_statistics.png")
        print_table(real, made)


if __name__ == "__main__":
    main()
