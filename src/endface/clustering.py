"""Group all defects of a run and name the groups: the cluster advises, the evidence decides.

Every defect is first judged on its own (`rules`). Then all are grouped by robustly scaled features, each
group is named by the same rules applied to its centroid and averaged over its members, and members without
clear evidence of their own take the group's name. Knows nothing of severity or limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.partition import Assignment, Floats, Labels, Method, by_size, fit_assignment
from endface.rules import CLASSES, OTHER, class_probabilities, decide, size_of
from endface.sampling import Sample

CLUSTER_FEATURES = (
    "size_um", "length_um", "width_um", "slenderness", "aspect_ratio", "straightness", "solidity",
    "circularity", "contrast", "polarity", "edge_sharpness", "halo", "rim_nearness", "radius_norm",
    "glcm_correlation",
)  # fmt: skip
FEWEST = 20  # fewer defects are not grouped: rules alone
CLEAR = 0.8  # own evidence as sure as this overrules the cluster
CLEAR_OUTLIER = 0.6  # outliers have no cluster to ask
ADVICE = 0.3  # weight of the cluster's log-probabilities beside a member's own
PAIRWISE_ROWS = 3000  # agglomerative clustering needs all pairwise distances
REPRESENTATIVES = 12
_LOGARITHMIC = frozenset(("size_um", "length_um", "width_um", "slenderness", "aspect_ratio", "contrast"))


@dataclass(frozen=True, eq=False)
class Named:
    """Clusters and names of defects, in the order of their table.

    Attributes
    ----------
    cluster_label : (N,) int64 ndarray
        Number of the cluster, 0 the largest; -1 an outlier that resembles no other defect.
    type : (N,) str ndarray
        scratch, contamination, pit_chip or other.
    confidence : (N,) float64 ndarray
        Of the type, 0 to 1.
    probabilities : (N, 3) float64 ndarray
        Of `CLASSES`, the cluster's advice included.
    """

    cluster_label: Labels
    type: NDArray[np.str_]
    confidence: Floats
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class Clustering(Named):
    """Clusters and names of all defects of a table, and the clusters themselves.

    Attributes
    ----------
    clusters : polars.DataFrame
        One row per cluster: cluster, size, name, rule (what named it), medians of `CLUSTER_FEATURES`,
        representatives (rows of the table nearest to its centroid).
    """

    clusters: pl.DataFrame


def name_defects(
    table: pl.DataFrame,
    *,
    method: Method = "kmeans",
    n_clusters: int | None = None,
    max_clusters: int = 8,
    sample: int = 20_000,
    names: Mapping[int, str] | None = None,
    rng: np.random.Generator,
) -> Clustering:
    """Group defects and name them: `Sample`, `fit_clusters` and `Grouping.name` on one table.

    Parameters
    ----------
    table : polars.DataFrame
        Columns of `endface.features.DEFECT_COLUMNS`, and `image_id` where it holds more than one image.
    method, n_clusters, max_clusters, sample, names, rng
        As `fit_clusters` takes them; `sample` as `Sample` does.

    Returns
    -------
    Clustering
        Independent of the order of rows. Fewer than 20 defects are named by the rules alone, one cluster
        per type.

    Examples
    --------
    >>> from endface.features import DEFECT_COLUMNS
    >>> from endface.features.columns import to_table
    >>> nothing = name_defects(to_table([], DEFECT_COLUMNS), rng=np.random.default_rng(0))
    >>> nothing.clusters.height
    0
    """
    drawn = Sample(sample_size(method, sample))
    drawn.add(table.with_row_index("_row"))
    rows = drawn.table()
    grouping = fit_clusters(
        rows, method=method, n_clusters=n_clusters, max_clusters=max_clusters, names=names, rng=rng
    )
    named = grouping.name(table)
    examples = pl.element().replace_strict(np.arange(rows.height), rows["_row"].to_numpy())
    sizes = [int(np.count_nonzero(named.cluster_label == k)) for k in range(grouping.clusters.height)]
    clusters = grouping.clusters.with_columns(pl.Series("size", sizes, pl.Int64))
    if clusters.height:
        clusters = clusters.with_columns(
            pl.col("representatives").list.eval(examples).cast(pl.List(pl.Int64))
        )
    return Clustering(named.cluster_label, named.type, named.confidence, named.probabilities, clusters)


@dataclass(frozen=True, eq=False)
class Grouping:
    """Clusters fitted on a sample, ready to take any number of further defects, a part at a time.

    Attributes
    ----------
    clusters : polars.DataFrame
        As in `Clustering`; sizes and representatives are those of the sample.
    """

    clusters: pl.DataFrame
    _scaling: _Scaling
    _assign: Assignment | None
    _by_type: Mapping[str, int]
    _probabilities: Floats
    _names: Mapping[int, str]

    def name(self, table: pl.DataFrame) -> Named:
        """Return cluster, type and confidence of each defect, whichever others are in the table."""
        own = class_probabilities(table)
        if self._assign is None:
            types, confidences = decide(own)
            labels = np.array([self._by_type[kind] for kind in types], np.int64)
        else:
            labels = self._assign(self._scaling.of(table)) if table.height else np.empty(0, np.int64)
            types, confidences, own = _name_members(labels, own, self._probabilities)
        for number, name in self._names.items():
            here = labels == number
            types[here], confidences[here] = name, 1.0
            own[here] = [kind == name for kind in CLASSES]
        return Named(labels, types, confidences, own)


def fit_clusters(
    table: pl.DataFrame,
    *,
    method: Method = "kmeans",
    n_clusters: int | None = None,
    max_clusters: int = 8,
    names: Mapping[int, str] | None = None,
    rng: np.random.Generator,
) -> Grouping:
    """Group a sample of defects and name the groups.

    Parameters
    ----------
    table : polars.DataFrame
        What `Sample.table` gives.
    method : {'kmeans', 'agglomerative', 'dbscan', 'hdbscan'}
        The last two choose the number of clusters by density.
    n_clusters : int, optional
        None: that of 3 (as many as classes) to `max_clusters` with the largest silhouette on a sample.
    max_clusters : int
    names : mapping of int to str, optional
        The user's names by cluster number: all members take them.
    rng : numpy.random.Generator
    """
    own = class_probabilities(table)
    scaling = _Scaling.fitted(table)
    points = scaling.of(table)
    assign: Assignment | None = None
    by_type: dict[str, int] = {}
    if table.height < FEWEST:
        types = decide(own)[0]
        labels = by_size(np.unique(types, return_inverse=True)[1].astype(np.int64))
        by_type = {str(kind): int(label) for kind, label in zip(types, labels, strict=True)}
    else:
        assign = fit_assignment(
            points,
            method=method,
            n_clusters=n_clusters,
            max_clusters=max_clusters,
            seed=int(rng.integers(2**31)),
        )
        labels = assign(points)
    named = _name_clusters(table, points, labels, own, names or {})
    return Grouping(named.table, scaling, assign, by_type, named.probabilities, names or {})


def sample_size(method: Method, sample: int) -> int:
    """Return on how many defects clusters are fitted."""
    return min(sample, PAIRWISE_ROWS) if method == "agglomerative" else sample


def scaled_features(table: pl.DataFrame) -> Floats:
    """Return (N, F) features of `CLUSTER_FEATURES`, log of sizes, minus median, over IQR, clipped at 4.

    A feature whose quartiles agree is scaled by its standard deviation; one that does not vary is 0.
    """
    return _Scaling.fitted(table).of(table)


@dataclass(frozen=True, eq=False)
class _Scaling:
    median: Floats
    scale: Floats

    @staticmethod
    def fitted(table: pl.DataFrame) -> _Scaling:
        raw = _features(table)
        if raw.shape[0] == 0:
            return _Scaling(np.zeros(raw.shape[1]), np.ones(raw.shape[1]))
        low, high = np.quantile(raw, [0.25, 0.75], axis=0)
        scale = np.where(high - low > 1e-9, (high - low) / 1.349, raw.std(axis=0))
        return _Scaling(np.median(raw, axis=0), np.where(scale > 1e-9, scale, 1.0))

    def of(self, table: pl.DataFrame) -> Floats:
        return np.asarray(np.clip((_features(table) - self.median) / self.scale, -4.0, 4.0))


def _features(table: pl.DataFrame) -> Floats:
    columns = []
    for name in CLUSTER_FEATURES:
        values = _feature(table, name)
        columns.append(np.log(np.maximum(values, 1e-4)) if name in _LOGARITHMIC else values)
    return np.stack(columns, axis=1)


def _feature(table: pl.DataFrame, name: str) -> Floats:
    """Return one feature; where there is no fibre, nothing is near a rim and everything at radius 1."""
    if name in ("size_um", "length_um", "width_um"):
        in_px = {"size_um": "diameter_px", "length_um": "length_px", "width_um": "line_width_px"}[name]
        return size_of(table, "diameter_um" if name == "size_um" else name, in_px)
    if name == "rim_nearness":
        distance = table["rim_distance_norm"].fill_null(1.0).to_numpy()
        return np.asarray(np.exp(-distance / 0.05))
    values = table[name].cast(pl.Float64).fill_null(1.0).to_numpy()
    return np.asarray(np.minimum(values, 3.0) if name == "radius_norm" else values)


@dataclass(frozen=True, eq=False)
class _NamedClusters:
    probabilities: Floats  # (K, 3), rows in the order of clusters 0 to K-1
    table: pl.DataFrame


def _name_clusters(
    table: pl.DataFrame, points: Floats, labels: Labels, own: Floats, names: Mapping[int, str]
) -> _NamedClusters:
    """Name clusters by the rules: half by their median member, half by the mean over all members."""
    rows: list[dict[str, object]] = []
    probabilities = []
    raw = {name: _feature(table, name) for name in CLUSTER_FEATURES}
    for k in range(int(labels.max(initial=-1)) + 1):
        members = np.flatnonzero(labels == k)
        centroid = _median_row(table[members])
        of_centroid, of_members = class_probabilities(centroid)[0], own[members].mean(axis=0)
        mixed = 0.5 * of_centroid + 0.5 * of_members
        name = str(decide(mixed[None])[0][0])
        best = int(mixed.argmax())
        rule = (
            f"{CLASSES[best]}: median member {of_centroid[best]:.2f}, mean of members {of_members[best]:.2f}"
        )
        away = ((points[members] - points[members].mean(axis=0)) ** 2).sum(axis=1)
        rows.append(
            {
                "cluster": k,
                "size": members.size,
                "name": names.get(k, name),
                "rule": "named in the settings" if k in names else rule,
                **{feature: float(np.median(values[members])) for feature, values in raw.items()},
                "representatives": members[np.argsort(away, kind="stable")][:REPRESENTATIVES].tolist(),
            }
        )
        probabilities.append(mixed)
    return _NamedClusters(np.array(probabilities).reshape(-1, 3), pl.DataFrame(rows, schema=_CLUSTER_SCHEMA))


_CLUSTER_SCHEMA: dict[str, Any] = {
    "cluster": pl.Int64,
    "size": pl.Int64,
    "name": pl.String,
    "rule": pl.String,
    **dict.fromkeys(CLUSTER_FEATURES, pl.Float64),
    "representatives": pl.List(pl.Int64),
}


def _median_row(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row: the median of numbers, the commonest (then first in order) of words."""
    return table.select(
        pl.col(name).cast(pl.Float64).median() if dtype.is_numeric() else pl.col(name).mode().sort().first()
        for name, dtype in table.schema.items()
    )


def _name_members(labels: Labels, own: Floats, groups: Floats) -> tuple[NDArray[np.str_], Floats, Floats]:
    """Weigh a member's own evidence against its cluster's; outliers without clear evidence are 'other'."""
    advised = own.copy()
    inside = labels >= 0
    advised[inside] *= np.maximum(groups[labels[inside]], 1e-3) ** ADVICE
    advised /= advised.sum(axis=1, keepdims=True)
    clear = own.max(axis=1) >= CLEAR
    together = np.where(clear[:, None], own, advised)
    types, confidences = decide(together)
    novel = ~inside & (own.max(axis=1) < CLEAR_OUTLIER)
    types[novel], confidences[novel] = OTHER, 1.0 - own[novel].max(axis=1)
    return types, confidences, together
