"""The face around a fibre as a chart of radius and angle, and the turn that brings two charts together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.noise import robust_sigma

N_ANGLES = 1024
"""Columns of a chart: a third of a degree each."""

_SMOOTH_DEG = 20.0
_LIMIT = 4.0


@dataclass(frozen=True, slots=True)
class Turn:
    """How far one face is turned against another.

    Attributes
    ----------
    turn_deg : float
        Counter-clockwise from the first to the second, in [-180, 180).
    correlation : float
        Of the two charts at that turn, -1 to 1.
    surety : float
        How many standard deviations the correlation stands above that at all other turns; below about 6
        the faces may be different ones.
    """

    turn_deg: float
    correlation: float
    surety: float


def face_chart(
    image: NDArray[Any], rim: Ellipse, *, inner: float = 0.15, outer: float = 1.5, n_radii: int = 96
) -> NDArray[np.float32]:
    """Return what differs from ring to ring's own level, on a grid of radius and angle.

    Parameters
    ----------
    image : (H, W) ndarray
        Grey levels.
    rim : Ellipse
        The cladding; circles in um are ellipses of its aspect.
    inner, outer : float
        Radii of the first and last ring, in units of the rim.

    Returns
    -------
    (n_radii, N_ANGLES) float32 ndarray
        Each ring less its running mean over 20 degrees (light that stays when the face turns), in units of
        its own robust spread and cut at 4 of them, so that no single speck decides; 0 outside the image.

    Examples
    --------
    >>> face_chart(np.full((64, 64), 7, np.uint8), Ellipse(32, 32, 20, 20)).any()
    np.False_
    """
    angles = 2 * np.pi * np.arange(N_ANGLES) / N_ANGLES
    radii = np.linspace(inner, outer, n_radii)[:, None]
    x = (rim.cx_px + rim.rx_px * radii * np.cos(angles)).astype(np.float32)
    y = (rim.cy_px - rim.ry_px * radii * np.sin(angles)).astype(np.float32)
    # as cv2.GaussianBlur does it for floats, from bytes as well
    kernel = cv2.getGaussianKernel(9, 1.0, cv2.CV_32F)
    pixels = image if image.dtype == np.uint8 else np.asarray(image, np.float32)
    gray = cv2.sepFilter2D(pixels, cv2.CV_32F, kernel, kernel)
    rings = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = image.shape
    seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    around = int(N_ANGLES * _SMOOTH_DEG / 360) | 1
    wrapped = np.concatenate([rings[:, -around:], rings, rings[:, :around]], axis=1)
    detail = rings - cv2.blur(wrapped, (around, 1))[:, around:-around]
    chart = np.zeros(detail.shape, np.float32)
    for ring, value, inside in zip(chart, detail, seen, strict=True):
        sigma = robust_sigma(value[inside])
        if sigma > 1e-3:
            ring[inside] = np.clip(value[inside] / sigma, -_LIMIT, _LIMIT)
    return chart


@dataclass(frozen=True, eq=False, slots=True)
class Waves:
    """A chart as waves along its rings, ready to be compared at every turn with many others.

    Attributes
    ----------
    spectrum : (R, A // 2 + 1) complex ndarray
    energy : float
        Sum of the squares of the chart.
    n_angles : int
        A.
    """

    spectrum: NDArray[np.complexfloating[Any, Any]]
    energy: float
    n_angles: int


def waves_of(chart: NDArray[np.float32]) -> Waves:
    """Return a chart (R, A) as waves."""
    return Waves(np.fft.rfft(chart, axis=1), float(np.square(chart).sum()), chart.shape[1])


def likely_turns(first: Waves, second: Waves, *, n: int = 8) -> tuple[Turn, ...]:
    """Return the turns at which two charts agree best, the best first.

    Parameters
    ----------
    first, second : Waves
        Of charts of one size.
    n : int
        At most so many, at least 2 degrees apart.

    Examples
    --------
    >>> chart = np.random.default_rng(0).normal(size=(8, N_ANGLES)).astype(np.float32)
    >>> found = likely_turns(waves_of(chart), waves_of(np.roll(chart, 256, axis=1)))[0]
    >>> round(found.turn_deg, 3), round(found.correlation, 3), found.surety > 20
    (90.0, 1.0, True)
    """
    spectra = np.conj(first.spectrum) * second.spectrum
    scale = math.sqrt(first.energy * second.energy) or 1.0
    match = np.fft.irfft(spectra.sum(axis=0), n=first.n_angles) / scale
    middle = float(np.median(match))
    spread = 1.4826 * float(np.median(np.abs(match - middle)))
    rest = match.copy()
    apart = round(match.size * 2.0 / 360.0)
    turns = []
    for _ in range(n):
        top = int(rest.argmax())
        peak = float(match[top])
        turn = 360.0 * (top + _vertex(match, top)) / match.size
        surety = (peak - middle) / spread if spread else 0.0
        turns.append(Turn((turn + 180.0) % 360.0 - 180.0, peak, surety))
        rest[np.arange(top - apart, top + apart + 1) % match.size] = -np.inf
    return tuple(turns)


def _vertex(values: NDArray[np.float64], top: int) -> float:
    """Return where the parabola through a peak and its neighbours has its top, relative to the peak."""
    before, peak, after = (float(values[(top + step) % values.size]) for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


def turn_matrix(first: Ellipse, second: Ellipse, turn_deg: float) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that takes x, y of the first face to the second, turned counter-clockwise.

    Examples
    --------
    >>> rim = Ellipse(10, 10, 5, 5)
    >>> (turn_matrix(rim, rim, 90.0) @ [15, 10, 1]).round(6)
    array([10.,  5.])
    """
    angle = math.radians(turn_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[cos, sin], [-sin, cos]])
    linear = np.diag([second.rx_px, second.ry_px]) @ turned @ np.diag([1 / first.rx_px, 1 / first.ry_px])
    centre = np.array([first.cx_px, first.cy_px])
    return np.column_stack([linear, np.array([second.cx_px, second.cy_px]) - linear @ centre])
