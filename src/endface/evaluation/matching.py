"""Which true defects were found and which finds are false: the one matching used by every metric.

Knows masks and thresholds only. The rule: a scratch is found when half its centre line lies within 3 px of
finds; anything else when 30 % of it is covered by finds; a find is false when less than 20 % of it touches a
true defect (grown by 4 px) or an area that was left open.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from endface.errors import InputError
from endface.evaluation.labels import TruthImage
from endface.evaluation.scenes import TruthDefect, TruthScene, scene_of_label


@dataclass(frozen=True, slots=True)
class MatchRule:
    """Tolerances of the matching.

    Attributes
    ----------
    line_reach_px, line_share : float
        A scratch is found when this share of its centre line lies within reach of a find.
    blob_reach_px, blob_share : float
        The same for the pixels of everything else; 0 px means covered.
    grow_px, touch_share : float
        A find is false when less than this share of it lies on grown truth or an open area.
    """

    line_reach_px: float = 3.0
    line_share: float = 0.5
    blob_reach_px: float = 0.0
    blob_share: float = 0.3
    grow_px: float = 4.0
    touch_share: float = 0.2


@dataclass(frozen=True, eq=False, slots=True)
class MatchResult:
    """Outcome for one image with T true defects and F finds.

    Attributes
    ----------
    found : (T,) bool ndarray
        By all finds together.
    covered : (T,) float64 ndarray
        Share of the centre line or area that finds reach.
    partner : (T,) int ndarray
        Index of the find paired with the truth one to one, -1 none.
    numbers : (F,) int ndarray
        Number of each find in the instance map.
    false : (F,) bool ndarray
    touching : (F,) float64 ndarray
        Share of the find on a grown truth or open area.
    open_share : (F,) float64 ndarray
        Share of the find on the open area alone.
    """

    found: NDArray[np.bool_]
    covered: NDArray[np.float64]
    partner: NDArray[np.intp]
    numbers: NDArray[np.intp]
    false: NDArray[np.bool_]
    touching: NDArray[np.float64]
    open_share: NDArray[np.float64]

    @property
    def n_false(self) -> int:
        """Number of false finds."""
        return int(np.count_nonzero(self.false))


def match_label(
    truth: TruthImage, instances: NDArray[np.integer], *, rule: MatchRule | None = None
) -> MatchResult:
    """Match finds with a hand-made label: truths are its scratches, then its blobs (see `match_scene`)."""
    return match_scene(scene_of_label(truth), instances, rule=rule)


def match_scene(
    scene: TruthScene, instances: NDArray[np.integer], *, rule: MatchRule | None = None
) -> MatchResult:
    """Match finds with the truth of one image.

    Parameters
    ----------
    instances : (H, W) integer ndarray
        Number of the find a pixel belongs to, 0 none.

    Raises
    ------
    InputError
        If the map has another size than the truth.

    Examples
    --------
    >>> match_scene(TruthScene("a", (4, 4), ()), np.eye(4, dtype=int)).n_false
    1
    """
    rule = rule or MatchRule()
    if instances.shape != scene.shape:
        raise InputError(
            f"{scene.image_id}: expected an instance map of {scene.shape} (rows, columns) as the truth, "
            f"found {instances.shape}",
            hint="Evaluate the run of exactly the images the truth was made for.",
        )
    numbers, index = _compact(instances)
    sizes = np.bincount(index.ravel(), minlength=len(numbers) + 1)[1:]
    reached, wanted = _reached_shares(scene.defects, index, len(numbers), rule)
    touched, touching, open_share = _touched_shares(scene, index, sizes, rule)
    covered = reached.sum(axis=1)
    return MatchResult(
        found=covered >= wanted,
        covered=covered,
        partner=pair_one_to_one(reached, touched, wanted),
        numbers=numbers,
        false=touching < rule.touch_share,
        touching=touching,
        open_share=open_share,
    )


def pair_one_to_one(
    reached: NDArray[np.float64], touched: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Pair each truth with at most one find so that the summed agreement is largest.

    Parameters
    ----------
    reached : (T, F) float ndarray
        Share of truth t that find f reaches; pairs below `wanted` (T,) are not allowed.
    touched : (T, F) float ndarray
        Share of find f on truth t. The agreement is the harmonic mean of both.

    Returns
    -------
    (T,) int ndarray
        Index of the find, -1 none.
    """
    agreement = 2 * reached * touched / np.maximum(reached + touched, 1e-12)
    agreement[reached < wanted[:, None]] = 0.0
    partner = np.full(len(reached), -1, np.intp)
    rows, cols = linear_sum_assignment(agreement, maximize=True)
    real = agreement[rows, cols] > 0
    partner[rows[real]] = cols[real]
    return partner


