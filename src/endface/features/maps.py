"""Features of every pixel as compact arrays, for training and for looking at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Zones
from endface.imaging.texture import entropy_map, gradient, lbp_map


@dataclass(frozen=True, eq=False)
class PixelMaps:
    """Maps of one image, all (H, W).

    Attributes
    ----------
    intensity : ndarray
        The analysed image at native depth.
    gradient : float16 ndarray
        Magnitude in gray per px (Scharr); of images deeper than 8 bit in 1/256 of that.
    gradient_deg : uint8 ndarray
        Direction of steepest ascent, counter-clockwise from x, in steps of 360/256 degrees.
    entropy : float16 ndarray
        Local entropy in bits, window 9 px.
    lbp : uint8 ndarray
        Uniform rotation-invariant local binary pattern, 0 to 9.
    zone : uint8 ndarray
        Codes of `AnatomyZone`.
    """

    intensity: NDArray[np.generic]
    gradient: NDArray[np.float16]
    gradient_deg: NDArray[np.uint8]
    entropy: NDArray[np.float16]
    lbp: NDArray[np.uint8]
    zone: NDArray[np.uint8]


def pixel_maps(image: NDArray[np.generic], zones: Zones) -> PixelMaps:
    """Compute the feature maps of every pixel.

    Parameters
    ----------
    image : (H, W) ndarray
    zones : Zones

    Returns
    -------
    PixelMaps

    Examples
    --------
    >>> from endface.annotation import Calibration
    >>> anatomy = np.ones((8, 8), np.uint8)
    >>> maps = pixel_maps(np.zeros((8, 8), np.uint8), Zones(False, "", anatomy, anatomy > 0, Calibration()))
    >>> maps.gradient.dtype, maps.entropy.max()
    (dtype('float16'), np.float16(0.0))
    """
    gray = np.ascontiguousarray(image, np.float32)
    dx, dy = gradient(gray)
    deep = image.dtype.itemsize > 1 and np.issubdtype(image.dtype, np.integer)
    angle_deg = cv2.phase(dx, -dy, angleInDegrees=True)
    return PixelMaps(
        intensity=image,
        gradient=(cv2.magnitude(dx, dy) / (256.0 if deep else 1.0)).astype(np.float16),
        gradient_deg=np.round(angle_deg * (256.0 / 360.0)).astype(np.uint16).astype(np.uint8),
        entropy=entropy_map(gray).astype(np.float16),
        lbp=lbp_map(gray),
        zone=zones.anatomy,
    )
