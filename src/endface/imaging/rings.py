"""Measured rings: a proposed circle is turned into a sub-pixel ellipse with the evidence for it.

Knows edges and ellipses; which ring is cladding or core is decided in `endface.zones`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse, fit_ellipse_ransac, refine_ellipse
from endface.imaging.rim import RimEdges, find_rim_edges, quick_median, unroll

# pixels of analogue and digital video are 10:11 to 12:11; what is flatter is no fibre
_MAX_ASPECT = 1.13
_CLEAR_SNR = 5.0
_SHARPEST_PX = 0.6
_SEED = 20180913  # RANSAC draws; a constant, so that the same picture gives the same ring


@dataclass(frozen=True, eq=False)
class Ring:
    """A closed edge in a picture: its ellipse and how well the picture supports it.

    Attributes
    ----------
    polarity : int
        +1 where it is brighter outside.
    support : float
        Share of the visible rays whose edge lies on the ellipse.
    visible : float
        Share of the rim that lies within the picture.
    strength, noise : float
        Median height of the edge and robust standard deviation of such heights beside it, in grey levels.
    shade : float
        Height that the steady shade across the rim alone would give.
    step : float
        Median difference of the levels outside and inside, times the polarity.
    agreement : float
        Share of the visible rays on which that difference has the sign of the polarity.
    unrest : float
        Spread over the rays of the level inside and outside, slow shading left out, against the step or the
        strength, whichever is larger.
    outer_level, outer_spread : float
        Median and robust standard deviation over the rays of the level outside.
    edges : RimEdges
        One edge per ray, offsets against `ellipse`.
    """

    ellipse: Ellipse
    polarity: int
    support: float
    visible: float
    strength: float
    noise: float
    shade: float
    step: float
    agreement: float
    unrest: float
    outer_level: float
    outer_spread: float
    edges: RimEdges

    @property
    def snr(self) -> float:
        """Height of the edge in units of the noise beside it."""
        return self.strength / max(self.noise, 1e-3 * self.strength, 1e-12)


def edge_sigma_px(radius_px: float) -> float:
    """Return the width of the edge filter that suits a ring of this size."""
    return min(max(0.012 * radius_px, 1.0), 4.0)


def fit_ring(
    image: NDArray[np.float32],
    start: Ellipse,
    *,
    polarity: int,
    band_px: float | None = None,
    aspect: float | None = None,
    min_support: float = 0.3,
    min_strength: float = 0.0,
    arc_rad: float = 0.0,
    n_angles: int = 360,
) -> Ring | None:
    """Fit the closed edge of one polarity that lies near a proposed ellipse.

    Edges along rays in a wide band, RANSAC through them, then `polish_ring`.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        NaN where the picture shows nothing.
    band_px : float, optional
        How far off the proposal may be; 13 % of the radius where None.
    aspect : float, optional
        Known ry / rx.
    min_support : float
        Share of the rays that RANSAC must explain.
    min_strength : float
        Height that the strongest edge of half of the rays must have; where it has not nothing is fitted.
    arc_rad : float
        Smoothing along the rim, for faint edges.
    n_angles : int
        Number of rays in the end; fewer are faster.

    Returns
    -------
    Ring or None
        None where no ellipse explains enough of the edges.
    """
    radius = start.radius_px
    band = band_px if band_px is not None else max(0.13 * radius, 4.0)
    wide = _edges_round(image, start, polarity, band, arc_rad, n_angles=min(n_angles, 128), wide=True)
    n_visible = int(wide.visible.sum())
    typical = _median_or_0(wide.strength[:, 0])
    if n_visible < 0.2 * len(wide.visible) or typical < min_strength:
        return None
    tolerance = max(1.2, 0.015 * radius)  # of a supporter; the trials are judged by a tighter one
    points, strength = wide.points(start), wide.strength[np.isfinite(wide.offset_px)]
    fitted = fit_ellipse_ransac(
        points,
        tolerance_px=max(1.0, 0.009 * radius),
        rng=np.random.default_rng(_SEED),
        weights=np.minimum(strength / max(typical, 1e-12), 1.0),
        aspect=aspect,
    )
    if fitted is None or not 0.5 * radius < fitted.radius_px < 2 * radius:
        return None
    near = np.abs(fitted.normalized_radius(points[:, 0], points[:, 1]) - 1) * fitted.radius_px < tolerance
    if np.count_nonzero(near) < min_support * n_visible:
        return None
    return polish_ring(
        image, fitted, polarity=polarity, aspect=aspect, arc_rad=arc_rad, n_angles=n_angles, beside=wide
    )


def polish_ring(
    image: NDArray[np.float32],
    start: Ellipse,
    *,
    polarity: int,
    aspect: float | None = None,
    arc_rad: float = 0.0,
    n_angles: int = 360,
    beside: RimEdges | None = None,
) -> Ring | None:
    """Fit the edge of one polarity next to an ellipse that is right to a few percent.

    Tukey-weighted least squares through the edges in a narrow band, twice where many rays are asked for.

    Parameters
    ----------
    beside : RimEdges, optional
        Edges in a wider band, which tell the noise; looked for where None.

    Returns
    -------
    Ring or None
        None where the fit runs away.
    """
    radius = start.radius_px
    wide = beside or _edges_round(
        image, start, polarity, max(0.13 * radius, 4.0), arc_rad, n_angles=128, wide=True
    )
    ellipse = before = start
    edges = wide
    sigma = min(edge_sigma_px(radius), 0.25 * radius)
    height = 0.0
    for count, reach in ((n_angles // 2, 3.5), (n_angles, 3.0))[n_angles < 256 :]:
        narrow = max(reach * sigma, 0.008 * reach * radius)
        edges = find_rim_edges(
            image,
            ellipse,
            polarity=polarity,
            inwards_px=narrow,
            outwards_px=narrow,
            sigma_px=sigma,
            n_angles=count,
            n_peaks=3,
            arc_rad=arc_rad,
        )
        sharp = _median_or_0(edges.strength[:, 0])
        height = height or sharp
        # heights are told as the wide filter sees them, so that those of rings and of noise compare
        edges = replace(edges, strength=edges.strength * (height / max(sharp, 1e-12)))
        sigma = _sharpest_sigma_px(sigma, height, wide.noise)
        # of two edges side by side (a gap, a coating) the one this ellipse stands for, not the stronger one
        edges = edges.nearest(min_strength=0.4 * _median_or_0(edges.strength[:, 0]))
        before = ellipse
        ellipse = refine_ellipse(edges.points(ellipse), ellipse, aspect=aspect)
        if not 0.7 * radius < ellipse.radius_px < 1.4 * radius:
            return None
    ratio = ellipse.ry_px / ellipse.rx_px
    if aspect is None and not 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT:
        return None
    return _measure(image, ellipse, before, edges, polarity, wide)


def _sharpest_sigma_px(sigma_px: float, strength: float, noise: float) -> float:
    """Return the narrowest edge filter in which an edge still stands well out of white noise.

    A filter wider than a line beside the rim sees the edge beside its place: half the line's width is wanted,
    its own width it would give.
    """
    return sigma_px * min(1.0, max(_SHARPEST_PX / sigma_px, (_CLEAR_SNR * noise / max(strength, 1e-12)) ** 2))


def _edges_round(
    image: NDArray[np.float32],
    ellipse: Ellipse,
    polarity: int,
    band_px: float,
    arc_rad: float,
    *,
    n_angles: int,
    wide: bool = False,
) -> RimEdges:
    """Find up to three edges a ray in a band; in a wide one the filter is a little wider, too."""
    sigma = edge_sigma_px(ellipse.radius_px)
    return find_rim_edges(
        image,
        ellipse,
        polarity=polarity,
        inwards_px=band_px,
        outwards_px=band_px,
        sigma_px=min(1.2 * sigma, 0.3 * ellipse.radius_px) if wide else min(sigma, 0.25 * ellipse.radius_px),
        n_angles=n_angles,
        n_peaks=3,
        arc_rad=arc_rad,
    )


def _median_or_0(values: NDArray[np.floating]) -> float:
    return quick_median(values[np.isfinite(values)])


def _measure(
    image: NDArray[np.float32],
    ellipse: Ellipse,
    before: Ellipse,
    edges: RimEdges,
    polarity: int,
    wide: RimEdges,
) -> Ring:
    """Collect the evidence for a fitted ellipse; `edges` were taken along rays of the ellipse `before`."""
    radius = ellipse.radius_px
    shifted = _relative_to(edges, before, ellipse)
    offset, strength = shifted.offset_px[:, 0], shifted.strength[:, 0]
    visible = shifted.visible
    on_rim = visible & (np.abs(offset) < max(1.0, 0.012 * radius))
    height = _median_or_0(strength[on_rim])
    on_rim &= strength > max(0.3 * height, 2 * wide.noise)
    sigma = edge_sigma_px(radius)
    reach = min(max(3 * sigma, 0.06 * radius), 0.5 * radius) / radius
    gap = 1.5 * sigma / radius
    radii = np.linspace(gap, gap + reach, 6)
    both = unroll(image, ellipse, n_angles=len(visible), radii=np.concatenate([1 - radii, 1 + radii]))
    inner, outer = _level(both[:, : radii.size]), _level(both[:, radii.size :])
    n_visible = max(int(visible.sum()), 1)
    difference = polarity * (outer - inner)[visible]
    step = quick_median(difference)
    sides = np.stack([inner, outer])[:, visible]
    spread = max(_spread(side) for side in _without_shading(sides, shifted.angles_rad[visible]))
    return Ring(
        ellipse=ellipse,
        polarity=polarity,
        support=float(np.count_nonzero(on_rim) / n_visible),
        visible=float(visible.mean()),
        strength=height,
        noise=wide.noise,
        shade=wide.shade,
        step=step,
        agreement=float(np.mean(difference > 0)) if difference.size else 0.0,
        unrest=spread / max(abs(step), height, 1e-9),
        outer_level=_median_or_0(outer[visible]),
        outer_spread=_spread(outer[visible]),
        edges=shifted,
    )


def _level(polar: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each row, missing pixels left out; 0 for rows without any, which are not used."""
    missing = np.isnan(polar)
    if not missing.any():
        return np.asarray(polar.mean(axis=1))
    known = polar.shape[1] - missing.sum(axis=1)
    return np.asarray(np.where(missing, np.float32(0), polar).sum(axis=1) / np.maximum(known, 1))


