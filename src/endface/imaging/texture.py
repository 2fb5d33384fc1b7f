"""Texture of a patch or of every pixel: entropy, co-occurrence, local binary patterns, gradients.

Gray levels are binned between two levels of the surroundings, so gain and offset of the camera cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.patches import NEIGHBOUR_COLS, NEIGHBOUR_ROWS

LEVELS = 16
LBP_BINS = 10


@dataclass(frozen=True, slots=True)
class Texture:
    """Texture of one patch.

    Attributes
    ----------
    entropy : float
        Of the histogram of `LEVELS` gray bins, in bits.
    glcm_contrast, glcm_homogeneity, glcm_energy, glcm_correlation : float
        Of the symmetric co-occurrence matrix of horizontal and vertical neighbours; definitions of
        scikit-image.
    lbp : tuple of float
        Share of each uniform pattern (0 to 8 brighter neighbours) and of all others.
    """

    entropy: float
    glcm_contrast: float
    glcm_homogeneity: float
    glcm_energy: float
    glcm_correlation: float
    lbp: tuple[float, ...]


def measure_texture(
    image: NDArray[np.float32], rows: NDArray[np.int64], cols: NDArray[np.int64], *, low: float, high: float
) -> Texture:
    """Measure the texture of listed pixels, each with its four neighbours.

    Parameters
    ----------
    image : (H, W) float32 ndarray
    rows, cols : (N,) int64 ndarray
        The patch; at least one pixel, inside the image.
    low, high : float
        Gray levels of the first and last bin; those beyond are clipped.

    Returns
    -------
    Texture

    References
    ----------
    R. M. Haralick, K. Shanmugam, I. Dinstein, "Textural features for image classification", 1973,
    doi:10.1109/TSMC.1973.4309314. T. Ojala, M. Pietikäinen, T. Mäenpää, "Multiresolution gray-scale and
    rotation invariant texture classification with local binary patterns", 2002,
    doi:10.1109/TPAMI.2002.1017623.

    Examples
    --------
    >>> flat = np.full((9, 9), 7, np.float32)
    >>> texture = measure_texture(flat, np.array([4, 4]), np.array([4, 5]), low=0, high=10)
    >>> texture.entropy, texture.glcm_energy, texture.lbp[8]
    (0.0, 1.0, 1.0)
    """
    owner = np.zeros(rows.size, np.int64)
    return measure_textures(image, owner, rows, cols, low=np.array([low]), high=np.array([high]))[0]


def measure_textures(
    image: NDArray[np.float32],
    owner: NDArray[np.int64],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    *,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> list[Texture]:
    """Measure the texture of many patches, each as `measure_texture` does.

    `owner` (N,) is the number of the patch of each pixel; `low` and `high` are those of the patches.
    """
    n = low.size
    height, width = image.shape
    scale = np.where(high > low, LEVELS / np.maximum(high - low, 1e-30), 0.0)[owner]
    start = low[owner]
    centre = image[rows, cols].astype(np.float64)
    seen = []
    pairs = np.zeros(n * LEVELS * LEVELS)
    level = _binned(centre, start, scale)
    for down, right in zip(NEIGHBOUR_ROWS, NEIGHBOUR_COLS, strict=True):
        there = np.clip(rows + down, 0, height - 1), np.clip(cols + right, 0, width - 1)
        seen.append(image[there].astype(np.float64))
        if down == 0 or right == 0:
            inside = (there[0] == rows + down) & (there[1] == cols + right)
            other = _binned(seen[-1], start, scale)
            pairs += np.bincount(((owner * LEVELS + level) * LEVELS + other)[inside], minlength=pairs.size)
    filled = np.bincount(owner * LEVELS + level, minlength=n * LEVELS).reshape(n, LEVELS)
    patterns = np.bincount(owner * LBP_BINS + _lbp(centre, seen), minlength=n * LBP_BINS).reshape(n, LBP_BINS)
    size = np.bincount(owner, minlength=n)[:, None]
    share = filled / size
    entropy = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
    figures = _cooccurrence(pairs.reshape(n, LEVELS, LEVELS))
    columns = (entropy + 0.0, *figures, map(tuple, (patterns / size).tolist()))
    return [
        Texture(*row) for row in zip(*(list(map(float, c)) for c in columns[:-1]), columns[-1], strict=True)
    ]


def _binned(
    values: NDArray[np.float64], start: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.int64]:
    return np.clip((values - start) * scale, 0, LEVELS - 1).astype(np.int64)


def _cooccurrence(pairs: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return contrast, homogeneity, energy and correlation of counts (N, a, b) of neighbours a and b."""
    both = (pairs + pairs.transpose(0, 2, 1)).reshape(len(pairs), -1)
    share = both / np.maximum(both.sum(axis=1, keepdims=True), 1.0)
    a, b = (level.ravel().astype(np.float64) for level in np.mgrid[:LEVELS, :LEVELS])
    apart = (a - b) ** 2
    mean = (share * a).sum(axis=1)
    variance = (share * (a * a)).sum(axis=1) - mean * mean
    product = (share * (a * b)).sum(axis=1)
    varied = variance > 1e-12
    return (
        (share * apart).sum(axis=1),
        (share / (1.0 + apart)).sum(axis=1),
        np.sqrt((share * share).sum(axis=1)),
        # the convention of scikit-image for a flat patch
        np.where(varied, (product - mean * mean) / np.where(varied, variance, 1.0), 1.0),
    )


