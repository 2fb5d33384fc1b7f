"""Follow a line beyond its ends, where it is too weak to be found by itself.

A line that nothing points at is looked for at every pixel and in every direction: millions of tests. Its
continuation can only begin at its end and go on in its direction: a few. So far less contrast tells it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.acontrario import score_threshold
from endface.imaging.noise import robust_sigma
from endface.imaging.tracing import TracedLine, guarded_contrast

_LENGTHS_PX = (12, 24, 48)
_TURN = math.tan(math.radians(8))  # a line goes on within so much of its direction
_APART_PX = 1.5  # continuations closer than this see the same
_LOOK_BACK_PX = 32  # that tell the direction
_CLIP = 1.5  # no single spot may carry a continuation
_STEP_PX = 0.5  # sampling across
_STRIP_PX = (_LENGTHS_PX[-1], math.ceil(_LENGTHS_PX[-1] * _TURN))  # that holds all of them
_PLACES_PX = (17, 19)  # grid of places noise is measured at
_PLACES = 75
_DIRECTIONS = 8


def prolong_line(
    line: TracedLine,
    image: NDArray[np.float32],
    *,
    polarity: int,
    noise: NDArray[np.float32],
    spread: float,
    side_px: float,
    epsilon: float = 0.05,
) -> TracedLine:
    """Add to a line what continues it at either end.

    From an end, paths of three lengths are tried that go on in the direction of the line and turn away from
    it by up to 8 degrees, in steps that can be told apart: 17 tests. The best is taken, up to where its
    contrast ends, if noise would give as much at one in 1 / `epsilon` ends; and so on from the new end, until
    an end has doubled the line.

    Parameters
    ----------
    line : TracedLine
        From `confirm_line`.
    image, polarity, noise, side_px
        As for `confirm_line`. Where `noise` is infinite nothing tells: a line crosses such a place only if it
        is seen beyond it.
    spread : float
        From `path_spread`.
    epsilon : float
        Expected false continuations of one end.

    Returns
    -------
    TracedLine
        Scores of the added points are their contrast in units of its noise.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(0, 1, (64, 160)).astype(np.float32)
    >>> image[31:33, 20:60] += 4
    >>> image[31:33, 60:140] += 1
    >>> points = np.stack([np.arange(22, 58), np.full(36, 31.5)], axis=1).astype(np.float32)
    >>> found = TracedLine(points, np.full(36, 4, np.float32))
    >>> noise = np.full(image.shape, 1.1, np.float32)
    >>> longer = prolong_line(found, image, polarity=1, noise=noise, spread=0.8, side_px=3)
    >>> found.length_px, 80 < longer.length_px < 100  # at most doubled at either end
    (35.0, True)
    """
    high = spread * score_threshold(n_tests=len(_PATHS), epsilon=epsilon)
    points, scores = line.points, line.scores
    for _ in range(2):
        # a ring would go on for ever
        limit = len(points) + len(line.points)
        while len(points) < limit:
            end, along = _heading(points)
            places, contrast, level = _look_ahead(image, noise, end[None], along[None], _STRIP_PX, side_px)
            z = contrast[0] * np.float32(polarity) / level[0]
            more = _best_path(z, high)
            if more is None:
                break
            points, scores = np.concatenate([points, places[0][more]]), np.concatenate([scores, z[more]])
        points, scores = points[::-1], scores[::-1]
    return TracedLine(points, scores)


def path_spread(
    image: NDArray[np.float32],
    noise: NDArray[np.float32],
    clean: NDArray[np.bool_],
    *,
    side_px: float,
) -> float:
    """Return the standard deviation of the sum of n contrasts along a path on empty ground, over root n.

    Contrasts are those of `prolong_line`, in units of `noise` (H, W). How much neighbouring pixels share
    their noise cannot be known beforehand, so it is measured: along short straight paths in eight directions
    about places in `clean` (H, W). The noisiest two neighbouring directions of them count.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32)
    >>> clean = np.ones(image.shape, bool)
    >>> 0.4 < path_spread(image, np.full(image.shape, 1.2, np.float32), clean, side_px=3) < 1.2
    True
    """
    rows, cols = np.nonzero(clean[:: _PLACES_PX[0], :: _PLACES_PX[1]])
    some = np.s_[:: len(rows) // _PLACES | 1]
    places = np.stack([cols[some] * _PLACES_PX[1], rows[some] * _PLACES_PX[0]], axis=1).astype(np.float32)
    if not len(places):
        return 1.0
    length = _LENGTHS_PX[1]
    sums = np.empty((_DIRECTIONS, len(places)), np.float32)
    for k, angle in enumerate(np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS)):
        along = np.full_like(places, [math.cos(angle), math.sin(angle)])
        begin = places - np.float32(0.5 * length) * along
        _, contrast, level = _look_ahead(image, noise, begin, along, (length, 0), side_px)
        sums[k] = np.clip(contrast / level, -_CLIP, _CLIP).sum(axis=(1, 2))
    return max(*(robust_sigma(pair) for pair in np.split(sums, _DIRECTIONS // 2)), 1e-3) / math.sqrt(length)


def _look_ahead(
    image: NDArray[np.float32],
    noise: NDArray[np.float32],
    ends: NDArray[np.float32],
    along: NDArray[np.float32],
    size_px: tuple[int, int],
    side_px: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the points (K, n, m, 2) ahead of `ends` (K, 2), n along and m across, their contrast and noise.

    Reaches `size_px` along and to each side.
    """
    half, beside, reach = (round(part / _STEP_PX) for part in (0.5, side_px, size_px[1]))
    inner = np.arange(-reach, reach + 1)
    taken = [inner + aside for aside in (-beside, -half, 0, half, beside)]
    wanted = np.unique(taken)
    offsets = wanted.astype(np.float32) * np.float32(_STEP_PX)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    axis = ends[:, None] + np.arange(1, size_px[0] + 1, dtype=np.float32)[:, None] * along[:, None]
    x, y = (
        (axis[..., k, None] + offsets * across[:, None, k, None]).reshape(-1, len(wanted)) for k in (0, 1)
    )
    # beyond the image lies its mean level
    gray = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    first, left, own, right, last = (np.searchsorted(wanted, columns) for columns in taken)
    centre = 0.5 * (gray[:, left] + gray[:, right])
    contrast = guarded_contrast(centre - gray[:, first], centre - gray[:, last])
    x, y = x[:, own], y[:, own]
    level = cv2.remap(noise, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    shape = (len(ends), size_px[0], len(inner))
    places = np.stack([x, y], axis=-1).reshape(*shape, 2)
    return places, contrast.reshape(shape), np.asarray(level, np.float32).reshape(shape)


def _best_path(z: NDArray[np.float32], high: float) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return the path on a strip of contrasts with the highest sum over root length, if above `high`."""
    clipped = np.clip(z, -_CLIP, _CLIP)
    counts = np.diff(_FIRSTS, append=_ALL_PLACES[0].size)
    sums = np.add.reduceat(clipped[_ALL_PLACES], _FIRSTS) / np.sqrt(counts)
    best = int(np.argmax(sums))
    if sums[best] < high:
        return None
    steps, aside = _PATHS[best]
    values = clipped[steps, aside]
    last = 1 + int(np.argmax(np.cumsum(values - 0.35 * values.mean())))
    return steps[:last], aside[:last]


def _paths() -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the places on a strip, along and across, of all paths that are tried."""
    paths = []
    for length in _LENGTHS_PX:
        steps = np.arange(length)
        n = int(length * _TURN / _APART_PX)
        for turn in np.arange(-n, n + 1) * _APART_PX:
            # between a line that bends and one whose direction was misjudged
            aside = turn * ((steps + 1) / length) ** 1.5
            paths.append((steps, np.round(aside / _STEP_PX).astype(np.intp) + round(_STRIP_PX[1] / _STEP_PX)))
    return paths


def _heading(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the end of a path and the direction it goes on in, (2,) each."""
    tail = points[-_LOOK_BACK_PX:]
    vx, vy, x, y = cv2.fitLine(tail, cv2.DIST_HUBER, 0, 0.01, 0.01).ravel()
    along, centre = np.array([vx, vy], np.float32), np.array([x, y], np.float32)
    if along @ (tail[-1] - tail[0]) < 0:
        along = -along
    return centre + along * ((tail[-1] - centre) @ along), along


_PATHS = _paths()
# all of them one after the other, and where each begins
_ALL_PLACES = tuple(np.concatenate(parts) for parts in zip(*_PATHS, strict=True))
_FIRSTS = np.cumsum([0] + [len(steps) for steps, _ in _PATHS[:-1]])
