"""The clean face: ferrule, cladding and core as seen by a perfect camera, with the fibre's own rings and rim.

All edges are analytic functions of the radius, so the ellipses of the truth are exact. Rim line and crescent
are bands that begin or end on the rim itself: they steepen the edge and do not move it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from endface.annotation import AnatomyZone
from endface.imaging.ellipse import Ellipse
from endface.synthesis.shapes import FloatMap, Frame, smooth_noise

#: softness of a zone edge before the optics, in pixels: antialiasing of one pixel
_EDGE_PX = 0.3


@dataclass(frozen=True, slots=True)
class FibreLook:
    """How one fibre in its ferrule looks: sizes in um, brightness in grey levels of an 8-bit image.

    Attributes
    ----------
    core_edge_um : float
        Standard deviation of the core's graded edge.
    glow_gray, glow_um : float
        Light that leaks from a lit core into the cladding: amount at the core's edge and decay length.
    ring_gray, ring_period_um, ring_phase_rad : float
        Interference rings inside the core.
    index_ring_um, index_ring_gray : float
        A faint step of the glass inside the cladding (radius, height); 0 gray: none.
    rim_line_um, rim_line : float
        Dark line just inside the rim: width, depth as a share of the cladding's brightness.
    crescent_um, crescent, crescent_angle_rad : float
        Bright crescent just outside the rim: width, height as a share of the ferrule's brightness, direction.
    rim_relief : float
        How much darker the rim line is on the side away from the crescent, as a share of `rim_line`.
    adhesive_um, adhesive_gray : float
        Glue line around the fibre: width (0: none) and brightness.
    coating_um, coating_gray : float
        Third ring around the glue: width (0: none) and brightness.
    texture_gray, texture_um : float
        Grain of the ferrule: standard deviation and grain size.
    speckle : float
        Share of the ferrule covered by the bright filler grains of a moulded multi-fibre ferrule.
    """

    core_um: float
    cladding_um: float
    ferrule_gray: float
    cladding_gray: float
    core_gray: float
    core_state: str = "unlit"
    core_offset_um: tuple[float, float] = (0.0, 0.0)
    core_edge_um: float = 0.3
    glow_gray: float = 0.0
    glow_um: float = 5.0
    ring_gray: float = 0.0
    ring_period_um: float = 5.0
    ring_phase_rad: float = 0.0
    index_ring_um: float = 0.0
    index_ring_gray: float = 0.0
    rim_line_um: float = 0.0
    rim_line: float = 0.0
    crescent_um: float = 0.0
    crescent: float = 0.0
    crescent_angle_rad: float = 0.0
    rim_relief: float = 0.0
    adhesive_um: float = 0.0
    adhesive_gray: float = 0.0
    coating_um: float = 0.0
    coating_gray: float = 0.0
    texture_gray: float = 0.0
    texture_um: float = 1.0
    speckle: float = 0.0
    face: str = "ceramic"

    @property
    def rim_um(self) -> float:
        """Radius of the glass."""
        return self.cladding_um / 2.0

    @property
    def outer_um(self) -> float:
        """Radius at which the ferrule begins."""
        return self.rim_um + self.adhesive_um + self.coating_um


def _ellipse(frame: Frame, radius_um: float, offset_um: tuple[float, float] = (0.0, 0.0)) -> Ellipse:
    cx, cy = frame.to_px(*offset_um)
    return Ellipse(cx, cy, radius_um / frame.um_per_px_x, radius_um / frame.um_per_px_y)


def cladding_ellipse(look: FibreLook, frame: Frame) -> Ellipse:
    """Return the exact rim of the glass in pixels."""
    return _ellipse(frame, look.rim_um)


def core_ellipse(look: FibreLook, frame: Frame) -> Ellipse:
    """Return the exact edge of the core (half height of its graded edge) in pixels."""
    return _ellipse(frame, look.core_um / 2.0, look.core_offset_um)


def anatomy_map(look: FibreLook, frame: Frame, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the (H, W) map of `AnatomyZone` codes: a pixel belongs to the zone its centre lies in."""
    shape = (frame.height_px, frame.width_px)
    radius = cladding_ellipse(look, frame).radius_map(shape) * look.rim_um
    zones = np.full(shape, AnatomyZone.FERRULE, np.uint8)
    zones[radius <= look.outer_um] = AnatomyZone.ADHESIVE
    zones[radius <= look.rim_um] = AnatomyZone.CLADDING
    zones[core_ellipse(look, frame).radius_map(shape) <= 1.0] = AnatomyZone.CORE
    zones[~valid] = AnatomyZone.OUTSIDE
    return zones


def _rise(radius_um: NDArray[np.float64], at_um: float, softness_um: float) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + erf((radius_um - at_um) / (math.sqrt(2.0) * softness_um))))


def _outer_profile(look: FibreLook, radius_um: NDArray[np.float64], soft_um: float) -> NDArray[np.float64]:
    """Brightness from the cladding outwards, without the core."""
    rim, glue = look.rim_um, look.rim_um + look.adhesive_um
    level = look.cladding_gray + (look.adhesive_gray - look.cladding_gray) * _rise(
        radius_um, rim, soft_um
    ) * (look.adhesive_um > 0)
    inner = look.adhesive_gray if look.adhesive_um > 0 else look.cladding_gray
    if look.coating_um > 0:
        level = level + (look.coating_gray - inner) * _rise(radius_um, glue, soft_um)
        inner = look.coating_gray
    level = level + (look.ferrule_gray - inner) * _rise(radius_um, look.outer_um, soft_um)
    if look.coating_um > 0:
        # the hole's own edge: a dark line where the ferrule begins
        start = look.outer_um - min(0.8, 0.4 * look.coating_um)
        band = _rise(radius_um, start, soft_um) - _rise(radius_um, look.outer_um, soft_um)
        level = level - 0.5 * look.coating_gray * band
    if look.rim_line_um > 0:
        band = _rise(radius_um, rim - look.rim_line_um, soft_um) - _rise(radius_um, rim, soft_um)
        level = level - look.rim_line * look.cladding_gray * band
    if look.index_ring_gray:
        step = 1.0 - _rise(radius_um, look.index_ring_um, soft_um)
        line = np.exp(-0.5 * ((radius_um - look.index_ring_um) / (2.0 * soft_um)) ** 2)
        level = level + look.index_ring_gray * (0.5 * step + line)
    return level


