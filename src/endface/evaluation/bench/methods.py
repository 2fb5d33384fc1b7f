"""The methods of the bench behind one face: an image in, a line score map and finds at any strictness out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones, instance_map
from endface.detection import detect_defects
from endface.detection.mei2018 import GAMMA, LINE_SIGMAS, components, score_maps, threshold_scores
from endface.detection.structure import remove_structure
from endface.evaluation.bench.filters import (
    even_gabor,
    frangi_lines,
    hessian_lines,
    line_opening,
    multiscale_lines,
)
from endface.imaging.do2mr import shrink_zones
from endface.imaging.lines import line_evidence

FloatMap = NDArray[np.float32]

DEFAULT = "default"
#: rims of the fibre answer to every line filter: this close to another zone nothing is counted for or against
RIM_PX = 12
_HELD_BACK, _FOUND = 12.0, 3.0
_STEPS = 1.4 ** np.arange(12)


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What a method says of one image: (H, W) float32 line scores, and its finds at a level of strictness."""

    line_scores: Callable[[], FloatMap]
    finds: Callable[[float], tuple[Defect, ...]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the bench.

    Attributes
    ----------
    levels : tuple of float
        Levels of strictness that are tried, rising.
    own_level : float or None
        The level the method itself prescribes.
    finds_blobs : bool
        Whether it is meant to find more than lines.
    """

    name: str
    run: Callable[[NDArray[np.generic], Zones], Outcome]
    levels: tuple[float, ...]
    own_level: float | None = None
    finds_blobs: bool = False


def bench_methods() -> tuple[Method, ...]:
    """Return all methods; the product's default comes last."""
    # the first level of each filter is where noise alone begins to make finds by the dozen
    filters: tuple[tuple[str, Callable[[FloatMap], FloatMap], float], ...] = (
        ("even Gabor bank", even_gabor, 4.0),
        ("line opening", line_opening, 1.5),
        ("multi-scale line detector", multiscale_lines, 2.5),
        ("Frangi", frangi_lines, 5.0),
        ("Hessian", hessian_lines, 3.5),
    )
    steps = tuple(float(step) for step in _STEPS)
    return (
        Method("mei2018_literal", partial(_published, literal=True), steps, 1.0, finds_blobs=True),
        Method("mei2018", partial(_published, literal=False), steps, 1.0, finds_blobs=True),
        *(
            Method(name, partial(_filtered, line_filter=run), tuple(first * step for step in steps))
            for name, run, first in filters
        ),
        Method(DEFAULT, _default, (1.0,), 1.0, finds_blobs=True),
    )


def robust_zone_scores(values: FloatMap, zones: NDArray[np.uint8]) -> FloatMap:
    """Return values in robust standard deviations (1.4826 MAD) above the median of their zone, 0 outside.

    Examples
    --------
    >>> scores = robust_zone_scores(np.array([[0, 1, 2, 3, 90]], np.float32), np.ones((1, 5), np.uint8))
    >>> scores.round(1).tolist()[0][:4]
    [-1.2999999523162842, -0.699999988079071, 0.0, 0.699999988079071]
    """
    scores = np.zeros(values.shape, np.float32)
    for zone in np.flatnonzero(np.bincount(zones.ravel())):
        if zone:
            mask = zones == zone
            inside = values[mask] - np.median(values[mask])
            sigma = 1.4826 * float(np.median(np.abs(inside)))
            # a filter that is 0 nearly everywhere (Frangi) has no spread to measure with: a part of its range
            sigma = max(sigma, 1e-3 * float(inside.max()))
            if sigma > 0:
                scores[mask] = inside / np.float32(sigma)
    return scores


def _published(image: NDArray[np.generic], zones: Zones, *, literal: bool) -> Outcome:
    scores = score_maps(image, zones, literal=literal)
    return Outcome(
        lambda: scores.line,
        lambda level: threshold_scores(scores, gamma=GAMMA * level, line_sigmas=LINE_SIGMAS * level),
    )


def _filtered(
    image: NDArray[np.generic], zones: Zones, *, line_filter: Callable[[FloatMap], FloatMap]
) -> Outcome:
    inspected = shrink_zones(np.where(zones.valid, zones.anatomy, np.uint8(0)), margin_px=RIM_PX)
    gray = np.asarray(image, np.float32)
    if not zones.valid.all():
        gray = np.where(zones.valid, gray, np.median(gray[zones.valid]) if zones.valid.any() else 0)
    scores = robust_zone_scores(line_filter(gray.astype(np.float32)), inspected)
    return Outcome(lambda: scores, lambda level: components(scores > level, scores, detector="line"))


def _default(image: NDArray[np.generic], zones: Zones) -> Outcome:
    found = detect_defects(image, zones)
    return Outcome(lambda: _ranking(image, zones, found), lambda _level: found)


def _ranking(image: NDArray[np.generic], zones: Zones, found: tuple[Defect, ...]) -> FloatMap:
    """Return the line evidence at each pixel that `detect_lines` starts from; what was found counts more.

    Finds know nothing of pixels that are almost one. Strong spots are held back less than for finding, so
    that what is clear ranks above what is not.
    """
    residual = remove_structure(image, zones)
    sigma, quiet = residual.noise(residual.gray)
    scores = np.clip(residual.gray / sigma, -_HELD_BACK, _HELD_BACK) * quiet
    evidence = line_evidence(cv2.GaussianBlur(scores, (0, 0), 0.8), zones=residual.noisy)
    ranking = np.maximum(evidence.dark, evidence.bright)
    inside = instance_map(found, zones.shape) > 0
    ranking[inside] *= _FOUND
    return ranking
