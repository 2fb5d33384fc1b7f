"""Groups of points: fitted on some, then open to any number of others, a part at a time. Arrays only."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["kmeans", "agglomerative", "dbscan", "hdbscan"]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Assignment = Callable[[Floats], Labels]

FEWEST_CLUSTERS = 3
FEWEST_MEMBERS = 20  # fewer say nothing about how far members lie from their centroid
SILHOUETTE_ROWS = 1500
CHUNK = 20_000
STARTS, MOST_STEPS = 4, 300


def fit_assignment(
    points: Floats, *, method: Method, n_clusters: int | None, max_clusters: int, seed: int
) -> Assignment:
    """Group points (N, F) and return what tells the group of any points: 0 the largest, -1 an outlier.

    Parameters
    ----------
    method : {'kmeans', 'agglomerative', 'dbscan', 'hdbscan'}
        The last two choose the number of groups by density.
    n_clusters : int, optional
        None: that of 3 to `max_clusters` with the largest silhouette on a sample.
    """
    labels = _fit(points, method, n_clusters, max_clusters, seed)
    nearest = _nearest_centroid if method in ("kmeans", "agglomerative") else _nearest_member
    return _renumbered(nearest(points, labels), points, int(labels.max(initial=-1)) + 1)


def _fit(points: Floats, method: Method, n_clusters: int | None, max_clusters: int, seed: int) -> Labels:
    if method in ("dbscan", "hdbscan"):
        return _fit_by_density(points, method)
    distinct = len(np.unique(points, axis=0))
    if distinct < 3:
        return np.unique(points, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if n_clusters is not None:
        return _partition(points, method, min(n_clusters, distinct), seed)
    return _best_partition(points, method, max(2, min(max_clusters, distinct - 1)), seed)


def _fit_by_density(points: Floats, method: Method) -> Labels:
    from sklearn.cluster import DBSCAN, HDBSCAN
    from sklearn.neighbors import NearestNeighbors

    n = points.shape[0]
    if method == "dbscan":
        n_near = min(10, n - 1)
        distances = NearestNeighbors(n_neighbors=n_near).fit(points).kneighbors()[0][:, -1]
        reach = max(float(np.quantile(distances, 0.75)), 1e-6)
        return np.asarray(DBSCAN(eps=reach, min_samples=n_near).fit_predict(points), np.int64)
    model = HDBSCAN(min_cluster_size=max(5, n // 50), min_samples=3, copy=True, allow_single_cluster=True)
    return np.asarray(model.fit_predict(points), np.int64)


def _partition(points: Floats, method: Method, k: int, seed: int) -> Labels:
    if method == "agglomerative":
        from sklearn.cluster import AgglomerativeClustering

        return np.asarray(AgglomerativeClustering(k).fit_predict(points), np.int64)
    rng = np.random.default_rng([seed, k])
    tries = [_k_means(points, _spread_centres(points, k, rng)) for _ in range(STARTS)]
    return min(tries, key=itemgetter(1))[0]


def _k_means(points: Floats, centres: Floats) -> tuple[Labels, float]:
    """Group points round centres by Lloyd's steps; returns the groups and the sum of squared distances.

    By hand, as importing scikit-learn for it would take a run two seconds.
    """
    labels = np.full(points.shape[0], -1)
    for _ in range(MOST_STEPS):
        square = _squares(points, centres)
        before, labels = labels, square.argmin(axis=1)
        if np.array_equal(before, labels):
            break
        members = labels[:, None] == np.arange(len(centres))
        sizes = members.sum(axis=0)
        sums = members.astype(np.float64).T @ points
        # a centre that lost all its members stays where it is
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return labels.astype(np.int64), float(square.min(axis=1).sum())


def _spread_centres(points: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Draw k of the points, each with a chance that grows with its squared distance from those before.

    References
    ----------
    D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
    """
    chosen = [int(rng.integers(len(points)))]
    nearest = _squares(points, points[chosen])[:, 0]
    while len(chosen) < k:
        chosen.append(int(rng.choice(len(points), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, _squares(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _squares(points: Floats, centres: Floats) -> Floats:
    """Return the (N, K) squared distances."""
    own = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", centres, centres)
    return np.asarray(np.maximum(own - 2.0 * points @ centres.T, 0.0))


def _best_partition(points: Floats, method: Method, most: int, seed: int) -> Labels:
    """Return the partition of up to `most` clusters with the largest mean silhouette."""
    some = np.random.default_rng(seed).permutation(points.shape[0])[:SILHOUETTE_ROWS]
    distances = np.sqrt(_squares(points[some], points[some]))
    best: Labels | None = None
    best_score = -np.inf
    for k in range(min(FEWEST_CLUSTERS, most), most + 1):
        labels = _partition(points, method, k, seed)
        if len(np.unique(labels[some])) < 2:
            continue
        score = _silhouette(distances, labels[some])
        if score > best_score + 1e-9:
            best, best_score = labels, score
    return best if best is not None else np.zeros(points.shape[0], np.int64)


def _silhouette(distances: Floats, labels: Labels) -> float:
    """Return the mean silhouette of groups, given all distances (N, N); a group of one counts 0.

    References
    ----------
    P. J. Rousseeuw, Silhouettes, J. Comput. Appl. Math. 20 (1987) 53-65.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> round(_silhouette(np.abs(x - x.T), np.array([0, 0, 1, 1])), 3)
    0.889
    """
    groups, own = np.unique(labels, return_inverse=True)
    members = own[:, None] == np.arange(len(groups))
    sizes = members.sum(axis=0)
    sums = distances @ members.astype(np.float64)
    rows = np.arange(len(labels))
    within = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    beyond = means.min(axis=1)
    widths = (beyond - within) / np.maximum(np.maximum(within, beyond), 1e-300)
    return float(np.where(sizes[own] > 1, widths, 0.0).mean())


def _nearest_centroid(fitted: Floats, labels: Labels) -> Assignment:
    """Return what finds the nearest centroid of rows, -1 where it is far outside (Tukey) of that cluster."""
    centroids = np.stack([fitted[labels == k].mean(axis=0) for k in np.unique(labels)])

    def measured(points: Floats) -> tuple[Labels, Floats]:
        square = ((points[:, None, :] - centroids[None]) ** 2).sum(axis=2)
        return square.argmin(axis=1), np.sqrt(square.min(axis=1))

    parts = [measured(fitted[start : start + CHUNK]) for start in range(0, len(fitted), CHUNK)]
    nearest, distance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    limits = np.full(len(centroids), np.inf)
    for k in range(len(centroids)):
        members = distance[nearest == k]
        if members.size >= FEWEST_MEMBERS:
            low, high = np.quantile(members, [0.25, 0.75])
            limits[k] = high + 3.0 * (high - low) + 1e-9

    def assign(points: Floats) -> Labels:
        own, away = measured(points)
        return np.where(away > limits[own], -1, own)

    return assign


def _nearest_member(fitted: Floats, labels: Labels) -> Assignment:
    """Return what finds the label of the nearest fitted row, -1 where none is as near as they are."""
    from sklearn.neighbors import NearestNeighbors

    known = fitted[labels >= 0]
    if len(known) < 2:
        return lambda points: np.full(points.shape[0], -1, np.int64)
    search = NearestNeighbors(n_neighbors=1).fit(fitted)
    reach = float(np.quantile(NearestNeighbors(n_neighbors=1).fit(known).kneighbors()[0][:, 0], 0.99))

    def assign(points: Floats) -> Labels:
        distance, index = search.kneighbors(points)
        # rows that were fitted are found again at no distance but that of rounding
        return np.where(distance[:, 0] <= reach + 1e-6, labels[index[:, 0]], -1)

    return assign


def _renumbered(assign: Assignment, fitted: Floats, n: int) -> Assignment:
    """Return the same assignment with clusters numbered from the largest down, and a part at a time."""

    def in_parts(points: Floats) -> Labels:
        return np.concatenate([assign(points[at : at + CHUNK]) for at in range(0, len(points), CHUNK)])

    before = in_parts(fitted)
    # the last place is that of -1; so is that of a cluster whose fitted rows are all outliers
    numbers = np.full(n + 1, -1, np.int64)
    numbers[before] = by_size(before)
    return lambda points: numbers[in_parts(points)]


def by_size(labels: Labels) -> Labels:
    """Renumber clusters from the largest down, ties by first member; -1 stays."""
    found, first, counts = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    rank = {int(found[k]): place for place, k in enumerate(np.lexsort((first, -counts)))}
    return np.array([rank.get(int(label), -1) for label in labels], np.int64)
