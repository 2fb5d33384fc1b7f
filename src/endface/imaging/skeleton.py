"""Centre lines: thinning of a mask, its longest path as a smooth curve, length, ends, branches.

Lengths are geodesic along the centre line and in the units of `spacing` (row pitch, column pitch).
How wide a line *looks* is in `linewidth`; here the width is that of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endface.imaging.crest import from_parabola
from endface.imaging.patches import NEIGHBOUR_COLS, NEIGHBOUR_ROWS, Floats, Indexes, Patches, packed, steps
from endface.imaging.pathgraph import build_graph, count_spurs, longest_paths

SMOOTHING_PX = 4  # half-window of the path's moving average: hides the pixel staircase, keeps a bend of 20 px


@dataclass(frozen=True, slots=True)
class Centerline:
    """The centre line of one mask.

    Attributes
    ----------
    path_px : (N, 2) float64 ndarray
        Row and column along the longest path, smoothed and prolonged to the mask's ends; in the mask's box.
    length_px, length : float
        Of the path, in pixels and in the units of `spacing`.
    chord : float
        Straight distance of its ends.
    turning_rad : float
        Sum of the absolute turning angles along the path.
    waviness : float
        Root mean square distance of the path from its best parabola, over the path's extent.
    mean_width, max_width : float
        Area over length, and the largest width of the mask across the path.
    skeleton_px : int
        Pixels of the whole skeleton.
    n_branches, n_ends, n_parts : int
        Branch points (spurs shorter than the line is wide left out), end points, 8-connected parts.
    """

    path_px: NDArray[np.float64]
    length_px: float
    length: float
    chord: float
    turning_rad: float
    waviness: float
    mean_width: float
    max_width: float
    skeleton_px: int
    n_branches: int
    n_ends: int
    n_parts: int

    @property
    def straightness(self) -> float:
        """Chord over length: 1 for a straight line, 0 for a closed one."""
        return min(1.0, self.chord / self.length)


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a mask to lines one pixel wide, keeping its parts and holes.

    Border pixels are peeled off from the four sides in turn as long as the patch stays connected.

    Parameters
    ----------
    mask : (h, w) bool ndarray

    Returns
    -------
    (h, w) bool ndarray

    References
    ----------
    A. Rosenfeld, "A characterization of parallel thinning algorithms", 1975,
    doi:10.1016/S0019-9958(75)90448-9: pixels of one side may go at once.

    Examples
    --------
    >>> int(thin(np.ones((3, 9), bool)).sum()) <= 9
    True
    """
    out = np.zeros(mask.shape, bool)
    if mask.any():
        left = _thinned(Patches.of([mask]))
        out[left.rows, left.cols] = True
    return out


def trace(mask: NDArray[np.bool_], *, spacing: tuple[float, float] = (1.0, 1.0)) -> Centerline:
    """Follow the longest path through a mask's skeleton.

    Parts that are not connected (an interrupted scratch) are joined across the gaps between their nearest
    ends, and the gaps count as length. The path is prolonged along its end tangents to where the mask ends,
    because thinning shortens a line by about half its width at each end.

    Parameters
    ----------
    mask : (h, w) bool ndarray
        At least one pixel set.
    spacing : (float, float)
        Pitch of rows and columns.

    Returns
    -------
    Centerline

    Raises
    ------
    ValueError
        If no pixel is set.

    Examples
    --------
    >>> line = np.zeros((9, 40), bool)
    >>> line[3:6, 5:35] = True
    >>> found = trace(line, spacing=(0.5, 0.5))
    >>> round(found.length, 1), round(found.mean_width, 1), found.n_ends
    (15.0, 1.5, 2)
    """
    return trace_all(Patches.of([mask]), spacing=spacing)[0]


def trace_all(patches: Patches, *, spacing: tuple[float, float] = (1.0, 1.0)) -> list[Centerline]:
    """Trace the centre lines of many masks, each as `trace` does."""
    skeletons = _thinned(patches)
    graph = build_graph(skeletons, spacing=spacing)
    orders = longest_paths(graph)
    n_short = count_spurs(graph, orders, patches)
    path = _paths(skeletons, orders, patches)
    length_px, length = path.total(path.step_px), path.total(path.step(spacing))
    distance, extent = from_parabola(path.points * np.array(spacing), path.counts)
    branches = np.bincount(skeletons.owner, graph.crossing >= 3, minlength=patches.n).astype(np.int64)
    ends = np.bincount(skeletons.owner, graph.degree == 1, minlength=patches.n).astype(np.int64)
    columns = (
        length_px,
        length,
        path.chord(spacing),
        _turning(path, spacing),
        distance / extent,
        patches.counts * (spacing[0] * spacing[1]) / length,
        _widest(path, patches, spacing),
        skeletons.counts,
        np.maximum(0, branches - n_short),
        np.maximum(0, ends - n_short),
        graph.n_parts,
    )
    points = np.split(path.points, path.starts[1:])
    return [
        Centerline(own, *row)
        for own, row in zip(points, zip(*(column.tolist() for column in columns), strict=True), strict=True)
    ]


