"""All defects of a run together: groups and their names, severity, and a verdict for every image.

Tables in, tables out; no pixels, no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from endface import features
from endface.annotation import Decision, DefectClass, Verdict
from endface.clustering import name_defects
from endface.config import Settings
from endface.grading import grade, load_profile, score_severity
from endface.rules import rule_classes
from endface.schema import DEFECT_COLUMNS, IMAGE_COLUMNS, ZONE_COLUMNS, conform
from endface.store import Record


@dataclass(frozen=True, eq=False)
class Judgement:
    """The tables of a run.

    Attributes
    ----------
    images, defects, zones : polars.DataFrame
        As CONTRACT names them.
    clusters : polars.DataFrame
        One row per cluster: number, name, size, the rule that named it.
    """

    images: pl.DataFrame
    defects: pl.DataFrame
    zones: pl.DataFrame
    clusters: pl.DataFrame


def judge(records: Sequence[Record], settings: Settings) -> Judgement:
    """Name, score and grade everything that was found in a run.

    Parameters
    ----------
    records : sequence of Record
        Finished images, in the order of the tables to be.
    settings : Settings
    """
    defects, clusters = name_all(collect_defects(records), settings)
    defects = score(defects, settings)
    by_image = split_by_image(defects, [record.image_id for record in records])
    rows = []
    zone_tables = []
    for record, own in zip(records, by_image, strict=True):
        verdict = verdict_of(own, record.row, settings)
        rows.append(image_row(record, own, verdict))
        zone_tables.append(zone_rows(record, own))
    return Judgement(
        images=conform(pl.DataFrame(rows, infer_schema_length=None), IMAGE_COLUMNS),
        defects=conform(defects, DEFECT_COLUMNS),
        zones=conform(_stack(zone_tables), ZONE_COLUMNS),
        clusters=clusters,
    )


def collect_defects(records: Sequence[Record]) -> pl.DataFrame:
    """Put the defects of all images into one table, with the names of image and defect in front."""
    tables = []
    for record in records:
        number = pl.col("instance").cast(pl.String).str.zfill(3)
        tables.append(
            record.defects.select(
                pl.concat_str(pl.lit(f"{record.image_id}_"), number).alias("defect_id"),
                pl.lit(record.image).alias("image"),
                pl.lit(record.image_id).alias("image_id"),
                pl.all(),
            )
        )
    if not tables:
        nothing = conform(pl.DataFrame(), features.DEFECT_COLUMNS)
        names = dict.fromkeys(("defect_id", "image", "image_id"), pl.lit(None, pl.String))
        return nothing.with_columns(**names)
    return _stack(tables)


def name_all(defects: pl.DataFrame, settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Group all defects and name the groups; returns the defects with `type` and the table of groups."""
    chosen = settings.clustering
    clustering = name_defects(
        defects,
        method=chosen.method,
        n_clusters=chosen.n_clusters,
        max_clusters=chosen.max_clusters,
        sample=chosen.sample,
        names=chosen.names,
        rng=np.random.default_rng(settings.seed),
    )
    named = defects.with_columns(
        pl.Series("cluster_label", clustering.cluster_label, pl.Int64),
        pl.Series("type", clustering.type, pl.String),
        pl.Series("type_confidence", clustering.confidence, pl.Float64),
    )
    ids = defects["defect_id"].to_list()
    examples = [";".join(ids[row] for row in rows) for rows in clustering.clusters["representatives"]]
    clusters = clustering.clusters.with_columns(pl.Series("representatives", examples, pl.String))
    return named, clusters


def with_classes(defects: pl.DataFrame) -> pl.DataFrame:
    """Name the defects of a single image by rules on their own measures."""
    types, confidences = rule_classes(defects)
    return defects.with_columns(
        pl.lit(-1, pl.Int64).alias("cluster_label"),
        pl.Series("type", types, pl.String),
        pl.Series("type_confidence", confidences, pl.Float64),
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
        focus_score=row["focus_score"],
        min_focus_score=chosen.min_focus_score,
        zone_crossing=chosen.zone_crossing,
        surface=settings.surface,
        not_found_reason=row["not_found_reason"],
    )


def split_by_image(defects: pl.DataFrame, image_ids: Sequence[str]) -> list[pl.DataFrame]:
    """Cut the table of all defects into one per image, empty ones included."""
    parts = {key[0]: part for key, part in defects.partition_by("image_id", as_dict=True).items()}
    return [parts.get(image_id, defects.clear()) for image_id in image_ids]


def image_row(record: Record, defects: pl.DataFrame, verdict: Verdict) -> dict[str, Any]:
    """Return the row of one image in the image table."""
    present = set(defects["type"])
    worst = defects.sort("severity_score", "instance", descending=[True, False]).head(1)
    return {
        "image": record.image,
        "image_id": record.image_id,
        **{name: value for name, value in record.row.items() if name != "not_found_reason"},
        "pass_fail": str(verdict.decision),
        "fail_reason": "" if verdict.decision is Decision.PASS else verdict.reason,
        "profile": verdict.profile,
        **{kind.label: kind.label in present for kind in DefectClass if kind},
        "primary_defect": worst["type"][0] if worst.height else None,
        "n_defects": defects.height,
    }


def zone_rows(record: Record, defects: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one image in the zone table."""
    table = features.label_zones(pl.DataFrame(record.zone_rows, infer_schema_length=None), defects)
    return table.with_columns(pl.lit(record.image).alias("image"), pl.lit(record.image_id).alias("image_id"))


def _stack(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(tables, how="diagonal_relaxed", rechunk=True) if tables else pl.DataFrame()
