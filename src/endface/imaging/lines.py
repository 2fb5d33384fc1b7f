"""Evidence for thin lines: oriented line integrals with side branches, at several lengths, both polarities.

The family of the linear enhancement inspector (LEI): a centre branch is compared with two parallel side
branches. Integrals of one length are sums of two of half that length, so that their cost does not depend on
length, and every step runs along image rows at the speed of memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.linesums import (
    LENGTHS_PX,
    REACH_PX,
    LineSteps,
    orientations,
    pair_sums,
    score_lines,
    sum_at,
)
from endface.imaging.noise import Tail, fit_tail

Places = NDArray[np.intp]

N_ORIENTATIONS, N_ZONES = 32, 4
ANGLE_STEPS = 256
"""Orientations are told in steps of pi / ANGLE_STEPS, from +x towards +y."""
_TILE_PX = 160
_THINNED = 3
_SAMPLES = 1000  # per zone and orientation: tells a robust standard deviation to 4 %
# Orientations of a group are sampled at the same places, those of another at others: responses through one
# place are much alike, and tails need many places.
_GROUPS = 8


@dataclass(frozen=True)
class LineEvidence:
    """Best line response at every pixel, in standard deviations of the response's own noise.

    Attributes
    ----------
    dark, bright : (H, W) float32 ndarray
        Score of a dark and of a bright line through the pixel, 0 or more.
    dark_angle, bright_angle : (H, W) uint8 ndarray
        Best orientation in steps of pi / ANGLE_STEPS, from +x towards +y.
    n_tests : int
        Number of responses looked at.
    """

    dark: NDArray[np.float32]
    bright: NDArray[np.float32]
    dark_angle: NDArray[np.uint8]
    bright_angle: NDArray[np.uint8]
    n_tests: int


def line_evidence(
    image: NDArray[np.float32],
    *,
    side_px: int = 3,
    zones: NDArray[np.uint8] | None = None,
    exclude: NDArray[np.bool_] | None = None,
    where: NDArray[np.bool_] | None = None,
) -> LineEvidence:
    """Score thin lines of any direction through every pixel.

    At each of 32 orientations and 3 lengths, with means c (centre), l and r (branches `side_px` away along
    the nearer axis), the response is m = (l + r) / 2 - c for dark lines and -m for bright ones, held back to
    2.5 x the weaker of the two one-sided contrasts so that a step edge does not pass for a line. It is
    divided by the robust standard deviation of m over the pixel's zone at that orientation and length; scan
    lines or polishing grain of one direction thereby raise their own threshold. Beyond the image lies its
    mean level, 0.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Structure-free image with mean 0 and comparable noise everywhere; clip strong spots beforehand. Lines
        are best seen at a width of about `side_px` / 2: look for wider ones in a decimated image.
    side_px : int
        Distance of the side branches, 1 to 6.
    zones : (H, W) uint8 ndarray, optional
        Zone numbers, 1 to 4; each zone has a noise of its own. 0 is not looked at. One zone by default.
    exclude : (H, W) bool ndarray, optional
        Pixels that are certainly no noise and are left out of its estimate.
    where : (H, W) bool ndarray, optional
        Pixels to look at; the noise is that of all.

    Returns
    -------
    LineEvidence

    References
    ----------
    S. Mei et al., Sensors 18(5):1408 (2018), section 3.2. The DC-free form, the one-sided guard, lengths and
    the noise normalisation are ours. Sums by doubling: A. Brandt, J. Dym, SIAM J. Appl. Math. 59 (1999).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(0, 1, (96, 96)).astype(np.float32)
    >>> image[48, 10:86] -= 3
    >>> evidence = line_evidence(image)
    >>> bool(evidence.dark[48, 48] > 6), int(evidence.dark_angle[48, 48])
    (True, 0)
    """
    shape = image.shape
    zone_map = np.ones(shape, np.uint8) if zones is None else np.ascontiguousarray(zones)
    pad = REACH_PX + side_px
    padded = np.asarray(
        cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0), np.float32
    )
    rows, cols, origin = _samples(zone_map, exclude)
    responses = _sampled_responses(padded, pad, rows, cols, side_px)
    gains = _gains(responses, origin)
    tail = fit_tail((responses * gains[:, :, origin - 1]).ravel(), max_slope=0.1)
    looked_at = zone_map if where is None else zone_map * where
    found = _best_scores(padded, side_px, looked_at, gains, tail)
    n_tests = int(np.count_nonzero(zone_map)) * N_ORIENTATIONS * len(LENGTHS_PX) * 2
    return LineEvidence(*found, n_tests)


def orientation_rad(*, steep: bool, rise: int) -> float:
    """Return an orientation as an angle in [0, pi), from +x towards +y."""
    return (math.atan2(8, rise) if steep else math.atan2(rise, 8)) % math.pi


def _angle_step(*, steep: bool, rise: int) -> int:
    return round(orientation_rad(steep=steep, rise=rise) * ANGLE_STEPS / math.pi) % ANGLE_STEPS


def _best_scores(
    padded: NDArray[np.float32],
    side_px: int,
    zones: NDArray[np.uint8],
    gains: NDArray[np.float32],
    tail: Tail,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the best score of each pixel, dark and bright, and their orientations."""
    pad = REACH_PX + side_px
    angle_steps = np.array(
        [_angle_step(steep=steep, rise=rise) for steep, rise in orientations()], np.float32
    )
    scores = np.zeros((2, *zones.shape), np.float32)
    angles = np.zeros((2, *zones.shape), np.uint8)
    room = np.empty(8 * (_TILE_PX + 2 * pad) ** 2, np.float32)
    # tile by tile, so that all sums of a tile stay in the processor's cache
    for top in range(0, zones.shape[0], _TILE_PX):
        for left in range(0, zones.shape[1], _TILE_PX):
            part = zones[top : top + _TILE_PX, left : left + _TILE_PX]
            # only the box around what is looked at
            x, y, width, height = cv2.boundingRect(part)
            if not width:
                continue
            part = part[y : y + height, x : x + width]
            box = np.s_[:, top + y : top + y + height, left + x : left + x + width]
            image = np.ascontiguousarray(
                padded[box[1].start :, box[2].start :][: height + 2 * pad, : width + 2 * pad]
            )
            stride, size = width + 2 * pad, image.size
            steps = LineSteps.of(stride, size, side_px=side_px)
            best, which, sums, kinds = (
                room[k * size : m * size].reshape(-1, size) for k, m in ((0, 2), (2, 4), (4, 7), (7, 8))
            )
            best[:], which[:] = 0, 0
            inner = np.s_[:, pad : pad + height, pad : pad + width]
            whole = (-1, height + 2 * pad, stride)
            kinds.reshape(whole)[inner] = part
            first = pad * stride + pad
            reach = np.array([first, first + (height - 1) * stride + width], np.uint64)
            distances = steps.pairs, steps.halves, steps.sides
            score_lines(pair_sums(image), *distances, angle_steps, gains, kinds[0], reach, sums, best, which)
            asked = part > 0
            score = np.abs(best.reshape(whole)[inner])
            # a tail no lighter than a normal law's never makes a score more
            np.minimum(score, tail.normal_score(score), out=score)
            np.multiply(score, asked, out=scores[box])
            np.multiply(which.reshape(whole)[inner], asked, out=angles[box], casting="unsafe")
    return scores[0], scores[1], angles[0], angles[1]