def lbp_map(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the uniform rotation-invariant LBP code (8 neighbours, radius 1) of every pixel: 0 to 9."""
    padded = np.pad(np.asarray(image, np.float64), 1, mode="edge")
    height, width = image.shape
    out = np.empty(image.shape, np.uint8)
    for top in range(0, height, _STRIP):  # in strips that stay in the processor's cache
        size = min(_STRIP, height - top)
        parts = [
            padded[top + 1 + down : top + 1 + down + size, 1 + right : 1 + right + width]
            for down, right in zip(NEIGHBOUR_ROWS, NEIGHBOUR_COLS, strict=True)
        ]
        out[top : top + size] = _lbp(padded[top + 1 : top + 1 + size, 1 : 1 + width], parts)
    return out


def entropy_map(image: NDArray[np.float32], *, radius_px: int = 4) -> NDArray[np.float32]:
    """Return the local entropy in bits: of `LEVELS` gray bins in a square window of 2 `radius_px` + 1.

    The bins span the 0.1 to 99.9 % quantiles of the image.
    """
    low, high = np.quantile(image, (0.001, 0.999))
    binned = np.clip((image - low) * (LEVELS / max(float(high - low), 1e-9)), 0, LEVELS - 1).astype(np.uint8)
    size = (2 * radius_px + 1,) * 2
    out = np.zeros(image.shape, np.float32)
    for level in range(LEVELS):
        share = cv2.blur((binned == level).astype(np.float32), size, borderType=cv2.BORDER_REFLECT)
        out -= share * np.log2(np.maximum(share, 1e-6))
    return np.maximum(out, 0.0)


def gradient(image: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivatives along x (right) and y (down) in gray per px (Scharr)."""
    dx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


def gradient_magnitude(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the steepness of every pixel in gray per px (Scharr)."""
    dx, dy = gradient(image)
    # not cv2.magnitude: its last digit depends on where in memory the arrays lie
    dx *= dx
    dy *= dy
    dx += dy
    return np.sqrt(dx, out=dx)


def histogram_entropy(
    values: NDArray[np.floating[Any]],
    *,
    low: float,
    high: float,
    bins: int = 64,
    counts: NDArray[np.float64] | None = None,
) -> float:
    """Return the entropy in bits of a histogram of `bins` bins between two gray levels.

    `counts` says how often each value occurs; once where not given.
    """
    if values.size == 0 or high <= low:
        return 0.0
    filled, _ = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high), weights=counts)
    share = filled[filled > 0] / filled.sum()
    return float(-(share * np.log2(share)).sum())


def _lbp_table() -> NDArray[np.uint8]:
    """Return for each of 256 patterns its uniform rotation-invariant code."""
    table = np.empty(256, np.uint8)
    for code in range(256):
        bits = [(code >> k) & 1 for k in range(8)]
        changes = sum(bits[k] != bits[(k + 1) % 8] for k in range(8))
        table[code] = sum(bits) if changes <= 2 else LBP_BINS - 1
    return table


_LBP_TABLE = _lbp_table()


_STRIP = 16


def _lbp(centre: NDArray[np.float64], near: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    """Return codes from pixels and their eight neighbours; those on the diagonals are drawn nearer."""
    east, north_east, north, north_west, west, south_west, south, south_east = near
    inner = 0.5 * (2.0 - math.sqrt(2.0))  # weights of bilinear interpolation at 1 / sqrt(2)
    near2, cross, far2 = inner * inner, inner * (1.0 - inner), (1.0 - inner) * (1.0 - inner)
    own = near2 * centre
    code = np.zeros(centre.shape, np.uint8)
    for bit, values in enumerate(
        (
            east,
            own + cross * (east + north) + far2 * north_east,
            north,
            own + cross * (west + north) + far2 * north_west,
            west,
            own + cross * (west + south) + far2 * south_west,
            south,
            own + cross * (east + south) + far2 * south_east,
        )
    ):
        code |= (values >= centre).view(np.uint8) << np.uint8(bit)
    return _LBP_TABLE[code]
