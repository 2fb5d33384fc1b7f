"""LEI, linear enhancement: scratches as published by Mei et al. 2018.

Knows arrays and the published steps only. The project's own line detector is in `lines`.

References
----------
Mei, Su, Li, Song, Zhou, "Automated Inspection of Defects in Optical Fiber Connector End Face Using Novel
Morphology Approaches", Sensors 18 (2018) 1408, doi:10.3390/s18051408.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.do2mr import zone_scores


@dataclass(frozen=True, eq=False, slots=True)
class LineScores:
    """Strongest response of all orientations.

    Attributes
    ----------
    scores : (H, W) float32 ndarray
        Standard deviations above the mean response of the same orientation and zone.
    dark : (H, W) bool ndarray
        Where the strongest response is that of a dark line.
    """

    scores: NDArray[np.float32]
    dark: NDArray[np.bool_]


def equalize(image: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Equalise the histogram of the valid pixels of an image (H, W); float32 from 0 to 255 out.

    Integers are equalised at their own depth, floats in 65536 steps. Pixels that are not valid become 127.5.

    Examples
    --------
    >>> gray = np.array([[10, 10, 12, 13]], np.uint8)
    >>> equalize(gray, np.ones((1, 4), bool)).tolist()
    [[127.5, 127.5, 191.25, 255.0]]
    """
    result = np.full(image.shape, 127.5, np.float32)
    seen = np.asarray(image)[valid]
    if seen.size == 0:
        return result
    above = seen.astype(np.float64) - float(seen.min())
    if seen.dtype.kind == "f":
        above *= 65535.0 / max(float(above.max()), 1e-30)
    level = np.round(above).astype(np.intp)
    share = np.cumsum(np.bincount(level)) / seen.size
    result[valid] = 255.0 * share[level]
    return result


def line_kernels(
    *, length_px: int = 15, offset_px: float = 2.0, n_orientations: int = 12, dc_free: bool = True
) -> NDArray[np.float32]:
    """Return the kernels (n, k, k) of the linear detector, orientation i being i * 180 / n degrees.

    Parameters
    ----------
    length_px : int
        Length of each branch, odd.
    offset_px : float
        Distance of the two grey branches from the red one in the middle; 2 makes a detector of 5 px width.
    dc_free : bool
        With r, a, b the means along the red and the two grey branches: 2 r - (a + b), which is 0 on a flat
        surface. Otherwise 2 r - (a + b) / 2, which is the grey level on a flat surface.

    Notes
    -----
    Angles count counter-clockwise from the x axis as seen on the screen. Branches are sampled every pixel and
    spread over the four pixels around each sample (bilinear).

    Examples
    --------
    >>> [round(float(line_kernels(dc_free=free).sum(axis=(1, 2))[3]), 4) + 0 for free in (True, False)]
    [0.0, 1.0]
    """
    half = int(np.ceil(length_px / 2 + abs(offset_px))) + 1
    side = 1.0 if dc_free else 0.5
    kernels = []
    for angle in np.arange(n_orientations) * np.pi / n_orientations:
        red, left, right = (
            branch_kernel(length_px=length_px, angle_rad=angle, offset_px=offset, half_px=half)
            for offset in (0.0, -offset_px, offset_px)
        )
        kernels.append(2 * red - side * (left + right))
    return np.stack(kernels).astype(np.float32)


def branch_kernel(*, length_px: int, angle_rad: float, offset_px: float, half_px: int) -> NDArray[np.float64]:
    """Return the kernel (2 half_px + 1, 2 half_px + 1) of the mean along one branch; its sum is 1."""
    along = np.arange(length_px) - (length_px - 1) / 2
    # rounded, so that whole pixels stay whole at 90 degrees
    x = np.round(half_px + along * np.cos(angle_rad) + offset_px * np.sin(angle_rad), 9)
    y = np.round(half_px - along * np.sin(angle_rad) + offset_px * np.cos(angle_rad), 9)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    kernel = np.zeros((2 * half_px + 2, 2 * half_px + 2))
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (1 - np.abs(x - left - dx)) * (1 - np.abs(y - top - dy))
        np.add.at(kernel, (top + dy, left + dx), share / length_px)
    return kernel[:-1, :-1]


def linear_responses(
    image: NDArray[np.float32], kernels: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Yield the (H, W) float32 response of each kernel in turn, one in memory at a time."""
    for kernel in kernels:
        yield np.asarray(
            cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32
        )


def line_scores(
    image: NDArray[np.float32],
    zones: NDArray[np.uint8],
    *,
    kernels: NDArray[np.float32],
    both_polarities: bool = True,
) -> LineScores:
    """Return the strongest standardised response over all orientations.

    `scores > k` is the same as: threshold each orientation at its mean + k standard deviations, then join the
    masks with OR.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Usually from `equalize`.
    zones : (H, W) uint8 ndarray
        Zones of which mean and standard deviation are taken, 0 where nothing is inspected (score 0).
    kernels : (n, k, k) float32 ndarray
        From `line_kernels`.
    both_polarities : bool
        Look for dark lines too (responses far below the mean).
    """
    bright = np.full(image.shape, -np.inf, np.float32)
    dark = np.full(image.shape, -np.inf, np.float32)
    for response in linear_responses(image, kernels):
        score = zone_scores(response, zones)
        np.maximum(bright, score, out=bright)
        if both_polarities:
            np.maximum(dark, -score, out=dark)
    scores = np.maximum(bright, dark)
    scores[zones == 0] = 0
    return LineScores(scores, np.asarray(dark > bright))
