"""The pixels of skeletons as graphs: neighbours, parts, bridges between parts, longest paths, spurs.

A skeleton has few pixels, so that walks along it are plain loops over lists.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from endface.imaging.patches import NEIGHBOUR_COLS, NEIGHBOUR_ROWS, Indexes, Patches

_FARTHEST_SPUR = 64


@dataclass(frozen=True, eq=False, slots=True)
class PathGraph:
    """Skeleton pixels and who is next to whom.

    Attributes
    ----------
    skeletons : Patches
    degree, crossing : (K,) int64 ndarray
        Neighbours of each pixel, and how many branches leave it.
    n_parts : (N,) int64 ndarray
        8-connected parts of each skeleton.
    links : list of list of (int, float)
        Neighbours of each pixel and how far away they are; bridges between parts last.
    """

    skeletons: Patches
    degree: Indexes
    crossing: Indexes
    n_parts: Indexes
    links: list[list[tuple[int, float]]]


_ON = (np.arange(256)[:, None] >> np.arange(8)) & 1
_DEGREE = _ON.sum(axis=1)
_CROSSING = ((_ON == 0) & (np.roll(_ON, -1, axis=1) == 1)).sum(axis=1)


def build_graph(skeletons: Patches, *, spacing: tuple[float, float]) -> PathGraph:
    """Link the pixels of skeletons with their neighbours, and the parts of one by the shortest bridges."""
    n = skeletons.places.size
    codes = skeletons.codes
    origins, directions = np.nonzero(_ON[codes])
    around = skeletons.places[origins] + (
        skeletons.strides[skeletons.owner[origins]] * NEIGHBOUR_ROWS[directions] + NEIGHBOUR_COLS[directions]
    )
    index = np.empty(skeletons.cells.size, np.int64)
    index[skeletons.places] = np.arange(n)
    degree = _DEGREE[codes]
    lengths = np.hypot(NEIGHBOUR_ROWS * spacing[0], NEIGHBOUR_COLS * spacing[1])
    pairs = list(zip(index[around].tolist(), lengths[directions].tolist(), strict=True))
    ends = np.cumsum(degree).tolist()
    links = [pairs[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    part, owner_of_part = _parts(links, skeletons)
    n_parts = np.bincount(owner_of_part, minlength=skeletons.n)
    for number in np.flatnonzero(n_parts > 1).tolist():
        for a, b in _bridges(skeletons, degree, part, number):
            down, right = (float(values[a] - values[b]) for values in (skeletons.rows, skeletons.cols))
            away = math.hypot(down * spacing[0], right * spacing[1])
            links[a].append((b, away))
            links[b].append((a, away))
    return PathGraph(skeletons, degree, _CROSSING[codes], n_parts, links)


def _parts(links: list[list[tuple[int, float]]], skeletons: Patches) -> tuple[Indexes, list[int]]:
    """Return the part that each pixel belongs to, and the skeleton that each part belongs to."""
    part = [-1] * len(links)
    owners: list[int] = []
    for start, owner in enumerate(skeletons.owner.tolist()):
        if part[start] >= 0:
            continue
        part[start] = len(owners)
        stack = [start]
        while stack:
            for there, _ in links[stack.pop()]:
                if part[there] < 0:
                    part[there] = len(owners)
                    stack.append(there)
        owners.append(owner)
    return np.array(part), owners


def _bridges(skeletons: Patches, degree: Indexes, part: Indexes, number: int) -> list[tuple[int, int]]:
    """Return the pairs of pixels that join the parts of a skeleton by the shortest bridges (Prim)."""
    first = int(skeletons.firsts[number])
    own = slice(first, first + int(skeletons.counts[number]))
    parts, is_end = part[own], degree[own] <= 1
    # a closed loop has no end: all of its pixels may be joined
    chosen = np.flatnonzero(is_end | ~np.isin(parts, parts[is_end]))
    rows, cols, parts = skeletons.rows[own][chosen], skeletons.cols[own][chosen], parts[chosen]
    best, origin = np.full(chosen.size, np.inf), np.zeros(chosen.size, np.int64)
    waiting = np.ones(chosen.size, bool)
    found: list[tuple[int, int]] = []
    current = parts[0]
    while True:
        new = np.flatnonzero(parts == current)
        waiting[new] = False
        rest = np.flatnonzero(waiting)
        if rest.size == 0:
            return found
        away = (rows[new, None] - rows[rest]) ** 2 + (cols[new, None] - cols[rest]) ** 2
        nearest = away.argmin(axis=0)
        closest = away[nearest, np.arange(rest.size)]
        better = closest < best[rest]
        best[rest[better]], origin[rest[better]] = closest[better], new[nearest[better]]
        to = rest[best[rest].argmin()]
        found.append((first + int(chosen[origin[to]]), first + int(chosen[to])))
        current = parts[to]


def longest_paths(graph: PathGraph) -> list[list[int]]:
    """Return for each skeleton the pixels of its longest shortest path in order (exact for trees)."""
    size = len(graph.links)
    away, before = [math.inf] * size, [-1] * size
    once_more, previous = away.copy(), before.copy()
    paths = []
    for first in graph.skeletons.firsts.tolist():
        start = _farthest(first, graph.links, away, before)
        at = _farthest(start, graph.links, once_more, previous)
        path = []
        while at >= 0:
            path.append(at)
            at = previous[at]
        paths.append(path)
    return paths


def _farthest(start: int, links: list[list[tuple[int, float]]], away: list[float], before: list[int]) -> int:
    """Return the first of the pixels farthest from `start`, and fill in all lengths and pixels before."""
    away[start] = 0.0
    waiting = deque([start])
    seen = {start}
    while waiting:
        here = waiting.popleft()
        so_far = away[here]
        for there, step in links[here]:
            if so_far + step < away[there] - 1e-9:
                away[there] = so_far + step
                before[there] = here
                waiting.append(there)
                seen.add(there)
    longest = max(away[k] for k in seen)
    return min(k for k in seen if away[k] == longest)


def count_spurs(graph: PathGraph, paths: list[list[int]], patches: Patches) -> Indexes:
    """Return for each skeleton how many branches end within the width of its mask, beside the path."""
    counts = np.zeros(patches.n, np.int64)
    on_path = np.zeros(graph.degree.size, bool)
    on_path[[k for path in paths for k in path]] = True
    for start in np.flatnonzero((graph.degree == 1) & ~on_path).tolist():
        counts[graph.skeletons.owner[start]] += _is_spur(start, graph, patches)
    return counts


def _is_spur(start: int, graph: PathGraph, patches: Patches) -> bool:
    """Tell whether the branch that ends at `start` is no longer than the mask is wide where it joins."""
    here, previous, steps = start, -1, 0
    while graph.crossing[here] < 3 and steps < _FARTHEST_SPUR:
        following = -1
        for there, _ in graph.links[here]:
            if there != previous and (following < 0 or graph.crossing[there] >= 3):
                following = there
        if following < 0:
            return False
        previous, here, steps = here, following, steps + 1
    return steps <= _half_width(here, graph.skeletons, patches) + 2


def _half_width(pixel: int, skeletons: Patches, patches: Patches) -> int:
    """Return how far the mask reaches around a pixel: to the first unset pixel in eight directions."""
    owner, row, col = (int(values[pixel]) for values in (skeletons.owner, skeletons.rows, skeletons.cols))
    height, width = patches.sizes[owner].tolist()
    far = min(row + 1, col + 1, height - row, width - col, _FARTHEST_SPUR - 1)
    reach = np.arange(1, far + 1)[:, None]
    around = int(patches.origins[owner]) + row * int(patches.strides[owner]) + col
    set_there = patches.cells[
        around + reach * (NEIGHBOUR_ROWS * patches.strides[owner] + NEIGHBOUR_COLS)
    ].all(axis=1)
    return far + 1 if set_there.all() else int(set_there.argmin()) + 1
