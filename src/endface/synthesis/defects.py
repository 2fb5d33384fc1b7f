"""What can be wrong with an end face: every kind of defect drawn as absorbed and added light, with its sizes in um.

A drawing says where light is lost (`dark`, 0 to 1) and gained (`bright`, 0 to 1) for a contrast of one; how strong
it is in the end, and which of its pixels can be seen, is decided in `scene`, where the optics and the noise are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
    polyline_distance,
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
        Share of light lost, and light gained as a share of the ferrule's brightness, for a contrast of one.
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


def _area_um2(share: FloatMap, frame: Frame) -> float:
    return float(share.sum()) * frame.um_per_px_x * frame.um_per_px_y


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


# ---------------------------------------------------------------------------------------------- lines


def scratch_path(
    rng: np.random.Generator, *, x_um: float, y_um: float, length_um: float, angle_rad: float, bend_rad: float
) -> Points:
    """Return a smooth path of given length through a point: the direction turns by `bend_rad` from end to end."""
    count = max(int(length_um / 1.0), 8)
    share = np.linspace(0.0, 1.0, count)
    wobble = 0.03 * np.sin(2.0 * math.pi * (share * rng.uniform(0.5, 2.0) + rng.uniform()))
    heading = angle_rad + bend_rad * (share - 0.5) + wobble * (bend_rad != 0.0)
    step = length_um / (count - 1)
    middle = heading[:-1]
    points = np.zeros((count, 2))
    points[1:, 0] = np.cumsum(np.cos(middle)) * step
    points[1:, 1] = np.cumsum(np.sin(middle)) * step
    return np.asarray(points - points[count // 2] + [x_um, y_um])


def scratch(
    rng: np.random.Generator,
    frame: Frame,
    path_um: Points,
    *,
    width_um: float,
    profile: str,
    interrupted: float = 0.0,
    kind: str = "scratch",
) -> Drawing:
    """Draw a scratch along a path.

    Parameters
    ----------
    width_um : float
        Full width at half depth of its Gaussian profile (of the groove for `profile='relief'`).
    profile : {'dark', 'bright', 'relief'}
        Relief: one side dark, the other bright, as under slanting light.
    interrupted : float
        Share of the length that is missing (0: none).
    """
    length = float(np.hypot(*np.diff(path_um, axis=0).T).sum())
    sigma = width_um / 2.355
    # the pixel's own width keeps hairlines from falling between pixel centres; the depth shrinks accordingly
    drawn = math.hypot(sigma, 0.45 * frame.pitch_um)
    reach = 3.0 * drawn + frame.pitch_um
    box = frame.box_around(_span(path_um, 0), _span(path_um, 1), margin_um=reach)
    distance, arc = polyline_distance(path_um, frame=frame, box=box, reach_um=reach)
    keep = _gaps(rng, length, interrupted)
    weight = wavy(rng, arc, period=max(0.6 * length, 5.0), depth=0.15) * np.interp(arc, *keep).astype(
        np.float32
    )
    scaled = distance / np.float32(drawn)
    bell = np.exp(-0.5 * np.minimum(np.abs(scaled), 9.0) ** 2) * weight * (np.abs(distance) < reach)
    nothing = np.zeros_like(bell)
    if profile == "dark":
        dark, bright = bell, nothing
    elif profile == "bright":
        dark, bright = nothing, bell
    else:
        slope = np.where(np.abs(distance) < reach, scaled * bell * np.float32(math.exp(0.5)), 0.0)
        dark, bright = np.maximum(slope, 0.0), np.maximum(-slope, 0.0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path_um, axis=0).T))])
    middle = path_um[len(path_um) // 2]
    return Drawing(
        kind,
        DefectClass.SCRATCH,
        box,
        np.asarray(dark, np.float32),
        np.asarray(bright, np.float32),
        float(middle[0]),
        float(middle[1]),
        diameter_um=float(np.hypot(*(path_um[-1] - path_um[0]))),
        length_um=length,
        width_um=width_um,
        area_um2=length * width_um * (1.0 - interrupted),
        polarity={"dark": -1, "bright": 1, "relief": 0}[profile],
        crest_um=path_um[np.interp(along, *keep) > 0.5],
    )


def _curl(rng: np.random.Generator, *, x_um: float, y_um: float, length_um: float) -> Points:
    """Return a path that winds at random: the direction is a sum of slow sines."""
    count = max(int(length_um), 16)
    share = np.linspace(0.0, 1.0, count)
    heading = rng.uniform(0.0, 2.0 * math.pi) + rng.normal(0.0, 1.2) * share
    for turns in (0.5, 1.0, 1.7):
        heading = heading + rng.normal(0.0, 0.7) * np.sin(2.0 * math.pi * (turns * share + rng.uniform()))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length_um / count)
    points = np.cumsum(steps, axis=0)
    return np.asarray(points - points[count // 2] + [x_um, y_um])


def _span(points: Points, axis: int) -> tuple[float, float]:
    return (float(points[:, axis].min()), float(points[:, axis].max()))


def _gaps(rng: np.random.Generator, length_um: float, missing: float) -> tuple[Points, Points]:
    """Return knots (arc length, weight) that leave out a share of a line in irregular gaps, and taper its ends."""
    taper = min(0.05 * length_um, 2.0)
    arcs, weights = [-1.0, 0.0, taper], [0.0, 0.2, 1.0]
    room = length_um - 4.0 * taper
    if missing > 0.0 and room > 4.0:
        count = max(int(length_um / rng.uniform(10.0, 40.0)), 1)
        gaps, lines = rng.gamma(2.0, size=count), rng.gamma(1.2, size=count + 1)
        gaps *= missing * room / gaps.sum()
        lines *= (1.0 - missing) * room / lines.sum()
        start = 2.0 * taper
        for gap, line in zip(gaps, lines[:-1], strict=True):
            start += line
            arcs += [start, start + 0.1 * gap, start + 0.9 * gap, start + gap]
            weights += [1.0, 0.0, 0.0, 1.0]
            start += gap
    arcs += [length_um - taper, length_um, length_um + 1.0]
    weights += [1.0, 0.2, 0.0]
    return np.asarray(arcs), np.asarray(weights)


def crack(
    rng: np.random.Generator, frame: Frame, *, rim_um: float, angle_rad: float, length_um: float
) -> Drawing:
    """Draw a crack: a jagged line that runs from the rim into the glass."""
    count = max(int(length_um / 2.0), 4)
    heading = angle_rad + math.pi + rng.uniform(-0.5, 0.5) + np.cumsum(rng.normal(0.0, 0.22, count))
    heading += rng.normal(0.0, 0.35, count)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length_um / count)
    start = np.array([math.cos(angle_rad), math.sin(angle_rad)]) * rim_um
    path = np.concatenate([[start], start + np.cumsum(steps, axis=0)])
    drawn = scratch(rng, frame, path, width_um=_log_uniform(rng, 0.4, 1.0), profile="dark", kind="crack")
    middle = path[len(path) // 2]
    # light is caught on one flank
    bright = cv2.warpAffine(
        drawn.dark, np.array([[1, 0, 1.2], [0, 1, 1.0]], np.float64), (drawn.box[3], drawn.box[2])
    )
    fields = {**_fields(drawn), "defect_class": DefectClass.PIT_CHIP, "bright": 0.35 * bright}
    fields |= {"x_um": float(middle[0]), "y_um": float(middle[1])}
    return Drawing(**fields)  # type: ignore[arg-type]


def _fields(drawing: Drawing) -> dict[str, object]:
    return {name: getattr(drawing, name) for name in Drawing.__dataclass_fields__}


def lint(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float) -> Drawing:
    """Draw a lint fibre lying on the face: long, curled, dark flanks and a lighter middle."""
    length, width = _log_uniform(rng, 25.0, 160.0), rng.uniform(1.8, 5.0)
    path = _curl(rng, x_um=x_um, y_um=y_um, length_um=length)
    reach = width + 2.0 * frame.pitch_um
    box = frame.box_around(_span(path, 0), _span(path, 1), margin_um=reach)
    distance, arc = polyline_distance(path, frame=frame, box=box, reach_um=reach)
    away = np.abs(distance)
    body = coverage(away - np.float32(width / 2.0), pitch_um=frame.pitch_um)
    light = np.exp(-0.5 * (away / (0.22 * width)) ** 2)
    dark = body * (1.0 - 0.75 * light) * wavy(rng, arc, period=0.4 * length, depth=0.1)
    return Drawing(
        "lint",
        DefectClass.CONTAMINATION,
        box,
        np.asarray(dark, np.float32),
        np.zeros_like(dark, np.float32),
        x_um,
        y_um,
        diameter_um=float(np.hypot(np.ptp(path[:, 0]), np.ptp(path[:, 1]))),
        length_um=length,
        width_um=width,
        area_um2=_area_um2(body, frame),
        polarity=-1,
        envelope=body > 0.5,
        crest_um=None,
    )


# ---------------------------------------------------------------------------------------------- spots


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

    `rim` is the height of the rim as a share of the hole's depth (default: drawn at random, 0 to 0.6).
    """
    minor = diameter_um * rng.uniform(0.72, 1.0)
    angle = rng.uniform(0.0, math.pi)
    x, y, box = _local(frame, x_um, y_um, diameter_um)
    distance = ellipse_distance(
        x, y, semi_major_um=diameter_um / 2.0, semi_minor_um=minor / 2.0, angle_rad=angle
    )
    hole = coverage(distance, pitch_um=frame.pitch_um)
    height = rng.uniform(0.0, 0.6) if rim is None else rim
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
        area_um2=_area_um2(body, frame),
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
        area_um2=_area_um2(inside, frame),
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
        area_um2=_area_um2(hole, frame),
        polarity=-1,
        envelope=hole > 0.5,
    )


