"""The pixels of many patches in flat arrays, so that one call measures all patches of an image.

Loops over pixels need compiling, which takes seconds; loops over patches cost each of them a tenth of a
millisecond in every step. Arrays over the pixels of all patches need neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indexes = NDArray[np.int64]
Floats = NDArray[np.float64]

MARGIN = 8  # unset pixels around every box: what looks at surroundings stays in the patch's own cell
# counter-clockwise from +x as (row, col), even entries are the 4-neighbours
NEIGHBOUR_ROWS = np.array([0, -1, -1, -1, 0, 1, 1, 1])
NEIGHBOUR_COLS = np.array([1, 1, 0, -1, -1, -1, 0, 1])


@dataclass(frozen=True, eq=False, slots=True)
class Patches:
    """The set pixels of N masks, those of the first mask first, each mask's row by row.

    Attributes
    ----------
    cells : (S,) uint8 ndarray
        The masks with a margin of `MARGIN`, row by row, one after the other; 1 where set.
    origins, strides : (N,) int64 ndarray
        Place in `cells` of the first pixel of each mask, and of the next row after a row.
    sizes : (N, 2) int64 ndarray
        Height and width of the masks.
    owner, rows, cols, places : (P,) int64 ndarray
        Of each set pixel: number of its mask, row and column in it, place in `cells`.
    codes : (P,) uint8 ndarray
        Which of the neighbours of each set pixel are set: bit k for neighbour k.
    firsts, counts : (N,) int64 ndarray
        Number of each mask's first pixel, and how many it has.
    """

    cells: NDArray[np.uint8]
    origins: Indexes
    strides: Indexes
    sizes: Indexes
    owner: Indexes
    rows: Indexes
    cols: Indexes
    places: Indexes
    codes: NDArray[np.uint8]
    firsts: Indexes
    counts: Indexes

    @staticmethod
    def of(masks: Sequence[NDArray[np.bool_]]) -> Patches:
        """Lay masks side by side.

        Raises
        ------
        ValueError
            If a mask has no pixel.

        Examples
        --------
        >>> both = Patches.of([np.ones((2, 3), bool), np.eye(2, dtype=bool)])
        >>> both.counts.tolist(), both.owner.tolist()
        ([6, 2], [0, 0, 0, 0, 0, 0, 1, 1])
        """
        sizes = np.array([mask.shape for mask in masks], np.int64).reshape(-1, 2)
        padded = sizes + 2 * MARGIN
        ends = np.cumsum(padded[:, 0] * padded[:, 1])
        strides = padded[:, 1]
        origins = ends - padded[:, 0] * strides + MARGIN * strides + MARGIN
        found = [np.nonzero(mask) for mask in masks]
        counts = np.array([rows.size for rows, _ in found], np.int64)
        if (counts == 0).any():
            raise ValueError(
                f"expected masks with at least one pixel, found none in mask {int(counts.argmin())}"
            )
        owner = np.repeat(np.arange(len(masks)), counts)
        rows, cols = (np.concatenate([pair[k] for pair in found]).astype(np.int64) for k in (0, 1))
        places = origins[owner] + rows * strides[owner] + cols
        cells = np.zeros(int(ends[-1]), np.uint8)
        cells[places] = 1
        firsts = np.cumsum(counts) - counts
        codes = packed(cells[_around(places, strides[owner])])
        return Patches(cells, origins, strides, sizes, owner, rows, cols, places, codes, firsts, counts)

    @property
    def n(self) -> int:
        """Number of masks."""
        return self.counts.size

    def around(self, places: Indexes, owner: Indexes) -> Indexes:
        """Return the places (P, 8) of the neighbours, counter-clockwise from +x."""
        return _around(places, self.strides[owner])

    def locate(self, places: Indexes) -> tuple[Indexes, Indexes, Indexes]:
        """Return owner, row and column of places in `cells`; rows and columns are negative in margins."""
        corners = self.origins - MARGIN * self.strides - MARGIN
        owner = np.searchsorted(corners, places, side="right") - 1
        rows, cols = np.divmod(places - corners[owner], self.strides[owner])
        return owner, rows - MARGIN, cols - MARGIN

    def is_set(self, owner: Indexes, rows: Floats, cols: Floats) -> NDArray[np.bool_]:
        """Tell whether the pixels nearest to positions are set; `owner` broadcasts against positions."""
        sizes = self.sizes[owner]
        row = np.clip(np.floor(rows + 0.5), -1, sizes[..., 0]).astype(np.int64)
        col = np.clip(np.floor(cols + 0.5), -1, sizes[..., 1]).astype(np.int64)
        return np.asarray(self.cells[self.origins[owner] + row * self.strides[owner] + col] > 0)

    def total(self, values: NDArray[Any] | None = None) -> Floats:
        """Return the sum of the pixels' values for each patch."""
        return np.bincount(self.owner, values, minlength=self.n).astype(np.float64, copy=False)


def steps(strides: Indexes, rows: Indexes, cols: Indexes) -> Indexes:
    """Return how far (P, K) places lie apart that are so many rows and columns apart."""
    return np.asarray(strides[:, None] * rows + cols)


def _around(places: Indexes, strides: Indexes) -> Indexes:
    return places[:, None] + steps(strides, NEIGHBOUR_ROWS, NEIGHBOUR_COLS)


def packed(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (P,) codes of (P, 8) flags."""
    return np.packbits(bits, axis=1, bitorder="little")[:, 0]


def grouped_medians(values: NDArray[np.float32], groups: Indexes, n_groups: int) -> Floats:
    """Return the median of the values of each group, NaN of groups without any.

    Examples
    --------
    >>> grouped_medians(np.array([3, -1, 7, 5], np.float32), np.array([0, 0, 0, 2]), 3)
    array([ 3., nan,  5.])
    """
    # the order of floats as an order of integers, behind their group: one sort does for all
    bits = values.astype(np.float32, copy=False).view(np.int32).astype(np.int64)
    keys = np.sort((groups << 33) + np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF)))
    counts = np.bincount(groups, minlength=n_groups)
    some = np.flatnonzero(counts)
    firsts = (np.cumsum(counts) - counts)[some]
    middle = keys[[firsts + (counts[some] - 1) // 2, firsts + counts[some] // 2]] - (some << 33)
    found = np.abs(middle).astype(np.int32).view(np.float32) * np.where(middle < 0, -0.5, 0.5)
    out = np.full(n_groups, np.nan)
    out[some] = found.sum(axis=0)
    return out
