"""The core of a fibre: the lasting step of brightness inside its rim that has the most evidence.

Knows rings and profiles over the radius; what a core means is left to `endface.zones`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.rim import ray_median, unroll
from endface.imaging.rings import Ring, fit_ring
from endface.imaging.sliding import running_median

_MIN_AGREEMENT = 0.8
_MAX_CORE_RATIO = 0.9
_THIN_RING = 0.07
_MAX_STEPS = 3
_N_TRIAL_ANGLES = 256
_FAINT_ARC_RAD = 0.15
_CLEARLY_MORE = 1.25


def find_core(image: NDArray[np.float32], cladding: Ellipse, rings: list[Ring]) -> Ring | None:
    """Find the edge of the core within a cladding.

    Candidates are the given rings and the steps of the median profile over all rays; each is fitted with the
    axis ratio of the cladding. The highest lasting step wins: thin index rings and reflections are taken out
    first.

    Returns
    -------
    Ring or None
        None where no step stands out of the noise.
    """
    best, most = None, 0.0
    for ring in rings:
        evidence = _core_evidence(image, ring, cladding)
        if evidence > most:
            best, most = ring, evidence
    for radius, polarity, height in _profile_steps(image, cladding):
        if most > _CLEARLY_MORE * height:  # the steps come highest first
            break
        step = _trial(image, cladding, radius, polarity, 0.0)
        if step is None or step.support < 0.7:
            step = _trial(image, cladding, radius, polarity, _FAINT_ARC_RAD) or step
        evidence = 0.0 if step is None else _core_evidence(image, step, cladding)
        if evidence > most:
            best, most = step, evidence
    return best


def _trial(
    image: NDArray[np.float32], cladding: Ellipse, radius: float, polarity: int, arc_rad: float
) -> Ring | None:
    """Fit a ring to a step of the profile at a radius given against that of the cladding."""
    start = cladding.scaled(radius)
    return fit_ring(
        image,
        start,
        polarity=polarity,
        band_px=max(0.15 * start.radius_px, min(0.03 * cladding.radius_px, 0.6 * start.radius_px), 2.0),
        aspect=cladding.ry_px / cladding.rx_px,
        arc_rad=arc_rad,
        n_angles=_N_TRIAL_ANGLES,
    )


def _is_core(ring: Ring, cladding: Ellipse) -> bool:
    dx, dy = ring.ellipse.cx_px - cladding.cx_px, ring.ellipse.cy_px - cladding.cy_px
    return (
        ring.support >= 0.45
        and ring.snr >= 1.5
        and ring.agreement >= _MIN_AGREEMENT
        and ring.ellipse.radius_px < _MAX_CORE_RATIO * cladding.radius_px
        and math.hypot(dx, dy) < 0.06 * cladding.radius_px
    )


def _core_evidence(image: NDArray[np.float32], ring: Ring, cladding: Ellipse) -> float:
    """Return the height of a ring's step in a profile without thin rings, times support; 0 for no core."""
    if not _is_core(ring, cladding):
        return 0.0
    ratio = ring.ellipse.radius_px / cladding.radius_px
    step = 0.005 / ratio
    radii = np.arange(step, min(1 + 0.12 / ratio, 0.93 / ratio), step)
    profile = _lasting_profile(image, ring.ellipse, radii, ratio * step)
    gap, reach = 0.02 / ratio, min(0.09 / ratio, 0.7)
    inner = profile[(radii > 1 - reach) & (radii < 1 - min(gap, 0.3))]
    outer = profile[(radii > 1 + gap) & (radii < 1 + 0.09 / ratio)]
    if inner.size == 0 or outer.size == 0:
        return 0.0
    height = ring.polarity * float(np.median(outer) - np.median(inner))
    if height < 0.5 * ring.strength:  # a thin ring: the levels on its two sides hardly differ
        return 0.0
    # a second cladding or the shade of the rim lies further out than nearly all cores
    prior = float(np.interp(ratio, [0.75, _MAX_CORE_RATIO], [1.0, 0.3]))
    return height * ring.support * prior


def _lasting_profile(
    image: NDArray[np.float32], ellipse: Ellipse, radii: NDArray[np.float64], pitch: float
) -> NDArray[np.float64]:
    """Return the median over all rays by radius, rings thinner than a few percent of the cladding taken out.

    `pitch` is the distance of two radii as a share of the cladding's radius.
    """
    profile = ray_median(unroll(image, ellipse, n_angles=120, radii=radii))
    width = 2 * max(1, round(_THIN_RING / pitch / 2)) + 1
    # mirrored at the centre, so that small cores have an inside as well
    mirrored = np.concatenate([profile[::-1], profile])
    return np.asarray(running_median(mirrored, width)[profile.size :], np.float64)


def _profile_steps(image: NDArray[np.float32], cladding: Ellipse) -> list[tuple[float, int, float]]:
    """Return radii (1 = rim), polarities and heights of the clearest steps inside a cladding."""
    step = max(0.5 / cladding.radius_px, 0.003)
    radii = np.arange(step, 0.93, step)
    profile = _lasting_profile(image, cladding, radii, step)
    mirrored = np.concatenate([profile[::-1], profile])
    sums = np.concatenate([[0.0], np.cumsum(mirrored)])
    place = np.arange(profile.size, 2 * profile.size)
    score = np.zeros(profile.size)
    for width in (0.03, 0.06):
        n = max(2, round(width / step))
        ahead = (sums[np.minimum(place + n, sums.size - 1)] - sums[place]) / n
        behind = (sums[place] - sums[place - n]) / n
        response = np.where(radii + width < 0.93, ahead - behind, 0.0)
        response[radii < max(0.6 * width, 1.5 * step)] = 0
        score = np.where(np.abs(response) > np.abs(score), response, score)
    strength = np.abs(score) * np.interp(radii, [0.75, 0.93], [1.0, 0.3])
    steps: list[tuple[float, int, float]] = []
    for k in np.argsort(-strength, kind="stable"):
        if len(steps) == _MAX_STEPS or strength[k] <= 0.1 * strength.max():
            break
        if all(abs(radii[k] - radius) > max(0.03, 0.12 * radius) for radius, *_ in steps):
            steps.append((float(radii[k]), 1 if score[k] > 0 else -1, float(strength[k])))
    return steps
