"""What stays at the same pixels while the scenes change: marks of camera and optics, from many images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.acontrario import score_threshold
from endface.imaging.noise import middle_pixels, robust_sigma
from endface.imaging.regions import region_evidence

_SCALES_PX = (0.8, 1.6, 3.2, 6.4)
_MIN_GROUPS = 5
# in standard deviations of one image's noise: half of what the eye needs to see a line
_VISIBLE_SEAM = 0.4


class PatternSum:
    """Sums from which the fixed pattern is the median of the means of groups of images.

    What fewer than half of the groups show is no part of it, so one strong defect cannot feign a mark.
    Memory is that of `n_groups` images, however many are added.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    n_groups : int
        Groups the images are dealt into; pictures of the same thing belong into the same group.

    Examples
    --------
    >>> total = PatternSum((8, 8), n_groups=5)
    >>> image = np.zeros((8, 8), np.float32)
    >>> image[2, 3] = 4
    >>> for k in range(5):
    ...     total.add(image, np.ones((8, 8), bool), group=k)
    >>> float(total.pattern()[2, 3]), float(total.pattern()[5, 5])
    (4.0, 0.0)
    """

    def __init__(self, shape: tuple[int, int], *, n_groups: int) -> None:
        self.sums: NDArray[np.float32] = np.zeros((n_groups, *shape), np.float32)
        self.counts: NDArray[np.uint16] = np.zeros((n_groups, *shape), np.uint16)

    @classmethod
    def of(cls, sums: NDArray[np.float32], counts: NDArray[np.uint16]) -> PatternSum:
        """Return what holds the sums and counts (G, H, W) of groups that were added up apart."""
        made = cls((1, 1), n_groups=1)
        made.sums, made.counts = sums, counts
        return made

    def add(self, residual: NDArray[np.floating], seen: NDArray[np.bool_], *, group: int) -> None:
        """Add one image: its residual (H, W) in units of its noise where `seen` (H, W)."""
        np.add(self.sums[group], residual, out=self.sums[group], where=seen, casting="unsafe")
        self.counts[group] += seen

    @property
    def seen(self) -> NDArray[np.int64]:
        """(H, W) number of images that showed each pixel."""
        return np.asarray(np.sum(self.counts, axis=0, dtype=np.int64))

    @property
    def groups(self) -> NDArray[np.int64]:
        """(H, W) number of groups that showed each pixel."""
        return np.asarray(np.count_nonzero(self.counts, axis=0), np.int64)

    def pattern(self) -> NDArray[np.float32]:
        """Return the (H, W) median of the groups' means; 0 where fewer than five groups saw a pixel."""
        result = np.zeros(self.sums[0].shape, np.float32)
        # in strips: the median needs a copy of all groups
        for top in range(0, result.shape[0], 64):
            counts = self.counts[:, top : top + 64]
            means = np.where(counts > 0, self.sums[:, top : top + 64] / np.maximum(counts, 1), np.inf)
            means.sort(axis=0)
            n_known = np.count_nonzero(counts, axis=0)
            both = [np.maximum(n_known + k, 0)[None] // 2 for k in (-1, 0)]
            low, high = (np.take_along_axis(means, place, axis=0)[0] for place in both)
            np.multiply(low + high, 0.5, out=result[top : top + 64], where=n_known >= _MIN_GROUPS)
        return result

    def agreement(self, labels: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return, for every number of `labels` (H, W), the share of groups that show what most of them show.

        Things of a few images pull the median where few groups saw a place; a mark is in all groups. One
        counts where its mean over the mark has half to twice the value of the groups' median: a mark is as
        strong everywhere, while things that happen to cross there are not.
        """
        n = int(labels.max(initial=0))
        means = np.full((len(self.sums), n + 1), np.nan)
        inside = np.flatnonzero(labels)
        numbers = labels.ravel()[inside]
        for mean, sums, counts in zip(means, self.sums, self.counts, strict=True):
            weight = np.bincount(numbers, counts.ravel()[inside], minlength=n + 1)
            total = np.bincount(numbers, sums.ravel()[inside], minlength=n + 1)
            np.divide(total, weight, out=mean, where=weight > 0)
        typical = np.nanmedian(np.where(np.isnan(means).all(axis=0), 0.0, means), axis=0)
        known = np.maximum(np.count_nonzero(~np.isnan(means), axis=0), 1)
        ratio = np.nan_to_num(means) * np.sign(typical) / np.maximum(np.abs(typical), 1e-9)
        alike = (ratio >= 0.5) & (ratio <= 2) & ~np.isnan(means)
        return np.asarray(np.count_nonzero(alike, axis=0) / known)


@dataclass(frozen=True, eq=False)
class FixedMarks:
    """Marks that stay in place.

    Attributes
    ----------
    labels : (H, W) int32 ndarray
        Number of the mark, 0 none.
    scores : (n + 1,) float64 ndarray
        Peak score of each mark in standard deviations; index 0 unused.
    polarity : (n + 1,) int8 ndarray
        -1 dark, +1 bright.
    seams : tuple of (str, int, float)
        'row' or 'column', its number and its score.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    polarity: NDArray[np.int8]
    seams: tuple[tuple[str, int, float], ...]


def find_fixed_marks(
    pattern: NDArray[np.float32], groups: NDArray[np.int64], *, epsilon: float
) -> FixedMarks:
    """Find the marks in a fixed pattern that its own noise would not produce.

    Parameters
    ----------
    pattern : (H, W) float32 ndarray
        From `PatternSum.pattern`.
    groups : (H, W) int ndarray
        From `PatternSum.groups`: fewer groups, more noise.
    epsilon : float
        Marks expected by chance.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32)
    >>> noise[40:44, 60:64] -= 9
    >>> marks = find_fixed_marks(noise, np.full((128, 128), 9), epsilon=0.01)
    >>> len(marks.scores) - 1, int(marks.polarity[1]), marks.seams
    (1, -1, ())
    """
    known = groups >= _MIN_GROUPS
    even = np.where(known, pattern * np.sqrt(groups), 0).astype(np.float32)
    typical = float(np.sqrt(np.median(groups[known]))) if known.any() else 1.0
    seams = _seams(even, known, typical, epsilon=epsilon)
    flat = even.copy()
    for side, number, _ in seams:
        flat[(number, slice(None)) if side == "row" else (slice(None), number)] = 0
    area = max(int(np.count_nonzero(known)), 1)
    tests = [max(2 * len(_SCALES_PX) * area / (2 * np.pi * scale**2), 1.0) for scale in _SCALES_PX]
    live = known.astype(np.uint8)

    def noise(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
        some = values[middle_pixels(live, factor) > 0]
        return np.full(values.shape, max(robust_sigma(some), 1e-6) if some.size else 1, np.float32)

    evidence = region_evidence(
        flat,
        noise,
        live,
        thresholds=[score_threshold(n_tests=n, epsilon=epsilon / 2) for n in tests],
        finest_px=_SCALES_PX[0],
    )
    return FixedMarks(evidence.labels, evidence.scores, evidence.polarity, seams)


def _seams(
    pattern: NDArray[np.float32], known: NDArray[np.bool_], typical: float, *, epsilon: float
) -> tuple[tuple[str, int, float], ...]:
    """Find rows and columns that stand out from their neighbours along their whole length."""
    threshold = score_threshold(n_tests=2.0 * float(sum(pattern.shape)), epsilon=epsilon)
    found = []
    for side, image, live in (("row", pattern, known), ("column", pattern.T, known.T)):
        numbers = np.flatnonzero(np.count_nonzero(live, axis=1) > 0.5 * image.shape[1])
        if numbers.size < 64:
            continue
        level = np.array([np.median(image[n][live[n]]) for n in numbers], np.float32)
        level -= cv2.medianBlur(level[:, None], 5)[:, 0]
        score = level / max(robust_sigma(level), 0.5 / np.sqrt(image.shape[1]))
        sure = (np.abs(score) > threshold) & (np.abs(level) > _VISIBLE_SEAM * typical)
        found += [(side, int(numbers[k]), float(score[k])) for k in np.flatnonzero(sure)]
    return tuple(found)


def coincidence_scores(
    counts: NDArray[np.integer], seen: NDArray[np.integer], *, share: float, reach_px: float
) -> NDArray[np.float64]:
    """Return -log10 of the chance that as many images have a find at a pixel as have one.

    Finds of different images are independent by hypothesis: each covers a pixel with the probability that
    finds cover the pixels around it (within `reach_px`), at least `share`, the mean over the frame.

    Parameters
    ----------
    counts, seen : (H, W) int ndarray
        Images with a find at a pixel, and images that show it.
    share : float
        Mean share of an image that finds cover.
    reach_px : float
        Standard deviation of the neighbourhood.

    References
    ----------
    A. Desolneux, L. Moisan, J.-M. Morel, From Gestalt Theory to Image Analysis, Springer (2008), chapter 3.

    Examples
    --------
    >>> counts = np.zeros((64, 64), np.int64)
    >>> counts[30, 30] = 4
    >>> scores = coincidence_scores(counts, np.full((64, 64), 6), share=0.002, reach_px=16)
    >>> float(scores[30, 30].round(1)), float(scores[0, 0])
    (9.6, 0.0)
    """
    from scipy.special import bdtrc

    scores = np.zeros(counts.shape)
    rows, cols = np.nonzero(counts >= 2)
    if not rows.size:
        return scores
    near = _smooth_at(np.minimum(counts, 1), rows, cols, reach_px)
    images = _smooth_at(seen, rows, cols, reach_px)
    local = np.maximum(near / np.maximum(images, 1), share)
    n = np.maximum(seen[rows, cols], counts[rows, cols])
    tail = bdtrc(counts[rows, cols] - 1.0, n, np.minimum(local, 1))
    scores[rows, cols] = -np.log10(np.maximum(tail, 1e-300))
    return scores


def _smooth_at(
    values: NDArray[np.integer], rows: NDArray[np.int64], cols: NDArray[np.int64], sigma_px: float
) -> NDArray[np.float32]:
    """Return a map (H, W) at some places, smoothed; in coarse steps, as the smoothing is far coarser."""
    step = max(1, int(sigma_px / 6))
    size = [max(side // step, 1) for side in values.shape]
    small = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), sigma_px / step)
    places = [np.minimum(k // step, side - 1) for k, side in zip((rows, cols), size, strict=True)]
    return np.asarray(smooth[places[0], places[1]])