def _without_shading(levels: NDArray[np.floating], angles_rad: NDArray[np.float64]) -> NDArray[np.floating]:
    """Take out of two sets of levels (2, N) what changes once or twice round the rim: it is uneven light."""
    if angles_rad.size < 20:
        return levels
    waves = np.stack([f(n * angles_rad) for n in (1, 2) for f in (np.cos, np.sin)])
    limits = [3 * max(_spread(side), 1e-9) for side in levels]
    clipped = [np.clip(side - quick_median(side), -k, k) for side, k in zip(levels, limits, strict=True)]
    waves -= waves.mean(axis=1, keepdims=True)
    normal = waves @ waves.T
    normal.flat[::5] += 1e-6 * angles_rad.size  # solvable on a short arc
    # the waves have no mean, so that of the levels does not matter
    return np.asarray(levels - np.linalg.solve(normal, waves @ np.stack(clipped).T).T @ waves)


def _spread(values: NDArray[np.floating]) -> float:
    return 1.4826 * quick_median(np.abs(values - quick_median(values)))


def _relative_to(edges: RimEdges, before: Ellipse, ellipse: Ellipse) -> RimEdges:
    """Give edges found along rays of one ellipse as offsets from another that nearly equals it."""
    scale = 1 + edges.offset_px[:, 0] / np.hypot(
        before.rx_px * np.cos(edges.angles_rad), before.ry_px * np.sin(edges.angles_rad)
    )
    x = before.cx_px + scale * before.rx_px * np.cos(edges.angles_rad)
    y = before.cy_px + scale * before.ry_px * np.sin(edges.angles_rad)
    offset = (ellipse.normalized_radius(x, y) - 1) * np.hypot(
        ellipse.rx_px * np.cos(edges.angles_rad), ellipse.ry_px * np.sin(edges.angles_rad)
    )
    return RimEdges(
        edges.angles_rad, offset[:, None], edges.strength, edges.visible, edges.noise, edges.shade
    )
