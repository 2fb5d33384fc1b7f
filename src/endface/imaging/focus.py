"""How sharp an image is: the blur of its own clearest edges, as a score between 0 and 1."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

FINE_PX = 1.0
COARSE_PX = 2.5
HALF_SCORE_BLUR_PX = 2.5  # edges this soft score one half
MIN_CRESTS = 30  # fewer edge pixels above the noise cannot be judged
NOISE_FACTOR = 8.0


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
    gray = np.ascontiguousarray(image, np.float32)
    fine_x, fine_y = _smooth_gradient(gray, FINE_PX)
    coarse_x, coarse_y = _smooth_gradient(gray, COARSE_PX)
    steep = cv2.magnitude(coarse_x, coarse_y)
    inside = _well_inside(gray.shape, mask)
    values = steep[inside]
    if values.size == 0:
        return math.nan
    # most pixels show no edge: the median of a Rayleigh distribution gives the noise of the gradient
    noise = float(np.median(values)) / 1.1774
    crest = inside & (steep >= cv2.dilate(steep, np.ones((3, 3), np.uint8))) & (steep > NOISE_FACTOR * noise)
    crest &= steep > 1e-6 * max(float(np.abs(gray).max()), 1e-30)
    if np.count_nonzero(crest) < MIN_CRESTS:
        return math.nan
    crest &= steep >= 0.25 * float(np.quantile(steep[crest], 0.95))
    along = (fine_x[crest] * coarse_x[crest] + fine_y[crest] * coarse_y[crest]) / steep[crest] ** 2
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
    blur = edge_blur_px(image, mask)
    return 0.0 if math.isnan(blur) else 1.0 / (1.0 + (blur / HALF_SCORE_BLUR_PX) ** 2)


def _smooth_gradient(
    gray: NDArray[np.float32], sigma_px: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    size = 2 * math.ceil(4.0 * sigma_px) + 1
    smooth = cv2.GaussianBlur(gray, (size, size), sigma_px, borderType=cv2.BORDER_REFLECT)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


def _well_inside(shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the pixels so far inside mask and frame that the smoothing does not reach beyond."""
    margin = math.ceil(3.0 * COARSE_PX)
    inside = np.zeros(shape, np.uint8)
    inside[margin:-margin, margin:-margin] = 1
    if mask is not None:
        inside *= np.asarray(
            cv2.erode(mask.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)), np.uint8
        )
    return inside.astype(bool)
