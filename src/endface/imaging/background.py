"""What a clean fibre would look like: its concentric structure, unrolled into a chart.

Weighted local averages whose weights drop to zero where the image departs from the model, so that defects
do not leak into it. Knows nothing of defects or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.illumination import tukey_weights

# crescents show in medians of so many arcs of a ring, and are thinner than this share of the chart
_N_ARCS, _N_NEAR = 16, 7
_THIN = 0.1


@dataclass(frozen=True)
class PolarGrid:
    """A polar chart of a fibre whose core, cladding and hole need not be concentric.

    Row i of a chart is the ellipse at radius i * step (fractions of the cladding radius), interpolated
    between core, cladding and hole; columns are equally spaced angles.

    Attributes
    ----------
    sample_x, sample_y : (R, A) float32 ndarray
        Where in the image each chart point lies.
    rho, theta : (h, w) float32 ndarray
        Chart row and column (fractional) of each pixel of the box `box`.
    """

    sample_x: NDArray[np.float32]
    sample_y: NDArray[np.float32]
    rho: NDArray[np.float32]
    theta: NDArray[np.float32]
    box: tuple[slice, slice]
    core_row: float
    rim_row: float
    hole_row: float

    def unroll(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sample an (H, W) image on the chart, (R, A)."""
        return np.asarray(
            cv2.remap(image, self.sample_x, self.sample_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )

    def roll(self, chart: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring an (R, A) chart back to the pixels of `box`, (h, w)."""
        wrapped = np.concatenate([chart[:, -2:], chart, chart[:, :2]], axis=1)
        return np.asarray(
            cv2.remap(
                wrapped,
                self.theta + np.float32(2),
                self.rho,
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def polar_grid(
    cladding: Ellipse,
    core: Ellipse | None,
    shape: tuple[int, int],
    *,
    hole: Ellipse | None = None,
    margin: float = 0.3,
) -> PolarGrid:
    """Lay a polar chart over a fibre, from its centre to `margin` cladding radii beyond its rim or hole.

    Rows are a pixel apart, columns about two pixels at the rim: along a ring a clean fibre changes slowly.

    Examples
    --------
    >>> rim = Ellipse(50, 50, 30, 30)
    >>> grid = polar_grid(rim, None, (100, 100))
    >>> image = rim.radius_map((100, 100))
    >>> inside = image[grid.box] < 1.25
    >>> bool(np.abs(grid.roll(grid.unroll(image)) - image[grid.box])[inside].max() < 0.05)
    True
    """
    inner = core if core is not None else cladding.scaled(0.4)
    outer = hole if hole is not None else cladding
    share = min(inner.radius_px / cladding.radius_px, 0.95)
    wide = max(outer.radius_px / cladding.radius_px, 1.0)
    reach = wide + margin
    longest = max(cladding.rx_px, cladding.ry_px)
    n_radii = max(8, round(longest * reach) + 1)
    n_angles = int(max(64, 2 ** np.ceil(np.log2(np.pi * longest))))
    fractions = np.linspace(0.0, reach, n_radii)
    largest = outer.scaled(reach / wide)
    knots = (inner.scaled(0), inner, cladding, outer, largest)
    rx, ry, cx, cy = (
        np.interp(fractions, [0.0, share, 1.0, wide, reach], [getattr(knot, part) for knot in knots])
        for part in ("rx_px", "ry_px", "cx_px", "cy_px")
    )
    angles = np.arange(n_angles) * (2 * np.pi / n_angles)
    sample_x = (cx[:, None] + np.outer(rx, np.cos(angles))).astype(np.float32)
    sample_y = (cy[:, None] + np.outer(ry, np.sin(angles))).astype(np.float32)
    box = _box(largest, shape)
    rho, theta = _chart_coordinates(cladding, inner, share, box)
    if wide > 1:
        far = rho > 1
        rho_far, theta_far = _chart_coordinates(outer, cladding, 1 / wide, box)
        rho, theta = np.where(far, wide * rho_far, rho), np.where(far, theta_far, theta)
    row = (n_radii - 1) / reach
    return PolarGrid(
        sample_x,
        sample_y,
        rho * np.float32(row),
        theta * np.float32(n_angles / (2 * np.pi)),
        box,
        core_row=share * row,
        rim_row=row,
        hole_row=wide * row,
    )


def _box(largest: Ellipse, shape: tuple[int, int]) -> tuple[slice, slice]:
    top, left = (
        max(0, int(largest.cy_px - largest.ry_px)),
        max(0, int(largest.cx_px - largest.rx_px)),
    )
    bottom = min(shape[0], int(largest.cy_px + largest.ry_px) + 2)
    right = min(shape[1], int(largest.cx_px + largest.rx_px) + 2)
    return slice(top, bottom), slice(left, right)


def _chart_coordinates(
    cladding: Ellipse, inner: Ellipse, share: float, box: tuple[slice, slice]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Radius (1 on the cladding's rim) and angle of each pixel of `box` in the family of ellipses."""
    y = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None]
    x = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None, :]
    # the semi-axes are a linear function of the radius between core and rim: r = slope * rho + offset
    slope_x = (cladding.rx_px - inner.rx_px) / (1 - share)
    slope_y = (cladding.ry_px - inner.ry_px) / (1 - share)
    shift_x, shift_y = inner.cx_px - cladding.cx_px, inner.cy_px - cladding.cy_px
    u = (x - np.float32(cladding.cx_px)) / np.float32(cladding.rx_px)
    v = (y - np.float32(cladding.cy_px)) / np.float32(cladding.ry_px)
    rho = cv2.magnitude(*np.broadcast_arrays(u, v))
    dx, dy = (np.ascontiguousarray(part) for part in np.broadcast_arrays(u, v))
    for _ in range(
        2
    ):  # centre and aspect change slowly with the radius, so this fixed point converges at once
        limited = np.clip(rho, np.float32(share), np.float32(1))
        inward = (1 - limited) * np.float32(1 / (1 - share))
        scale_x = np.float32(slope_x) + np.float32(cladding.rx_px - slope_x) / limited
        scale_y = np.float32(slope_y) + np.float32(cladding.ry_px - slope_y) / limited
        dx = (x - np.float32(cladding.cx_px) - np.float32(shift_x) * inward) / scale_x
        dy = (y - np.float32(cladding.cy_px) - np.float32(shift_y) * inward) / scale_y
        rho = cv2.magnitude(dx, dy)
    # good to 0.3 degrees, a small part of the least window along a ring
    return np.asarray(rho, np.float32), np.asarray(cv2.phase(dx, dy), np.float32)


