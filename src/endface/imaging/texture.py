"""Texture of a patch or of every pixel: entropy, co-occurrence, local binary patterns, gradients.

Gray levels are binned between two levels of the surroundings, so gain and offset of the camera cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

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
    scale = LEVELS / (high - low) if high > low else 0.0
    figures = _texture(image, rows, cols, float(low), scale, _LBP_TABLE)
    entropy, contrast, homogeneity, energy, correlation = figures[:5].tolist()
    return Texture(entropy, contrast, homogeneity, energy, correlation, tuple(figures[5:].tolist()))


def lbp_map(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the uniform rotation-invariant LBP code (8 neighbours, radius 1) of every pixel: 0 to 9."""
    return np.asarray(_lbp_map(np.require(image, np.float32, ["C", "W"]), _LBP_TABLE))


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


def gradient(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivatives along x (right) and y (down) in gray per px (Scharr)."""
    dx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


def gradient_magnitude(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the steepness of every pixel in gray per px (Scharr)."""
    dx, dy = gradient(image)
    # not cv2.magnitude: its last digit depends on where in memory the arrays lie
    return np.sqrt(dx * dx + dy * dy)


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


@njit(cache=True)
def _lbp(image, r, c, table):  # type: ignore[no-untyped-def]
    """Return the code of one pixel; neighbours on a circle, diagonal ones interpolated."""
    height, width = image.shape
    up, down = max(r - 1, 0), min(r + 1, height - 1)
    left, right = max(c - 1, 0), min(c + 1, width - 1)
    centre = image[r, c]
    near = 0.5 * (2.0 - math.sqrt(2.0))  # weights of bilinear interpolation at 1 / sqrt(2)
    near2 = near * near
    cross = near * (1.0 - near)
    far2 = (1.0 - near) * (1.0 - near)
    code = 0
    if image[r, right] >= centre:
        code |= 1
    if near2 * centre + cross * (image[r, right] + image[up, c]) + far2 * image[up, right] >= centre:
        code |= 2
    if image[up, c] >= centre:
        code |= 4
    if near2 * centre + cross * (image[r, left] + image[up, c]) + far2 * image[up, left] >= centre:
        code |= 8
    if image[r, left] >= centre:
        code |= 16
    if near2 * centre + cross * (image[r, left] + image[down, c]) + far2 * image[down, left] >= centre:
        code |= 32
    if image[down, c] >= centre:
        code |= 64
    if near2 * centre + cross * (image[r, right] + image[down, c]) + far2 * image[down, right] >= centre:
        code |= 128
    return table[code]


@njit(cache=True)
def _lbp_map(image, table):  # type: ignore[no-untyped-def]
    out = np.empty(image.shape, np.uint8)
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            out[r, c] = _lbp(image, r, c, table)
    return out


@njit(cache=True)
def _texture(image, rows, cols, low, scale, table):  # type: ignore[no-untyped-def]
    """Return entropy, GLCM contrast, homogeneity, energy, correlation, then the LBP shares."""
    height, width = image.shape
    n = rows.size
    histogram = np.zeros(16)
    pairs = np.zeros((16, 16))
    out = np.zeros(15)
    for k in range(n):
        r, c = rows[k], cols[k]
        level = min(max(int((image[r, c] - low) * scale), 0), 15)
        histogram[level] += 1.0 / n
        out[5 + _lbp(image, r, c, table)] += 1.0 / n
        for j in range(4):
            r2 = r + (j == 0) - (j == 1)
            c2 = c + (j == 2) - (j == 3)
            if 0 <= r2 < height and 0 <= c2 < width:
                other = min(max(int((image[r2, c2] - low) * scale), 0), 15)
                pairs[level, other] += 1.0
                pairs[other, level] += 1.0
    pairs /= max(pairs.sum(), 1.0)
    mean = 0.0
    square = 0.0
    product = 0.0
    for a in range(16):
        if histogram[a] > 0:
            out[0] -= histogram[a] * math.log2(histogram[a])
        for b in range(16):
            p = pairs[a, b]
            out[1] += p * (a - b) * (a - b)
            out[2] += p / (1.0 + (a - b) * (a - b))
            out[3] += p * p
            mean += p * a
            square += p * a * a
            product += p * a * b
    out[3] = math.sqrt(out[3])
    variance = square - mean * mean
    # the convention of scikit-image for a flat patch
    out[4] = (product - mean * mean) / variance if variance > 1e-12 else 1.0
    return out
