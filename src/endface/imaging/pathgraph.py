"""The pixels of a skeleton as a graph: neighbours, parts, bridges between parts, longest path, spurs.

Compiled helpers of `skeleton`; arrays of pixel numbers in and out.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# counter-clockwise from +x as (row, col), even entries are the 4-neighbours
NEIGHBOUR_ROWS = np.array([0, -1, -1, -1, 0, 1, 1, 1])
NEIGHBOUR_COLS = np.array([1, 1, 0, -1, -1, -1, 0, 1])


@njit(cache=True)
def build_graph(image, index, rows, cols):  # type: ignore[no-untyped-def]
    """Return neighbours (n, 10; -1 none, two spare for bridges), degree, crossing number and part count."""
    n = rows.size
    for k in range(n):
        index[rows[k], cols[k]] = k + 1
    links = np.full((n, 10), -1, np.int64)
    degree = np.zeros(n, np.int64)
    crossing = np.zeros(n, np.int64)
    for k in range(n):
        for j in range(8):
            here = image[rows[k] + NEIGHBOUR_ROWS[j], cols[k] + NEIGHBOUR_COLS[j]]
            following = image[rows[k] + NEIGHBOUR_ROWS[(j + 1) % 8], cols[k] + NEIGHBOUR_COLS[(j + 1) % 8]]
            crossing[k] += here == 0 and following == 1
            if here:
                links[k, degree[k]] = index[rows[k] + NEIGHBOUR_ROWS[j], cols[k] + NEIGHBOUR_COLS[j]] - 1
                degree[k] += 1
    part = _label_parts(links)
    n_parts = part.max() + 1
    if n_parts > 1:
        _bridge(links, degree, part, n_parts, rows, cols)
    return links, degree, crossing, n_parts


@njit(cache=True)
def _label_parts(links):  # type: ignore[no-untyped-def]
    """Return the number of the connected part of every node, from 0."""
    n = links.shape[0]
    part = np.full(n, -1, np.int64)
    stack = np.empty(n, np.int64)
    n_parts = 0
    for start in range(n):
        if part[start] >= 0:
            continue
        part[start] = n_parts
        stack[0] = start
        top = 1
        while top:
            top -= 1
            k = stack[top]
            for j in range(8):
                m = links[k, j]
                if m >= 0 and part[m] < 0:
                    part[m] = n_parts
                    stack[top] = m
                    top += 1
        n_parts += 1
    return part


@njit(cache=True)
def _bridge(links, degree, part, n_parts, rows, cols):  # type: ignore[no-untyped-def]
    """Join all parts by the shortest bridges between their end points (Prim); degrees stay as they are."""
    candidates = np.flatnonzero(degree <= 1)
    has_end = np.zeros(n_parts, np.bool_)
    for k in candidates:
        has_end[part[k]] = True
    if not has_end.all():  # a closed loop has no end: all of its pixels may be joined
        candidates = np.array([k for k in range(rows.size) if degree[k] <= 1 or not has_end[part[k]]])
    size = candidates.size
    best = np.full(size, np.inf)
    origin = np.full(size, -1, np.int64)
    joined = np.zeros(n_parts, np.bool_)
    current = part[candidates[0]]
    for _ in range(n_parts - 1):
        joined[current] = True
        for a in range(size):
            if part[candidates[a]] != current:
                continue
            for b in range(size):
                if joined[part[candidates[b]]]:
                    continue
                dr = rows[candidates[a]] - rows[candidates[b]]
                dc = cols[candidates[a]] - cols[candidates[b]]
                distance = dr * dr + dc * dc
                if distance < best[b]:
                    best[b] = distance
                    origin[b] = candidates[a]
        nearest = -1
        for b in range(size):
            if not joined[part[candidates[b]]] and (nearest < 0 or best[b] < best[nearest]):
                nearest = b
        _link(links, origin[nearest], candidates[nearest])
        _link(links, candidates[nearest], origin[nearest])
        current = part[candidates[nearest]]


@njit(cache=True)
def _link(links, a, b):  # type: ignore[no-untyped-def]
    """Add b to the neighbours of a where a place is free."""
    for j in range(links.shape[1]):
        if links[a, j] < 0:
            links[a, j] = b
            return


@njit(cache=True)
def _distances(links, rows, cols, start, sy, sx):  # type: ignore[no-untyped-def]
    """Return path length from `start` to every pixel and the pixel before it (queue-based relaxation)."""
    n = rows.size
    distance = np.full(n, np.inf)
    before = np.full(n, -1, np.int64)
    waiting = np.zeros(n, np.bool_)
    queue = np.empty(n + 1, np.int64)
    queue[0] = start
    head, tail = 0, 1
    distance[start] = 0.0
    while head != tail:
        k = queue[head]
        head = (head + 1) % (n + 1)
        waiting[k] = False
        for j in range(links.shape[1]):
            m = links[k, j]
            if m < 0:
                continue
            step = math.hypot((rows[k] - rows[m]) * sy, (cols[k] - cols[m]) * sx)
            if distance[k] + step < distance[m] - 1e-9:
                distance[m] = distance[k] + step
                before[m] = k
                if not waiting[m]:
                    waiting[m] = True
                    queue[tail] = m
                    tail = (tail + 1) % (n + 1)
    return distance, before


@njit(cache=True)
def longest_path(links, degree, crossing, rows, cols, padded, sy, sx):  # type: ignore[no-untyped-def]
    """Return the pixels of the longest shortest path in order (exact for trees), and short spurs."""
    first, _ = _distances(links, rows, cols, 0, sy, sx)
    distance, before = _distances(links, rows, cols, np.argmax(first), sy, sx)
    last = np.argmax(distance)
    on_path = np.zeros(rows.size, np.bool_)
    order = np.empty(rows.size, np.int64)
    n = 0
    k = last
    while k >= 0:
        order[n] = k
        on_path[k] = True
        n += 1
        k = before[k]
    n_short = 0
    for start in range(rows.size):
        if degree[start] == 1 and not on_path[start]:
            n_short += _is_spur(start, links, crossing, rows, cols, padded)
    return order[:n].copy(), n_short


@njit(cache=True)
def _is_spur(start, links, crossing, rows, cols, padded):  # type: ignore[no-untyped-def]
    """Tell whether the branch that ends at `start` is no longer than the mask is wide where it joins."""
    k = start
    previous = -1
    steps = 0
    while crossing[k] < 3 and steps < 64:
        following = -1
        for j in range(8):
            m = links[k, j]
            if m >= 0 and m != previous and (following < 0 or crossing[m] >= 3):
                following = m
        if following < 0:
            return 0
        previous = k
        k = following
        steps += 1
    reach = 1
    while reach < 64:  # half-width of the mask at the joint: first unset pixel in eight directions
        r, c = rows[k], cols[k]
        if r - reach < 0 or c - reach < 0 or r + reach >= padded.shape[0] or c + reach >= padded.shape[1]:
            break
        unset = 0
        for j in range(8):
            unset += padded[r + reach * NEIGHBOUR_ROWS[j], c + reach * NEIGHBOUR_COLS[j]] == 0
        if unset:
            break
        reach += 1
    return 1 if steps <= reach + 2 else 0
