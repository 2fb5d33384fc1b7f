"""A gray picture with coloured lines on it as one byte per pixel: a third of the bytes, all to be compressed.

The palette holds 128 grays and blends of the line colours with grays and with their dark seams, so that lines
keep their soft edges.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

N_GRAYS = 128
SEAM = 0.25  # brightness of the seam beside a line, as `draw` makes it
_BITS = 4  # of a channel, when the nearest colour is looked up


def index_picture(picture: NDArray[np.uint8], *, colours: tuple[Rgb, ...]) -> NDArray[np.uint8]:
    """Return the place of every pixel's colour in `blend_palette(colours)`.

    Parameters
    ----------
    picture : (H, W, 3) uint8 ndarray
        RGB; gray but for lines in `colours`.
    colours : tuple of (int, int, int)

    Returns
    -------
    (H, W) uint8 ndarray
        Grays are rounded to 7 bits; other pixels get the nearest colour of the palette.

    Examples
    --------
    >>> yellow = (242, 201, 34)
    >>> codes = index_picture(np.array([[[9, 9, 9], yellow]], np.uint8), colours=(yellow,))
    >>> blend_palette((yellow,))[codes].tolist()
    [[[8, 8, 8], [242, 201, 34]]]
    """
    red, green, blue = cv2.split(picture)
    coloured = cv2.max(cv2.absdiff(red, green), cv2.absdiff(green, blue))
    codes = np.asarray(np.right_shift(green, 1), np.uint8)
    places = cv2.findNonZero(coloured)
    if places is not None:
        x, y = places.reshape(-1, 2).T
        r, g, b = (picture[y, x].astype(np.intp) >> (8 - _BITS)).T
        codes[y, x] = _nearest(colours)[(r << 2 * _BITS) | (g << _BITS) | b]
    return codes


@lru_cache
def blend_palette(colours: tuple[Rgb, ...]) -> NDArray[np.uint8]:
    """Return the (256, 3) uint8 palette: 128 grays from black to white, then blends of the colours.

    Examples
    --------
    >>> blend_palette(((255, 0, 0),))[[0, 127, 128]].tolist()
    [[0, 0, 0], [255, 255, 255], [255, 0, 0]]
    """
    grays = np.arange(N_GRAYS)
    grays = np.repeat(((grays << 1) | (grays >> 6))[:, None], 3, axis=1)
    grounds = np.repeat(np.array([0.0, 85.0, 170.0, 255.0])[:, None], 3, axis=1)
    lines = np.array(colours, np.float64).reshape(-1, 3)
    seams = SEAM * lines
    blends = [lines, seams, 0.5 * (lines + seams)]
    for ground in grounds:
        blends += [share * lines + (1.0 - share) * ground for share in (0.3, 0.6)]
        blends.append(0.5 * (seams + ground))
    table = np.zeros((256, 3), np.uint8)
    table[:N_GRAYS] = grays
    mixed = np.rint(np.concatenate(blends)).astype(np.uint8)[: 256 - N_GRAYS]
    table[N_GRAYS : N_GRAYS + len(mixed)] = mixed
    return table


@lru_cache
def _nearest(colours: tuple[Rgb, ...]) -> NDArray[np.uint8]:
    """Return the palette's entry nearest to every colour of `_BITS` bits per channel."""
    steps = (np.arange(1 << _BITS) << (8 - _BITS)) + (1 << (7 - _BITS))
    red, green, blue = np.meshgrid(steps, steps, steps, indexing="ij")
    cells = np.stack([red, green, blue], axis=-1).reshape(-1, 3).astype(np.float32)
    table = blend_palette(colours).astype(np.float32)
    square = (cells**2).sum(axis=1)[:, None] - 2.0 * cells @ table.T + (table**2).sum(axis=1)
    return np.asarray(square.argmin(axis=1), np.uint8)
