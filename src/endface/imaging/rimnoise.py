"""Noise along the rim of an ellipse, on its straightened strip, and the filters that see best through it.

The strip's rows run along the rim. Noise is stationary along a row, but each row has its own, and rows share
some of it: grain of the ferrule blurred over the rim, an edge that wanders. Breaks of a rim are dark.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.noise import Tail
from endface.imaging.sliding import running_maximum

# what is shorter than this share of the circumference, and than so many pixels, breaks the rim
_WINDOW_SHARE = 1 / 18
_WINDOW_PX = 41
# where something stands out by so many standard deviations, or beside that, is no noise
_CLEAR = 3.0
_BESIDE_PX = 4
# at least this share of the rim is looked at
_LEAST_QUIET = 0.15
_QUIET_ROUNDS = 2
_QUIET_SIZE_PX = (1.6, 1.2)
# so many columns to a row weigh as much as the belief that rows have nothing in common
_APART = 4.0
# levels of a normal law that a row of scores must not exceed more often: share below, deviations
_LEVELS = ((0.8, 0.8416), (0.95, 1.645), (0.985, 2.170))


def window_px(n: int) -> int:
    """Return how long a stretch of a rim of `n` pixels tells what it shows near by."""
    return max(_WINDOW_PX, round(n * _WINDOW_SHARE))


def blur_along(strip: NDArray[np.floating], along_px: float, across_px: float = 0.0) -> NDArray[np.float32]:
    """Smooth a strip (M, N) that is closed along its rows with a Gaussian; across it too if asked."""
    pad = int(4 * along_px) + 2
    closed = cv2.copyMakeBorder(strip.astype(np.float32), 0, 0, pad, pad, cv2.BORDER_WRAP)
    blurred = cv2.GaussianBlur(closed, (0, 0), along_px, sigmaY=max(across_px, 1e-3))
    return np.asarray(blurred[:, pad:-pad], np.float32)


def quiet_columns(
    breaks: NDArray[np.float32], known: NDArray[np.bool_], *, least: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Find where a strip shows nothing but noise, and what its rows have in common there.

    Parameters
    ----------
    breaks : (M, N) float32 ndarray
        Noise about 0, with breaks.
    known : (M, N) bool ndarray
        Pixels that count.
    least : float
        Noise that every row has at least.

    Returns
    -------
    quiet : (N,) bool ndarray
        Columns without anything clear; the quietest part where breaks are all round.
    covariance : (M, M) float32 ndarray
        Of the rows, drawn towards rows without any relation the more the fewer columns there are.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 2, (5, 900)).astype(np.float32)
    >>> noise[2, 100:110] = -30
    >>> quiet, covariance = quiet_columns(noise, np.ones(noise.shape, bool), least=0.1)
    >>> bool(quiet[100:110].any()), bool(quiet.mean() > 0.8), bool(3 < covariance[2, 2] < 5)
    (False, True, True)
    """
    sigma = bright_side_sigma(breaks, known)[:, None]
    quiet = np.ones(breaks.shape[1], bool)
    covariance = _covariance(np.clip(breaks, -3 * sigma, 3 * sigma), quiet, least)
    for _ in range(_QUIET_ROUNDS):
        seen = blur_along(matched_filters(covariance, _QUIET_SIZE_PX[1]) @ breaks, _QUIET_SIZE_PX[0])
        deviation = 1.4826 * np.median(np.abs(seen[:, quiet]), axis=1)[:, None]
        loud = np.abs(seen) * known / np.maximum(deviation, np.float32(1e-9))
        limit = _CLEAR
        while (quiet := ~grown(np.max(loud > limit, axis=0), _BESIDE_PX)).mean() < _LEAST_QUIET:
            limit *= 1.2
        covariance = _covariance(breaks, quiet, least)
    return quiet, covariance


def matched_filters(covariance: NDArray[np.float32], across_px: float) -> NDArray[np.float32]:
    """Return for each row the weights (M, M) of all rows that tell best a Gaussian spot about it from noise.

    References
    ----------
    G. L. Turin, An introduction to matched filters, IRE Transactions on Information Theory 6 (1960) 311.
    """
    rows = np.arange(len(covariance))
    spots = np.exp(-0.5 * ((rows[:, None] - rows) / across_px) ** 2)
    return np.asarray(np.linalg.solve(covariance, spots).T, np.float32)


