"""How straight a line runs: the distance of its gray crest, or of any path, from a parabola."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from endface.imaging.linewidth import STEP, flattened, steps_across
from endface.imaging.patches import Floats, Indexes

AVERAGED_PX = 7  # profiles along so much path are averaged before the crest is sought
_FITS, _ABS_TO_RMS = 5, 1.2533  # rounds of weighing; of a normal law


def from_parabola(
    points: Floats, counts: Indexes, *, weights: Floats | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far paths lie from their best parabolas, as rms, and how far they extend.

    Least absolute distances, so that an end may turn off.

    Parameters
    ----------
    points : (P, 2) float64 ndarray
        Points of all paths, one path after the other; y and x in equal units.
    counts : (N,) int64 ndarray
        Points of each path; those of fewer than 6 have no best parabola, and distance 0.
    weights : (P,) float64 ndarray, optional
        How much each point counts; equally where not given.

    Returns
    -------
    distance, extent : (N,) float64 ndarray
        In the units of the points.

    Examples
    --------
    >>> x = np.linspace(0.0, 10.0, 50)
    >>> distance, extent = from_parabola(np.stack([0.01 * x**2, x], axis=1), np.array([50]))
    >>> round(float(distance[0]), 2), round(float(extent[0]))
    (0.0, 10)
    """
    owner, starts = np.repeat(np.arange(counts.size), counts), np.cumsum(counts) - counts
    own = np.ones(owner.size) if weights is None else weights

    def total(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts, axis=-1))

    mass = total(own)
    y, x = (part - (total(part) / counts)[owner] for part in points.T)
    angle = 0.5 * np.arctan2(2.0 * total(x * y), total(x * x) - total(y * y))[owner]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    extent = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    extent = np.where(extent > 0.0, extent, 1.0)
    along /= extent[owner]
    enough = counts >= 6
    weight, square = own, along * along
    powers = np.stack([np.ones_like(along), along, square, square * along, square * square])
    sided = powers[:3] * across
    places = np.add.outer(np.arange(3), np.arange(3))
    for _ in range(_FITS):
        normal = total(weight * powers)[places].transpose(2, 0, 1)
        normal[~enough] = np.eye(3)
        fit = np.linalg.solve(normal, total(weight * sided).T[..., None])[owner, :, 0]
        rest = np.abs(across - (fit[:, 0] + fit[:, 1] * along + fit[:, 2] * square))
        weight = own / np.maximum(rest, 1e-3 * extent[owner])
    return np.where(enough, _ABS_TO_RMS * total(own * rest) / mass, 0.0), extent


def crest_waviness(
    across: NDArray[np.float64],
    path_px: NDArray[np.float64],
    *,
    width: float,
    reach: float,
    spacing: tuple[float, float] = (1.0, 1.0),
    usable: NDArray[np.bool_] | None = None,
) -> float:
    """Return how far the crest of a line lies from a parabola (as rms), over its extent.

    A mask follows noise and the detector's threshold, the crest follows the line. Of each profile, averaged
    with its neighbours, what stands above half its peak has a centre of gravity: the crest. How far noise
    alone would throw that follows from the profiles' noise, and at most it may lie anywhere in reach. That
    and its standard error are taken off (in squares): 0 where the line is no more bent than noise would
    make it look, as for lines too faint to tell.

    Parameters
    ----------
    across : (N, 2 m + 1) float64 ndarray
        What `endface.imaging.linewidth.profiles_across` gives for the same path, reach and spacing.
    path_px : (N, 2) float64 ndarray
    width : float
        Of the line's mask, in the units of `spacing`: the crest is sought so far to each side.
    usable : (N, 2 m + 1) bool ndarray, optional
        False where a sample shows something else, such as another line; profiles count by what is left.

    Examples
    --------
    >>> from endface.imaging.linewidth import profiles_across
    >>> y, x = np.mgrid[:40, :100].astype(float)
    >>> path = np.stack([np.full(80, 20.0), np.arange(10.0, 90.0)], axis=1)
    >>> for bent in (0.0, 2.0):
    ...     line = 100 - 50 * np.exp(-((y - 20 - bent * np.sin(x / 6)) ** 2) / 4)
    ...     across = profiles_across(line.astype(np.float32), path, reach=12)
    ...     print(round(crest_waviness(across, path, width=5, reach=12), 3))
    0.0
    0.017
    """
    n = len(path_px)
    step = STEP * min(spacing)
    seen = np.ones(across.shape, np.bool_) if usable is None else usable
    left = seen.sum(axis=1, keepdims=True)
    across = np.where(seen, across, (across * seen).sum(axis=1, keepdims=True) / np.maximum(left, 1))
    profiles = _averaged(flattened(across) * seen)
    offset = step * (np.arange(across.shape[1]) - across.shape[1] // 2)
    near = np.abs(offset) <= max(width, 2.0 * min(spacing))
    noise = 1.4826 * float(np.median(np.abs(profiles[:, ~near]))) if not near.all() else 0.0
    typical = profiles[:, near].mean(axis=0)
    lobes = profiles[:, near] * (np.sign(typical[np.abs(typical).argmax()]) or 1.0)
    offset = offset[near]
    peaks = lobes.max(axis=1)
    above = np.maximum(lobes - 0.5 * peaks[:, None], 0.0)
    mass = np.maximum(above.sum(axis=1), 1e-12)
    aside = above @ offset / mass
    # neighbouring samples are 1 / STEP to a pixel, and their noise is that of the pixel
    spread = ((above > 0.0) * (offset - aside[:, None]) ** 2).sum(axis=1) / STEP
    thrown = np.minimum(noise**2 * spread / mass**2, float(np.mean(offset**2)))
    # where the line fades out its crest says little
    weights = (
        np.clip(peaks / max(float(np.median(peaks)), 1e-12) * seen[:, near].mean(axis=1), 1e-3, 1.0) ** 2
    )
    moved, _ = steps_across(path_px, reach=reach, spacing=spacing)
    crest = (path_px + moved * (aside / step)[:, None]) * np.array(spacing)
    distance, extent = (float(part[0]) for part in from_parabola(crest, np.array([n]), weights=weights))
    by_noise = float(weights @ thrown / weights.sum()) * (1.0 + math.sqrt(2.0 * AVERAGED_PX / n))
    return math.sqrt(max(distance**2 - by_noise, 0.0)) / extent


def _averaged(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a moving average along the path, whose window shrinks towards the ends."""
    at = np.arange(len(profiles))
    half = np.minimum(np.minimum(at, at[::-1]), AVERAGED_PX // 2)
    sums = np.concatenate([np.zeros((1, profiles.shape[1])), np.cumsum(profiles, axis=0)])
    return np.asarray((sums[at + half + 1] - sums[at - half]) / (2 * half + 1)[:, None])