def _compact(instances: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers in use (F,) and the map renumbered 1..F without gaps."""
    counts = np.bincount(instances.ravel())
    used = np.flatnonzero(counts)
    numbers = used[used > 0]
    lookup = np.zeros(len(counts), np.intp)
    lookup[numbers] = np.arange(1, len(numbers) + 1)
    return numbers, lookup[instances]


def _reached_shares(
    defects: tuple[TruthDefect, ...], index: NDArray[np.intp], n_finds: int, rule: MatchRule
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, F) share of each truth that each find reaches, and (T,) share that is wanted.

    A probe pixel is credited to its nearest find only, so a row sums to the share reached by any.
    """
    shares = np.zeros((len(defects), n_finds))
    wanted = np.array([rule.line_share if d.is_line else rule.blob_share for d in defects])
    if not n_finds or not defects:
        return shares, wanted
    distance, nearest = _nearest_find(index)
    for row, defect in enumerate(defects):
        reach = rule.line_reach_px if defect.is_line else rule.blob_reach_px
        rows, cols = defect.probe.T
        hit = nearest[rows, cols][distance[rows, cols] <= reach]
        shares[row] = np.bincount(hit, minlength=n_finds + 1)[1:] / len(rows)
    return shares, wanted


def _nearest_find(index: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Distance of every pixel to the nearest find (px) and that find's index from 1."""
    empty = (index == 0).astype(np.uint8)
    distance, cells = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    lookup = np.zeros(int(cells.max()) + 1, np.intp)
    taken = empty == 0
    lookup[cells[taken]] = index[taken]
    return np.asarray(distance, np.float32), lookup[cells]


def _touched_shares(
    scene: TruthScene, index: NDArray[np.intp], sizes: NDArray[np.intp], rule: MatchRule
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(T, F) share of each find on each grown truth, (F,) on any or open, (F,) on the open area alone."""
    touched = np.zeros((len(scene.defects), len(sizes)))
    fair = np.zeros(scene.shape, bool) if scene.open_area is None else scene.open_area.copy()
    open_share = np.bincount(index[fair], minlength=len(sizes) + 1)[1:] / sizes
    for row, defect in enumerate(scene.defects):
        box, grown = grown_body(defect, scene.shape, rule.grow_px)
        touched[row] = np.bincount(index[box][grown], minlength=len(sizes) + 1)[1:] / sizes
        fair[box] |= grown
    return touched, np.bincount(index[fair], minlength=len(sizes) + 1)[1:] / sizes, open_share


def grown_body(
    defect: TruthDefect, shape: tuple[int, int], grow_px: float
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return the box (rows, cols) and bool mask of a defect grown by `grow_px`, cut to the image."""
    pad = int(np.ceil(grow_px))
    padded = np.pad(defect.body, pad).astype(np.uint8)
    grown = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5) <= grow_px
    top, left = defect.y_px - pad, defect.x_px - pad
    rows = slice(max(0, top), min(shape[0], top + grown.shape[0]))
    cols = slice(max(0, left), min(shape[1], left + grown.shape[1]))
    cut = grown[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    return (rows, cols), cut
