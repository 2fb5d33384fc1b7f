"""Group all defects of a run and name the groups: the cluster advises, the evidence decides.

Every defect is first judged on its own (`rules`). Then all are grouped by robustly scaled features, each
group is named by the same rules applied to its centroid and averaged over its members, and members without
clear evidence of their own take the group's name. Knows nothing of severity or limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.rules import CLASSES, OTHER, class_probabilities, decide, rule_classes, size_of

__all__ = ["CLUSTER_FEATURES", "Clustering", "Method", "name_defects", "rule_classes"]

Method = Literal["kmeans", "agglomerative", "dbscan", "hdbscan"]
CLUSTER_FEATURES = (
    "size_um", "length_um", "width_um", "slenderness", "aspect_ratio", "straightness", "solidity",
    "circularity", "contrast", "polarity", "edge_sharpness", "halo", "rim_nearness", "radius_norm",
    "glcm_correlation",
)  # fmt: skip
FEWEST = 20  # fewer defects are not grouped: rules alone
FEWEST_CLUSTERS = 3
CLEAR = 0.8  # own evidence as sure as this overrules the cluster
CLEAR_OUTLIER = 0.6  # outliers have no cluster to ask
ADVICE = 0.5  # weight of the cluster's log-probabilities beside a member's own
SILHOUETTE_ROWS = 1500
PAIRWISE_ROWS = 3000  # agglomerative clustering needs all pairwise distances
CHUNK = 20_000
REPRESENTATIVES = 12
_LOGARITHMIC = frozenset(("size_um", "length_um", "width_um", "slenderness", "aspect_ratio", "contrast"))

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Clustering:
    """Groups and names of all defects of a run, in the order of the table.

    Attributes
    ----------
    cluster_label : (N,) int64 ndarray
        Number of the cluster, 0 the largest; -1 an outlier that resembles no other defect.
    type : (N,) str ndarray
        scratch, contamination, pit_chip or other.
    confidence : (N,) float64 ndarray
        Of the type, 0 to 1.
    clusters : polars.DataFrame
        One row per cluster: cluster, size, name, rule (what named it), medians of `CLUSTER_FEATURES`,
        representatives (rows of the table nearest to its centroid).
    """

    cluster_label: Labels
    type: NDArray[np.str_]
    confidence: Floats
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
    """Group defects and name them.

    Parameters
    ----------
    table : polars.DataFrame
        Columns of `endface.features.DEFECT_COLUMNS`, and `image_id` where it holds more than one image.
    method : {'kmeans', 'agglomerative', 'dbscan', 'hdbscan'}
        The last two choose the number of clusters by density.
    n_clusters : int, optional
        None: that of 3 (as many as classes) to `max_clusters` with the largest silhouette on a sample.
    max_clusters : int
    sample : int
        Clusters are fitted on at most so many defects (agglomerative: at most 3000), drawn evenly from the
        types the rules give; the others join the nearest cluster.
    names : mapping of int to str, optional
        The user's names by cluster number: all members take them.
    rng : numpy.random.Generator

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
    key = [name for name in ("image_id", "instance") if name in table.columns]
    order = table.with_row_index("_row").sort(key, maintain_order=True)["_row"].to_numpy().astype(np.int64)
    ordered = table[order]
    own = class_probabilities(ordered)
    points = scaled_features(ordered)
    if ordered.height < FEWEST:
        types, confidences = decide(own)
        labels = _by_size(np.unique(types, return_inverse=True)[1].astype(np.int64))
    else:
        labels = _group(points, decide(own)[0], method, n_clusters, max_clusters, sample, rng)
        types, confidences = np.empty(0, "U13"), np.empty(0)
    named = _name_clusters(ordered, points, labels, own, names or {})
    if types.size == 0:
        types, confidences = _name_members(labels, own, named)
    for number, name in (names or {}).items():
        types[labels == number], confidences[labels == number] = name, 1.0
    back = np.argsort(order)
    clusters = named.table.with_columns(
        pl.col("representatives").list.eval(pl.element().replace_strict(np.arange(order.size), order))
        if named.table.height
        else pl.col("representatives")
    )
    return Clustering(labels[back], types[back], confidences[back], clusters)


