"""Changes of an image that leave what it shows the same: moved, turned, brighter, softer, noisier.

Every change keeps the frame: dead borders stay where they are, and what turns in from outside is the mirror
image of what lies inside. Knows where each pixel went, so that things can be followed from copy to original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import robust_sigma

KINDS: Final = ("shift", "turn", "quarter", "gain", "blur", "noise", "jpeg")
"""Kinds of change that `draw_jitter` knows."""

_SHIFT_PX = 2.0
_TURN_DEG = 5.0
_GAIN = 0.1
_BLUR_PX = (0.3, 0.6)
_NOISE_SHARE = (0.25, 0.5)
_JPEG_QUALITY = (90, 95)


@dataclass(frozen=True, slots=True)
class Jitter:
    """One change of an image; the defaults change nothing.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    shift_px : (float, float)
        Along x and y.
    turn_deg : float
        About the face's centre, counter-clockwise as seen.
    quarters : int
        Quarter turns of the whole frame, counter-clockwise; no pixel is interpolated.
    gain : float
        Factor on all grey levels; what exceeds white is cut.
    blur_px : float
        Standard deviation of a Gaussian.
    noise_share : float
        Standard deviation of added noise, as a share of the image's own.
    jpeg_quality : int
        0 for no compression.
    """

    kind: str
    shift_px: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
    quarters: int = 0
    gain: float = 1.0
    blur_px: float = 0.0
    noise_share: float = 0.0
    jpeg_quality: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """What a jitter must know of an image.

    Attributes
    ----------
    box : (slice, slice)
        Rows and columns that show a surface; what lies around is a dead border.
    centre_px : (float, float)
        x, y about which the face turns.
    aspect : float
        Height of a thing in pixels / its width where both are equal in um: 1 for square pixels.
    white : float
        Largest value a pixel can take.
    """

    box: tuple[slice, slice]
    centre_px: tuple[float, float]
    aspect: float
    white: float


def draw_jitter(kind: str, *, trial: int, rng: np.random.Generator) -> Jitter:
    """Draw the `trial`-th (from 0) change of one kind.

    Turns and gains change sign from trial to trial and have half to all of their full size (5 degrees, 10 %),
    so that a few trials cover the range; shifts are up to 2 px, blurs 0.3 to 0.6 px, noise is 25 to 50 % of
    the image's own, JPEG quality 90 to 95.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draw_jitter("quarter", trial=0, rng=rng).quarters, draw_jitter("quarter", trial=1, rng=rng).quarters
    (1, 3)
    """
    swing = (1.0 if trial % 2 else -1.0) * rng.uniform(0.5, 1.0)
    if kind == "shift":
        x, y = rng.uniform(-_SHIFT_PX, _SHIFT_PX, 2)
        return Jitter(kind, shift_px=(float(x), float(y)))
    if kind == "turn":
        return Jitter(kind, turn_deg=float(_TURN_DEG * swing))
    if kind == "quarter":
        return Jitter(kind, quarters=(1, 3, 2)[trial % 3])
    if kind == "gain":
        return Jitter(kind, gain=float(1.0 + _GAIN * swing))
    if kind == "blur":
        return Jitter(kind, blur_px=float(rng.uniform(*_BLUR_PX)))
    if kind == "noise":
        return Jitter(kind, noise_share=float(rng.uniform(*_NOISE_SHARE)))
    if kind == "jpeg":
        low, high = _JPEG_QUALITY
        return Jitter(kind, jpeg_quality=int(rng.integers(low, high + 1)))
    raise ValueError(f"expected one of {', '.join(KINDS)}, found {kind!r}")


def jitter_matrix(jitter: Jitter, frame: Frame, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that takes x, y of an image of `shape` (H, W) to x, y of its copy.

    Examples
    --------
    >>> frame = Frame((slice(0, 4), slice(0, 6)), (2.5, 1.5), 1.0, 255.0)
    >>> jitter_matrix(Jitter("quarter", quarters=1), frame, (4, 6)) @ [5.0, 0.0, 1.0]
    array([0., 0.])
    """
    angle = math.radians(jitter.turn_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    # turn in um: a face under pixels that are not square stays an axis-aligned ellipse only so
    linear = np.array([[cos, sin / frame.aspect], [-sin * frame.aspect, cos]])
    centre = np.array(frame.centre_px)
    moved = np.column_stack([linear, centre - linear @ centre + jitter.shift_px])
    height, width = shape
    for _ in range(jitter.quarters % 4):
        quarter = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, width - 1.0]])
        moved = quarter @ np.vstack([moved, [0.0, 0.0, 1.0]])
        height, width = width, height
    return moved


