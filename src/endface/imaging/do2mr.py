"""DO2MR, the difference of min-max ranking: spots as published by Mei et al. 2018.

Knows arrays and the published steps only. The project's own region detector is in `regions`.

References
----------
Mei, Su, Li, Song, Zhou, "Automated Inspection of Defects in Optical Fiber Connector End Face Using Novel
Morphology Approaches", Sensors 18 (2018) 1408, doi:10.3390/s18051408.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def smooth_gaussian(
    image: NDArray[np.generic], *, size_px: int = 5, sigma_px: float = 1.0
) -> NDArray[np.float32]:
    """Suppress noise before the ranking: a Gaussian of 5 x 5 pixels, (H, W) float32 out."""
    gray = np.asarray(image, np.float32)
    return np.asarray(cv2.GaussianBlur(gray, (size_px, size_px), sigma_px), np.float32)


def rank_residual(image: NDArray[np.generic], *, window_px: int = 5) -> NDArray[np.float32]:
    """Return the largest minus the smallest value in a square window around each pixel.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values of any real type.
    window_px : int
        Side of the window, odd. A spot of d pixels shows d + window_px - 1 pixels wide.

    Returns
    -------
    (H, W) float32 ndarray
        Never negative; 0 where the window is flat. Windows at the image's border see the image only.

    Examples
    --------
    >>> image = np.zeros((9, 9), np.uint8)
    >>> image[4, 4] = 7
    >>> int((rank_residual(image) == 7).sum())
    25
    """
    gray = np.asarray(image, np.float32)
    window = np.ones((window_px, window_px), np.uint8)
    return np.asarray(cv2.dilate(gray, window) - cv2.erode(gray, window), np.float32)


def shrink_zones(zones: NDArray[np.uint8], *, margin_px: int) -> NDArray[np.uint8]:
    """Return zones (H, W) without the pixels closer than `margin_px` to another zone; those become 0.

    The step between two zones fills the windows next to it; left in, it would be found all round the fibre
    and raise the standard deviation for everything else.
    """
    if margin_px <= 0:
        return zones
    return np.where(rank_residual(zones, window_px=2 * margin_px + 1) == 0, zones, np.uint8(0))


def zone_scores(values: NDArray[np.float32], zones: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return values in standard deviations above the mean of their zone, the sigma rule of the paper.

    Parameters
    ----------
    values : (H, W) float32 ndarray
    zones : (H, W) uint8 ndarray
        Number of the zone, 0 where nothing is inspected.

    Returns
    -------
    (H, W) float32 ndarray
        0 outside all zones and in zones without any spread.

    Notes
    -----
    Mean and standard deviation count the defects too: in a zone with much dirt, dirt hides itself.

    Examples
    --------
    >>> zone_scores(np.array([[0, 2, 9]], np.float32), np.array([[1, 1, 0]], np.uint8)).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    scores = np.zeros(values.shape, np.float32)
    for zone in np.flatnonzero(np.bincount(zones.ravel())):
        if zone == 0:
            continue
        mask = np.asarray(zones == zone)
        mean, sigma = (float(value[0, 0]) for value in cv2.meanStdDev(values, mask=mask.view(np.uint8)))
        if sigma > 1e-6 * max(1.0, abs(mean)):  # less is rounding, not spread
            np.copyto(scores, (values - np.float32(mean)) / np.float32(sigma), where=mask)
    return scores


def segment_residual(scores: NDArray[np.float32], *, gamma: float = 3.0) -> NDArray[np.bool_]:
    """Return the (H, W) mask of scores (see `zone_scores`) above `gamma`, cleaned by median and opening.

    The 3 x 3 median acts on the binary mask and drops grains, the 3 x 3 opening what is thinner than 3 px.

    Examples
    --------
    >>> scores = np.zeros((9, 9), np.float32)
    >>> scores[1:4, 1:4], scores[7, 7] = 5, 5
    >>> int(segment_residual(np.pad(scores, 2)).sum())
    0
    >>> scores[1:6, 1:6] = 5
    >>> int(segment_residual(np.pad(scores, 2)).sum())
    21
    """
    mask = cv2.medianBlur((scores > gamma).astype(np.uint8), 3)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), bool)
