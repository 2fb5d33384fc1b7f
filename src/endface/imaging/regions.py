"""Evidence for compact defects: spots that stand out from a structure-free image, at several sizes.

The family of the difference of min-max ranking (DO2MR): a local extremum against its surroundings. Scores are
in standard deviations of the noise at that size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.growing import RegionEvidence, Spots
from endface.imaging.noise import (
    LocalNoise,
    Tail,
    block_sigma,
    enlarge_blocks,
    fit_tail,
    middle_lattice,
    middle_pixels,
    near_strong,
    noise_skew,
    quantiles,
    robust_sigma,
)

# Noise is measured this far from what is certainly no noise: out of its halo.
_APART_PX = 12
# What exceeds so many standard deviations is hardly noise; of a ninth of the pixels the same share as of all.
_STRONG, _STRONG_IN_SAMPLE = 5.0, 4.5
# Surroundings of a spot are so many times as wide as itself; what is stronger than noise is not of them.
_SURROUNDINGS, _CLIP = 3.0, 3.0
# Such gains are worth it: from none to all of the surroundings is taken.
_GRAIN_SAMPLE, _STRIP_PX, _GAIN = 20_000, 32, (1.15, 1.3)
# Larger pictures are sampled.
_SAMPLE = 200_000
# Side of a block that has a noise of its own, by the size of a pixel.
_BLOCKS_PX = {1: 33, 2: 24}
# Noise changes little from place to place; what is louder than the rest by more is full of defects.
_LOUDEST = 2.5


def region_evidence(
    residual: NDArray[np.float32],
    noise: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    zones: NDArray[np.uint8],
    *,
    thresholds: Sequence[float],
    finest_px: float = 0.8,
    noisy: NDArray[np.uint8] | None = None,
    least: float = 0.0,
    grain: bool = False,
) -> RegionEvidence:
    """Find spots darker or brighter than the structure-free image's noise.

    Each size is twice the one before and is looked at on an image of half the size. A larger size counts
    where it shows more than the blur of what smaller ones saw.

    Parameters
    ----------
    residual : (H, W) float32 ndarray
        Image minus its smooth and concentric background.
    noise : callable
        Gives the standard deviation of the noise in a smoothed copy of `residual`, in which one pixel stands
        for as many pixels squared as the second argument says: 1, 2, 4 ...
    zones : (H, W) uint8 ndarray
        Zone numbers from 1, each with a noise of its own; 0 is not looked at.
    thresholds : sequence of float
        Score from which a spot counts, one per size, fine to coarse; one at least.
    finest_px : float
        Standard deviation of the smoothing at the finest size.
    noisy : (H, W) uint8 ndarray or None
        `zones` once more, 0 also where noise cannot be measured.
    least : float
        Noise that even the quietest place has at every size.
    grain : bool
        Whether the surface may have a grain larger than the finest size, not to be seen by that size.

    Returns
    -------
    RegionEvidence
    """
    spots = Spots(residual.shape)
    coarse, fine, variance = residual, residual, 0.0
    for level, threshold in enumerate(thresholds):
        factor = 2**level
        if level:
            coarse = halved(coarse)
            variance += 0.25 * (factor // 2) ** 2
        sigma = float(np.sqrt(max((finest_px * factor) ** 2 - variance, 0.0))) / factor
        smooth = np.asarray(cv2.GaussianBlur(coarse, (7, 7), sigma), np.float32)
        parts = middle_pixels(zones, factor)
        loud = parts if noisy is None else middle_pixels(noisy, factor)
        seen, grained = smooth, frozenset[int]()
        if grain and not level:
            seen, grained = _without_grain(smooth, coarse, loud, finest_px)
        scores, tails, local = _scores(
            seen, noise(seen, factor), (parts, loud), threshold, factor, least, grained
        )
        if not level:
            fine, finest = smooth, local
        seeds = _seeds(scores)
        if seeds.size:
            strength = _strengths(scores.ravel()[seeds], parts.ravel()[seeds], tails, threshold)
            spots.add(smooth, scores, fine, seeds, strength, factor, finest_px)
    return spots.evidence(finest)


def halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image (H, W) of half the size, the means of 2 x 2 pixels; the odd last ones go with zeros."""
    rows, cols = values.shape
    even = cv2.copyMakeBorder(values, 0, rows % 2, 0, cols % 2, cv2.BORDER_CONSTANT, value=0)
    size = ((cols + 1) // 2, (rows + 1) // 2)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.float32)


def _without_grain(
    smooth: NDArray[np.float32], fine: NDArray[np.float32], zones: NDArray[np.uint8], spot_px: float
) -> tuple[NDArray[np.float32], frozenset[int]]:
    """Take from a smoothed image so much of its surroundings as shows small spots best, zone by zone.

    Even noise is left as it is. The grain of a surface is larger than the smallest spots: it is nearly the
    same in a spot's surroundings, and the spot is not. What counts is how far noise reaches beside the
    response to a spot.

    Also tells the zones in which something was taken.
    """
    limit = _CLIP * robust_sigma(fine[::3, ::3][zones[::3, ::3] > 0])

    def wider(values: NDArray[np.float32]) -> NDArray[np.float32]:
        clipped = np.clip(values, -limit, limit)
        return np.asarray(cv2.GaussianBlur(clipped, (0, 0), _SURROUNDINGS * spot_px), np.float32)

    # a quarter of the rows, in strips, tells whether it is worth it
    rows = (
        np.flatnonzero(np.arange(len(fine)) // _STRIP_PX % 4 == 1) if len(fine) > 8 * _STRIP_PX else np.s_[:]
    )
    some, wide, kind = smooth[rows], wider(fine[rows]), zones[rows]
    share = np.zeros(256, np.float32)
    for zone in range(1, int(zones.max(initial=0)) + 1):
        near, far = (values[kind == zone] for values in (some, wide))
        step = near.size // _GRAIN_SAMPLE | 1
        if near.size >= 1000:
            share[zone] = _share_of_surroundings(near[::step], far[::step])
    grained = frozenset(np.flatnonzero(share).tolist())
    if not grained:
        return smooth, grained
    return np.asarray(smooth - cv2.LUT(zones, share) * wider(fine), np.float32), grained


def _share_of_surroundings(near: NDArray[np.float32], far: NDArray[np.float32]) -> float:
    shares = np.linspace(0.0, 1.0, 5)
    # a spot as wide as the smoothing, and its response in either
    response = 0.5 - shares / (1 + _SURROUNDINGS**2)
    reach = np.array(
        [np.abs(quantiles(near - np.float32(share) * far, (0.003, 0.997))).max() for share in shares]
    )
    best = int(np.argmin(reach / response))
    gain = reach[0] / response[0] / (reach[best] / response[best])
    return float(shares[best] * np.interp(gain, _GAIN, (0.0, 1.0)))


def _scores(
    smooth: NDArray[np.float32],
    sigma: NDArray[np.float32],
    parts: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    threshold: float,
    factor: int,
    least: float,
    grained: frozenset[int],
) -> tuple[NDArray[np.float32], list[tuple[Tail, Tail]], LocalNoise]:
    """Scores in units of the threshold of each zone, the tails of the zones' noise, and how it varies."""
    # noise is a matter of blocks and zones: an even sample of the pixels tells nearly all about it; an odd
    # step does not keep in phase with the blocks of a codec or interlaced lines
    zones, noisy = parts
    step = 3 if smooth.size > _SAMPLE else 1
    thin = middle_lattice(smooth.shape, step)
    scores = smooth / sigma
    some, kind = scores[thin], noisy[thin]
    live = kind > 0
    block_px = _BLOCKS_PX.get(factor, 12) // step
    level = block_sigma(some, live, block_px=block_px) + np.float32(1e-6)
    reach_px = max(1, round(_APART_PX / (step * factor)))
    # a crowded image raises the median itself: measure again on what is left
    normal = some / enlarge_blocks(level, some.shape, block_px=block_px)
    strong = _STRONG if step == 1 else _STRONG_IN_SAMPLE
    quiet = live & ~near_strong(normal, limit=strong, reach_px=reach_px)
    level = block_sigma(some, quiet, block_px=block_px) + np.float32(1e-6)
    # and on every pixel, so that the level is no matter of which were looked at
    normal = scores / enlarge_blocks(level, scores.shape, block_px=block_px * step)
    apart = (noisy > 0) & ~near_strong(normal, limit=_STRONG, reach_px=reach_px * step)
    level = block_sigma(scores, apart, block_px=block_px * step) + np.float32(1e-6)
    quiet = apart[thin]
    # quieter places are mostly overexposed or compressed away
    typical = robust_sigma(some[quiet])
    lowest = max(0.85 * typical, least / float(quantiles(sigma[::8, ::8], (0.5,))[0])) + 1e-6
    level = np.clip(level, np.float32(lowest), np.float32(max(_LOUDEST * typical, lowest)))
    some = some / enlarge_blocks(level, some.shape, block_px=block_px)
    tails = [(Tail(1.0, 0.0), Tail(1.0, 0.0))] * (int(zones.max()) + 1)
    skew = [0.0] + [noise_skew(some, quiet & (kind == zone)) for zone in range(1, len(tails))]
    for _ in range(2):
        for zone in range(1, len(tails)):
            # what is left of a grain may be spots itself, of either kind
            lighter = fit_tail(some[quiet & (kind == zone)], heavier=zone in grained)
            tails[zone] = lighter, lighter.bent(skew[zone])
        # what the tail explains is noise after all
        beyond = _scaled(some.copy(), kind, tails, strong)
        quiet = live & ~near_strong(beyond, limit=1.0, reach_px=reach_px)
    scores *= enlarge_blocks(1 / level, scores.shape, block_px=block_px * step)
    local = LocalNoise(level, block_px * step, apart)
    return _scaled(scores, zones, tails, threshold), tails, local


def _scaled(
    scores: NDArray[np.float32], zones: NDArray[np.uint8], tails: list[tuple[Tail, Tail]], unit: float
) -> NDArray[np.float32]:
    """Divide scores, in place, by the score as probable as `unit` standard deviations of a normal noise."""
    dark, bright = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for zone, (below, above) in enumerate(tails[1:], start=1):
        dark[zone], bright[zone] = 1 / below.raw_score(unit), 1 / above.raw_score(unit)
    if np.array_equal(dark, bright):
        scores *= cv2.LUT(zones, dark)
        return scores
    # one of the two parts is 0: choosing by a mask that is noise takes ten times as long
    darker = np.minimum(scores, 0)
    darker *= cv2.LUT(zones, dark)
    np.maximum(scores, 0, out=scores)
    scores *= cv2.LUT(zones, bright)
    scores += darker
    return scores


def _seeds(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Flat indices of local maxima beyond the threshold, strongest first."""
    size = np.abs(scores)
    seeds = np.flatnonzero(size >= 1)
    if seeds.size:
        summits = np.asarray(cv2.dilate(size, np.ones((3, 3), np.uint8)))
        seeds = seeds[size.ravel()[seeds] == summits.ravel()[seeds]]
    return seeds[np.argsort(-size.ravel()[seeds], kind="stable")]


def _strengths(
    scores: NDArray[np.float32], zones: NDArray[np.uint8], tails: list[tuple[Tail, Tail]], threshold: float
) -> NDArray[np.float32]:
    strength = np.zeros(scores.shape, np.float32)
    for zone, sides in enumerate(tails):
        for tail, sign in zip(sides, (-1, 1), strict=True):
            here = (zones == zone) & (sign * scores > 0)
            strength[here] = tail.normal_score(np.abs(scores[here]) * np.float32(tail.raw_score(threshold)))
    return strength