@dataclass(frozen=True, eq=False, slots=True)
class _Paths:
    """The paths of all patches, one after the other: points (row, column) in the boxes of their masks."""

    points: Floats
    starts: Indexes
    counts: Indexes

    @property
    def owner(self) -> Indexes:
        return np.repeat(np.arange(self.counts.size), self.counts)

    @property
    def place(self) -> Indexes:
        """Number of each point on its path."""
        return np.arange(len(self.points)) - np.repeat(self.starts, self.counts)

    @property
    def step_px(self) -> Floats:
        return self.step((1.0, 1.0))

    def step(self, spacing: tuple[float, float]) -> Floats:
        """Return the distance from each point to the next one of its path; 0 at its end."""
        moved = np.diff(self.points, axis=0, append=self.points[-1:]) * np.array(spacing)
        moved[self.starts[1:] - 1] = 0.0
        return np.asarray(np.hypot(moved[:, 0], moved[:, 1]))

    def chord(self, spacing: tuple[float, float]) -> Floats:
        across = (self.points[self.starts + self.counts - 1] - self.points[self.starts]) * np.array(spacing)
        return np.asarray(np.hypot(across[:, 0], across[:, 1]))

    def total(self, values: Floats) -> Floats:
        """Return the sum over each path."""
        return np.bincount(self.owner, values, minlength=self.counts.size).astype(np.float64, copy=False)


def _deletable_table() -> NDArray[np.bool_]:
    """Return for 8 directions and 256 neighbourhoods whether a border pixel of that side may be deleted.

    It is a simple point (Yokoi number 1), and no end point.
    """
    table = np.zeros((8, 256), bool)
    for code in range(256):
        on = [(code >> k) & 1 for k in range(8)]  # counter-clockwise from +x
        off = [1 - bit for bit in on] + [1 - on[0]]
        yokoi = sum(off[k] - off[k] * off[k + 1] * off[(k + 2) % 8] for k in (0, 2, 4, 6))
        for side in (0, 2, 4, 6):
            table[side, code] = yokoi == 1 and sum(on) >= 2 and not on[side]
    return table


_DELETABLE = _deletable_table()
_WAITING = 2  # marks pixels that are looked at


def _thinned(patches: Patches) -> Patches:
    """Return the skeletons of all patches."""
    cells = patches.cells.copy()
    waiting, strides = patches.places, patches.strides[patches.owner]
    number = np.empty(cells.size, np.int32)
    while waiting.size:
        cells[waiting] = _WAITING
        touched = [waiting[:0]]
        touched_strides = [waiting[:0]]
        for side in (2, 6, 0, 4):
            around = waiting[:, None] + steps(strides, NEIGHBOUR_ROWS, NEIGHBOUR_COLS)
            gone = _peeled(cells, waiting, around, side)
            if not gone.any():
                continue
            near, near_strides = around[gone].ravel(), np.repeat(strides[gone], 8)
            touched.append(near)
            touched_strides.append(near_strides)
            new = cells[near] == 1
            near, near_strides = _distinct(near[new], near_strides[new], number)
            cells[near] = _WAITING
            waiting = np.concatenate([waiting[~gone], near])
            strides = np.concatenate([strides[~gone], near_strides])
        # only where something changed can anything change in the next round
        cells[waiting] = 1
        near, near_strides = np.concatenate(touched), np.concatenate(touched_strides)
        left = cells[near] > 0
        waiting, strides = _distinct(near[left], near_strides[left], number)
    kept = cells[patches.places] > 0
    places, owner = patches.places[kept], patches.owner[kept]
    counts = np.bincount(owner, minlength=patches.n)
    return replace(
        patches,
        cells=cells,
        owner=owner,
        rows=patches.rows[kept],
        cols=patches.cols[kept],
        places=places,
        codes=packed(cells[patches.around(places, owner)]),
        firsts=np.cumsum(counts) - counts,
        counts=counts,
    )


def _peeled(cells: NDArray[np.uint8], places: Indexes, around: Indexes, side: int) -> NDArray[np.bool_]:
    """Delete the pixels of one side that can go, one after the other; tell which of the places these were.

    Whether a pixel goes depends on whether those before it went. Assuming first that none went, then what
    followed from that and so on leads to what going one by one leads to: what depends on k others is right
    after k rounds.
    """
    code = packed(cells[around])
    table = _DELETABLE[side]
    gone = np.asarray(table[code])
    mine = np.flatnonzero(code & (1 << side) == 0)
    code, around = code[mine], around[mine, 1:5]
    later = code & 0b11100001
    decided = gone[mine]
    while decided.any():
        cells[places[mine]] = np.where(decided, 0, _WAITING)
        earlier = np.packbits(cells[around], axis=1, bitorder="little")[:, 0] << np.uint8(1)
        again = table[later | earlier]
        if np.array_equal(again, decided):
            break
        decided = again
    else:
        cells[places[mine]] = _WAITING
    gone[mine] = decided
    return gone


def _distinct(places: Indexes, strides: Indexes, number: NDArray[np.int32]) -> tuple[Indexes, Indexes]:
    """Return each place once, with its stride; `number` is a place to work, as large as the cells."""
    at = np.arange(places.size, dtype=np.int32)
    number[places] = at
    once = number[places] == at
    return places[once], strides[once]


