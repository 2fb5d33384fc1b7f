"""Figures of the detector bench: counts gathered image by image, then rates of a method on a data set."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, instance_map
from endface.evaluation.bench.data import BenchImage
from endface.evaluation.bench.methods import RIM_PX, Method, Outcome
from endface.evaluation.matching import MatchRule, grown_body, match_scene
from endface.imaging.do2mr import shrink_zones

FALSE_POSITIVE_RATE = 1e-3
# a place scores what the best pixel within 2 px scores: hand-drawn centre lines are no better than that
_REACH_PX = 2
_EDGES = np.concatenate([[-np.inf], np.geomspace(1e-3, 1e4, 2801), [np.inf]])


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Recalls at one strictness; None where there is no such truth, or none is looked for."""

    false_per_image: float
    scratches: float | None
    faint_scratches: float | None
    blobs: float | None
    faint_blobs: float | None


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One method on one data set.

    Attributes
    ----------
    pixel_ap : float or None
        Average precision of the line scores: centre lines of sure scratches against clean surface.
    pixel_tpr : float or None
        Share of those centre lines found where 1 in 1000 clean pixels is taken for one.
    own : OperatingPoint or None
        At the thresholds the method prescribes.
    equal : OperatingPoint or None
        At as many false finds per image as the default makes (between two levels: interpolated).
    curve : tuple of OperatingPoint
        At all levels of strictness tried.
    ms_per_image, ms_per_megapixel : float
        Median; zones not included.
    """

    data: str
    method: str
    n_images: int
    n_scratches: int
    n_blobs: int
    pixel_ap: float | None
    pixel_tpr: float | None
    own: OperatingPoint | None
    equal: OperatingPoint | None
    curve: tuple[OperatingPoint, ...]
    ms_per_image: float
    ms_per_megapixel: float


@dataclass(eq=False, slots=True)
class Tally:
    """Running counts of one method on one data set: the only state of the bench."""

    method: Method
    true_hist: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_EDGES) - 1, np.int64))
    clean_hist: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_EDGES) - 1, np.int64))
    n_true: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    n_found: NDArray[np.int64] = field(init=False)
    n_false: NDArray[np.int64] = field(init=False)
    ms: list[float] = field(default_factory=list)
    megapixels: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n_found = np.zeros((len(self.method.levels), 4), np.int64)
        self.n_false = np.zeros(len(self.method.levels), np.int64)

    def add(self, item: BenchImage, outcome: Outcome, places: Places, *, ms: float) -> None:
        """Count one image."""
        nearby = cv2.dilate(outcome.line_scores(), np.ones((2 * _REACH_PX + 1,) * 2, np.uint8))
        self.true_hist += np.histogram(nearby[tuple(places.line.T)], _EDGES)[0]
        self.clean_hist += np.histogram(nearby[places.clean], _EDGES)[0]
        groups = np.array([2 * (not d.is_line) + (d.certainty == "faint") for d in item.scene.defects], int)
        self.n_true += np.bincount(groups, minlength=4)
        for row, level in enumerate(self.method.levels):
            matched = match_scene(item.scene, instance_map(outcome.finds(level), item.scene.shape))
            self.n_found[row] += np.bincount(groups[matched.found], minlength=4)
            self.n_false[row] += matched.n_false
        self.ms.append(ms)
        self.megapixels.append(item.image.size / 1e6)

    def curve(self) -> tuple[OperatingPoint, ...]:
        """Return the operating point of every level."""
        n_images = max(len(self.ms), 1)
        return tuple(
            self._point(float(n_false) / n_images, found)
            for n_false, found in zip(self.n_false, self.n_found, strict=True)
        )

    def row(self, data: str, *, equal_false: float | None) -> BenchRow:
        """Return the figures; `equal_false` is the default's number of false finds per image."""
        curve, method = self.curve(), self.method
        ap, tpr = pixel_figures(self.true_hist, self.clean_hist)
        return BenchRow(
            data=data,
            method=method.name,
            n_images=len(self.ms),
            n_scratches=int(self.n_true[0]),
            n_blobs=int(self.n_true[2]),
            pixel_ap=ap,
            pixel_tpr=tpr,
            own=None if method.own_level is None else curve[method.levels.index(method.own_level)],
            equal=None if equal_false is None else point_at(curve, equal_false),
            curve=curve,
            ms_per_image=float(np.median(self.ms)),
            ms_per_megapixel=float(np.median(np.divide(self.ms, self.megapixels))),
        )

    def _point(self, false_per_image: float, found: NDArray[np.int64]) -> OperatingPoint:
        shares = [float(f / n) if n else None for f, n in zip(found, self.n_true, strict=True)]
        if not self.method.finds_blobs:
            shares[2:] = [None, None]
        return OperatingPoint(false_per_image, *shares)


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where line scores are judged: `line` (N, 2) rows and columns of sure scratches, `clean` (H, W) bool."""

    line: NDArray[np.intp]
    clean: NDArray[np.bool_]


def judged_places(item: BenchImage) -> Places:
    """Return where line scores are judged: not near rims, borders, open areas, faint scratches and blobs."""
    zones = item.zones
    anatomy = np.where(zones.valid, zones.anatomy, np.uint8(AnatomyZone.OUTSIDE))
    inside = shrink_zones(anatomy, margin_px=RIM_PX) > 0
    clean = inside.copy() if item.scene.open_area is None else inside & ~item.scene.open_area
    lines = [np.zeros((0, 2), np.intp)]
    for defect in item.scene.defects:
        box, near = grown_body(defect, item.scene.shape, MatchRule().grow_px + _REACH_PX)
        clean[box] &= ~near
        if defect.is_line and defect.certainty == "sure":
            lines.append(defect.probe)
    line = np.concatenate(lines)
    return Places(line[inside[tuple(line.T)]], clean)


def pixel_figures(
    true_hist: NDArray[np.int64], clean_hist: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Return average precision and the true-positive rate at `FALSE_POSITIVE_RATE` from histograms of scores.

    Places in one bin are ties; where the rate falls within a bin, the strict side of it counts.

    Examples
    --------
    >>> pixel_figures(np.array([0, 1, 1]), np.array([9, 1, 0]))
    (0.8333333333333333, 0.5)
    """
    hits, misses = np.cumsum(true_hist[::-1]), np.cumsum(clean_hist[::-1])
    if hits[-1] == 0 or misses[-1] == 0:
        return None, None
    precision = hits / np.maximum(hits + misses, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    ap = float((np.diff(hits, prepend=0) / hits[-1] * envelope).sum())
    quiet = np.flatnonzero(misses <= FALSE_POSITIVE_RATE * misses[-1])
    return ap, float(hits[quiet[-1]] / hits[-1]) if len(quiet) else 0.0


def point_at(curve: tuple[OperatingPoint, ...], false_per_image: float) -> OperatingPoint:
    """Return the recalls at a number of false finds per image, interpolated along the best points of a curve.

    The curve begins where nothing is found: no false finds, no recall.

    Examples
    --------
    >>> curve = (OperatingPoint(4.0, 0.8, None, 0.5, None), OperatingPoint(2.0, 0.4, None, 0.3, None))
    >>> point_at(curve, 3.0).scratches, point_at(curve, 1.0).scratches, point_at(curve, 9.0).blobs
    (0.6000000000000001, 0.2, 0.5)
    """
    rates = np.array([point.false_per_image for point in curve])
    x = np.unique(np.append(rates, 0.0))
    recalls: list[float | None] = []
    for name in [item.name for item in fields(OperatingPoint)][1:]:
        values = [getattr(point, name) for point in curve]
        if None in values:
            recalls.append(None)
            continue
        best = [
            max((v for v, rate in zip(values, rates, strict=True) if rate <= limit), default=0.0)
            for limit in x
        ]
        recalls.append(float(np.interp(false_per_image, x, best)))
    return OperatingPoint(false_per_image, *recalls)