# --------------------------------------------------------------------------------------------- fields


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
    """Draw an oil film: an irregular patch with interference fringes that follow its thickness, one defect."""
    cloud, box = _cloud(rng, frame, x_um, y_um, size_um, ragged=0.35)
    film = np.clip(cloud / 0.4, 0.0, 1.0)
    # fringes finer than a few pixels would only alias
    orders = rng.uniform(0.6, min(3.0, max(0.03 * size_um / frame.pitch_um, 0.8)))
    thick = cloud + 0.5 * smooth_noise(rng, cloud.shape, scale_px=max(0.08 * size_um / frame.pitch_um, 2.0))
    fringe = np.cos(2.0 * math.pi * orders * np.clip(thick, 0.0, None)) * film
    fringe -= 0.3 * film
    inside = cloud > 0.0
    return _field("oil", frame, box, fringe, inside, x_um, y_um, size_um, polarity=0)


def residue(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, size_um: float) -> Drawing:
    """Draw a field of residue: many specks of very different size in an irregular patch, one defect."""
    cloud, box = _cloud(rng, frame, x_um, y_um, size_um, ragged=0.5)
    specks = smooth_noise(rng, cloud.shape, scale_px=max(rng.uniform(0.5, 1.0) / frame.pitch_um, 0.8))
    specks += 0.7 * smooth_noise(rng, cloud.shape, scale_px=max(2.0 / frame.pitch_um, 1.5))
    dark = np.clip((specks - rng.uniform(1.0, 1.6)) * 2.0, 0.0, 1.0) * np.clip(cloud / 0.15, 0.0, 1.0)
    field = _field("residue", frame, box, -dark, cloud > 0.0, x_um, y_um, size_um, polarity=-1)
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
    return Drawing(
        **{
            **_fields(field),
            "dark": kept,
            "envelope": large,
            "area_um2": _area_um2(large.astype(np.float32), frame),
        }
    )  # type: ignore[arg-type]


