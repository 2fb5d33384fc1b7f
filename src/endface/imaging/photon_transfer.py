"""How the noise of an image changes with its brightness: its photon transfer curve.

Knows nothing of places: what zones, rings and blocks have besides is measured once brightness is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import robust_sigmas

# of each zone so many pixels are looked at, in so many classes of brightness of no fewer pixels than this
_SAMPLE, _CLASSES, _LEAST = 40_000, 12, 400


@dataclass(frozen=True, slots=True)
class PhotonTransfer:
    """Noise against brightness: louder by the factor exp(slope) per gray level.

    Attributes
    ----------
    slope : float
        Relative change of the standard deviation of noise per gray level.
    darkest, brightest : float
        Gray levels between which it was measured. Beyond, noise is taken to be as loud as there.
    """

    slope: float
    darkest: float
    brightest: float

    def loudness(self, level: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the noise at gray levels `level` (H, W) over that half-way from darkest to brightest."""
        change = np.clip(level, np.float32(self.darkest), np.float32(self.brightest))
        change -= np.float32(0.5 * (self.darkest + self.brightest))
        change *= np.float32(self.slope)
        return np.asarray(cv2.exp(change, change), np.float32)


_EVEN = PhotonTransfer(0.0, 0.0, 0.0)


def photon_transfer(
    values: NDArray[np.float32], level: NDArray[np.float32], zones: NDArray[np.uint8]
) -> PhotonTransfer:
    """Measure how noise changes with brightness, from one image.

    Each zone is sorted into classes of like brightness. Zones differ in noise for reasons of their own (the
    grain of a ferrule), so only classes of the same zone are compared: the slope is the median of those of
    all pairs, weighted by their distance in brightness, which defects in a few classes hardly move. It is
    believed as far as it stands out from the scatter of the classes.

    Parameters
    ----------
    values : (H, W) float32 ndarray
        Noise with mean 0 and, here and there, defects.
    level : (H, W) float32 ndarray
        Gray level of the clean surface there.
    zones : (H, W) uint8 ndarray
        Zone numbers from 1; 0 is not looked at.

    Returns
    -------
    PhotonTransfer

    Notes
    -----
    The variance of a linear sensor is a + b * level, that of one with a gamma curve falls with the level, and
    one image tells neither which it is nor what level is black. Over brightnesses of 1 to 3 an exponential
    comes within 5 % of either; it has one number, needs no black and is never negative. Of zones of even
    brightness it knows nothing, and says that noise is even.

    References
    ----------
    J. R. Janesick, Photon Transfer, SPIE Press (2007).
    A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data", IEEE Trans. Image Processing 17 (2008) 1737,
    doi:10.1109/TIP.2008.2001399.
    P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American
    Statistical Association 63 (1968) 1379: medians of slopes.

    Examples
    --------
    >>> level = np.repeat(np.linspace(60, 180, 400, dtype=np.float32)[None], 400, axis=0)
    >>> noise = np.random.default_rng(0).normal(0, 1, level.shape).astype(np.float32) * np.sqrt(level)
    >>> curve = photon_transfer(noise, level, np.ones(level.shape, np.uint8))
    >>> dark, bright = curve.loudness(np.array([60, 180], np.float32)).ravel()
    >>> bool(1.6 < bright / dark < 1.8)
    True
    """
    classes = [
        part
        for zone in range(1, int(zones.max(initial=0)) + 1)
        if (part := _classes(values, level, zones == zone)).shape[1] > 1 and np.isfinite(part[1]).all()
    ]
    if not classes:
        return _EVEN
    brightness = np.concatenate([part[0] for part in classes])
    darkest, brightest = float(brightness.min()), float(brightness.max())
    pairs = [np.stack([np.subtract.outer(row, row).ravel() for row in part]) for part in classes]
    apart, louder = np.concatenate(pairs, axis=1)
    told = apart > 1e-6 * (brightest - darkest)
    if not told.any():
        return _EVEN
    slope = _weighted_median(louder[told] / apart[told], apart[told])
    x, y = np.concatenate([part - part.mean(axis=1, keepdims=True) for part in classes], axis=1)
    # before it is looked at, noise may as well change e-fold over the image as not at all. What else makes it
    # uneven is no more a matter of chance than brightness is: many classes tell no more than one
    doubt = 1.4826 * float(np.median(np.abs(y - slope * x))) * (brightest - darkest)
    sure = float(np.mean(x * x))
    return PhotonTransfer(slope * sure / (sure + doubt**2), darkest, brightest)


def _classes(
    values: NDArray[np.float32], level: NDArray[np.float32], where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return brightness and log noise of up to twelve classes of the pixels `where` (H, W): (2, n)."""
    places = np.flatnonzero(where)
    places = places[:: places.size // _SAMPLE | 1]
    n = min(places.size // _LEAST, _CLASSES)
    if not n:
        return np.zeros((2, 0))
    here = level.reshape(-1)[places]
    order = np.argsort(here)[: places.size // n * n].reshape(n, -1)
    with np.errstate(divide="ignore"):
        loudness = np.log(robust_sigmas(values.reshape(-1)[places][order]))
    return np.stack([here[order[:, order.shape[1] // 2]], loudness]).astype(np.float64)


def _weighted_median(values: NDArray[np.floating[Any]], weights: NDArray[np.floating[Any]]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])
