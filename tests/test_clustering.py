"""Naming of defects: the rules, the clusters, and what must not change the outcome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from endface.annotation import AnatomyZone, Calibration, Defect, Zones
from endface.clustering import CLUSTER_FEATURES, fit_clusters, name_defects, scaled_features
from endface.features import DEFECT_COLUMNS, measure_defects
from endface.features.columns import to_table
from endface.imaging.ellipse import Ellipse
from endface.partition import Method
from endface.rules import CLASSES, SCORE_CARD, applicable_evidence, class_probabilities, rule_classes
from endface.sampling import Sample

METHODS: tuple[Method, ...] = ("kmeans", "agglomerative", "dbscan", "hdbscan")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(n_each: int, seed: int = 0) -> pl.DataFrame:
    """Scratches, chips on the rim, dust and flakes, drawn with chance and measured; `truth` says what."""
    random = np.random.default_rng(seed)
    shape, pitch = (500, 560), 0.5
    rim = Ellipse(280.0, 250.0, 125.0, 125.0)
    anatomy = np.where(rim.radius_map(shape) <= 1, AnatomyZone.CLADDING, AnatomyZone.FERRULE).astype(np.uint8)
    zones = Zones(True, "", anatomy, np.ones(shape, bool), Calibration(pitch, pitch, "settings"), rim)
    y, x = np.mgrid[: shape[0], : shape[1]]
    tables = []
    for k in range(4 * n_each):
        image = 120 + random.normal(0, 1.5, shape)
        kind = ("scratch", "pit_chip", "contamination", "contamination")[k % 4]
        angle = random.uniform(0, 2 * np.pi)
        if kind == "scratch":
            cy, cx = random.uniform(150, 350, 2)
            along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
            across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
            mask = (np.abs(along) < random.uniform(15, 70)) & (np.abs(across) < random.uniform(0.8, 2))
        else:
            radius = {1: 125.0, 2: random.uniform(180, 235), 3: random.uniform(0, 190)}[k % 4]
            size = {1: random.uniform(2, 5), 2: random.uniform(1.5, 2.5), 3: random.uniform(18, 30)}[k % 4]
            cy, cx = 250 + radius * np.sin(angle), 280 + radius * np.cos(angle)
            mask = np.hypot((y - cy) * random.uniform(1, 1.5), x - cx) < size
        image[mask] -= random.uniform(15, 60)
        rows, cols = np.nonzero(mask)
        box = mask[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1].copy()
        defect = Defect(box, int(cols.min()), int(rows.min()), "region", 5.0, -1)
        tables.append(
            measure_defects(image, zones, anatomy, (defect,)).with_columns(
                pl.lit(f"image{k:04d}").alias("image_id"), pl.lit(kind).alias("truth")
            )
        )
    return pl.concat(tables)


@pytest.fixture(scope="module")
def many() -> pl.DataFrame:
    return drawn(15)


@pytest.fixture(scope="module")
def crowd(many: pl.DataFrame) -> pl.DataFrame:
    """A larger table: the same defects again and again with jitter."""
    random = np.random.default_rng(5)
    parts = []
    for k in range(40):
        jitter = [
            (pl.col(name) * pl.Series(random.lognormal(0, 0.05, many.height))).alias(name)
            for name in ("diameter_um", "length_um", "width_um", "contrast", "slenderness", "edge_sharpness")
        ]
        parts.append(many.with_columns((pl.col("image_id") + f"_{k:02d}").alias("image_id"), *jitter))
    return pl.concat(parts)


def test_rules_name_clear_cases(many: pl.DataFrame) -> None:
    types, confidences = rule_classes(many)
    assert (types == many["truth"].to_numpy()).mean() > 0.85
    assert ((confidences > 0) & (confidences <= 1)).all()


def test_evidence_lies_between_0_and_1_and_covers_the_card(many: pl.DataFrame) -> None:
    applies = applicable_evidence(many)
    assert set(applies) == {item.name for item in SCORE_CARD}
    for name, share in applies.items():
        assert share.min() >= 0, name
        assert share.max() <= 1, name
    assert class_probabilities(many).sum(axis=1) == pytest.approx(1.0)


def test_thinner_and_straighter_is_more_of_a_scratch(many: pl.DataFrame) -> None:
    base = many.head(1)
    likely = [
        class_probabilities(base.with_columns(pl.lit(s).alias("slenderness")))[0, CLASSES.index("scratch")]
        for s in (1.0, 4.0, 8.0, 16.0)
    ]
    assert likely == sorted(likely)


@pytest.mark.parametrize(
    ("column", "values", "grows"),
    [
        ("roundness", (0.5, 0.75, 0.85, 0.95), True),
        ("n_alike", (1, 5, 10, 40), False),
        ("diameter_um", (3.0, 9.0, 15.0, 40.0), False),
    ],
)
def test_what_is_round_small_and_alone_is_more_of_a_pit(
    many: pl.DataFrame, column: str, values: tuple[float, ...], grows: bool
) -> None:
    spot = {"slenderness": 1.2, "polarity": -1, "peak_snr": 30.0, "rim_distance_um": 20.0, "rim_share": 0.0,
            "diameter_px": 8.0, "diameter_um": 4.0, "n_alike": 1, "roundness": 0.8}  # fmt: skip
    base = many.head(1).with_columns(pl.lit(value).alias(name) for name, value in spot.items())
    likely = [
        class_probabilities(base.with_columns(pl.lit(value).alias(column)))[0, CLASSES.index("pit_chip")]
        for value in values
    ]
    assert likely == sorted(likely, reverse=not grows)
    assert abs(likely[-1] - likely[0]) > 0.1


def test_what_lies_on_the_rim_is_less_of_a_chip_where_it_reaches_out_of_the_glass(many: pl.DataFrame) -> None:
    spot = {"slenderness": 1.5, "aspect_ratio": 1.3, "length_um": 5.0, "rim_distance_um": 0.0,
            "diameter_um": 5.0, "roundness": 0.7, "n_alike": 1, "peak_snr": 30.0}  # fmt: skip
    base = many.head(1).with_columns(pl.lit(value).alias(name) for name, value in spot.items())
    chip = CLASSES.index("pit_chip")
    chances = [
        class_probabilities(base.with_columns(beyond_rim_um=pl.lit(um)))[0, chip] for um in (0.5, 3.0, 8.0)
    ]
    assert chances[0] > 0.8
    assert chances == sorted(chances, reverse=True)
    assert chances[0] - chances[2] > 0.3


def test_unknown_pitch_does_not_stop_the_rules(many: pl.DataFrame) -> None:
    empty = [pl.lit(None, pl.Float64).alias(c.name) for c in DEFECT_COLUMNS if c.unit in ("um", "um2")]
    types, _ = rule_classes(many.with_columns(empty))
    assert (types == rule_classes(many)[0]).mean() > 0.7
    assert name_defects(many.with_columns(empty), rng=rng()).type.size == many.height


@pytest.mark.parametrize("n", [0, 1, 2, 19])
def test_few_defects_are_named_by_rules_alone(many: pl.DataFrame, n: int) -> None:
    table = many.head(n) if n else to_table([], DEFECT_COLUMNS)
    found = name_defects(table, rng=rng())
    types, confidences = rule_classes(table)
    assert found.type.tolist() == types.tolist()
    assert found.confidence.tolist() == pytest.approx(confidences.tolist())
    assert found.clusters.height == len(set(types))
    assert set(found.clusters["name"]) == set(types)


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_name_clear_cases(many: pl.DataFrame, method: Method) -> None:
    found = name_defects(many, method=method, rng=rng())
    assert (found.type == many["truth"].to_numpy()).mean() > 0.85
    assert found.clusters["size"].sum() == (found.cluster_label >= 0).sum()
    assert found.clusters["cluster"].to_list() == list(range(found.clusters.height))
    assert found.clusters["size"].is_sorted(descending=True)
    assert set(CLUSTER_FEATURES) <= set(found.clusters.columns)
    for row in found.clusters.to_dicts():
        assert all(found.cluster_label[k] == row["cluster"] for k in row["representatives"])


@pytest.mark.parametrize("method", METHODS)
def test_order_of_rows_does_not_matter(many: pl.DataFrame, method: Method) -> None:
    shuffled = many.with_row_index("place").sample(fraction=1.0, shuffle=True, seed=3)
    place = shuffled["place"].to_numpy()
    one, two = (name_defects(table, method=method, rng=rng()) for table in (many, shuffled))
    assert (one.cluster_label[place] == two.cluster_label).all()
    assert (one.type[place] == two.type).all()
    assert one.clusters.drop("representatives").equals(two.clusters.drop("representatives"))


@pytest.mark.parametrize("method", METHODS)
def test_fitting_on_a_sample_agrees_with_fitting_on_all(crowd: pl.DataFrame, method: Method) -> None:
    sampled = name_defects(crowd, method=method, n_clusters=4, sample=600, rng=rng())
    again = name_defects(crowd, method=method, n_clusters=4, sample=600, rng=rng())
    assert (sampled.cluster_label == again.cluster_label).all()
    assert (sampled.type == crowd["truth"].to_numpy()).mean() > 0.84


def test_number_of_clusters_can_be_given(many: pl.DataFrame) -> None:
    found = name_defects(many, n_clusters=5, rng=rng())
    assert found.clusters.height == 5


def test_names_of_the_user_win(many: pl.DataFrame) -> None:
    found = name_defects(many, names={0: "other"}, rng=rng())
    assert set(found.type[found.cluster_label == 0]) == {"other"}
    assert found.clusters["name"][0] == "other"
    assert found.clusters["rule"][0] == "named in the settings"


def test_clear_evidence_overrules_the_cluster(many: pl.DataFrame) -> None:
    found = name_defects(many, n_clusters=2, rng=rng())
    own = class_probabilities(many)
    clear = own.max(axis=1) >= 0.8
    assert (found.type[clear] == np.array(CLASSES)[own.argmax(axis=1)][clear]).all()


def test_identical_defects_do_not_break_clustering(many: pl.DataFrame) -> None:
    same = pl.concat([many.head(1)] * 30).with_columns(pl.int_range(30).alias("instance"))
    for method in METHODS:
        assert len(set(name_defects(same, method=method, rng=rng()).type)) == 1
    assert not scaled_features(same).any()


def test_documentation_shows_the_score_card() -> None:
    text = (Path(__file__).parents[1] / "docs" / "clustering.md").read_text(encoding="utf-8")
    for item in SCORE_CARD:
        assert f"| {item.name} | {item.meaning} | {item.scratch:+g} | {item.pit_chip:+g} |" in text, item.name


def in_parts(table: pl.DataFrame, limit: int, size: int) -> pl.DataFrame:
    sample = Sample(limit)
    for start in range(0, table.height, size):
        sample.add(table[start : start + size])
    return sample.table()


def test_the_sample_does_not_depend_on_parts_or_order(crowd: pl.DataFrame) -> None:
    whole = in_parts(crowd, 60, crowd.height)
    assert whole.height <= 60
    assert in_parts(crowd, 60, 17).equals(whole)
    assert in_parts(crowd.sample(fraction=1.0, shuffle=True, seed=3), 60, 50).equals(whole)
    assert in_parts(crowd, crowd.height, 40).height == crowd.height


def test_every_type_is_in_the_sample(crowd: pl.DataFrame) -> None:
    limit = 80
    drawn = in_parts(crowd, limit, 100)
    kinds, counts = np.unique(rule_classes(crowd)[0], return_counts=True)
    for kind, count in zip(kinds, counts, strict=True):
        assert drawn.filter(_stratum=str(kind)).height >= min(count, limit // 8) // 2


@pytest.mark.parametrize("method", METHODS)
def test_defects_named_in_parts_get_the_names_of_the_whole(crowd: pl.DataFrame, method: Method) -> None:
    grouping = fit_clusters(in_parts(crowd, 500, 90), method=method, rng=rng())
    whole = grouping.name(crowd)
    parts = [grouping.name(crowd[start : start + 70]) for start in range(0, crowd.height, 70)]
    assert np.array_equal(whole.cluster_label, np.concatenate([part.cluster_label for part in parts]))
    assert np.array_equal(whole.type, np.concatenate([part.type for part in parts]))
    assert grouping.name(crowd.clear()).type.size == 0