def apply_jitter(
    image: NDArray[Any], jitter: Jitter, frame: Frame, *, rng: np.random.Generator
) -> NDArray[Any]:
    """Return the changed copy of an image, of the same type.

    Parameters
    ----------
    image : (H, W) uint8, uint16 or float32 ndarray
        Not changed.

    Returns
    -------
    (H, W) ndarray
        (W, H) after an odd number of quarter turns. Moved by cubic interpolation.

    Notes
    -----
    Interpolation and blur take some noise away, as a softer focus does. JPEG works on 8 bits, whatever the
    image has.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> frame = Frame((slice(0, 2), slice(0, 3)), (1.0, 0.5), 1.0, 255.0)
    >>> apply_jitter(image, Jitter("gain", gain=2.0), frame, rng=np.random.default_rng(0)).tolist()
    [[0, 2, 4], [6, 8, 10]]
    """
    copy = np.array(image, np.float32)
    inside: NDArray[Any] = copy[frame.box]
    if jitter.turn_deg or any(jitter.shift_px):
        inside = _moved(inside, jitter, frame)
    if jitter.blur_px:
        inside = cv2.GaussianBlur(inside, (0, 0), jitter.blur_px, borderType=cv2.BORDER_REFLECT_101)
    if jitter.noise_share:
        sigma = jitter.noise_share * noise_level(image[frame.box])
        inside = inside + sigma * rng.standard_normal(inside.shape, np.float32)
    copy[frame.box] = inside * np.float32(jitter.gain)
    copy = np.clip(copy, 0.0, frame.white)
    if jitter.jpeg_quality:
        copy = _compressed(copy, frame.white, jitter.jpeg_quality)
    if np.issubdtype(image.dtype, np.integer):
        copy = np.rint(copy)
    return np.ascontiguousarray(np.rot90(copy.astype(image.dtype), jitter.quarters))


def noise_level(image: NDArray[Any]) -> float:
    """Return the standard deviation of what is finer than 2 px in grey levels, at least that of rounding.

    Noise that neighbouring pixels share, as behind video and JPEG, is in it.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 3, (200, 200)).astype(np.float32)
    >>> 2.8 < noise_level(noise) < 3.2
    True
    """
    gray = np.asarray(image, np.float32)
    detail = gray - cv2.GaussianBlur(gray, (0, 0), 2.0)
    rounding = 1.0 / math.sqrt(12.0) if np.issubdtype(image.dtype, np.integer) else 0.0
    return max(robust_sigma(np.asarray(detail, np.float32)), rounding)


def _moved(inside: NDArray[np.float32], jitter: Jitter, frame: Frame) -> NDArray[np.float32]:
    """Shift and turn the living part of the frame within itself."""
    matrix = jitter_matrix(replace(jitter, quarters=0), frame, inside.shape)
    corner = np.array([frame.box[1].start or 0, frame.box[0].start or 0], np.float64)
    matrix[:, 2] += matrix[:, :2] @ corner - corner
    height, width = inside.shape
    moved = cv2.warpAffine(
        inside, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.float32)


def _compressed(gray: NDArray[np.float32], white: float, quality: int) -> NDArray[np.float32]:
    scale = 255.0 / white
    small = np.rint(gray * scale).astype(np.uint8)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32) / np.float32(scale)
