"""Rendered defects on real clean images, with the blur and noise that were measured in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Zones
from endface.errors import InputError
from endface.imaging.ellipse import Ellipse
from endface.synthesis.compare import noise_gray
from endface.synthesis.draws import draw_defects
from endface.synthesis.fibre import FibreLook
from endface.synthesis.presets import Preset, preset_named
from endface.synthesis.scene import render_onto
from endface.synthesis.sensor import Instrument
from endface.synthesis.shapes import FloatMap, Frame
from endface.synthesis.truth import RenderedImage

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")


@dataclass(frozen=True, eq=False)
class Background:
    """A real clean image with its zones and what was measured of its instrument."""

    gray: FloatMap
    zones: Zones
    instrument: Instrument
    look: FibreLook
    frame: Frame


def edge_blur_px(gray: FloatMap, rim: Ellipse) -> float:
    """Measure the blur of an image on the rim of the fibre: standard deviation of the edge spread, in pixels.

    The radial profile across the rim is averaged over all directions; a Gaussian edge of height h has the
    steepest slope h / (sigma sqrt(2 pi)).
    """
    radius = rim.radius_map((gray.shape[0], gray.shape[1])) * np.float32(rim.radius_px)
    near = np.abs(radius - rim.radius_px) < 8.0
    bins = np.round((radius[near] - rim.radius_px + 8.0) * 4.0).astype(int)
    counts = np.bincount(bins, minlength=65)
    profile = np.bincount(bins, gray[near], minlength=65)[:65] / np.maximum(counts[:65], 1)
    slope = np.abs(np.gradient(profile, 0.25))[8:-8]
    height = abs(float(profile[-12:].mean() - profile[:12].mean()))
    return float(np.clip(height / (max(float(slope.max()), 1e-3) * math.sqrt(2.0 * math.pi)), 0.5, 4.0))


def background_of(gray: NDArray[np.generic], zones: Zones, *, name: str) -> Background:
    """Measure a real clean image (H, W) of 8-bit grey levels so that defects can be rendered onto it.

    Raises
    ------
    InputError
        If the zones hold no fibre or no ferrule around it.
    """
    if not zones.found or zones.cladding is None:
        raise InputError(
            f"no fibre found in {name}: {zones.reason}", hint="Take images that show a whole fibre."
        )
    image = np.asarray(gray, np.float32)
    rim, pitch = zones.cladding, zones.calibration
    pitch_x = pitch.um_per_px_x or 125.0 / (2.0 * rim.rx_px)
    pitch_y = pitch.um_per_px_y or 125.0 / (2.0 * rim.ry_px)
    core_um = 2.0 * pitch_x * (zones.core.rx_px if zones.core is not None else 0.1 * rim.rx_px)
    blur = edge_blur_px(image, rim)
    height, width = image.shape
    ring = rim.radius_map((height, width))
    outside = zones.valid & (ring > 1.15) & (ring < 1.8)
    inside = zones.valid & (ring < 0.95) & (ring > 0.8)
    if not outside.any():
        raise InputError(
            f"no ferrule around the fibre in {name}", hint="Take images with a wider field of view."
        )
    instrument = Instrument(
        name,
        width,
        height,
        pitch_x,
        pitch_y,
        blur_x_px=blur,
        blur_y_px=blur,
        # rounding is part of what was measured
        read_noise_gray=math.sqrt(max(noise_gray(image, outside) ** 2 - 1.0 / 12.0, 0.01)),
    )
    look = FibreLook(
        core_um=core_um,
        cladding_um=2.0 * rim.rx_px * pitch_x,
        ferrule_gray=float(np.median(image[outside])),
        cladding_gray=float(np.median(image[inside])),
        core_gray=0.0,
        core_state="real",
        face="real",
    )
    return Background(
        image, zones, instrument, look, Frame(height, width, rim.cx_px, rim.cy_px, pitch_x, pitch_y)
    )


def background_paths(folder: str | Path) -> tuple[Path, ...]:
    """Return the image files below a folder, in the order of their names.

    Raises
    ------
    InputError
        If there is none.
    """
    paths = tuple(sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES))
    if not paths:
        raise InputError(
            f"expected images for backgrounds, found none in {folder}",
            hint="Give a folder of clean end-face images.",
        )
    return paths


def read_background(path: Path) -> Background:
    """Read a real image, find its fibre and measure its instrument.

    Raises
    ------
    InputError
        If it cannot be read or shows no fibre.
    """
    # only needed here, and it needs the whole zone finder
    from endface.samples import read_sample
    from endface.zones import segment_zones

    frame = read_sample(path).frames[0]
    gray = frame / np.float32(257.0) if frame.dtype == np.uint16 else frame
    return background_of(gray, segment_zones(frame), name=path.name)


def any_background(paths: tuple[Path, ...], *, rng: np.random.Generator) -> Background:
    """Read one of several real images at random, passing over those without a usable fibre.

    Raises
    ------
    InputError
        If none is usable.
    """
    for number in rng.permutation(len(paths)):
        try:
            return read_background(paths[int(number)])
        except InputError:
            continue
    raise InputError(
        f"no fibre found in any of {len(paths)} images, such as {paths[0].name}",
        hint="Give images that show a whole fibre.",
    )


def render_on_background(
    background: Background,
    *,
    rng: np.random.Generator,
    preset: str | Preset = "clinic",
    clean: bool | None = None,
) -> RenderedImage:
    """Render defects of a preset onto a real clean image.

    The truth of the zones is what was found in the real image, not exact; that of the defects is
    exact for what was added. Defects that were in the real image are not part of the truth.
    """
    ranges = preset_named(preset) if isinstance(preset, str) else preset
    dirty = rng.random() >= 0.5 if clean is None else not clean
    drawn = (
        draw_defects(ranges, background.frame, background.look, background.instrument, rng=rng)
        if dirty
        else ()
    )
    return render_onto(
        background.gray,
        planned=drawn,
        frame=background.frame,
        look=background.look,
        instrument=background.instrument,
        zones=background.zones,
    )
