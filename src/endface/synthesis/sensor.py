"""The instrument: pixel grid, optics, camera, frame grabber. Turns light into the grey values of a file.

The chain is linear up to the noise, so what a defect adds to the final picture can be followed on its own:
`optics` (blur, shading), then `electronics` (sharpening, the two fields of an interlaced frame), then noise,
clipping, the black frame border, rounding and JPEG in `expose`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.synthesis.shapes import Box, FloatMap

#: kernels are cut at this many standard deviations
_REACH = 3.5


@dataclass(frozen=True, slots=True)
class OpticsSpot:
    """One speck on the optics: the same place and look in every image of an instrument, not a defect."""

    x_px: float
    y_px: float
    radius_px: float
    depth: float


@dataclass(frozen=True, slots=True)
class Instrument:
    """One microscope with its camera; the same for every image it takes.

    Attributes
    ----------
    blur_x_px, blur_y_px : float
        Standard deviation of the point spread along x and y (optics, pixel and analogue bandwidth together).
    sharpen, sharpen_sigma_px : float
        Unsharp masking: amount and radius; 0 switches it off.
    vignetting : float
        Share of light lost in the farthest corner.
    vignetting_power : float
        How late the loss sets in: 2 everywhere, 6 only in the corners.
    light_x, light_y : float
        Brightest point in shares of width and height.
    read_noise_gray, shot_noise_gray, noise_lift : float
        Noise variance is `(read * (128 / level)**lift)**2 + shot * level`, grey levels of an 8-bit image. A
        camera's gamma curve lifts the noise of dark parts: a gamma of 0.45 is a lift of
        1.2 (cut at a factor of 2.5).
    field_shift_px, field_gain : float
        Odd rows against even rows (interlaced frames): shift along x, relative brightness.
    border_px : tuple of int
        Dead columns and rows: left, top, right, bottom.
    jpeg_quality : int or None
        None: no compression.
    bits : int
        8 or 16.
    """

    name: str
    width_px: int
    height_px: int
    um_per_px_x: float
    um_per_px_y: float
    blur_x_px: float
    blur_y_px: float
    sharpen: float = 0.0
    sharpen_sigma_px: float = 1.5
    vignetting: float = 0.0
    vignetting_power: float = 2.0
    light_x: float = 0.5
    light_y: float = 0.5
    read_noise_gray: float = 1.0
    shot_noise_gray: float = 0.0
    noise_lift: float = 0.0
    field_shift_px: float = 0.0
    field_gain: float = 1.0
    border_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    border_gray: float = 22.0
    jpeg_quality: int | None = None
    bits: int = 8
    spots: tuple[OpticsSpot, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of its images."""
        return (self.height_px, self.width_px)

    @property
    def halo_px(self) -> int:
        """How far the chain spreads the light of one pixel."""
        spread = _REACH * max(self.blur_x_px, self.blur_y_px) + 1.0
        return math.ceil(spread + (_REACH * self.sharpen_sigma_px if self.sharpen else 0.0))

    @property
    def noise_gain(self) -> float:
        """Standard deviation of white noise after `electronics`, for an input of one."""
        impulse = np.zeros((33, 33), np.float32)
        impulse[16, 16] = 1.0
        return float(np.sqrt(np.sum(electronics(impulse, self) ** 2)))

    def noise_gray(self, level_gray: NDArray[np.float32]) -> FloatMap:
        """Return the standard deviation of the final image's noise at given levels, rounding included."""
        variance = _noise_variance(level_gray, self)
        rounding = 1.0 / 12.0 if self.bits == 8 else 0.0
        return np.asarray(np.sqrt(variance * self.noise_gain**2 + rounding), np.float32)

    def valid(self) -> NDArray[np.bool_]:
        """Return the (H, W) mask of pixels inside the dead border."""
        left, top, right, bottom = self.border_px
        mask = np.zeros(self.shape, np.bool_)
        mask[top : self.height_px - bottom, left : self.width_px - right] = True
        return mask


def _noise_variance(level_gray: NDArray[np.float32], instrument: Instrument) -> FloatMap:
    """Return the variance of the noise of the sensor at given grey levels."""
    level = np.maximum(level_gray, 1.0)
    variance = instrument.shot_noise_gray * level
    if instrument.noise_lift > 0.0:
        lift = np.minimum((np.float32(128.0) / level) ** np.float32(instrument.noise_lift), 2.5)
        return np.asarray(variance + (instrument.read_noise_gray * lift) ** 2, np.float32)
    return np.asarray(variance + instrument.read_noise_gray**2, np.float32)


def _blur(image: FloatMap, sigma_x_px: float, sigma_y_px: float) -> FloatMap:
    size_x = 2 * math.ceil(_REACH * sigma_x_px) + 1
    size_y = 2 * math.ceil(_REACH * sigma_y_px) + 1
    return np.asarray(
        cv2.GaussianBlur(
            image, (size_x, size_y), sigma_x_px, sigmaY=sigma_y_px, borderType=cv2.BORDER_REPLICATE
        ),
        np.float32,
    )