def scaled_features(table: pl.DataFrame) -> Floats:
    """Return (N, F) features of `CLUSTER_FEATURES`, log of sizes, minus median, over IQR, clipped at 4.

    A feature whose quartiles agree is scaled by its standard deviation; one that does not vary is 0.
    """
    raw = _features(table)
    if raw.shape[0] == 0:
        return raw
    median = np.median(raw, axis=0)
    low, high = np.quantile(raw, [0.25, 0.75], axis=0)
    scale = np.where(high - low > 1e-9, (high - low) / 1.349, raw.std(axis=0))
    return np.asarray(np.clip((raw - median) / np.where(scale > 1e-9, scale, 1.0), -4.0, 4.0))


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


def _group(
    points: Floats,
    strata: NDArray[np.str_],
    method: Method,
    n_clusters: int | None,
    max_clusters: int,
    sample: int,
    rng: np.random.Generator,
) -> Labels:
    """Fit clusters on a sample and give every row its label, largest cluster first."""
    seed = int(rng.integers(2**31))
    limit = min(sample, PAIRWISE_ROWS) if method == "agglomerative" else sample
    chosen = _stratified(strata, limit, rng)
    fitted = points[chosen]
    labels = _fit(fitted, method, n_clusters, max_clusters, seed)
    if method in ("kmeans", "agglomerative"):
        labels = _nearest_centroid(points, fitted, labels)
    elif chosen.size < points.shape[0]:
        labels = _nearest_member(points, fitted, labels)
    return _by_size(labels)


