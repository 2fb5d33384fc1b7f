"""One end face from nothing, or from a real image: the face, its defects, the instrument, the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from endface.annotation import Zones
from endface.synthesis.draws import PlannedDefect, draw_defects, draw_frame, draw_instrument, draw_look
from endface.synthesis.fibre import FibreLook, anatomy_map, cladding_ellipse, core_ellipse, face_image
from endface.synthesis.presets import Preset, preset_named
from endface.synthesis.sensor import Instrument, electronics, expose, noise_map, optics, shading
from endface.synthesis.shapes import FloatMap, Frame
from endface.synthesis.stage import Stage
from endface.synthesis.truth import RenderedImage


def render_endface(
    *,
    rng: np.random.Generator,
    preset: str | Preset = "clinic",
    clean: bool | None = None,
    instrument: Instrument | None = None,
    look: FibreLook | None = None,
    frame: Frame | None = None,
    defects: Iterable[PlannedDefect] | None = None,
) -> RenderedImage:
    """Render one end face.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance.
    preset : str or Preset
        What is drawn where nothing is given.
    clean : bool, optional
        With or without defects; None tosses a coin.
    instrument, look, frame, defects : optional
        Given parts instead of drawn ones.

    Returns
    -------
    RenderedImage

    Examples
    --------
    >>> import numpy as np
    >>> rendered = render_endface(rng=np.random.default_rng(1), preset="sample", clean=True)
    >>> rendered.truth.clean, rendered.image.dtype.name
    (True, 'uint8')
    """
    ranges = preset_named(preset) if isinstance(preset, str) else preset
    instrument = instrument or draw_instrument(ranges, rng=rng, name="scope 0")
    look = look or draw_look(ranges, rng=rng, um_per_px=instrument.um_per_px_x)
    frame = frame or draw_frame(ranges, instrument, look, rng=rng)
    tilt = (_signed(rng, ranges.tilt), _signed(rng, ranges.tilt))
    defocus = float(rng.uniform(*ranges.defocus_px))
    seen = _defocused(instrument, defocus)
    scene, texture = face_image(look, frame, rng=rng)
    light = shading(seen, tilt=tilt)
    background = electronics(optics(scene, seen) * light, seen)
    dirty = rng.random() >= 0.5 if clean is None else not clean
    planned: Iterable[PlannedDefect] = ()
    if dirty:
        planned = draw_defects(ranges, frame, look, seen, rng=rng) if defects is None else defects
    valid = seen.valid()
    stage = Stage(
        frame,
        look,
        seen,
        scene,
        light,
        background,
        _grain(texture, seen),
        valid,
        anatomy_map(look, frame, valid),
    )
    for item in planned:
        stage.add(item)
    noise = noise_map(background, seen, rng=rng)
    with_defects = expose(background + stage.difference, noise, seen)
    without = expose(background, noise, seen) if stage.truths else with_defects
    truth = stage.truth(instrument, cladding_ellipse(look, frame), core_ellipse(look, frame))
    return RenderedImage(with_defects.pixels, without.pixels, stage.difference, truth, with_defects.jpeg)


def render_onto(
    gray: FloatMap,
    *,
    planned: Iterable[PlannedDefect],
    frame: Frame,
    look: FibreLook,
    instrument: Instrument,
    zones: Zones,
) -> RenderedImage:
    """Render planned defects onto a real image (H, W) of 8-bit grey levels, which holds its own noise.

    `instrument` says what the real one does to a defect (blur) and how much noise the image holds; `zones`
    must have found a fibre. A real image is rounded again and not compressed again.
    """
    assert zones.cladding is not None
    # light lost is a share of the light that is there; the noise in it is not seen twice
    scene: FloatMap = np.asarray(cv2.medianBlur(gray, 5), np.float32)
    light = np.ones_like(gray)
    stage = Stage(frame, look, instrument, scene, light, scene, 0.0, zones.valid, zones.anatomy)
    for item in planned:
        stage.add(item)
    original = np.round(np.clip(gray, 0.0, 255.0)).astype(np.uint8)
    changed = np.round(np.clip(gray + stage.difference, 0.0, 255.0)).astype(np.uint8)
    core = zones.core or zones.cladding.scaled(0.1)
    truth = stage.truth(instrument, zones.cladding, core)
    return RenderedImage(changed, original, stage.difference, truth)


def _signed(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds) * rng.choice([-1.0, 1.0]))


def _defocused(instrument: Instrument, defocus_px: float) -> Instrument:
    return replace(
        instrument,
        blur_x_px=math.hypot(instrument.blur_x_px, defocus_px),
        blur_y_px=math.hypot(instrument.blur_y_px, defocus_px),
    )


def _grain(texture: FloatMap, instrument: Instrument) -> float:
    """Return the standard deviation of the ferrule's grain in the final image, seen in a small window."""
    part = electronics(optics(texture[:200, :200], instrument), instrument)
    local = part - cv2.GaussianBlur(part, (0, 0), 4.0)
    return float(local.std())
