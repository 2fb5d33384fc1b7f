"""Defects that follow a path: scratches, cracks, lint, trails of beads; see `defects.Drawing`."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from endface.annotation import DefectClass
from endface.synthesis.defects import Drawing, Points, area_um2, field_drawing
from endface.synthesis.shapes import Frame, coverage, polyline_distance, smooth_noise, wavy


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def scratch_path(
    rng: np.random.Generator, *, x_um: float, y_um: float, length_um: float, angle_rad: float, bend_rad: float
) -> Points:
    """Return a smooth path through a point that turns by `bend_rad` from end to end."""
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
    """Return knots (arc length, weight) of a line with irregular gaps and tapered ends."""
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
    # light is caught on one flank
    aside = np.array([[1, 0, 1.2], [0, 1, 1.0]], np.float64)
    bright = cv2.warpAffine(drawn.dark, aside, (drawn.box[3], drawn.box[2]))
    return replace(drawn, defect_class=DefectClass.PIT_CHIP, bright=np.asarray(0.35 * bright, np.float32))


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
        area_um2=area_um2(body, frame),
        polarity=-1,
        envelope=body > 0.5,
        crest_um=None,
    )


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
    return field_drawing(
        "trail", frame, box, np.asarray(-dark, np.float32), inside, x_um, y_um, size_um, polarity=-1
    )
