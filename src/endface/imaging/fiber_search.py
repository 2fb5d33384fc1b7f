"""Rings that may be those of a fibre: circles are proposed and measured on small copies of a picture.

Judges single rings only; which of them is what is decided in `endface.imaging.fiber`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.circles import find_circles
from endface.imaging.ellipse import Ellipse
from endface.imaging.rings import Ring, fit_ring

N_ROUGH_ANGLES = 128
MIN_SUPPORT = 0.6
MIN_SNR = 2.5
_MIN_AGREEMENT = 0.8
_MAX_UNREST = 0.45
_PLAIN_SNR = 10.0
_MIN_PLAIN_SUPPORT = 0.5
_MIN_LINE_SUPPORT = 0.9


@dataclass(frozen=True, eq=False)
class Copy:
    """A smaller copy of a picture and how many of its pixels make one of the picture's."""

    image: NDArray[np.float32]
    scale_x: float
    scale_y: float

    def ellipse_here(self, ellipse: Ellipse) -> Ellipse:
        """Return an ellipse of the picture in pixels of the copy."""
        return Ellipse(
            (ellipse.cx_px + 0.5) * self.scale_x - 0.5,
            (ellipse.cy_px + 0.5) * self.scale_y - 0.5,
            ellipse.rx_px * self.scale_x,
            ellipse.ry_px * self.scale_y,
        )

    def ellipse_there(self, ellipse: Ellipse) -> Ellipse:
        """Return an ellipse of the copy in pixels of the picture."""
        return Ellipse(
            (ellipse.cx_px + 0.5) / self.scale_x - 0.5,
            (ellipse.cy_px + 0.5) / self.scale_y - 0.5,
            ellipse.rx_px / self.scale_x,
            ellipse.ry_px / self.scale_y,
        )


def small_copy(image: NDArray[np.float32], longest_px: int, stretch: float = 1.0) -> Copy:
    """Average the picture down to a longest side; `stretch` is by how much more along y."""
    height, width = image.shape
    scale = min(1.0, longest_px / max(width, height / stretch))
    size = (max(16, round(width * scale)), max(16, round(height * scale / stretch)))
    if size == (width, height):
        return Copy(image, 1.0, 1.0)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Copy(np.asarray(small, np.float32), size[0] / width, size[1] / height)


def measure_proposals(copy: Copy, coarse_px: int, aspect: float | None, arc_rad: float) -> list[Ring]:
    """Fit a ring to the circles proposed on a still smaller copy, its pixels square if known."""
    small = small_copy(copy.image, coarse_px, aspect or 1.0)  # ry / rx: squeezed along y by it
    circles = find_circles(
        small.image, min_radius_px=4.0, max_radius_px=0.6 * min(small.image.shape), count=12
    )
    rings: list[Ring] = []
    anchor, anchor_score = None, 0.0
    for circle in circles:
        start = small.ellipse_there(Ellipse(circle.cx_px, circle.cy_px, circle.radius_px, circle.radius_px))
        if circle.score < 0.25 * circles[0].score:
            break
        if any(same_place(start, ring.ellipse, 0.05) and ring.polarity == circle.polarity for ring in rings):
            continue
        if anchor is not None and not _matters(start, circle.score, anchor, anchor_score):
            continue
        band = max(0.13 * start.radius_px, 1.5 / small.scale_x)
        ring = fit_ring(
            copy.image,
            start,
            polarity=circle.polarity,
            band_px=band,
            aspect=aspect,
            arc_rad=arc_rad,
            n_angles=N_ROUGH_ANGLES,
        )
        if ring is None:
            continue
        rings.append(ring)
        if anchor is None and ring.support > 0.8 and is_sound(ring, faint=arc_rad > 0):
            anchor, anchor_score = ring, circle.score
    return [replace(ring, ellipse=copy.ellipse_there(ring.ellipse)) for ring in _without_rivals(rings)]


def _matters(start: Ellipse, score: float, anchor: Ring, anchor_score: float) -> bool:
    """Whether a proposal may change what a clear ring means: a rim round it, or another fibre.

    Well within it only its core can be, which is looked for later, and specks beside it matter not.
    """
    one, other = start, anchor.ellipse
    around = math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px) < 0.15 * max(
        one.radius_px, other.radius_px
    )
    if around:
        return not 0.95 < one.radius_px / other.radius_px < 1.12 and one.radius_px > 0.7 * other.radius_px
    return one.radius_px > 0.6 * other.radius_px and score > 0.5 * anchor_score


def _without_rivals(rings: list[Ring]) -> list[Ring]:
    """Of rings of one polarity that cross each other keep the one with the most evidence."""
    kept: list[Ring] = []
    for ring in sorted(rings, key=lambda r: -r.support * r.strength):
        points = ring.ellipse.points(np.linspace(0, 2 * np.pi, 48, endpoint=False))
        crossing = False
        for other in kept:
            radius = other.ellipse.normalized_radius(points[:, 0], points[:, 1])
            like = abs(math.log(ring.ellipse.radius_px / other.ellipse.radius_px)) < 0.25
            crossing |= (
                like and ring.polarity == other.polarity and radius.min() < 1.01 and radius.max() > 0.99
            )
        if not crossing:
            kept.append(ring)
    return kept


def same_place(one: Ellipse, other: Ellipse, tolerance: float) -> bool:
    """Whether two ellipses are alike to a share of the radius."""
    distance = math.hypot(one.cx_px - other.cx_px, one.cy_px - other.cy_px)
    return distance + abs(one.radius_px - other.radius_px) < tolerance * other.radius_px


def is_sound(ring: Ring, *, faint: bool, slack: float = 1.0) -> bool:
    """Whether a ring is closed and steady enough; more is asked where edges were smoothed along the rim.

    `slack` above 1 is for the second look at a ring that was sound on a copy, where there is less noise.
    """
    if faint and (ring.support < 0.75 / slack or ring.agreement < 0.9 / slack):
        return False
    steady = faint or (ring.support > 0.9 and (ring.agreement > 0.95 or ring.snr > _PLAIN_SNR))
    # half of a rim will do where it stands out by far
    plain = ring.snr > _PLAIN_SNR and ring.agreement > 0.9 and ring.unrest < 0.5 * _MAX_UNREST
    # glass and ferrule may be equally bright: then a thin line all round is the whole rim
    line = ring.support * slack >= _MIN_LINE_SUPPORT and ring.snr * slack >= 2 * MIN_SNR
    step = ring.agreement * slack >= _MIN_AGREEMENT and ring.step > 0.2 * ring.strength
    return (
        (step or line)
        and ring.support * slack >= (_MIN_PLAIN_SUPPORT if plain else MIN_SUPPORT)
        and ring.unrest <= slack * (2 if steady else 1) * _MAX_UNREST
        and ring.snr * slack >= MIN_SNR
        and ring.strength > 3 * ring.shade
    )