def concentric_background(
    chart: NDArray[np.float32], *, window_deg: float = 60.0, iterations: int = 3
) -> NDArray[np.float32]:
    """Model the rings and crescents of a fibre on its polar chart.

    Each row (radius) is a robust running mean over angle: what stays the same over `window_deg` is structure
    of the fibre, what is shorter is not. Near the centre, where a window would cover only a few pixels, the
    window widens up to the whole circle.

    Parameters
    ----------
    chart : (R, A) float32 ndarray
        Image unrolled by `PolarGrid.unroll`.
    window_deg : float
        Full width of the running mean.

    Returns
    -------
    (R, A) float32 ndarray
    """
    n_radii, n_angles = chart.shape
    row_median = _row_median(chart)[:, None]
    half = max(1, int(n_angles * window_deg / 720))
    model = start = row_median + _crescents(chart - row_median)
    for _ in range(iterations):
        rest = chart - model
        weights = tukey_weights(rest, _row_sigma(rest)[:, None])
        # where it began is a weak prior: it holds where a whole window was rejected
        numerator = _running_mean(weights * chart, half) + 0.02 * start
        model = numerator / (_running_mean(weights, half) + 0.02)
    rest = chart - model
    wander = _rim_wander(rest, model, _row_sigma(rest))
    model, rest = model + wander, rest - wander
    model = model + _short_rings(rest, half // 3)
    # near the centre a window is narrower than a defect: go over to the whole ring
    ring_px = np.arange(n_radii, dtype=np.float32) * (2 * np.pi * window_deg / 360)
    whole = np.clip((24.0 - ring_px) / 12.0, 0.0, 1.0).astype(np.float32)[:, None]
    near = np.flatnonzero(whole[:, 0])
    model[near] += whole[near] * (row_median[near] - model[near])
    inner = int(min(n_radii - 1, 6))
    # the innermost rings have too few pixels for a median of their own
    model[:inner] = np.median(chart[: inner + 4])
    return np.asarray(model, np.float32)


def _rim_wander(
    rest: NDArray[np.float32], model: NDArray[np.float32], sigma: NDArray[np.float32]
) -> NDArray[np.float32]:
    # a rim is never a perfect ellipse: let edges shift radially, to first order (shift x gradient), by an
    # amount that is smooth over about 12 degrees and a few rows; a chip is shorter and stays
    gradient = cv2.Sobel(model, cv2.CV_32F, 0, 1, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
    half = max(1, model.shape[1] // 60)
    base = float(np.median(sigma))
    correction = np.zeros_like(model)
    for _ in range(2):
        left = rest - correction
        weights = tukey_weights(left, np.maximum(_row_sigma(left), 1.5 * base)[:, None])
        weights *= gradient
        top = _radial_mean(_running_mean(weights * left, half))
        bottom = _radial_mean(_running_mean(weights * gradient, half))
        correction += gradient * (top / (bottom + (base**2 + 1e-20)))
    return correction


def _radial_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (1, 15), sigmaX=0, sigmaY=3))


def _short_rings(rest: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    # rings about another centre (a gap, a coating) do not hold still over a whole window: rows that fit
    # much worse than the fibre at large may bend three times as fast
    sigma = _row_sigma(rest)
    misfit = np.clip(sigma / max(float(np.median(sigma)), 1e-6) - 1.5, 0, 1)
    correction = np.zeros_like(rest)
    rows = np.flatnonzero(misfit)
    if not rows.size:
        return correction
    rest = rest[rows]
    bend = np.zeros_like(rest)
    for _ in range(3):
        weights = tukey_weights(rest - bend, _row_sigma(rest - bend)[:, None])
        bend = _running_mean(weights * rest, half) / (_running_mean(weights, half) + 0.1)
    correction[rows] = misfit[rows, None] * bend
    return correction


def _crescents(rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the part of a chart without its rings that is long along a ring and thin across.

    A reflection on a third of a rim stands far above the median of its ring, but is no defect; a film or
    droplet may be as long, but is as wide too.
    """
    n_radii, n_angles = rest.shape
    some = np.sort(rest[:, :: max(1, n_angles // 256)].reshape(n_radii, _N_ARCS, -1), axis=2)
    arcs = some[:, :, some.shape[2] // 2]
    near = [np.roll(arcs, shift, axis=1) for shift in range(-(_N_NEAR // 2), _N_NEAR // 2 + 1)]
    arcs = np.sort(near, axis=0)[_N_NEAR // 2]
    across = np.ones((max(3, int(_THIN * n_radii)), 1), np.uint8)
    brighter, darker = (cv2.morphologyEx(np.maximum(s * arcs, 0), cv2.MORPH_OPEN, across) for s in (1, -1))
    thin = arcs - brighter + darker
    padded = np.concatenate([thin[:, -1:], thin, thin[:, :1]], axis=1)
    size = n_angles // _N_ARCS
    large = cv2.resize(padded, (n_angles + 2 * size, n_radii), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[:, size : size + n_angles])


def _row_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # every fourth column is enough; sorting a few hundred values beats selecting
    some = np.sort(values[:, :: max(1, values.shape[1] // 256)], axis=1)
    return np.asarray(some[:, some.shape[1] // 2])


def _row_sigma(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    some = np.abs(residual[:, :: max(1, residual.shape[1] // 256)])
    some.sort(axis=1)
    return np.asarray(1.4826 * some[:, some.shape[1] // 2], np.float32)


def _running_mean(values: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    padded = cv2.copyMakeBorder(values, 0, 0, half, half, cv2.BORDER_WRAP)
    # two box passes: a triangular window has no ringing at the ends of a crescent
    once = cv2.blur(padded, (half | 1, 1), borderType=cv2.BORDER_REPLICATE)
    twice = cv2.blur(once, (half | 1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(twice[:, half:-half])
