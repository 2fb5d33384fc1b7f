"""How well scores rank finds (average precision, AUPRO) and how well pixels agree; arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels that agree within a tolerance; counts of images can be added.

    Attributes
    ----------
    found_right, found : int
        Pixels found near a true one, and all pixels found that count.
    truth_reached, truth : int
        True pixels near a found one, and all true pixels.
    """

    found_right: int = 0
    found: int = 0
    truth_reached: int = 0
    truth: int = 0

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.found_right + other.found_right,
            self.found + other.found,
            self.truth_reached + other.truth_reached,
            self.truth + other.truth,
        )

    @property
    def precision(self) -> float | None:
        """Share of the found pixels that are right, None if nothing was found."""
        return self.found_right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the true pixels that were reached, None if there are none."""
        return self.truth_reached / self.truth if self.truth else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both, None where there is no truth; nothing found of something true is 0."""
        if self.recall is None:
            return None
        precision = self.precision or 0.0
        total = precision + self.recall
        return 2 * precision * self.recall / total if total else 0.0


def pixel_counts(
    truth: NDArray[np.bool_],
    found: NDArray[np.bool_],
    *,
    neutral: NDArray[np.bool_] | None = None,
    tolerance_px: float = 2.0,
) -> PixelCounts:
    """Count agreeing pixels of two (H, W) bool masks, allowing a shift of `tolerance_px`.

    Parameters
    ----------
    neutral : (H, W) bool ndarray, optional
        Found pixels there that are not near a true one count neither way.

    Examples
    --------
    >>> pixel_counts(np.eye(3, dtype=bool), np.eye(3, dtype=bool)).f1
    1.0
    """
    near_truth = _near(truth, tolerance_px)
    counted = found if neutral is None else found & (near_truth | ~neutral)
    return PixelCounts(
        int(np.count_nonzero(found & near_truth)),
        int(np.count_nonzero(counted)),
        int(np.count_nonzero(truth & _near(found, tolerance_px))),
        int(np.count_nonzero(truth)),
    )


def average_precision(scores: ArrayLike, right: ArrayLike, *, n_truth: int) -> float | None:
    """Return the area under precision against recall of scored finds (all points, as COCO since 2010 VOC).

    Parameters
    ----------
    scores : (F,) float
        Larger is surer; ties are taken together.
    right : (F,) bool
        Whether the find is the partner of a true defect; others are false.
    n_truth : int
        True defects there are. Without any the result is None.

    Examples
    --------
    >>> average_precision([3.0, 2.0, 1.0], [True, False, True], n_truth=2)
    0.8333333333333333
    """
    score, good = np.asarray(scores, np.float64).ravel(), np.asarray(right, bool).ravel()
    if n_truth == 0:
        return None
    order = np.argsort(-score, kind="stable")
    ends = _ends_of_ties(score[order])
    hits = np.cumsum(good[order])[ends]
    recall, precision = hits / n_truth, hits / (ends + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def aupro(
    scores: ArrayLike,
    overlap: ArrayLike,
    false_px: ArrayLike,
    *,
    n_truth: int,
    negative_px: int,
    limit: float = 0.3,
) -> float | None:
    """Return the area under per-region overlap against false-positive rate up to `limit`, scaled to 0..1.

    A pixel's score is that of the find it belongs to, so the curve is a staircase over the finds. Beyond the
    last find it is held flat: where nothing was scored no overlap is credited.

    Parameters
    ----------
    scores, overlap, false_px : (F,) float
        Per find: its score, the covered shares of all true regions summed, its pixels on no true region.
    negative_px : int
        Pixels of all images on no true region.

    References
    ----------
    Bergmann et al., Int. J. Comput. Vis. 129 (2021) 1038, doi:10.1007/s11263-020-01400-4.

    Examples
    --------
    >>> aupro([1.0], [1.0], [0.0], n_truth=1, negative_px=100)
    1.0
    """
    score = np.asarray(scores, np.float64).ravel()
    if n_truth == 0 or negative_px == 0:
        return None
    order = np.argsort(-score, kind="stable")
    ends = _ends_of_ties(score[order])
    pro = np.cumsum(np.asarray(overlap, np.float64).ravel()[order])[ends] / n_truth
    rate = np.cumsum(np.asarray(false_px, np.float64).ravel()[order])[ends] / negative_px
    edges = np.minimum(np.concatenate([rate, [limit]]), limit)
    return float((np.diff(edges) * pro).sum() / limit) if len(pro) else 0.0


def _ends_of_ties(ordered: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the last of each run of equal values."""
    if not len(ordered):
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.append(np.diff(ordered) != 0, True))


def _near(mask: NDArray[np.bool_], reach_px: float) -> NDArray[np.bool_]:
    """Pixels within `reach_px` of the mask."""
    if reach_px <= 0 or not mask.any():
        return mask
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance <= reach_px)
