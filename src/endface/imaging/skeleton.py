"""Centre lines: thinning of a mask, its longest path as a smooth curve, length, ends, branches.

Lengths are geodesic along the centre line and in the units of `spacing` (row pitch, column pitch).
How wide a line *looks* is in `linewidth`; here the width is that of the mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endface.imaging.pathgraph import NEIGHBOUR_COLS, NEIGHBOUR_ROWS, build_graph, longest_path
from endface.imaging.shape import Pixels, pad, set_pixels

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

    Examples
    --------
    >>> int(thin(np.ones((3, 9), bool)).sum()) <= 9
    True
    """
    padded = pad(mask)
    rows, cols = np.nonzero(mask)
    _thin(padded, rows + 1, cols + 1, _SIMPLE)
    return padded[1:-1, 1:-1].astype(bool)


def trace(
    mask: NDArray[np.bool_], *, spacing: tuple[float, float] = (1.0, 1.0), pixels: Pixels | None = None
) -> Centerline:
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
    pixels : (rows, cols), optional
        What `set_pixels(mask)` gives, where it is at hand: in the box of a long scratch it costs most of
        the time.

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
    rows, cols = set_pixels(mask) if pixels is None else pixels
    if rows.size == 0:
        raise ValueError("trace: expected a mask with at least one pixel, found none")
    padded = pad(mask)
    thinned = padded.copy()
    skeleton_rows, skeleton_cols = _thin(thinned, rows + 1, cols + 1, _SIMPLE)
    index = np.zeros(padded.shape, np.int32)
    links, degree, crossing, n_parts = build_graph(thinned, index, skeleton_rows, skeleton_cols)
    order, n_short = longest_path(links, degree, crossing, skeleton_rows, skeleton_cols, padded, *spacing)
    path = _smooth(skeleton_rows[order].astype(float), skeleton_cols[order].astype(float), SMOOTHING_PX)
    path = _prolong(path, padded)
    figures = _path_figures(path, padded, *spacing)
    return Centerline(
        path_px=path - 1.0,
        length_px=float(figures[0]),
        length=float(figures[1]),
        chord=float(figures[2]),
        turning_rad=float(figures[3]),
        mean_width=rows.size * spacing[0] * spacing[1] / float(figures[1]),
        max_width=float(figures[4]),
        skeleton_px=int(skeleton_rows.size),
        n_branches=max(0, int(np.count_nonzero(crossing >= 3)) - int(n_short)),
        n_ends=max(0, int(np.count_nonzero(degree == 1)) - int(n_short)),
        n_parts=int(n_parts),
    )


def _simple_table() -> NDArray[np.bool_]:
    """Return for each of 256 neighbourhoods whether the centre is simple (Yokoi number 1), no end point."""
    table = np.zeros(256, bool)
    for code in range(256):
        on = [(code >> k) & 1 for k in range(8)]  # counter-clockwise from +x
        off = [1 - bit for bit in on] + [1 - on[0]]
        yokoi = sum(off[k] - off[k] * off[k + 1] * off[(k + 2) % 8] for k in (0, 2, 4, 6))
        table[code] = yokoi == 1 and sum(on) >= 2
    return table


_SIMPLE = _simple_table()


@njit(cache=True)
def _thin(image, rows, cols, simple):  # type: ignore[no-untyped-def]
    """Thin `image` (padded uint8) in place and return the rows and columns that are left."""
    rows = rows.copy()
    cols = cols.copy()
    n = rows.size
    marked = np.empty(n, np.int64)
    changed = True
    while changed:
        changed = False
        for side in (2, 6, 0, 4):
            n_marked = 0
            for k in range(n):
                if image[rows[k] + NEIGHBOUR_ROWS[side], cols[k] + NEIGHBOUR_COLS[side]] == 0:
                    marked[n_marked] = k
                    n_marked += 1
            for m in range(n_marked):
                k = marked[m]
                code = 0
                for j in range(8):
                    code |= image[rows[k] + NEIGHBOUR_ROWS[j], cols[k] + NEIGHBOUR_COLS[j]] << j
                if simple[code]:
                    image[rows[k], cols[k]] = 0
                    changed = True
            kept = 0
            for k in range(n):
                if image[rows[k], cols[k]]:
                    rows[kept] = rows[k]
                    cols[kept] = cols[k]
                    kept += 1
            n = kept
    return rows[:n].copy(), cols[:n].copy()


