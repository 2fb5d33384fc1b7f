"""All defects of a run together: groups and their names, severity, and a verdict for every image.

Records in, tables out, however many there are; no pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from endface import features
from endface.annotation import CUT_OFF, Decision, DefectClass, Verdict
from endface.clustering import Grouping, fit_clusters, sample_size
from endface.config import Settings
from endface.drawing import defect_id
from endface.grading import CLASS_CHANCES, grade, load_profile, score_severity
from endface.partition import Floats
from endface.parts import Parts
from endface.rules import CLASSES, class_probabilities, decide
from endface.sampling import Sample
from endface.schema import DEFECT_COLUMNS, IMAGE_COLUMNS, ZONE_COLUMNS, conform
from endface.store import Record, stacked

IMAGES_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class Judgement:
    """The tables of a run.

    Attributes
    ----------
    images, defects, zones : Parts
        As CONTRACT names them, images in the order of the records.
    clusters : polars.DataFrame
        One row per cluster: number, name, size, the rule that named it.
    types, verdicts : dict
        Number of defects of each type, and of images of each verdict.
    """

    images: Parts
    defects: Parts
    zones: Parts
    clusters: pl.DataFrame
    types: dict[str, int]
    verdicts: dict[str, int]


def judge(records: Iterable[Record], settings: Settings, *, scratch: Path) -> Judgement:
    """Name, score and grade everything that was found in a run, some images at a time.

    Parameters
    ----------
    records : iterable of Record
        Finished images, in the order of the tables to be. Gone through twice: to draw the sample that
        clusters are fitted on, then to judge.
    settings : Settings
    scratch : Path
        Folder of this machine for what does not fit into memory; kept until the tables are written.
    """
    chosen = settings.clustering
    sample = Sample(sample_size(chosen.method, chosen.sample))
    for some in batched(records):
        sample.add(collect_defects(some))
    drawn = sample.table()
    grouping = fit_clusters(
        drawn,
        method=chosen.method,
        n_clusters=chosen.n_clusters,
        max_clusters=chosen.max_clusters,
        names=chosen.names,
        rng=np.random.default_rng(settings.seed),
    )
    images, defects, zones = (Parts(scratch) for _ in range(3))
    sizes, types, verdicts = Counter[int](), Counter[str](), Counter[str]()
    for some in batched(records):
        found = score(with_clusters(collect_defects(some), grouping), settings)
        by_image = split_by_image(found, [record.image_id for record in some])
        rows = [
            image_row(record, own, verdict_of(own, record.row, settings))
            for record, own in zip(some, by_image, strict=True)
        ]
        images.append(conform(pl.DataFrame(rows, infer_schema_length=None), IMAGE_COLUMNS))
        defects.append(conform(found, DEFECT_COLUMNS))
        zones.append(conform(features.label_zones(zone_rows(some), found), ZONE_COLUMNS))
        sizes.update(found["cluster_label"])
        types.update(found["type"])
        verdicts.update(row["pass_fail"] for row in rows)
    return Judgement(
        images, defects, zones, _cluster_table(grouping, drawn, sizes), _sorted(types), _sorted(verdicts)
    )


def batched(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records in lists of `IMAGES_AT_ONCE`; one empty list where there are none."""
    waiting = iter(records)
    yield list(islice(waiting, IMAGES_AT_ONCE))
    while some := list(islice(waiting, IMAGES_AT_ONCE)):
        yield some


def collect_defects(records: Sequence[Record]) -> pl.DataFrame:
    """Put the defects of images into one table, with the names of image and defect in front."""
    some = [(record, len(record.columns[0][2])) for record in records if record.columns]
    table = stacked(record.columns for record, _ in some)
    if not table.height:
        table = conform(pl.DataFrame(), features.DEFECT_COLUMNS)
    ids, images = (
        [getattr(record, name) for record, n in some for _ in range(n)] for name in ("image_id", "image")
    )
    names = map(defect_id, ids, table["instance"])
    front = {"defect_id": list(names), "image": images, "image_id": ids}
    return pl.DataFrame(front, schema=dict.fromkeys(front, pl.String)).hstack(table)