def _core_profile(look: FibreLook, radius_um: NDArray[np.float64], soft_um: float) -> NDArray[np.float64]:
    """Brightness the core adds to the cladding, with its rings, its dip and the glow around it."""
    edge = look.core_um / 2.0
    inside = 1.0 - _rise(radius_um, edge, math.hypot(look.core_edge_um, soft_um))
    added = (look.core_gray - look.cladding_gray) * inside
    if look.ring_gray:
        turns = 2.0 * math.pi * radius_um / look.ring_period_um
        # two incommensurate orders beat, as the modes of a multimode core do
        rings = np.cos(turns + look.ring_phase_rad) + 0.6 * np.cos(1.618 * turns + 2.0 * look.ring_phase_rad)
        rings = 0.6 * rings * np.exp(-0.7 * radius_um / edge)
        added = added + look.ring_gray * rings * inside
    if look.glow_gray:
        # the same height on both sides of the edge, so that the half height stays where the core ends
        glow = np.exp(-np.maximum(radius_um - edge, 0.0) / look.glow_um)
        added = added + look.glow_gray * glow
        fade = 1.0 - _rise(radius_um, look.rim_um, soft_um)
        added = added * fade
    return np.asarray(added)


def face_image(look: FibreLook, frame: Frame, *, rng: np.random.Generator) -> tuple[FloatMap, FloatMap]:
    """Draw the clean face.

    Returns
    -------
    scene : (H, W) float32 ndarray
        Grey levels before the optics.
    texture : (H, W) float32 ndarray
        The part of `scene` that is grain of the ferrule.
    """
    shape = (frame.height_px, frame.width_px)
    texture = _texture(look, frame, shape, rng)
    scene = np.full(shape, look.ferrule_gray, np.float32)
    reach = look.outer_um + look.crescent_um + 3.0 * frame.pitch_um
    box = frame.box_around((-reach, reach), (-reach, reach), margin_um=0.0)
    y0, x0, height, width = box
    window = (slice(y0, y0 + height), slice(x0, x0 + width))
    x, y = frame.grid(box)
    radius = np.hypot(x, y)
    soft = _EDGE_PX * frame.pitch_um
    table = np.arange(0.0, 2.0 * reach, frame.pitch_um / 10.0)
    scene[window] = np.interp(radius, table, _outer_profile(look, table, soft))
    dx, dy = look.core_offset_um
    core = _core_profile(look, table, soft)
    scene[window] += np.interp(np.hypot(x - dx, y - dy), table, core).astype(np.float32)
    if look.crescent_um > 0 or look.rim_relief > 0:
        scene[window] += _slanting_light(look, x, y, radius, table, soft)
    grain = np.ones(shape, np.float32)
    grain[window] = np.interp(radius, table, _rise(table, look.outer_um, soft))
    texture *= grain
    scene += texture
    return scene, texture


def _slanting_light(
    look: FibreLook,
    x_um: FloatMap,
    y_um: FloatMap,
    radius_um: FloatMap,
    table_um: NDArray[np.float64],
    soft_um: float,
) -> FloatMap:
    """Draw the bright crescent on one side of the rim, the darker line on the other; both end on it."""
    direction = (math.cos(look.crescent_angle_rad), math.sin(look.crescent_angle_rad))
    cosine = (x_um * direction[0] + y_um * direction[1]) / np.maximum(radius_um, 1.0)
    start, wide = look.outer_um, max(look.crescent_um, 1e-3)
    bright = _rise(table_um, start, soft_um) - _rise(table_um, start + wide, soft_um + wide / 4.0)
    line = _rise(table_um, look.rim_um - look.rim_line_um, soft_um) - _rise(table_um, look.rim_um, soft_um)
    crescent = np.interp(radius_um, table_um, look.crescent * look.ferrule_gray * bright)
    shadow = np.interp(radius_um, table_um, look.rim_relief * look.rim_line * look.cladding_gray * line)
    return np.asarray(crescent * np.maximum(cosine, 0.0) + shadow * cosine, np.float32)


def _texture(look: FibreLook, frame: Frame, shape: tuple[int, int], rng: np.random.Generator) -> FloatMap:
    scale = max(look.texture_um / frame.pitch_um, 0.4)
    texture = smooth_noise(rng, shape, scale_px=scale)
    if look.speckle > 0:
        # filler grains: the peaks of a second, finer noise, skewed to the bright side
        grains = smooth_noise(rng, shape, scale_px=max(0.6 * scale, 0.4))
        cut = float(np.quantile(grains[::4, ::4], 1.0 - look.speckle))
        texture += 2.0 * cv2.GaussianBlur(np.maximum(grains - cut, 0.0), (0, 0), 0.5)
        texture -= float(texture.mean())
    texture *= np.float32(look.texture_gray / max(float(texture.std()), 1e-6))
    return texture
