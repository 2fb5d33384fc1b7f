"""Fit the points of the score card (`endface.rules.SCORE_CARD`) on runs of images whose truth is known.

python benchmarks/fit_score_card.py RUN TRUTH [RUN TRUTH ...]

Each RUN is the folder of `endface run` on images rendered by `endface synth` (or any renderer that writes
the same truth) and TRUTH the folder of that truth. Prints how often the present card is right on each run,
and one fitted on the other runs, then the points fitted on all beside the present ones. Points that are set
by hand are named in docs/clustering.md. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from endface.evaluation.matching import match_scene
from endface.evaluation.truth import open_truth
from endface.rules import CLASSES, SCORE_CARD, applicable_evidence, rule_classes
from endface.store import read_png

VISIBLE = "sure"  # an SNR of 2.2 or more
MOST_PER_KIND = 3  # of one image count in full


def paired(run: Path, truth: Path) -> pl.DataFrame:
    """Finds paired with a visible true defect: their features, `truth`, and `weight`."""
    finds = pl.read_parquet(run / "defect_library" / "defect_library_index.parquet")
    source = open_truth(truth)
    rows: list[dict[str, object]] = []
    for image_id in source.image_ids:
        masks = sorted((run / "pixel_level" / "masks").glob(f"*{image_id}_instances.png"))
        if len(masks) != 1:
            continue
        scene = source.load(image_id)
        match = match_scene(scene, read_png(masks[0]))
        name = masks[0].name.removesuffix("_instances.png")
        for defect, partner in zip(scene.defects, match.partner, strict=True):
            if partner >= 0 and defect.certainty == VISIBLE and defect.defect_class.label in CLASSES:
                rows.append(
                    {
                        "image_id": name,
                        "instance": int(match.numbers[partner]),
                        "truth": defect.defect_class.label,
                        "kind": defect.kind,
                    }
                )
    counts = Counter((row["image_id"], row["kind"]) for row in rows)
    for row in rows:
        row["weight"] = min(1.0, MOST_PER_KIND / counts[row["image_id"], row["kind"]])
    return finds.join(pl.DataFrame(rows), on=["image_id", "instance"])


def evidence(table: pl.DataFrame) -> np.ndarray:
    applies = applicable_evidence(table)
    return np.stack([applies[item.name] for item in SCORE_CARD if item.name != "always"], axis=1)


def fit(tables: list[pl.DataFrame]) -> LogisticRegression:
    points = np.concatenate([evidence(table) for table in tables])
    truth = np.concatenate([table["truth"].to_numpy() for table in tables])
    weights = np.concatenate([table["weight"].to_numpy() for table in tables])
    return LogisticRegression(C=1.0, max_iter=3000).fit(points, truth, weights)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN TRUTH")
    folders = parser.parse_args().folders
    tables = [paired(run, truth) for run, truth in zip(folders[::2], folders[1::2], strict=True)]
    for k, (run, table) in enumerate(zip(folders[::2], tables, strict=True)):
        truth = table["truth"].to_numpy()
        line = f"{run}: {table.height} pairs, present card {np.mean(rule_classes(table)[0] == truth):.3f}"
        if len(tables) > 1:
            others = fit(tables[:k] + tables[k + 1 :])
            line += f", fitted on the others {others.score(evidence(table), truth):.3f}"
        print(line)
    model = fit(tables)
    place = {name: list(model.classes_).index(name) for name in CLASSES}
    constants = [model.intercept_, *model.coef_.T]
    for item, points in zip(SCORE_CARD, constants, strict=True):
        scratch, pit = (
            points[place[name]] - points[place["contamination"]] for name in ("scratch", "pit_chip")
        )
        print(
            f"{item.name:12s} scratch {scratch:+.1f} ({item.scratch:+.1f}) "
            f"pit_chip {pit:+.1f} ({item.pit_chip:+.1f})"
        )


if __name__ == "__main__":
    main()
