"""Statistics by which rendered and real end faces are compared: noise, gradients, contrast, rim.

Needs the rim's ellipse only, so that labels, found zones and rendered truth serve alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.synthesis.shapes import FloatMap

#: the profile across the rim runs this many pixels to either side
PROFILE_REACH_PX = 12


@dataclass(frozen=True, eq=False)
class FaceStatistics:
    """Numbers that say how an end-face image looks; grey levels of an 8-bit image.

    Attributes
    ----------
    noise_ferrule_gray, noise_cladding_gray, noise_core_gray : float
        Robust standard deviation of what a Gaussian of 2 px does not hold (noise and grain).
    ferrule_gray, cladding_share : float
        Brightness of the ferrule near the fibre; of the cladding as a share of it.
    corner_share : float
        Brightness of the outermost tenth of the ferrule as a share of that near the fibre.
    gradient_median, gradient_p99 : float
        Gradient on the ferrule, grey levels per pixel.
    rim_width_px : float
        Height of the step at the rim over its steepest slope.
    overshoot_share, undershoot_share : float
        How far the profile across the rim swings beyond its two sides, as a share of the step.
    rim_profile : (25,) float64 ndarray
        Mean profile across the rim, one value per pixel, 0 for the cladding and 1 for the ferrule.
    """

    noise_ferrule_gray: float
    noise_cladding_gray: float
    noise_core_gray: float
    ferrule_gray: float
    cladding_share: float
    corner_share: float
    gradient_median: float
    gradient_p99: float
    rim_width_px: float
    overshoot_share: float
    undershoot_share: float
    rim_profile: NDArray[np.float64]


def noise_gray(gray: FloatMap, where: NDArray[np.bool_]) -> float:
    """Measure noise and grain of an image inside a mask: robust standard deviation of its fine detail.

    Fine detail is what a Gaussian of 2 px does not hold: 96 % of the power of white noise. Unlike a mask of
    second differences this also sees noise whose finest part JPEG has taken away. NaN for an empty mask.
    """
    values = _detail(gray)[where]
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else float("nan")


def _detail(gray: FloatMap) -> FloatMap:
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), 2.0), np.float32)


def face_statistics(
    gray: NDArray[np.generic], cladding: Ellipse, *, valid: NDArray[np.bool_] | None = None
) -> FaceStatistics:
    """Measure the look of an end-face image (H, W) with a known rim.

    Parameters
    ----------
    valid : (H, W) bool ndarray, optional
        False on dead borders, which are left out.

    Examples
    --------
    >>> from endface.synthesis import render_of_set
    >>> made = render_of_set(seed=1, index=0, preset="grabber")
    >>> found = face_statistics(made.clean, made.truth.cladding, valid=made.truth.valid)
    >>> 0.5 < found.noise_ferrule_gray < 3.0
    True
    """
    image = np.asarray(gray, np.float32) / (257.0 if gray.dtype == np.uint16 else 1.0)
    usable = np.ones(image.shape, np.bool_) if valid is None else valid
    usable = cv2.erode(usable.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    radius = cladding.radius_map((image.shape[0], image.shape[1]))
    ferrule = usable & (radius > 1.3)
    near = ferrule & (radius < 1.7)
    glass, core = (radius > 0.75) & (radius < 0.92), radius < 0.15
    slope = np.hypot(
        cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=0.125)
    )[ferrule]
    far = ferrule & (radius > np.quantile(radius[ferrule], 0.9))
    low, high = float(np.median(image[glass])), float(np.median(image[near]))
    profile = rim_profile(image, cladding)
    inside, outside = profile[:3].mean(), profile[-3:].mean()
    profile = (profile - inside) / (outside - inside if abs(outside - inside) > 1.0 else 1.0)
    return FaceStatistics(
        noise_ferrule_gray=noise_gray(image, near),
        noise_cladding_gray=noise_gray(image, glass),
        noise_core_gray=noise_gray(image, core),
        ferrule_gray=high,
        cladding_share=low / max(high, 1.0),
        corner_share=float(np.median(image[far])) / max(high, 1.0),
        gradient_median=float(np.median(slope)),
        gradient_p99=float(np.quantile(slope, 0.99)),
        rim_width_px=1.0 / max(float(np.abs(np.diff(profile)).max()), 1e-3),
        overshoot_share=float(profile.max() - 1.0),
        undershoot_share=float(-profile.min()),
        rim_profile=profile,
    )


def rim_profile(gray: FloatMap, cladding: Ellipse) -> NDArray[np.float64]:
    """Return the mean grey level at whole pixels from the rim, from -12 (glass) to +12 (ferrule)."""
    distance = (cladding.radius_map((gray.shape[0], gray.shape[1])) - 1.0) * np.float32(cladding.radius_px)
    near = np.abs(distance) < PROFILE_REACH_PX + 0.5
    bins = np.round(distance[near]).astype(int) + PROFILE_REACH_PX
    counts = np.bincount(bins, minlength=2 * PROFILE_REACH_PX + 1)
    return np.asarray(np.bincount(bins, gray[near], minlength=counts.size) / np.maximum(counts, 1))
