"""Which pixels the finds of an image cover, as a short text: runs along rows, packed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect


def pack_pixels(defects: Sequence[Defect], *, width_px: int) -> str:
    """Return the pixels of the defects of an image of `width_px` columns, numbered from 1, as text.

    Examples
    --------
    >>> mask = np.array([[False, True], [True, True]])
    >>> find = Defect(mask, x_px=3, y_px=1, detector="line", score=1.0, polarity=-1)
    >>> numbers, places = unpack_pixels(pack_pixels([find], width_px=10))
    >>> numbers.tolist(), places.tolist()
    ([1, 1, 1], [14, 23, 24])
    """
    parts = [np.empty((3, 0), np.int32)]
    for number, defect in enumerate(defects, start=1):
        steps = np.diff(np.pad(defect.mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, first = np.nonzero(steps == 1)
        last = np.nonzero(steps == -1)[1]
        starts = (rows + defect.y_px) * width_px + first + defect.x_px
        parts.append(np.stack([np.full_like(starts, number), starts, last - first]).astype(np.int32))
    runs = np.concatenate(parts, axis=1).astype("<i4")
    return base64.b64encode(zlib.compress(runs.tobytes(), 1)).decode()


def unpack_pixels(text: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the number of the defect and the flat index of every pixel, (N,) each."""
    runs = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4").reshape(3, -1)
    numbers, starts, lengths = runs.astype(np.int32)
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return np.repeat(numbers, lengths), places.astype(np.int32)
