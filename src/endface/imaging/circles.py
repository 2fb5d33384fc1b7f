"""Where circles may be in a picture: a coarse vote of edge directions over centres and radii.

Proposes only; `rim` and `ellipse` measure what is proposed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_RADIUS_RATIO = 1.08
# rings are this thick against their radius, so that a circle seen through pixels of 9 : 10 still votes
_RING_SIGMA = 0.04
_MAX_OF_A_SIZE = 4


@dataclass(frozen=True, slots=True)
class CircleCandidate:
    """A circle the edges vote for; polarity is +1 where it is brighter outside, score is in sigmas."""

    cx_px: float
    cy_px: float
    radius_px: float
    polarity: int
    score: float


def find_circles(
    image: NDArray[np.float32],
    *,
    min_radius_px: float,
    max_radius_px: float,
    count: int = 10,
) -> list[CircleCandidate]:
    """Propose circles in a small picture, best first.

    The gradient, its strength limited so that every clear edge counts alike, is correlated with rings of
    arrows that point outwards. By the divergence theorem that is the divergence of the gradient correlated
    with soft discs, one product in the frequency domain per radius.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        A small picture (128 to 256 px), NaN where nothing is shown.

    Returns
    -------
    list of CircleCandidate
        At most `count`, no two alike.

    References
    ----------
    Atherton and Kerbyson, Image and Vision Computing 17 (1999), doi:10.1016/S0262-8856(98)00160-7.
    """
    gx, gy = _limited_gradient(image)
    height, width = image.shape
    margin = int(0.3 * max_radius_px)
    shape = (cv2.getOptimalDFTSize(height + margin), cv2.getOptimalDFTSize(width + margin))
    n_radii = 1 + math.ceil(math.log(max_radius_px / min_radius_px) / math.log(_RADIUS_RATIO))
    radii = min_radius_px * _RADIUS_RATIO ** np.arange(n_radii)
    fy = np.fft.fftfreq(shape[0])[:, None].astype(np.float32)
    fx = np.fft.rfftfreq(shape[1])[None, :].astype(np.float32)
    divergence = np.complex64(2j * np.pi) * (fx * np.fft.rfft2(gx, shape) + fy * np.fft.rfft2(gy, shape))
    rms = math.sqrt(float(np.mean(gx**2 + gy**2)) / 2) + 1e-9
    found: list[CircleCandidate] = []
    for radius, disc in zip(radii, _disc_transforms(shape, float(min_radius_px), n_radii), strict=True):
        sigma = _ring_sigma(float(radius))
        spread = rms * math.sqrt(math.pi * float(radius) / (math.sqrt(math.pi) * sigma))
        votes = np.fft.irfft2(divergence * disc, shape)[:height, :width]
        low, high, at_low, at_high = cv2.minMaxLoc(votes)
        for score, place, polarity in ((high, at_high, 1), (-low, at_low, -1)):
            found.append(
                CircleCandidate(float(place[0]), float(place[1]), float(radius), polarity, score / spread)
            )
    return _without_likes(found, count)


def _ring_sigma(radius_px: float) -> float:
    return max(0.8, _RING_SIGMA * radius_px)


def _limited_gradient(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradient divided by its length plus a few times its noise; 0 beside missing pixels."""
    known = np.isfinite(image)
    filled = np.where(known, image, np.float32(np.median(image[known]) if known.any() else 0))
    smooth = cv2.GaussianBlur(filled, (0, 0), 0.8)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    usable = cv2.erode(
        known.astype(np.uint8), np.ones((7, 7), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1
    ).astype(bool)
    length = cv2.magnitude(gx, gy)
    typical = float(np.median(length[usable])) if usable.any() else 0.0
    limit = 3 * typical + 0.02 * float(length.max()) + 1e-12
    scale = np.where(usable, 1 / (length + np.float32(limit)), np.float32(0)).astype(np.float32)
    return gx * scale, gy * scale


@lru_cache(maxsize=8)
def _disc_transforms(
    shape: tuple[int, int], min_radius_px: float, n_radii: int
) -> tuple[NDArray[np.float32], ...]:
    """Fourier transforms of soft discs, each the shape of the half spectrum."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    table = np.linspace(0, 0.75, 6000)
    discs = []
    for radius in min_radius_px * _RADIUS_RATIO ** np.arange(n_radii):
        sigma = _ring_sigma(float(radius))
        with np.errstate(invalid="ignore", divide="ignore"):
            profile = np.where(
                table > 0, radius * _bessel_j1(2 * np.pi * table * radius) / table, np.pi * radius**2
            )
        profile *= np.exp(-2 * (np.pi * sigma * table) ** 2)
        discs.append(np.interp(frequency, table, profile).astype(np.float32))
    return tuple(discs)


def _bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Bessel function of order 1 of values from 0 on, right to 1e-7.

    References
    ----------
    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 9.4.4 and 9.4.6.
    """
    square = np.square(np.minimum(x, 3.0) / 3.0)
    near = x * np.polyval(_J1_NEAR, square)
    inverse = 3.0 / np.maximum(x, 3.0)
    height, phase = (np.polyval(part, inverse) for part in (_J1_HEIGHT, _J1_PHASE))
    return np.asarray(np.where(x <= 3.0, near, height * np.cos(x + phase) / np.sqrt(np.maximum(x, 3.0))))


_J1_NEAR = (0.00001109, -0.00031761, 0.00443319, -0.03954289, 0.21093573, -0.56249985, 0.5)
_J1_HEIGHT = (-0.00020033, 0.00113653, -0.00249511, 0.00017105, 0.01659667, 0.00000156, 0.79788456)
_J1_PHASE = (-0.00029166, 0.00079824, 0.00074348, -0.00637879, 0.00005650, 0.12499612, -2.35619449)


def _without_likes(found: list[CircleCandidate], count: int) -> list[CircleCandidate]:
    kept: list[CircleCandidate] = []
    for circle in sorted(found, key=lambda c: -c.score):
        if len(kept) == count:
            break
        # specks of one size must not crowd out the one fibre of another
        alike_in_size = sum(abs(math.log2(circle.radius_px / other.radius_px)) < 0.5 for other in kept)
        if alike_in_size < _MAX_OF_A_SIZE and not any(_alike(circle, other) for other in kept):
            kept.append(circle)
    return kept


def _alike(one: CircleCandidate, other: CircleCandidate) -> bool:
    distance = math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px)
    return (
        one.polarity == other.polarity
        and distance < 0.25 * max(one.radius_px, other.radius_px) + 1
        and abs(math.log(one.radius_px / other.radius_px)) < 0.16
    )
