"""The slowly varying light on a surface, whatever lies on it: a polynomial and a local average of the rest.

Both have weights that drop to zero where the image departs from the model, so that defects do not leak in.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import robust_sigma

# Tukey's biweight rejects residuals beyond this many standard deviations (95 % efficiency on normal data)
_TUKEY_C = 4.685
# vignetting, wherever its middle lies, is a polynomial of the fourth degree; so many pieces of the picture
# along each side show it
_VIGNETTING = 4
_PIECES = 48


def tukey_weights(residual: NDArray[np.float32], sigma: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """Return weights of residuals: 1 at 0, none from 4.7 standard deviations on (Tukey's biweight)."""
    weights = residual * (np.float32(1 / _TUKEY_C) / np.maximum(sigma, np.float32(1e-6)))
    weights *= weights
    np.subtract(np.float32(1), weights, out=weights)
    np.maximum(weights, np.float32(0), out=weights)
    weights *= weights
    return np.asarray(weights, np.float32)


def smooth_background(
    image: NDArray[np.float32], mask: NDArray[np.bool_], *, scale_px: float, iterations: int = 3
) -> NDArray[np.float32]:
    """Estimate the slowly varying illumination inside `mask`, ignoring what stands out from it.

    A polynomial follows the vignetting of the whole picture, a local average what is left of it: an
    average alone lags behind where the light falls off, most of all in corners.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Gray values.
    mask : (H, W) bool ndarray
        Pixels that show the surface whose background is wanted.
    scale_px : float
        Standard deviation of the averaging window. Structure smaller than this is not background.
    iterations : int
        Re-weighting rounds.

    Returns
    -------
    (H, W) float32 ndarray
        Background; outside `mask` it is an extrapolation.

    Examples
    --------
    >>> image = np.full((64, 64), 100, np.float32)
    >>> image[30:33, 30:33] = 0
    >>> background = smooth_background(image, np.ones((64, 64), bool), scale_px=8)
    >>> bool(np.abs(background - 100).max() < 0.5)
    True
    """
    # the background is smooth: averages of small blocks lose nothing and cost little, and a block shows a
    # defect in it better than a pixel does
    step = max(1, int(scale_px / 4))
    height, width = image.shape
    live = mask.astype(np.float32)
    base = block_means(live, step)
    level = np.asarray(block_means(image * live, step) / np.maximum(base, 1e-6), np.float32)
    bowl = robust_polynomial(level, base, degree=_VIGNETTING)
    level -= bowl
    sigma = scale_px / step
    known = base > 0.1
    weights = base
    coarse = np.zeros_like(level)
    for _ in range(iterations):
        top, bottom = _gaussian(weights * level, sigma), _gaussian(weights, sigma)
        floor = 1e-4 * float(bottom.max()) + 1e-12
        # where nothing is known nearby the overall mean stands in
        mean = float(top.sum()) / max(float(bottom.sum()), 1e-12)
        coarse = (top + np.float32(floor * mean)) / (bottom + np.float32(floor))
        # averaging the rest once more takes out the bias where the background bends, most of all at borders
        coarse += _gaussian(weights * (level - coarse), sigma) / (bottom + np.float32(floor))
        rest = level - coarse
        weights = np.asarray(base * tukey_weights(rest, robust_sigma(rest[known])), np.float32)
    return enlarge(coarse + bowl, step)[:height, :width]


def robust_polynomial(
    values: NDArray[np.float32], share: NDArray[np.float32], *, degree: int
) -> NDArray[np.float32]:
    """Fit a polynomial in both coordinates to an image (h, w), whatever stands out from it.

    Parameters
    ----------
    values : (h, w) float32 ndarray
    share : (h, w) float32 ndarray
        How much each pixel counts, 0 to 1. Elsewhere the polynomial is held to the range of what counts.
    degree : int
        Highest sum of the powers of both coordinates; less where too little is known for it.

    Returns
    -------
    (h, w) float32 ndarray

    Examples
    --------
    >>> y, x = np.mgrid[:40, :50].astype(np.float32)
    >>> bowl = x + 0.1 * y**2
    >>> dirty = bowl.copy()
    >>> dirty[10:14, 20:30] = 300
    >>> fit = robust_polynomial(dirty, np.ones_like(bowl), degree=2)
    >>> bool(np.abs(fit - bowl).max() < 0.1)
    True
    """
    size = [min(side, _PIECES) for side in values.shape]
    weights = cv2.resize(share, size[::-1], interpolation=cv2.INTER_AREA)
    pieces = cv2.resize(values * share, size[::-1], interpolation=cv2.INTER_AREA) / np.maximum(weights, 1e-6)
    live = weights > 0.1
    if not live.any():
        return np.zeros_like(values)
    while degree and np.count_nonzero(live) < 2 * (degree + 1) * (degree + 2):
        degree -= 1
    powers = np.add.outer(np.arange(degree + 1), np.arange(degree + 1)) <= degree
    down, along = (_powers(side, degree) for side in size)
    terms = np.einsum("iy,jx->yxij", down, along)[live][:, powers]
    pieces, weights = pieces[live], weights[live]
    trust, fit, factors = weights, np.zeros_like(pieces), np.zeros(terms.shape[1])
    for _ in range(4):
        weighted = terms * trust[:, None]
        # a whisker of ridge: what is not seen stays flat
        normal = terms.T @ weighted + (1e-6 * trust.sum() + 1e-12) * np.eye(terms.shape[1])
        factors = np.linalg.solve(normal, weighted.T @ pieces)
        fit = terms @ factors
        rest = np.asarray(pieces - fit, np.float32)
        trust = weights * tukey_weights(rest, robust_sigma(rest))
    table = np.zeros(powers.shape)
    table[powers] = factors
    down, along = (_powers(side, degree) for side in values.shape)
    surface = down.T @ table @ along
    # beyond what is known a polynomial runs away
    return np.where(share > 0, surface, np.clip(surface, fit.min(), fit.max())).astype(np.float32)


def _powers(count: int, degree: int) -> NDArray[np.float64]:
    """Return Legendre polynomials at the middles of `count` equal pieces of -1 ... 1, (degree + 1, count)."""
    middles = (np.arange(count) + 0.5) * (2 / count) - 1
    return np.polynomial.legendre.legvander(middles, degree).T


def block_means(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return the means of blocks of `step` squared; beyond the image (H, W) there are zeros."""
    rows, cols = -(-values.shape[0] // step), -(-values.shape[1] // step)
    below, right = rows * step - values.shape[0], cols * step - values.shape[1]
    if below or right:
        values = np.asarray(
            cv2.copyMakeBorder(values, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0), np.float32
        )
    return np.asarray(cv2.resize(values, (cols, rows), interpolation=cv2.INTER_AREA), np.float32)


def enlarge(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Interpolate block means to pixels, going on straight beyond the outermost block centres."""
    rows, cols = values.shape
    # a single row or column of blocks has no slope to go on with
    if min(rows, cols) > 1:
        padded = np.pad(values, 1, mode="reflect", reflect_type="odd")
    else:
        padded = np.pad(values, 1, mode="edge")
    size = ((cols + 2) * step, (rows + 2) * step)
    large = cv2.resize(padded, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[step : step * (rows + 1), step : step * (cols + 1)])


def _gaussian(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