def _paths(skeletons: Patches, orders: list[list[int]], patches: Patches) -> _Paths:
    """Return the paths of listed pixels, smoothed and prolonged to the ends of the masks."""
    counts = np.array([len(order) for order in orders])
    starts = np.cumsum(counts) - counts
    order = np.concatenate([np.array(own, np.int64) for own in orders])
    raw = _Paths(
        np.stack([skeletons.rows[order], skeletons.cols[order]], axis=1).astype(float), starts, counts
    )
    # a moving average whose window shrinks towards the ends
    place, size = raw.place, np.repeat(counts, counts)
    half = np.minimum(np.minimum(place, size - 1 - place), SMOOTHING_PX)
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(raw.points, axis=0)])
    at = np.arange(len(order))
    smooth = (sums[at + half + 1] - sums[at - half]) / (2 * half + 1)[:, None]
    tips = np.stack([starts, starts + counts - 1])
    inner = np.stack([np.minimum(10, counts - 1), np.maximum(counts - 11, 0)]) + starts
    ends = _prolonged(smooth[tips], smooth[inner], patches)
    points = np.empty((len(order) + 2 * counts.size, 2))
    wider = starts + 2 * np.arange(counts.size)
    points[at + 2 * raw.owner + 1] = smooth
    points[wider], points[wider + counts + 1] = ends
    return _Paths(points, wider, counts + 2)


def _prolonged(tips: Floats, inner: Floats, patches: Patches) -> Floats:
    """Return the two tips (2, N, 2) of paths moved on along their tangents until the masks end."""
    ahead = tips - inner
    norm = np.hypot(ahead[..., 0], ahead[..., 1])
    # a dot has no tangent
    ahead = np.where((norm < 0.5)[..., None], [[[0.0, -1.0]], [[0.0, 1.0]]], ahead)
    ahead /= np.where(norm < 0.5, 1.0, norm)[..., None]
    owner = np.tile(np.arange(patches.n), 2)
    n_inside = _steps_inside(patches, owner, tips.reshape(-1, 2), 0.125 * ahead.reshape(-1, 2), first=1)
    return np.asarray(tips + ahead * (0.125 * n_inside.reshape(2, -1, 1) + 0.0625))


def _steps_inside(patches: Patches, owner: Indexes, start: Floats, step: Floats, *, first: int) -> Indexes:
    """Return how many of the points start + k step, k from `first`, lie on set pixels before one does not."""
    count = np.zeros(owner.size, np.int64)
    going = np.arange(owner.size)
    at_once = 12
    while going.size:
        k = first + np.arange(at_once)
        rows = start[going, 0, None] + step[going, 0, None] * k
        cols = start[going, 1, None] + step[going, 1, None] * k
        inside = patches.is_set(owner[going, None], rows, cols)
        all_inside = inside.all(axis=1)
        count[going] += np.where(all_inside, at_once, inside.argmin(axis=1))
        going = going[all_inside]
        first += at_once
    return count


def _turning(path: _Paths, spacing: tuple[float, float]) -> Floats:
    """Return the sum of the absolute turning angles of each path, between chords of 5 points."""
    stride = 5
    size = np.repeat(path.counts, path.counts)
    at = np.flatnonzero((path.place > 0) & (path.place % stride == 0) & (path.place < size - stride))
    y1, x1 = ((path.points[at] - path.points[at - stride]) * np.array(spacing)).T
    y2, x2 = ((path.points[at + stride] - path.points[at]) * np.array(spacing)).T
    angle = np.abs(np.arctan2(y1 * x2 - x1 * y2, y1 * y2 + x1 * x2))
    return np.bincount(path.owner[at], angle, minlength=path.counts.size).astype(np.float64, copy=False)


def _widest(path: _Paths, patches: Patches, spacing: tuple[float, float]) -> Floats:
    """Return the largest width of each mask across its path."""
    sy, sx = spacing
    owner, at, last = path.owner, np.arange(len(path.points)), np.repeat(path.counts - 1, path.counts)
    low, high = np.maximum(path.place - 3, 0), np.minimum(path.place + 3, last)
    dy, dx = (
        (path.points[at - path.place + high] - path.points[at - path.place + low]) * np.array(spacing)
    ).T
    norm = np.hypot(dy, dx)
    dx, norm = np.where(norm == 0.0, 1.0, dx), np.where(norm == 0.0, 1.0, norm)
    # across the line in physical space, expressed in pixels: (x, -y) / pitch
    step = 0.25 * min(spacing)
    across = np.stack([step * dx / norm / sy, -step * dy / norm / sx], axis=1)
    within = (path.place > 0) & (path.place < last)
    both = np.concatenate([-across[within], across[within]])
    start, of = np.tile(path.points[within], (2, 1)), np.tile(owner[within], 2)
    reach = np.maximum(_steps_inside(patches, of, start, both, first=0) - 0.5, 0.0).reshape(2, -1) * step
    widest = np.zeros(patches.n)
    np.maximum.at(widest, owner[within], reach[0] + reach[1])
    return widest