def level_scores(
    scores: NDArray[np.float32], known: NDArray[np.bool_], *, threshold: float, beside_px: int
) -> tuple[NDArray[np.float32], float]:
    """Set scores of dark spots (M, N) right by what the bright side shows: breaks are dark, noise is both.

    Returns the scores, divided by how much wider than normal their row is spread, and the score that is as
    improbable as `threshold` is in a normal law. Columns with something dark and clear do not count.
    """
    clear = ~grown(np.max(scores > 0.8 * threshold, axis=0), _BESIDE_PX + beside_px)
    bright, count = np.where(known, -scores, 0)[:, clear], np.count_nonzero(clear)
    if count < 100:
        return scores, threshold
    ordered = np.sort(bright, axis=1)
    excess = np.max([ordered[:, int(share * count)] / u for share, u in _LEVELS], axis=0)
    near = np.pad(excess, 1, mode="edge")
    excess = np.maximum((near[:-2] + near[1:-1] + near[2:]) / 3, 1).astype(np.float32)[:, None]
    ordered = np.sort((bright / excess)[known[:, clear]])
    middle, far = (
        float(ordered[int(share * ordered.size)]) / u for share, u in ((0.95, 1.645), (0.997, 2.748))
    )
    tail = Tail.through(max(middle, 1.0), far, max_slope=0.4)
    return np.asarray(scores / excess, np.float32), tail.raw_score(threshold)


def grown(columns: NDArray[np.bool_], reach_px: int) -> NDArray[np.bool_]:
    """Mark also what lies within reach of marked columns (N,) of a closed rim."""
    closed = np.pad(columns.astype(np.uint8), reach_px, mode="wrap")[None]
    wide = cv2.dilate(closed, np.ones((1, 2 * reach_px + 1), np.uint8))
    return np.asarray(wide[0, reach_px : reach_px + columns.size] > 0)


def _covariance(breaks: NDArray[np.float32], quiet: NDArray[np.bool_], least: float) -> NDArray[np.float32]:
    some = breaks[:, quiet]
    together = some @ some.T
    count, alone = some.shape[1], _APART * len(breaks)
    own = np.maximum(np.diag(together) / count, (0.5 * least) ** 2)
    together += np.diag(alone * own)
    together /= count + alone
    return np.asarray(together + np.diag(np.full(len(own), 0.01 * np.median(own))), np.float32)


def bright_side_sigma(
    rows: NDArray[np.float32], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return the noise (M,) of each row, as a standard deviation, from its bright half: breaks are dark.

    Parameters
    ----------
    rows : (M, N) float32 ndarray
        Noise about 0, with breaks.
    known : (M, N) bool ndarray, optional
        Pixels that count.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 2, (5, 4000)).astype(np.float32)
    >>> noise[:, :1000] = -50
    >>> sigma = bright_side_sigma(noise)
    >>> bool(1.8 < sigma.min() and sigma.max() < 2.2)
    True
    """
    # some hundred values tell enough of a row
    step = max(1, rows.shape[1] // 600)
    rows = rows[:, ::step]
    bright = rows > 0
    if known is not None:
        bright &= known[:, ::step]
    ordered = np.where(bright, rows, np.float32(np.inf))
    ordered.sort(axis=1)
    count = np.count_nonzero(bright, axis=1)
    level = np.zeros(len(rows), np.float32)
    # half of a normal law: its median and its 80 % quantile
    for share, deviations in ((0.5, 0.6745), (0.8, 1.2816)):
        place = np.minimum((share * count).astype(int), rows.shape[1] - 1)
        level = np.maximum(level, ordered[np.arange(len(rows)), place] / np.float32(deviations))
    return running_maximum(np.where(count > 0, level, 0), 3)


def loudness(rows: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the noise round each place of a strip (M, N) in units of its row's, from the bright side.

    Reflections make arcs of a rim brighter, and so louder. Never below 0.8 nor above 2.5.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 2, (12, 900)).astype(np.float32)
    >>> noise[:, :300] *= 2
    >>> level = loudness(noise, np.ones(noise.shape, bool))
    >>> bool(level[6, 150] > 1.4 * level[6, 600])
    True
    """
    sigma = bright_side_sigma(rows, known)[:, None]
    weights = ((rows > 0) & known).astype(np.float32)
    square = weights * np.square(np.minimum(rows / np.maximum(sigma, np.float32(1e-6)), 3))
    half = window_px(rows.shape[1]) // 2
    total, count = (
        cv2.blur(cv2.copyMakeBorder(part, 0, 0, half, half, cv2.BORDER_WRAP), (2 * half + 1, 5))
        for part in (square, weights)
    )
    level = np.sqrt(np.maximum(total, 0) / np.maximum(count, np.float32(1e-3)))[:, half:-half]
    return np.asarray(np.clip(level, 0.8, 2.5), np.float32)