@njit(cache=True)
def _smooth(rows, cols, half):  # type: ignore[no-untyped-def]
    """Return the path (n, 2) after a moving average whose window shrinks towards the ends."""
    n = rows.size
    out = np.empty((n, 2))
    for k in range(n):
        reach = min(half, k, n - 1 - k)
        row = 0.0
        col = 0.0
        for m in range(k - reach, k + reach + 1):
            row += rows[m]
            col += cols[m]
        out[k, 0] = row / (2 * reach + 1)
        out[k, 1] = col / (2 * reach + 1)
    return out


@njit(cache=True)
def _inside(padded, row, col):  # type: ignore[no-untyped-def]
    """Tell whether the pixel nearest to a position is set."""
    r = int(np.floor(row + 0.5))
    c = int(np.floor(col + 0.5))
    return 0 <= r < padded.shape[0] and 0 <= c < padded.shape[1] and padded[r, c] != 0


@njit(cache=True)
def _prolong(path, padded):  # type: ignore[no-untyped-def]
    """Return the path with both ends moved on along their tangents until the mask ends."""
    n = path.shape[0]
    out = np.empty((n + 2, 2))
    out[1 : n + 1] = path
    for end in range(2):
        tip = 0 if end == 0 else n - 1
        inner = min(10, n - 1) if end == 0 else max(n - 11, 0)
        dr = path[tip, 0] - path[inner, 0]
        dc = path[tip, 1] - path[inner, 1]
        norm = math.hypot(dr, dc)
        if norm < 0.5:  # a dot has no tangent
            dr, dc, norm = 0.0, (1.0 if end else -1.0), 1.0
        step = 0.0
        while _inside(
            padded, path[tip, 0] + dr / norm * (step + 0.125), path[tip, 1] + dc / norm * (step + 0.125)
        ):
            step += 0.125
        step += 0.0625
        place = 0 if end == 0 else n + 1
        out[place, 0] = path[tip, 0] + dr / norm * step
        out[place, 1] = path[tip, 1] + dc / norm * step
    return out


@njit(cache=True)
def _path_figures(path, padded, sy, sx):  # type: ignore[no-untyped-def]
    """Return length (px), length, chord, turning angle and largest mask width across the path."""
    n = path.shape[0]
    out = np.zeros(5)
    for k in range(n - 1):
        dr = path[k + 1, 0] - path[k, 0]
        dc = path[k + 1, 1] - path[k, 1]
        out[0] += math.hypot(dr, dc)
        out[1] += math.hypot(dr * sy, dc * sx)
    out[2] = math.hypot((path[n - 1, 0] - path[0, 0]) * sy, (path[n - 1, 1] - path[0, 1]) * sx)
    stride = 5
    for k in range(stride, n - stride, stride):
        y1, x1 = (path[k, 0] - path[k - stride, 0]) * sy, (path[k, 1] - path[k - stride, 1]) * sx
        y2, x2 = (path[k + stride, 0] - path[k, 0]) * sy, (path[k + stride, 1] - path[k, 1]) * sx
        out[3] += abs(math.atan2(y1 * x2 - x1 * y2, y1 * y2 + x1 * x2))
    for k in range(1, n - 1):
        low, high = max(k - 3, 0), min(k + 3, n - 1)
        dy, dx = (path[high, 0] - path[low, 0]) * sy, (path[high, 1] - path[low, 1]) * sx
        norm = math.hypot(dy, dx)
        if norm == 0.0:
            dy, dx, norm = 0.0, 1.0, 1.0
        # across the line in physical space, expressed in pixels: (x, -y) / pitch
        step_row, step_col = 0.25 * min(sy, sx) * dx / norm / sy, -0.25 * min(sy, sx) * dy / norm / sx
        width = 0.0
        for sign in (-1.0, 1.0):
            reach = 0.0
            while _inside(padded, path[k, 0] + sign * step_row * reach, path[k, 1] + sign * step_col * reach):
                reach += 1.0
            width += max(reach - 0.5, 0.0) * 0.25 * min(sy, sx)
        out[4] = max(out[4], width)
    return out