def with_clusters(defects: pl.DataFrame, grouping: Grouping) -> pl.DataFrame:
    """Give each defect its cluster and the name that follows from it."""
    named = grouping.name(defects)
    return defects.with_columns(
        pl.Series("cluster_label", named.cluster_label, pl.Int64),
        pl.Series("type", named.type, pl.String),
        pl.Series("type_confidence", named.confidence, pl.Float64),
        *_class_chances(named.probabilities),
    )


def _class_chances(probabilities: Floats) -> list[pl.Series]:
    """Return the columns that `grade` reads, from the (N, 3) probabilities of `CLASSES`."""
    return [
        pl.Series(name, probabilities[:, CLASSES.index(kind)], pl.Float64)
        for kind, name in CLASS_CHANCES.items()
    ]


def _cluster_table(grouping: Grouping, sample: pl.DataFrame, sizes: Counter[int]) -> pl.DataFrame:
    """Return the clusters with their sizes in the whole run and the names of their representatives."""
    ids = sample["defect_id"].to_list() if sample.height else []
    table = grouping.clusters
    examples = [";".join(ids[row] for row in rows) for rows in table["representatives"]]
    return table.with_columns(
        pl.Series("size", [sizes[k] for k in table["cluster"]], pl.Int64),
        pl.Series("representatives", examples, pl.String),
    )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def with_classes(defects: pl.DataFrame) -> pl.DataFrame:
    """Name the defects of a single image by rules on their own measures."""
    probabilities = class_probabilities(defects)
    types, confidences = decide(probabilities)
    return defects.with_columns(
        pl.lit(-1, pl.Int64).alias("cluster_label"),
        pl.Series("type", types, pl.String),
        pl.Series("type_confidence", confidences, pl.Float64),
        *_class_chances(probabilities),
    )


def score(defects: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Add severity score and level."""
    return defects.hstack(score_severity(defects, **settings.severity.model_dump()))


def verdict_of(defects: pl.DataFrame, row: Mapping[str, Any], settings: Settings) -> Verdict:
    """Grade one image, given its row of the image table."""
    chosen = settings.grading
    if not row["profile"]:
        reason = "a plain surface has no verdict unless a profile for it is given"
        return Verdict(Decision.INDETERMINATE, reason, "")
    pitch = (row["um_per_px_x"], row["um_per_px_y"])
    return grade(
        defects,
        load_profile(row["profile"]),
        found=row["found"],
        um_per_px=None if None in pitch else pitch,
        size_uncertainty_px=chosen.size_uncertainty_px,
        marginal_chance=chosen.marginal_chance,
        focus_score=row["focus_score"],
        min_focus_score=chosen.min_focus_score,
        zone_crossing=chosen.zone_crossing,
        surface=settings.surface,
        not_found_reason=row["not_found_reason"],
        wholly_seen=CUT_OFF not in (row.get("quality_flags") or ""),
    )


def split_by_image(defects: pl.DataFrame, image_ids: Sequence[str]) -> list[pl.DataFrame]:
    """Cut the table of all defects into one per image, empty ones included."""
    parts = {key[0]: part for key, part in defects.partition_by("image_id", as_dict=True).items()}
    return [parts.get(image_id, defects.clear()) for image_id in image_ids]


def image_row(record: Record, defects: pl.DataFrame, verdict: Verdict) -> dict[str, Any]:
    """Return the row of one image in the image table."""
    present = set(defects["type"])
    # the first of several that are equally bad
    worst = int(defects["severity_score"].to_numpy().argmax()) if defects.height else None
    return {
        "image": record.image,
        "image_id": record.image_id,
        **{name: value for name, value in record.row.items() if name != "not_found_reason"},
        "pass_fail": str(verdict.decision),
        "fail_reason": "" if verdict.decision is Decision.PASS else verdict.reason,
        "fail_chance": verdict.fail_chance,
        "profile": verdict.profile,
        **{kind.label: kind.label in present for kind in DefectClass if kind},
        "primary_defect": None if worst is None else defects["type"][worst],
        "n_defects": defects.height,
    }


def zone_rows(records: Sequence[Record]) -> pl.DataFrame:
    """Return the rows of images in the zone table, not labelled yet."""
    schema = features.schema_of(features.ZONE_COLUMNS) | {"image": pl.String, "image_id": pl.String}
    rows = [
        row | {"image": record.image, "image_id": record.image_id}
        for record in records
        for row in record.zone_rows
    ]
    return pl.DataFrame(rows, schema=schema)
