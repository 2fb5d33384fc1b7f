"""Thin-line filters of the literature, for comparison only: (H, W) float32 in, line strength out.

All answer to dark and bright lines alike and know nothing of zones. Parameters are those of the comparison in
docs/algorithms/mei2018.md; lengths are pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from skimage.filters import frangi

from endface.imaging.lei import branch_kernel

FloatMap = NDArray[np.float32]


def even_gabor(gray: FloatMap, *, wavelength_px: float = 7.0, n_orientations: int = 16) -> FloatMap:
    """Return the largest response of a bank of even, zero-mean Gabor kernels."""
    best = np.zeros_like(gray)
    for angle in np.arange(n_orientations) * np.pi / n_orientations:
        wave, envelope = (
            cv2.getGaborKernel((61, 61), 0.35 * wavelength_px, angle, length, 0.25, 0.0)
            for length in (wavelength_px, 1e9)
        )
        # taking the mean off the whole window instead would make every step within it a line
        kernel = wave - envelope * (wave.sum() / envelope.sum())
        response = cv2.filter2D(
            gray, cv2.CV_32F, kernel / np.abs(kernel).sum(), borderType=cv2.BORDER_REFLECT_101
        )
        np.maximum(best, np.abs(response), out=best)
    return best


def line_opening(
    gray: FloatMap, *, length_px: int = 15, hat_px: int = 11, n_orientations: int = 12
) -> FloatMap:
    """Return the largest opening, by lines of all orientations, of top-hat plus black-hat.

    The image is smoothed by a Gaussian of sigma 1 px first, as DO2MR's.
    """
    smooth = cv2.GaussianBlur(gray, (5, 5), 1.0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (hat_px, hat_px))
    hats = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, disc) + cv2.morphologyEx(
        smooth, cv2.MORPH_BLACKHAT, disc
    )
    best = np.zeros_like(gray)
    half = (length_px - 1) / 2
    for angle in np.arange(n_orientations) * np.pi / n_orientations:
        dx, dy = half * np.cos(angle), -half * np.sin(angle)
        line = np.zeros((length_px, length_px), np.uint8)
        ends = [(round(half + s * dx), round(half + s * dy)) for s in (-1, 1)]
        cv2.line(line, ends[0], ends[1], 1)
        opened = cv2.morphologyEx(hats, cv2.MORPH_OPEN, line, borderType=cv2.BORDER_REFLECT_101)
        np.maximum(best, opened, out=best)
    return best


def multiscale_lines(gray: FloatMap, *, window_px: int = 15, n_orientations: int = 12) -> FloatMap:
    """Return the response of the multi-scale line detector, the larger of both polarities.

    References
    ----------
    Nguyen et al., Pattern Recognition 46 (2013) 703, doi:10.1016/j.patcog.2012.08.009.
    """
    image = _standardized(gray)
    around = cv2.blur(image, (window_px, window_px))
    bright, dark = image.copy(), -image
    lengths = range(1, window_px + 1, 2)
    for length in lengths:
        most, least = np.full_like(image, -np.inf), np.full_like(image, np.inf)
        for angle in np.arange(n_orientations) * np.pi / n_orientations:
            kernel = branch_kernel(length_px=length, angle_rad=angle, offset_px=0.0, half_px=length // 2 + 1)
            mean = cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
            np.maximum(most, mean, out=most)
            np.minimum(least, mean, out=least)
        bright += _standardized(most - around)
        dark += _standardized(around - least)
    return np.asarray(np.maximum(bright, dark) / (len(lengths) + 1), np.float32)


def frangi_lines(gray: FloatMap, *, sigmas_px: tuple[float, ...] = (1.0, 2.0, 3.0)) -> FloatMap:
    """Return Frangi's vesselness (scikit-image), the larger of both polarities."""
    both = [
        frangi(gray, sigmas=sigmas_px, black_ridges=black)  # type: ignore[no-untyped-call]
        for black in (True, False)
    ]
    return np.asarray(np.maximum(*both), np.float32)


def hessian_lines(gray: FloatMap, *, sigma_px: float = 1.5) -> FloatMap:
    """Return the larger absolute eigenvalue of the Hessian (scikit-image)."""
    elements = hessian_matrix(  # type: ignore[no-untyped-call]
        gray, sigma=sigma_px, mode="reflect", use_gaussian_derivatives=False
    )
    values = hessian_matrix_eigvals(elements)  # type: ignore[no-untyped-call]
    return np.asarray(np.abs(values).max(axis=0), np.float32)


def _standardized(values: FloatMap) -> FloatMap:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-6), np.float32)
