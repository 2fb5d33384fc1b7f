"""Spots, chips and fields drawn as absorbed and added light, with their sizes in um.

A drawing says where light is lost (`dark`) and gained (`bright`), both as shares of the light that is there,
for a contrast of one. How
strong it is in the end, and which of its pixels can be seen, is decided in `stage`, which knows the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.synthesis.shapes import (
    Box,
    FloatMap,
    Frame,
    coverage,
    ellipse_distance,
    smooth_noise,
    wavy,
)

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drawing:
    """One defect before the optics.

    Attributes
    ----------
    dark, bright : (h, w) float32 ndarray
        Light lost and gained as shares of the light that is there, for a contrast of one.
    envelope : (h, w) bool ndarray or None
        Extent of a field of many specks or of a film, which counts as one defect; None: what is drawn.
    crest_um : (N, 2) float64 ndarray or None
        Points on the centre line of a line-like defect where it is not interrupted.
    diameter_um : float
        Largest extent across; for lines the length between the ends.
    length_um, width_um : float
        Along and across: path length and full width at half depth of lines, axes of spots.
    area_um2 : float
        Area that the shape covers.
    """

    kind: str
    defect_class: DefectClass
    box: Box
    dark: FloatMap
    bright: FloatMap
    x_um: float
    y_um: float
    diameter_um: float
    length_um: float
    width_um: float
    area_um2: float
    polarity: int
    envelope: NDArray[np.bool_] | None = None
    crest_um: Points | None = None


def area_um2(share: FloatMap, frame: Frame) -> float:
    """Return the area of a map of pixel shares in um2."""
    return float(share.sum()) * frame.um_per_px_x * frame.um_per_px_y


def pit(
    rng: np.random.Generator,
    frame: Frame,
    *,
    x_um: float,
    y_um: float,
    diameter_um: float,
    rim: float | None = None,
) -> Drawing:
    """Draw a pit: a dark, nearly round hole with a brighter rim that catches light from one side.

    `rim` is the height of the rim as a share of the hole's depth (default: drawn at random, 0.35 to 0.8).
    """
    minor = diameter_um * rng.uniform(0.85, 1.0)
    angle = rng.uniform(0.0, math.pi)
    x, y, box = _local(frame, x_um, y_um, diameter_um)
    distance = ellipse_distance(
        x, y, semi_major_um=diameter_um / 2.0, semi_minor_um=minor / 2.0, angle_rad=angle
    )
    hole = coverage(distance, pitch_um=frame.pitch_um)
    height = rng.uniform(0.35, 0.8) if rim is None else rim
    wide = max(0.18 * diameter_um, 0.4)
    light = rng.uniform(0.0, 2.0 * math.pi)
    slant = 0.5 + 0.5 * (x * math.cos(light) + y * math.sin(light)) / np.maximum(np.hypot(x, y), 1e-3)
    ring = np.exp(-0.5 * ((distance - wide) / (0.7 * wide)) ** 2) * (1.0 - hole) * slant
    return Drawing(
        "pit",
        DefectClass.PIT_CHIP,
        box,
        hole,
        np.asarray(height * ring, np.float32),
        x_um,
        y_um,
        diameter_um=diameter_um,
        length_um=diameter_um,
        width_um=minor,
        area_um2=math.pi / 4.0 * diameter_um * minor,
        polarity=-1,
    )


def _local(frame: Frame, x_um: float, y_um: float, extent_um: float) -> tuple[FloatMap, FloatMap, Box]:
    reach = 0.5 * extent_um
    box = frame.box_around(
        (x_um - reach, x_um + reach), (y_um - reach, y_um + reach), margin_um=0.6 * extent_um + 2.0
    )
    x, y = frame.grid(box)
    return x - np.float32(x_um), y - np.float32(y_um), box


def dust(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, diameter_um: float) -> Drawing:
    """Draw a dust grain: one to four merged ellipses, dark, with a diffraction ring around them."""
    x, y, box = _local(frame, x_um, y_um, 1.6 * diameter_um)
    parts = int(rng.integers(1, 5)) if diameter_um > 4.0 * frame.pitch_um else 1
    distance = np.full((box[2], box[3]), np.float32(1e6))
    for _ in range(parts):
        major = 0.5 * diameter_um * (1.0 if parts == 1 else rng.uniform(0.45, 0.75))
        lift = 0.5 * diameter_um - major
        turn, towards = rng.uniform(0.0, math.pi), rng.uniform(0.0, 2.0 * math.pi)
        shifted = (x - np.float32(lift * math.cos(towards)), y - np.float32(lift * math.sin(towards)))
        one = ellipse_distance(
            *shifted, semi_major_um=major, semi_minor_um=major * rng.uniform(0.55, 1.0), angle_rad=turn
        )
        distance = np.minimum(distance, one)
    body = coverage(distance, pitch_um=frame.pitch_um)
    period = rng.uniform(1.2, 2.6)
    waves = np.cos(2.0 * math.pi * (distance / period - 0.35)) * np.exp(-np.maximum(distance, 0.0) / period)
    ring = rng.uniform(0.05, 0.25) * waves * (1.0 - body)
    extent, width = _extent_um(body > 0.5, frame, diameter_um)
    return Drawing(
        "dust",
        DefectClass.CONTAMINATION,
        box,
        np.asarray(body + np.maximum(-ring, 0.0), np.float32),
        np.asarray(np.maximum(ring, 0.0), np.float32),
        x_um,
        y_um,
        diameter_um=extent,
        length_um=extent,
        width_um=width,
        area_um2=area_um2(body, frame),
        polarity=-1,
    )


def _extent_um(mask: NDArray[np.bool_], frame: Frame, fallback_um: float) -> tuple[float, float]:
    """Length and width of the smallest rectangle around a mask; `fallback_um` below five pixels."""
    rows, cols = np.nonzero(mask)
    if rows.size < 5:
        return fallback_um, fallback_um
    points = np.stack([cols * frame.um_per_px_x, rows * frame.um_per_px_y], axis=1).astype(np.float32)
    sides = np.asarray(cv2.minAreaRect(points)[1]) + frame.pitch_um
    return float(sides.max()), float(sides.min())


def droplet(
    rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, diameter_um: float
) -> Drawing:
    """Draw a dried droplet: a dark outline, sometimes several, around a slightly changed surface."""
    x, y, box = _local(frame, x_um, y_um, 1.3 * diameter_um)
    angle = np.arctan2(y, x)
    bumps = np.ones_like(angle)
    for order in (2, 3, 5):
        bumps += rng.normal(0.0, 0.07 / order) * np.sin(angle * order + rng.uniform(0.0, 6.28))
    distance = np.asarray(np.hypot(x, y) - 0.5 * diameter_um * bumps / bumps.max(), np.float32)
    wall = max(0.06 * diameter_um, 0.5)
    outline = np.exp(-0.5 * ((distance + wall) / wall) ** 2)
    inside = coverage(distance, pitch_um=frame.pitch_um)
    if diameter_um > 8.0 and rng.random() < 0.6:
        outline += 0.6 * np.exp(-0.5 * ((distance + rng.uniform(0.25, 0.45) * diameter_um) / wall) ** 2)
    haze = rng.uniform(-0.3, 0.3)
    return Drawing(
        "droplet",
        DefectClass.CONTAMINATION,
        box,
        np.asarray(np.minimum(outline, 1.0) + max(-haze, 0.0) * inside, np.float32),
        np.asarray(max(haze, 0.0) * inside, np.float32),
        x_um,
        y_um,
        diameter_um=diameter_um,
        length_um=diameter_um,
        width_um=diameter_um * 0.9,
        area_um2=area_um2(inside, frame),
        polarity=-1,
        envelope=inside > 0.5,
    )


def chip(
    rng: np.random.Generator,
    frame: Frame,
    *,
    rim_um: float,
    angle_rad: float,
    depth_um: float,
    width_um: float,
) -> Drawing:
    """Draw a chip: glass broken off the rim, `depth_um` inwards and `width_um` along it."""
    tip = rim_um - depth_um / 2.0
    x_um, y_um = tip * math.cos(angle_rad), tip * math.sin(angle_rad)
    reach = max(depth_um, width_um) / 2.0 + 1.0
    box = frame.box_around((x_um - reach, x_um + reach), (y_um - reach, y_um + reach), margin_um=2.0)
    x, y = frame.grid(box)
    radius = np.hypot(x, y)
    # arc length along the rim from the chip's middle
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    along = np.asarray(np.arctan2(y * cos - x * sin, x * cos + y * sin) * rim_um, np.float32)
    share = np.clip(np.abs(along) / (width_um / 2.0), 0.0, 1.0)
    jag = wavy(rng, along, period=max(width_um / 1.5, 2.0), depth=0.18)
    inner = rim_um - depth_um * np.sqrt(1.0 - share**2) * np.minimum(jag, 1.0)
    hole = coverage(np.asarray(inner - radius, np.float32), pitch_um=frame.pitch_um)
    hole = hole * coverage(np.asarray(radius - rim_um, np.float32), pitch_um=frame.pitch_um)
    hole = np.where(share < 1.0, hole, 0.0).astype(np.float32)
    facets = np.clip(smooth_noise(rng, hole.shape, scale_px=max(1.2 / frame.pitch_um, 1.0)) - 0.8, 0.0, 1.0)
    return Drawing(
        "chip",
        DefectClass.PIT_CHIP,
        box,
        np.asarray(hole * (1.0 - 0.6 * facets), np.float32),
        np.asarray(0.5 * hole * facets, np.float32),
        x_um,
        y_um,
        diameter_um=max(depth_um, width_um),
        length_um=width_um,
        width_um=depth_um,
        area_um2=area_um2(hole, frame),
        polarity=-1,
        envelope=hole > 0.5,
    )


def _cloud(
    rng: np.random.Generator, frame: Frame, x_um: float, y_um: float, size_um: float, ragged: float
) -> tuple[FloatMap, Box]:
    """Return a soft irregular patch: positive inside, zero on its border, about 1 in its middle."""
    x, y, box = _local(frame, x_um, y_um, 1.3 * size_um)
    turn, flat = rng.uniform(0.0, math.pi), rng.uniform(0.5, 1.0)
    distance = ellipse_distance(
        x, y, semi_major_um=size_um / 2.0, semi_minor_um=flat * size_um / 2.0, angle_rad=turn
    )
    noise = smooth_noise(rng, (box[2], box[3]), scale_px=max(0.12 * size_um / frame.pitch_um, 1.5))
    return np.asarray(ragged * noise - distance / np.float32(0.25 * size_um), np.float32), box


def oil(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, size_um: float) -> Drawing:
    """Draw an oil film: an irregular patch with fringes that follow its thickness, one defect."""
    cloud, box = _cloud(rng, frame, x_um, y_um, size_um, ragged=0.35)
    film = np.clip(cloud / 0.4, 0.0, 1.0)
    # fringes finer than a few pixels would only alias
    orders = rng.uniform(0.6, min(3.0, max(0.03 * size_um / frame.pitch_um, 0.8)))
    thick = cloud + 0.5 * smooth_noise(rng, cloud.shape, scale_px=max(0.08 * size_um / frame.pitch_um, 2.0))
    fringe = np.cos(2.0 * math.pi * orders * np.clip(thick, 0.0, None)) * film
    fringe -= 0.3 * film
    inside = cloud > 0.0
    return field_drawing("oil", frame, box, fringe, inside, x_um, y_um, size_um, polarity=0)


def residue(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, size_um: float) -> Drawing:
    """Draw a field of residue: many specks of very different size in an irregular patch, one defect."""
    cloud, box = _cloud(rng, frame, x_um, y_um, size_um, ragged=0.5)
    specks = smooth_noise(rng, cloud.shape, scale_px=max(rng.uniform(0.5, 1.0) / frame.pitch_um, 0.8))
    specks += 0.7 * smooth_noise(rng, cloud.shape, scale_px=max(2.0 / frame.pitch_um, 1.5))
    dark = np.clip((specks - rng.uniform(1.0, 1.6)) * 2.0, 0.0, 1.0) * np.clip(cloud / 0.15, 0.0, 1.0)
    field = field_drawing("residue", frame, box, -dark, cloud > 0.0, x_um, y_um, size_um, polarity=-1)
    assert field.envelope is not None
    # the extent of what is there: specks joined over the gaps between them
    grow = max(round(3.0 / frame.pitch_um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    joined = cv2.morphologyEx((dark > 0.3).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    number, labels, stats, _ = cv2.connectedComponentsWithStats(joined.astype(np.uint8), connectivity=8)
    if number < 2:
        return field
    large = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    # one connected field: specks that lie apart from it are left out of the drawing as well
    kept = np.asarray(field.dark * large, np.float32)
    length, width = _extent_um(large, frame, size_um)
    return replace(
        field,
        dark=kept,
        envelope=large,
        diameter_um=length,
        length_um=length,
        width_um=width,
        area_um2=area_um2(large.astype(np.float32), frame),
    )


def field_drawing(
    kind: str,
    frame: Frame,
    box: Box,
    change: FloatMap,
    inside: NDArray[np.bool_],
    x_um: float,
    y_um: float,
    size_um: float,
    *,
    polarity: int,
) -> Drawing:
    """Return the drawing of a patch that counts as one defect: `change` is signed, `inside` its extent."""
    length, width = _extent_um(inside, frame, size_um)
    return Drawing(
        kind,
        DefectClass.CONTAMINATION,
        box,
        np.asarray(np.maximum(-change, 0.0), np.float32),
        np.asarray(np.maximum(change, 0.0), np.float32),
        x_um,
        y_um,
        diameter_um=length,
        length_um=length,
        width_um=width,
        area_um2=area_um2(inside.astype(np.float32), frame),
        polarity=polarity,
        envelope=inside,
    )