def shading(
    instrument: Instrument, *, tilt: tuple[float, float] = (0.0, 0.0), box: Box | None = None
) -> FloatMap:
    """Return the relative brightness of the pixels of a box (default: all): vignetting, tilt, dirty optics.

    `tilt` is the relative change of brightness from one side of the frame to the other along x and y.
    """
    y0, x0, height, width = box or (0, 0, instrument.height_px, instrument.width_px)
    half = 0.5 * math.hypot(instrument.height_px, instrument.width_px)
    x = np.arange(x0, x0 + width, dtype=np.float32)[None, :] - instrument.light_x * instrument.width_px
    y = np.arange(y0, y0 + height, dtype=np.float32)[:, None] - instrument.light_y * instrument.height_px
    squared = (x * x + y * y) / np.float32(half * half)
    loss = squared if instrument.vignetting_power == 2.0 else squared ** (instrument.vignetting_power / 2.0)
    light = 1.0 - instrument.vignetting * np.minimum(loss, 1.5)
    light += tilt[0] * x / instrument.width_px + tilt[1] * y / instrument.height_px
    result: FloatMap = np.asarray(np.maximum(light, 0.05), np.float32)
    for spot in instrument.spots:
        _shade_spot(result, spot, x0, y0)
    return result


def _shade_spot(light: FloatMap, spot: OpticsSpot, x0: int, y0: int) -> None:
    reach = 2.5 * spot.radius_px + 2.0
    rows = slice(max(int(spot.y_px - reach) - y0, 0), max(int(spot.y_px + reach) + 2 - y0, 0))
    cols = slice(max(int(spot.x_px - reach) - x0, 0), max(int(spot.x_px + reach) + 2 - x0, 0))
    part = light[rows, cols]
    if part.size == 0:
        return
    y = np.arange(rows.start, rows.start + part.shape[0])[:, None] + y0 - spot.y_px
    x = np.arange(cols.start, cols.start + part.shape[1])[None, :] + x0 - spot.x_px
    # far out of focus: a soft disc
    part *= 1.0 - spot.depth / (1.0 + np.exp(4.0 * (np.hypot(x, y) / spot.radius_px - 1.0))).astype(
        np.float32
    )


def optics(scene: FloatMap, instrument: Instrument) -> FloatMap:
    """Blur a scene as the objective and the pixels do; linear, borders replicated."""
    return _blur(scene, instrument.blur_x_px, instrument.blur_y_px)


def electronics(signal: FloatMap, instrument: Instrument, *, first_row: int = 0) -> FloatMap:
    """Apply what the camera does to a signal: sharpening and interlaced fields; linear.

    `first_row` is the row of the frame the array starts at (odd and even rows differ).
    """
    result = signal
    if instrument.sharpen > 0.0:
        soft = _blur(signal, instrument.sharpen_sigma_px, instrument.sharpen_sigma_px)
        result = signal + np.float32(instrument.sharpen) * (signal - soft)
    if instrument.field_shift_px != 0.0 or instrument.field_gain != 1.0:
        result = result.copy()
        for parity, sign in ((0, 0.5), (1, -0.5)):
            rows = result[(parity - first_row) % 2 :: 2]
            shift = sign * instrument.field_shift_px
            neighbour = np.empty_like(rows)
            if shift > 0:
                neighbour[:, 1:], neighbour[:, :1] = rows[:, :-1], rows[:, :1]
            else:
                neighbour[:, :-1], neighbour[:, -1:] = rows[:, 1:], rows[:, -1:]
            rows += np.float32(abs(shift)) * (neighbour - rows)
            rows *= np.float32(1.0 + sign * (instrument.field_gain - 1.0))
    return result


def noise_map(level_gray: FloatMap, instrument: Instrument, *, rng: np.random.Generator) -> FloatMap:
    """Return one draw of shot and read noise for a picture of these grey levels, after `electronics`."""
    variance = _noise_variance(level_gray, instrument)
    noise = rng.standard_normal(level_gray.shape, dtype=np.float32)
    noise *= np.sqrt(variance, dtype=np.float32)
    return electronics(noise, instrument)


@dataclass(frozen=True, eq=False)
class Exposure:
    """Grey values as a file holds them, and the file's bytes where it is a JPEG."""

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    jpeg: bytes | None


def expose(signal: FloatMap, noise: FloatMap, instrument: Instrument) -> Exposure:
    """Add noise, put on the dead border, clip, round and compress."""
    image = signal + noise
    if any(instrument.border_px):
        image = np.where(instrument.valid(), image, np.float32(instrument.border_gray) + noise)
    if instrument.bits == 16:
        return Exposure(np.round(np.clip(image, 0.0, 255.0) * 257.0).astype(np.uint16), None)
    pixels = np.round(np.clip(image, 0.0, 255.0)).astype(np.uint8)
    if instrument.jpeg_quality is None:
        return Exposure(pixels, None)
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, instrument.jpeg_quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return Exposure(np.asarray(decoded, np.uint8), encoded.tobytes())
