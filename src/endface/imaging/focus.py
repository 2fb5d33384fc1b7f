"""How sharp an image is: the blur of its own clearest edges, as a score between 0 and 1."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FINE_PX = 1.0
COARSE_PX = 2.5
HALF_SCORE_BLUR_PX = 2.5  # edges this soft score one half
MIN_CRESTS = 30  # fewer edge pixels above the noise cannot be judged
NOISE_FACTOR = 8.0
_NOISE_SAMPLE = 60_000  # pixels are enough for a median good to half a per cent


def edge_blur_px(image: NDArray[np.generic], mask: NDArray[np.bool_] | None = None) -> float:
    """Estimate the blur (Gaussian sigma, px) of the clearest edges; NaN where none stands out of the noise.

    A step blurred by s has a gradient proportional to 1 / sqrt(s^2 + t^2) after smoothing with t. The ratio
    of two smoothings therefore gives s, whatever the height of the step. It is taken on crests of the
    coarse gradient, the fine one projected on the coarse direction so that noise averages out, and the
    sharpest quarter decides: graded cores and shading are soft in a sharp image too.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values of any depth.
    mask : (H, W) bool ndarray, optional
        Where to look, e.g. without dead frame borders.

    Returns
    -------
    float

    References
    ----------
    J. H. Elder, S. W. Zucker, "Local scale control for edge detection and blur estimation", 1998,
    doi:10.1109/34.689301.

    Examples
    --------
    >>> step = np.zeros((60, 60), np.uint8)
    >>> step[:, 30:] = 200
    >>> edge_blur_px(step) < 0.8
    True
    """
    gray: NDArray[Any] = image if image.dtype == np.uint8 else np.ascontiguousarray(image, np.float32)
    inside = _well_inside(gray.shape, mask)
    coarse_x, coarse_y, steep = _gradient(_smooth(gray, COARSE_PX))
    # most pixels show no edge: the median of a Rayleigh distribution gives the noise of the gradient. An odd
    # step takes rows of both fields of an interlaced frame
    step = 2 * math.isqrt(max(1, gray.size // _NOISE_SAMPLE) // 4) + 1
    values = steep[::step, ::step][inside[::step, ::step]]
    if values.size == 0:
        return math.nan
    noise = float(np.median(values)) / 1.1774
    low, high = cv2.minMaxLoc(gray)[:2]
    least = max(NOISE_FACTOR * noise, 1e-6 * max(abs(low), abs(high), 1e-30))
    crest = steep >= cv2.dilate(steep, np.ones((3, 3), np.uint8))
    crest &= steep > least
    crest &= inside
    # by rows and columns: edges are rare, and few pixels have to be looked at again
    rows, cols = np.divmod(np.flatnonzero(crest), gray.shape[1])
    if rows.size < MIN_CRESTS:
        return math.nan
    found = steep[rows, cols]
    least = max(least, 0.25 * float(np.quantile(found, 0.95)))
    rows, cols, found = rows[found >= least], cols[found >= least], found[found >= least]
    fine = _smooth(gray, FINE_PX)
    fine_x = 0.5 * (fine[rows, cols + 1] - fine[rows, cols - 1])
    fine_y = 0.5 * (fine[rows + 1, cols] - fine[rows - 1, cols])
    along = (fine_x * coarse_x[rows, cols] + fine_y * coarse_y[rows, cols]) / found**2
    ratio = float(np.quantile(along, 0.75)) ** 2
    sharpest = (COARSE_PX / FINE_PX) ** 2
    if ratio <= 1.0:
        return 4.0 * COARSE_PX
    return math.sqrt(max(COARSE_PX**2 - min(ratio, sharpest) * FINE_PX**2, 0.0) / (ratio - 1.0))


def focus_score(image: NDArray[np.generic], mask: NDArray[np.bool_] | None = None) -> float:
    """Return how sharp an image is: 1 pixel-sharp, 0.5 at a blur of 2.5 px, 0 no edge to be seen.

    Score = 1 / (1 + (blur / 2.5 px)^2) with the blur of `edge_blur_px`. Independent of gain and offset, and
    of noise as long as the fibre's rim stands out of it. Comparable between images of like magnification; a
    microscope that oversamples its optics scores lower at best focus. Judges the sharpest part of the image
    only.

    Parameters
    ----------
    image : (H, W) ndarray
    mask : (H, W) bool ndarray, optional
        Where to look.

    Returns
    -------
    float

    Examples
    --------
    >>> focus_score(np.full((40, 40), 7, np.uint8))
    0.0
    """
    return score_of_blur(edge_blur_px(image, mask))


def score_of_blur(blur_px: float) -> float:
    """Return the focus score of a blur as `edge_blur_px` gives it; 0 for NaN.

    Examples
    --------
    >>> score_of_blur(2.5)
    0.5
    """
    return 0.0 if math.isnan(blur_px) else 1.0 / (1.0 + (blur_px / HALF_SCORE_BLUR_PX) ** 2)


def _smooth(gray: NDArray[Any], sigma_px: float) -> NDArray[np.float32]:
    # as cv2.GaussianBlur does it for floats, from bytes as well
    kernel = cv2.getGaussianKernel(2 * math.ceil(4.0 * sigma_px) + 1, sigma_px, cv2.CV_32F)
    blurred = cv2.sepFilter2D(gray, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def _gradient(
    smooth: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the derivatives along x and y and the steepness."""
    dx = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5), np.float32)
    dy = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5), np.float32)
    # not cv2.magnitude: its last digit depends on where in memory the arrays lie
    steep = dx * dx
    steep += dy * dy
    return dx, dy, np.sqrt(steep, out=steep)


def _well_inside(shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Mark the pixels so far inside mask and frame that the smoothing does not reach beyond."""
    margin = math.ceil(3.0 * COARSE_PX)
    inside = np.zeros(shape, np.bool_)
    inside[margin:-margin, margin:-margin] = True
    if mask is not None and not mask.all():
        window = np.ones((2 * margin + 1,) * 2, np.uint8)
        inside &= np.asarray(cv2.erode(mask.view(np.uint8), window)) > 0
    return inside