def _sampled_responses(
    padded: NDArray[np.float32], pad: int, rows: Places, cols: Places, side_px: int
) -> NDArray[np.float32]:
    """Return responses without the guard at some places only: (orientations, lengths, places).

    `rows` and `cols` (groups, places): each group of orientations has places of its own.
    """
    steps = LineSteps.of(padded.shape[1], padded.size, side_px=side_px)
    places = ((rows + pad) * padded.shape[1] + cols + pad).astype(np.uint64)
    out = np.zeros((N_ORIENTATIONS, len(LENGTHS_PX), rows.shape[1]), np.float32)
    for group, own in enumerate(places):
        chosen = slice(group, None, len(places))
        some = np.zeros((N_ORIENTATIONS // len(places), *out.shape[1:]), np.float32)
        sum_at(padded.ravel(), own, steps.pixels[chosen].copy(), steps.sides[chosen].copy(), some)
        out[chosen] = some
    return out


def _gains(responses: NDArray[np.float32], origin: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 1 / robust sigma (orientations, lengths, zones) of responses (orientations, lengths, places)."""
    size = np.abs(responses)
    gains = np.zeros((*size.shape[:2], N_ZONES), np.float32)
    if not origin.size:
        return gains
    whole: NDArray[np.float32] | None = None
    for zone in range(1, N_ZONES + 1):
        inside = size[..., origin == zone]
        if inside.shape[-1] >= 64:
            gains[..., zone - 1] = _gain(inside)
            continue
        # a zone too small to tell takes the noise of the whole
        whole = _gain(size) if whole is None else whole
        gains[..., zone - 1] = whole
    return gains


def _gain(size: NDArray[np.float32]) -> NDArray[np.float32]:
    middle = size.shape[-1] // 2
    sigma = np.float32(1.4826) * np.partition(size, middle, axis=-1)[..., middle]
    # neighbouring orientations share their noise: a low value by chance must not raise scores
    around = 0.5 * sigma + 0.25 * (np.roll(sigma, 1, axis=0) + np.roll(sigma, -1, axis=0))
    return np.asarray(1.0 / np.maximum(np.maximum(sigma, around), 1e-2), np.float32)


def _samples(
    zones: NDArray[np.uint8], exclude: NDArray[np.bool_] | None
) -> tuple[Places, Places, NDArray[np.uint8]]:
    # places (groups, n) to measure the noise at, spread evenly over each zone, and their zones (n,)
    coarse = np.ascontiguousarray(zones[::_THINNED, ::_THINNED])
    if exclude is not None:
        coarse[exclude[::_THINNED, ::_THINNED]] = 0
    flat = coarse.ravel()
    chosen = [np.zeros((_GROUPS, 0), np.intp)]
    for zone in range(1, int(flat.max(initial=0)) + 1):
        inside = np.flatnonzero(flat == zone)
        # an odd stride walks over all columns
        stride = max(1, inside.size // _SAMPLES) | 1
        first = np.arange(_GROUPS)[:, None] * stride // _GROUPS
        chosen.append(inside[first + np.arange(inside.size // stride) * stride])
    places = np.concatenate(chosen, axis=1)
    rows, cols = np.divmod(places, max(coarse.shape[1], 1))
    return rows * _THINNED, cols * _THINNED, flat[places[0]].astype(np.uint8)