def trail(rng: np.random.Generator, frame: Frame, *, x_um: float, y_um: float, size_um: float) -> Drawing:
    """Draw a trail: a row of beads of dried liquid or dirt along a curve, one defect."""
    path = _curl(rng, x_um=x_um, y_um=y_um, length_um=size_um)
    wide = rng.uniform(1.5, 4.0)
    box = frame.box_around(_span(path, 0), _span(path, 1), margin_um=2.0 * wide)
    distance, arc = polyline_distance(path, frame=frame, box=box, reach_um=2.0 * wide)
    swelling = 0.5 * wavy(rng, arc, period=rng.uniform(8.0, 16.0), depth=0.7)
    beads = smooth_noise(rng, distance.shape, scale_px=max(0.8 / frame.pitch_um, 0.8))
    body = np.asarray(np.abs(distance) - np.float32(wide) * (swelling + 0.15 * beads - 0.12), np.float32)
    dark = coverage(body, pitch_um=frame.pitch_um) * np.clip(0.8 + 0.3 * beads, 0.2, 1.0)
    inside = (np.abs(distance) < 0.7 * wide) | (dark > 0.4)
    return _field(
        "trail", frame, box, np.asarray(-dark, np.float32), inside, x_um, y_um, size_um, polarity=-1
    )


def _field(
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
        area_um2=_area_um2(inside.astype(np.float32), frame),
        polarity=polarity,
        envelope=inside,
    )


#: kinds that lie at a point and have a diameter
SPOT_KINDS: dict[str, Callable[..., Drawing]] = {"pit": pit, "dust": dust, "droplet": droplet}
#: kinds that cover a patch
FIELD_KINDS: dict[str, Callable[..., Drawing]] = {"oil": oil, "residue": residue, "trail": trail}