def _stratified(strata: NDArray[np.str_], limit: int, rng: np.random.Generator) -> Labels:
    """Return the rows to fit on: all, or `limit` of them with at least an eighth of it for every stratum."""
    if strata.size <= limit:
        return np.arange(strata.size)
    found, counts = np.unique(strata, return_counts=True)
    share = np.maximum(limit * counts // strata.size, np.minimum(counts, limit // 8))
    rows = [rng.permutation(np.flatnonzero(strata == name))[:n] for name, n in zip(found, share, strict=True)]
    return np.sort(rng.permutation(np.concatenate(rows))[:limit])


def _fit(points: Floats, method: Method, n_clusters: int | None, max_clusters: int, seed: int) -> Labels:
    from sklearn.cluster import DBSCAN, HDBSCAN
    from sklearn.neighbors import NearestNeighbors

    n = points.shape[0]
    if method == "dbscan":
        n_near = min(10, n - 1)
        distances = NearestNeighbors(n_neighbors=n_near).fit(points).kneighbors()[0][:, -1]
        reach = max(float(np.quantile(distances, 0.75)), 1e-6)
        return np.asarray(DBSCAN(eps=reach, min_samples=n_near).fit_predict(points), np.int64)
    if method == "hdbscan":
        model = HDBSCAN(min_cluster_size=max(5, n // 50), min_samples=3, copy=True, allow_single_cluster=True)
        return np.asarray(model.fit_predict(points), np.int64)
    distinct = len(np.unique(points, axis=0))
    if distinct < 3:
        return np.unique(points, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if n_clusters is not None:
        return _partition(points, method, min(n_clusters, distinct), seed)
    return _best_partition(points, method, max(2, min(max_clusters, distinct - 1)), seed)


def _partition(points: Floats, method: Method, k: int, seed: int) -> Labels:
    from sklearn.cluster import AgglomerativeClustering, KMeans

    model: Any = KMeans(k, n_init=4, random_state=seed) if method == "kmeans" else AgglomerativeClustering(k)
    return np.asarray(model.fit_predict(points), np.int64)


def _best_partition(points: Floats, method: Method, most: int, seed: int) -> Labels:
    """Return the partition of up to `most` clusters with the largest mean silhouette."""
    from sklearn.metrics import silhouette_score

    some = np.random.default_rng(seed).permutation(points.shape[0])[:SILHOUETTE_ROWS]
    best: Labels | None = None
    best_score = -np.inf
    for k in range(min(FEWEST_CLUSTERS, most), most + 1):
        labels = _partition(points, method, k, seed)
        if len(np.unique(labels[some])) < 2:
            continue
        score = float(silhouette_score(points[some], labels[some]))
        if score > best_score + 1e-9:
            best, best_score = labels, score
    return best if best is not None else np.zeros(points.shape[0], np.int64)


def _nearest_centroid(points: Floats, fitted: Floats, labels: Labels) -> Labels:
    """Return the nearest centroid of every row, -1 where it is far outside (Tukey) of that cluster."""
    centroids = np.stack([fitted[labels == k].mean(axis=0) for k in np.unique(labels)])
    out = np.empty(points.shape[0], np.int64)
    distance = np.empty(points.shape[0])
    for start in range(0, points.shape[0], CHUNK):
        part = points[start : start + CHUNK]
        square = ((part[:, None, :] - centroids[None]) ** 2).sum(axis=2)
        out[start : start + CHUNK] = square.argmin(axis=1)
        distance[start : start + CHUNK] = np.sqrt(square.min(axis=1))
    for k in range(centroids.shape[0]):
        members = out == k
        if np.count_nonzero(members) >= FEWEST:
            low, high = np.quantile(distance[members], [0.25, 0.75])
            out[members & (distance > high + 3.0 * (high - low) + 1e-9)] = -1
    return out


def _nearest_member(points: Floats, fitted: Floats, labels: Labels) -> Labels:
    """Return the label of the nearest fitted row, -1 where none is as near as they are to each other."""
    from sklearn.neighbors import NearestNeighbors

    known = labels >= 0
    if np.count_nonzero(known) < 2:
        return np.full(points.shape[0], -1, np.int64)
    search = NearestNeighbors(n_neighbors=1).fit(fitted[known])
    own = NearestNeighbors(n_neighbors=1).fit(fitted[known]).kneighbors()[0][:, 0]
    reach = float(np.quantile(own, 0.99))
    out = np.empty(points.shape[0], np.int64)
    for start in range(0, points.shape[0], CHUNK):
        distance, index = search.kneighbors(points[start : start + CHUNK])
        out[start : start + CHUNK] = np.where(distance[:, 0] <= reach, labels[known][index[:, 0]], -1)
    return out


def _by_size(labels: Labels) -> Labels:
    """Renumber clusters from the largest down, ties by first member; -1 stays."""
    found, first, counts = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    rank = {int(found[k]): place for place, k in enumerate(np.lexsort((first, -counts)))}
    return np.array([rank.get(int(label), -1) for label in labels], np.int64)


@dataclass(frozen=True, eq=False)
class _Named:
    probabilities: Floats  # (K, 3), rows in the order of clusters 0 to K-1
    table: pl.DataFrame


def _name_clusters(
    table: pl.DataFrame, points: Floats, labels: Labels, own: Floats, names: Mapping[int, str]
) -> _Named:
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
    return _Named(np.array(probabilities).reshape(-1, 3), pl.DataFrame(rows, schema=_CLUSTER_SCHEMA))


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


def _name_members(labels: Labels, own: Floats, named: _Named) -> tuple[NDArray[np.str_], Floats]:
    """Weigh a member's own evidence against its cluster's; outliers without clear evidence are 'other'."""
    advised = own.copy()
    inside = labels >= 0
    advised[inside] *= np.maximum(named.probabilities[labels[inside]], 1e-3) ** ADVICE
    advised /= advised.sum(axis=1, keepdims=True)
    clear = own.max(axis=1) >= CLEAR
    types, confidences = decide(np.where(clear[:, None], own, advised))
    novel = ~inside & (own.max(axis=1) < CLEAR_OUTLIER)
    types[novel], confidences[novel] = OTHER, 1.0 - own[novel].max(axis=1)
    return types, confidences
