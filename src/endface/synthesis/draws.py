"""Random choices within a preset: which instrument, which fibre, which defects where and how strong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from endface.synthesis import defects as kinds
from endface.synthesis import line_defects as lines
from endface.synthesis.defects import Drawing, Points
from endface.synthesis.fibre import FibreLook
from endface.synthesis.presets import Preset, Range
from endface.synthesis.sensor import Instrument, OpticsSpot
from endface.synthesis.shapes import Frame

#: largest contrast a kind can have: how much of the light it can swallow
_MAX_CONTRAST = {"scratch": 0.7, "pit": 0.9, "dust": 0.9, "chip": 0.9, "crack": 0.8, "lint": 0.6, "oil": 0.3,
                 "droplet": 0.5, "residue": 0.6, "trail": 0.7}  # fmt: skip


#: kinds that lie at a point and have a diameter
_SPOTS: dict[str, Callable[..., Drawing]] = {"pit": kinds.pit, "dust": kinds.dust, "droplet": kinds.droplet}
#: kinds that cover a patch
_FIELDS: dict[str, Callable[..., Drawing]] = {
    "oil": kinds.oil,
    "residue": kinds.residue,
    "trail": lines.trail,
}


@dataclass(frozen=True, eq=False)
class PlannedDefect:
    """A drawing, the signal-to-noise ratio it shall have and the contrast it cannot exceed."""

    drawing: Drawing
    snr: float
    max_contrast: float
    group: int


def _uniform(rng: np.random.Generator, bounds: Range) -> float:
    return float(rng.uniform(*bounds))


def _log(rng: np.random.Generator, bounds: Range) -> float:
    return float(math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]))))


def _weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def draw_instrument(preset: Preset, *, rng: np.random.Generator, name: str) -> Instrument:
    """Draw one microscope of a preset; its field of view always holds a whole fibre."""
    width, height = preset.frames_px[int(rng.integers(len(preset.frames_px)))]
    aspect = preset.aspects[int(rng.integers(len(preset.aspects)))]
    largest = max(cladding for _, cladding, _ in preset.fibres_um)
    # the fibre may fill at most three quarters of the frame
    finest = largest / (0.75 * min(width / math.sqrt(aspect), height))
    low = min(max(preset.um_per_px[0], finest), max(preset.um_per_px[1], finest))
    pitch_x = _log(rng, (low, max(preset.um_per_px[1], low)))
    resolution = _uniform(rng, preset.resolution_um)
    camera = _uniform(rng, preset.blur_px)
    interlaced = rng.random() < preset.interlaced
    border = tuple(int(v) for v in rng.integers(3, 12, 4)) if rng.random() < preset.border else (0, 0, 0, 0)
    jpeg = int(rng.integers(*preset.jpeg_quality)) if rng.random() < preset.jpeg else None
    sharpen = _uniform(rng, preset.sharpen)
    return Instrument(
        name,
        width,
        height,
        um_per_px_x=pitch_x,
        um_per_px_y=pitch_x / aspect,
        blur_x_px=math.hypot(camera, resolution / pitch_x),
        blur_y_px=math.hypot(camera, resolution * aspect / pitch_x),
        sharpen=sharpen,
        sharpen_sigma_px=float(rng.uniform(1.3, 1.8)),
        vignetting=_uniform(rng, preset.vignetting),
        vignetting_power=_uniform(rng, preset.vignetting_power),
        light_x=float(rng.uniform(0.44, 0.56)),
        light_y=float(rng.uniform(0.44, 0.56)),
        read_noise_gray=_uniform(rng, preset.read_noise_gray),
        shot_noise_gray=_uniform(rng, preset.shot_noise_gray),
        noise_lift=_uniform(rng, preset.noise_lift),
        field_shift_px=float(rng.uniform(-0.3, 0.3)) if interlaced else 0.0,
        field_gain=float(rng.uniform(0.996, 1.004)) if interlaced else 1.0,
        border_px=(border[0], border[1], border[2], border[3]),
        border_gray=float(rng.uniform(14.0, 28.0)),
        jpeg_quality=jpeg,
        bits=16 if jpeg is None and rng.random() < preset.sixteen_bit else 8,
        spots=_draw_spots(preset, rng, width, height),
    )


def _draw_spots(preset: Preset, rng: np.random.Generator, width: int, height: int) -> tuple[OpticsSpot, ...]:
    low, high = preset.optics_spots
    count = int(rng.integers(low, high + 1)) if high else 0
    return tuple(
        OpticsSpot(
            float(rng.uniform(0, width)),
            float(rng.uniform(0, height)),
            radius_px=_log(rng, (1.5, 12.0)),
            depth=_log(rng, (0.03, 0.25)),
        )
        for _ in range(count)
    )


def draw_frame(preset: Preset, instrument: Instrument, look: FibreLook, *, rng: np.random.Generator) -> Frame:
    """Place the fibre in the field of view; it is never cut by the frame."""
    left, top, right, bottom = instrument.border_px
    centre = ((instrument.width_px + left - right) / 2.0, (instrument.height_px + top - bottom) / 2.0)
    free_x = centre[0] - left - 1.1 * look.outer_um / instrument.um_per_px_x - 4.0
    free_y = centre[1] - top - 1.1 * look.outer_um / instrument.um_per_px_y - 4.0
    share = preset.off_centre
    return Frame(
        instrument.height_px,
        instrument.width_px,
        centre[0] + float(rng.uniform(-share, share)) * max(free_x, 0.0),
        centre[1] + float(rng.uniform(-share, share)) * max(free_y, 0.0),
        instrument.um_per_px_x,
        instrument.um_per_px_y,
    )


def draw_look(preset: Preset, *, rng: np.random.Generator, um_per_px: float) -> FibreLook:
    """Draw the look of one fibre."""
    weights = np.array([weight for _, _, weight in preset.fibres_um])
    core_um, cladding_um, _ = preset.fibres_um[int(rng.choice(len(weights), p=weights / weights.sum()))]
    ferrule = _uniform(rng, preset.ferrule_gray)
    cladding = ferrule * _uniform(rng, preset.cladding_share)
    if rng.random() < preset.inverted:
        ferrule, cladding = 0.45 * cladding, 0.55 * ferrule
    textured = rng.random() < preset.textured
    adhesive = rng.uniform(0.6, 2.5) if rng.random() < preset.adhesive else 0.0
    coating = rng.uniform(1.5, 6.0) if rng.random() < preset.coating else 0.0
    rim_line = rng.random() < preset.rim_line
    crescent = rng.random() < preset.crescent
    index_ring = rng.random() < 0.4
    return FibreLook(
        core_um=core_um,
        cladding_um=cladding_um + float(rng.normal(0.0, 0.35)),
        ferrule_gray=ferrule,
        cladding_gray=cladding,
        core_offset_um=(float(rng.normal(0.0, 0.4)), float(rng.normal(0.0, 0.4))),
        rim_line_um=_uniform(rng, preset.rim_line_um) if rim_line else 0.0,
        rim_line=_uniform(rng, preset.rim_line_depth) if rim_line else 0.0,
        rim_relief=float(rng.uniform(0.0, 0.8)) if rim_line and crescent else 0.0,
        crescent_um=float(rng.uniform(1.0, 2.5)) if crescent else 0.0,
        crescent=_uniform(rng, preset.crescent_height) if crescent else 0.0,
        crescent_angle_rad=_uniform(rng, preset.crescent_angle_rad),
        index_ring_um=float(rng.uniform(0.5, 0.72)) * cladding_um / 2.0 if core_um < 60 else 0.0,
        index_ring_gray=float(rng.uniform(1.0, 3.0)) if index_ring and core_um < 60 else 0.0,
        adhesive_um=float(adhesive),
        adhesive_gray=cladding * float(rng.uniform(0.3, 0.7)) if adhesive else 0.0,
        coating_um=float(coating),
        coating_gray=float(rng.uniform(0.7, 0.95)) * max(ferrule, cladding) if coating else 0.0,
        texture_gray=_log(rng, preset.texture_gray if textured else preset.grain_gray),
        texture_um=float(rng.uniform(0.8, 2.2)) if textured else max(float(rng.uniform(0.4, 1.2)), um_per_px),
        speckle=float(rng.uniform(0.05, 0.25)) if textured else 0.0,
        face="textured" if textured else "ceramic",
        **_draw_core(preset, rng, core_um, cladding),
    )


def _draw_core(
    preset: Preset, rng: np.random.Generator, core_um: float, cladding_gray: float
) -> dict[str, Any]:
    """Fields of `FibreLook` that say how the core shines."""
    state = _weighted(rng, preset.core_states)
    multimode = core_um > 20.0
    core: dict[str, Any] = {"core_state": state}
    if state == "unlit":
        core["core_gray"] = cladding_gray + float(rng.uniform(2.0, 12.0)) * float(rng.choice([-0.5, 1.0]))
        core["core_edge_um"] = float(rng.uniform(0.3, 1.0))
    elif state == "dim":
        core["core_gray"] = cladding_gray + float(rng.uniform(20.0, 80.0))
        core["core_edge_um"] = float(rng.uniform(0.2, 0.8))
    else:
        core["core_gray"] = min(cladding_gray + float(rng.uniform(50.0, 130.0)), 262.0)
        core["core_edge_um"] = float(rng.uniform(0.9, 1.6)) if multimode else float(rng.uniform(0.4, 1.0))
        core["glow_gray"] = float(rng.uniform(5.0, 40.0)) if multimode else float(rng.uniform(0.0, 12.0))
        core["glow_um"] = float(rng.uniform(3.0, 8.0))
    if multimode and (state == "rings" or rng.random() < 0.3):
        core["ring_gray"] = float(rng.uniform(5.0, 16.0)) * (1.0 if state == "rings" else 0.3)
        core["ring_period_um"] = float(rng.uniform(4.0, 14.0))
        core["ring_phase_rad"] = float(rng.uniform(-math.pi, math.pi))
    return core


def draw_defects(
    preset: Preset, frame: Frame, look: FibreLook, instrument: Instrument, *, rng: np.random.Generator
) -> Iterator[PlannedDefect]:
    """Draw the defects of one dirty image, one event after the other."""
    mix = preset.defects
    for group in range(int(rng.integers(mix.events[0], mix.events[1] + 1))):
        yield from _event(_weighted(rng, mix.weights), preset, frame, look, instrument, rng, group)
    if rng.random() < mix.fine_specks:
        for _ in range(int(rng.integers(5, 41))):
            place = _place(rng, frame, look, instrument, near=0.3)
            size = _log(rng, (mix.spot_um[0], max(3.0, 2.0 * mix.spot_um[0])))
            drawing = kinds.dust(rng, frame, x_um=place[0], y_um=place[1], diameter_um=size)
            yield PlannedDefect(drawing, _log(rng, mix.spot_snr), _MAX_CONTRAST["dust"], -1)


def _place(
    rng: np.random.Generator, frame: Frame, look: FibreLook, instrument: Instrument, *, near: float = 0.65
) -> tuple[float, float]:
    """Draw a point in um: on the fibre or close to it with probability `near`, else anywhere in the frame."""
    left, top, right, bottom = instrument.border_px
    if rng.random() < near:
        for _ in range(20):
            radius, angle = 2.0 * look.rim_um * math.sqrt(rng.random()), rng.uniform(0.0, 2.0 * math.pi)
            x_um, y_um = radius * math.cos(angle), radius * math.sin(angle)
            x, y = frame.to_px(x_um, y_um)
            if left + 6 < x < frame.width_px - right - 6 and top + 6 < y < frame.height_px - bottom - 6:
                return x_um, y_um
    x = float(rng.uniform(left + 6, frame.width_px - right - 6))
    y = float(rng.uniform(top + 6, frame.height_px - bottom - 6))
    return frame.to_um(x, y)


def _event(
    event: str,
    preset: Preset,
    frame: Frame,
    look: FibreLook,
    instrument: Instrument,
    rng: np.random.Generator,
    group: int,
) -> Iterator[PlannedDefect]:
    mix = preset.defects
    if event in ("scratch", "bundle", "crossing"):
        yield from _scratches(event, preset, frame, look, instrument, rng, group)
        return
    if event in ("chip", "ragged"):
        yield from _chips(event, preset, frame, look, rng, group)
        return
    x_um, y_um = _place(rng, frame, look, instrument)
    where = {"x_um": x_um, "y_um": y_um}
    if event in _SPOTS:
        bounds = (4.0, 30.0) if event == "droplet" else mix.spot_um
        if event == "pit":
            # a pit is told from a grain of dust by its rim: smaller ones are drawn as dust
            least = max(bounds[0], 4.0 * frame.pitch_um)
            bounds = (least, max(bounds[1], 2.0 * least))
        drawing = _SPOTS[event](rng, frame, **where, diameter_um=_log(rng, bounds))
    elif event in _FIELDS:
        bounds = (40.0, 200.0) if event == "trail" else (15.0, 90.0)
        drawing = _FIELDS[event](rng, frame, **where, size_um=_log(rng, bounds))
    elif event == "lint":
        drawing = lines.lint(rng, frame, **where)
    else:
        drawing = lines.crack(
            rng,
            frame,
            rim_um=look.rim_um,
            angle_rad=float(rng.uniform(-math.pi, math.pi)),
            length_um=_log(rng, (12.0, 60.0)),
        )
    yield PlannedDefect(drawing, _log(rng, mix.spot_snr), _MAX_CONTRAST[event], group)


def _chips(
    event: str, preset: Preset, frame: Frame, look: FibreLook, rng: np.random.Generator, group: int
) -> Iterator[PlannedDefect]:
    """Draw one chip, or an arc of the rim from which many small pieces are broken."""
    start, arc = float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.5, 2.0))
    count = 1 if event == "chip" else int(rng.integers(5, 19))
    for k in range(count):
        depth = _log(rng, (1.0, 7.0) if event == "chip" else (0.7, 2.5))
        drawing = kinds.chip(
            rng,
            frame,
            rim_um=look.rim_um,
            angle_rad=start + arc * (k + float(rng.uniform(-0.4, 0.4))) / count,
            depth_um=depth,
            width_um=depth * float(rng.uniform(1.0, 3.5)),
        )
        yield PlannedDefect(drawing, _log(rng, preset.defects.spot_snr), _MAX_CONTRAST["chip"], group)


def _inside(path_um: Points, frame: Frame, instrument: Instrument) -> Points:
    """Return the part of a path around its middle that lies in the picture: its length is what is seen."""
    left, top, right, bottom = instrument.border_px
    x = frame.cx_px + path_um[:, 0] / frame.um_per_px_x
    y = frame.cy_px + path_um[:, 1] / frame.um_per_px_y
    within = (x > left) & (x < frame.width_px - 1 - right) & (y > top) & (y < frame.height_px - 1 - bottom)
    middle = len(path_um) // 2
    outside = np.flatnonzero(~within)
    first = int(outside[outside < middle].max(initial=-1)) + 1
    last = int(outside[outside > middle].min(initial=len(path_um)))
    return path_um[first:last] if last - first > 2 else path_um


def _scratches(
    event: str,
    preset: Preset,
    frame: Frame,
    look: FibreLook,
    instrument: Instrument,
    rng: np.random.Generator,
    group: int,
) -> Iterator[PlannedDefect]:
    """Draw one scratch, a bundle of nearly parallel ones, or two or three that cross."""
    mix = preset.defects
    x_um, y_um = _place(rng, frame, look, instrument)
    angle = float(rng.uniform(0.0, math.pi))
    count = {"scratch": 1, "bundle": int(rng.integers(3, 9)), "crossing": int(rng.integers(2, 4))}[event]
    profile = str(rng.choice(["dark", "bright", "relief"], p=[0.55, 0.2, 0.25]))
    snr = _log(rng, mix.scratch_snr)
    for k in range(count):
        turn = angle + (
            k * math.pi / count + rng.normal(0.0, 0.1) if event == "crossing" else rng.normal(0.0, 0.04)
        )
        aside = float(rng.uniform(-20.0, 20.0)) if event == "bundle" else 0.0
        bend = 0.0 if rng.random() < 0.4 else float(rng.normal(0.0, 0.25))
        path = lines.scratch_path(
            rng,
            x_um=x_um - aside * math.sin(angle),
            y_um=y_um + aside * math.cos(angle),
            length_um=_log(rng, mix.scratch_length_um),
            angle_rad=float(turn),
            bend_rad=bend,
        )
        drawing = lines.scratch(
            rng,
            frame,
            _inside(path, frame, instrument),
            width_um=_log(rng, mix.scratch_width_um),
            profile=profile,
            interrupted=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.25 else 0.0,
        )
        # light can be lost only once, but scattered light can outshine a dark face
        most = _MAX_CONTRAST["scratch"] * (3.0 if profile == "bright" else 1.0)
        yield PlannedDefect(drawing, snr * float(rng.uniform(0.7, 1.3)), most, group)
