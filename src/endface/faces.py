"""Which images show the same face: the same file twice, photographed again, or turned in between.

A face is known again by what differs along the circles round its fibre. Charts of radius and angle are made
once per image; a description that does not depend on the turn picks a few likely partners for each, and
only those are compared at every turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Zones
from endface.imaging.facechart import Waves, face_chart, likely_turns

N_RADII, N_COLUMNS = 48, 512
STEP = 127 / 4.0  # codes per standard deviation: charts are cut at 4
_PARTNERS = 24
# light, shadow and dirt stay where they are when the face does not turn: more than they explain is asked for
_UNTURNED_DEG, _UNTURNED_CORRELATION = 2.0, 0.5
_BANDS, _WAVES, _DIMENSIONS = 12, 24, 24
_SAMPLE = 4096  # faces from which the directions are taken in which faces differ


def chart_of(image: NDArray[np.generic], zones: Zones) -> NDArray[np.uint8]:
    """Return the face as a chart to be kept: (48, 512) uint8; (1, 1) without a fibre.

    Examples
    --------
    >>> from endface.zones import plain_zones
    >>> blank = np.zeros((60, 80), np.uint8)
    >>> chart_of(blank, plain_zones(blank)).shape
    (1, 1)
    """
    if zones.cladding is None:
        return np.full((1, 1), 128, np.uint8)
    chart = face_chart(image, zones.cladding, n_radii=N_RADII)
    chart = chart.reshape(N_RADII, N_COLUMNS, -1).mean(axis=2)
    return np.asarray(np.rint(128 + STEP * chart).clip(0, 255), np.uint8)


def chart_from(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a kept chart in standard deviations of each ring."""
    return np.asarray((codes.astype(np.float32) - 128) / np.float32(STEP))


def same_face(first: Waves, second: Waves, *, min_surety: float) -> bool:
    """Whether two charts, as waves, show one face, at any turn.

    Examples
    --------
    >>> chart = np.random.default_rng(0).normal(size=(48, 512)).astype(np.float32)
    >>> from endface.imaging.facechart import waves_of
    >>> same_face(waves_of(chart), waves_of(np.roll(chart, 100, axis=1)), min_surety=7)
    True
    >>> same_face(waves_of(chart), waves_of(chart[::-1]), min_surety=7)
    False
    """
    best = likely_turns(first, second, n=1)[0]
    if abs(best.turn_deg) <= _UNTURNED_DEG and best.correlation < _UNTURNED_CORRELATION:
        return False
    return best.surety >= min_surety


def describe(waves: Waves) -> NDArray[np.float32]:
    """Describe a chart by what no turn changes: the strength of the waves along its rings.

    Returns
    -------
    (288,) float32 ndarray

    Examples
    --------
    >>> chart = np.random.default_rng(0).normal(size=(48, 512)).astype(np.float32)
    >>> from endface.imaging.facechart import waves_of
    >>> turned = np.roll(chart, 77, axis=1)
    >>> bool(np.allclose(describe(waves_of(chart)), describe(waves_of(turned)), atol=1e-3))
    True
    """
    strength = np.abs(waves.spectrum)[:, 1 : 4 * _WAVES + 1]
    power = np.square(strength).reshape(_BANDS, -1, _WAVES, 4).sum(axis=(1, 3))
    return np.asarray(np.log1p(power / waves.n_angles).ravel(), np.float32)


def likely_pairs(described: Callable[[int], NDArray[np.float32]], n: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs (i < j) of `n` faces whose descriptions are among each other's nearest, in order.

    Time grows as N log N; all pairs are yielded where there are few. Of every face 24 numbers are held.

    Parameters
    ----------
    described : callable
        Number of a face -> what `describe` says of it.

    Examples
    --------
    >>> list(likely_pairs(lambda k: np.array([0.0, 1.0, 5.0][k : k + 1], np.float32), 3))
    [(0, 1), (0, 2), (1, 2)]
    """
    if n <= _PARTNERS:
        yield from combinations(range(n), 2)
        return
    from scipy.spatial import KDTree

    sample = np.stack([described(int(k)) for k in np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int)])
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh((sample - mean).T @ (sample - mean))
    rows = sample if n <= _SAMPLE else map(described, range(n))
    reduced = np.stack([(row - mean) @ axes[:, -_DIMENSIONS:] for row in rows])
    tree = KDTree(reduced)
    found = []
    for start in range(0, n, _SAMPLE):
        nearest = np.asarray(tree.query(reduced[start : start + _SAMPLE], k=_PARTNERS + 1)[1])
        own = np.arange(start, start + len(nearest))[:, None]
        pairs = np.minimum(own, nearest) * n + np.maximum(own, nearest)
        found.append(np.unique(pairs[own != nearest]))
    for part in np.array_split(np.unique(np.concatenate(found)), n // _SAMPLE + 1):
        yield from (divmod(code, n) for code in part.tolist())
