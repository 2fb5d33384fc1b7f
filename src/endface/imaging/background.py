"""What a clean surface would look like: smooth illumination, and the fibre's own concentric structure.

Both are weighted local averages whose weights drop to zero where the image departs from the model, so
that defects do not leak into it. Knows nothing of defects or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse
from endface.imaging.noise import robust_sigma

# Tukey's biweight rejects residuals beyond this many standard deviations (95 % efficiency on normal data)
_TUKEY_C = 4.685


def _tukey_weights(residual: NDArray[np.float32], sigma: NDArray[np.float32] | float) -> NDArray[np.float32]:
    u = residual / (_TUKEY_C * np.maximum(sigma, 1e-6))
    weights = 1.0 - u * u
    np.maximum(weights, 0.0, out=weights)
    return np.asarray(weights * weights, np.float32)


def smooth_background(
    image: NDArray[np.float32], mask: NDArray[np.bool_], *, scale_px: float, iterations: int = 3
) -> NDArray[np.float32]:
    """Estimate the slowly varying illumination inside `mask`, ignoring what stands out from it.

    Parameters
    ----------
    image : (H, W) float32 ndarray
        Gray values.
    mask : (H, W) bool ndarray
        Pixels that show the surface whose background is wanted.
    scale_px : float
        Standard deviation of the averaging window. Structure smaller than this is not background.
    iterations : int
        Re-weighting rounds.

    Returns
    -------
    (H, W) float32 ndarray
        Background; outside `mask` it is an extrapolation.

    Examples
    --------
    >>> image = np.full((64, 64), 100, np.float32)
    >>> image[30:33, 30:33] = 0
    >>> background = smooth_background(image, np.ones((64, 64), bool), scale_px=8)
    >>> bool(np.abs(background - 100).max() < 0.5)
    True
    """
    # the background is smooth: averaging on a coarse grid loses nothing and costs little
    step = max(1, int(scale_px / 4))
    height, width = image.shape
    small_size = (max(1, width // step), max(1, height // step))
    base = mask.astype(np.float32)
    weights = base
    background = np.zeros_like(image)
    for _ in range(iterations):
        small_weights = _shrink(weights, small_size)
        small_sum = _shrink(weights * image, small_size)
        sigma = (scale_px * small_size[0] / width, scale_px * small_size[1] / height)
        numerator = _gaussian(small_sum, sigma)
        denominator = _gaussian(small_weights, sigma)
        floor = 1e-4 * float(denominator.max()) + 1e-12
        mean = numerator.sum() / max(float(denominator.sum()), 1e-12)
        # where nothing is known nearby the overall mean stands in
        coarse = (numerator + floor * mean) / (denominator + floor)
        # averaging the rest once more takes out the bias where the background bends, most of all at borders
        rest = small_sum - small_weights * coarse
        coarse += _gaussian(rest, sigma) / (denominator + floor)
        background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        residual = image - background
        weights = base * _tukey_weights(residual, robust_sigma(residual[mask]))
    return background


def _shrink(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _gaussian(values: NDArray[np.float32], sigma: tuple[float, float]) -> NDArray[np.float32]:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1], borderType=cv2.BORDER_REFLECT)
    )


@dataclass(frozen=True)
class PolarGrid:
    """A polar chart of a fibre whose core and cladding need not be concentric.

    Row i of a chart is the ellipse at radius i * step (fractions of the cladding radius), interpolated
    between core and cladding; columns are equally spaced angles.

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

    def unroll(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sample an (H, W) image on the chart, (R, A)."""
        return np.asarray(
            cv2.remap(image, self.sample_x, self.sample_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )

    def roll(self, chart: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring an (R, A) chart back to the pixels of `box`, (h, w)."""
        wrapped = np.concatenate([chart[:, -2:], chart, chart[:, :2]], axis=1)
        return np.asarray(
            cv2.remap(wrapped, self.theta + 2, self.rho, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )


def polar_grid(
    cladding: Ellipse, core: Ellipse | None, shape: tuple[int, int], *, reach: float = 1.3
) -> PolarGrid:
    """Lay a polar chart over a fibre, from its centre to `reach` cladding radii.

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
    n_radii = max(8, round(max(cladding.rx_px, cladding.ry_px) * reach) + 1)
    n_angles = int(2 ** np.ceil(np.log2(2 * np.pi * max(cladding.rx_px, cladding.ry_px))))
    fractions = np.linspace(0.0, reach, n_radii)
    knots = np.array([0.0, min(inner.radius_px / cladding.radius_px, 0.95), 1.0, reach])

    def along(core_value: float, rim_value: float) -> NDArray[np.float64]:
        return np.asarray(np.interp(fractions, knots, [core_value, core_value, rim_value, rim_value]))

    share = knots[1]
    rx = np.interp(fractions, knots, [0.0, inner.rx_px, cladding.rx_px, reach * cladding.rx_px])
    ry = np.interp(fractions, knots, [0.0, inner.ry_px, cladding.ry_px, reach * cladding.ry_px])
    cx, cy = along(inner.cx_px, cladding.cx_px), along(inner.cy_px, cladding.cy_px)
    angles = np.arange(n_angles) * (2 * np.pi / n_angles)
    sample_x = (cx[:, None] + rx[:, None] * np.cos(angles)).astype(np.float32)
    sample_y = (cy[:, None] + ry[:, None] * np.sin(angles)).astype(np.float32)

    top = max(0, int(cladding.cy_px - reach * cladding.ry_px))
    left = max(0, int(cladding.cx_px - reach * cladding.rx_px))
    bottom = min(shape[0], int(cladding.cy_px + reach * cladding.ry_px) + 2)
    right = min(shape[1], int(cladding.cx_px + reach * cladding.rx_px) + 2)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float64)
    rho = np.hypot((x - cladding.cx_px) / cladding.rx_px, (y - cladding.cy_px) / cladding.ry_px)
    dx, dy = x - cladding.cx_px, y - cladding.cy_px
    for _ in range(3):  # the family's centre moves slowly with radius, so this fixed point converges at once
        rows = rho * ((n_radii - 1) / reach)
        dx, dy = x - np.interp(rows, np.arange(n_radii), cx), y - np.interp(rows, np.arange(n_radii), cy)
        scale_x = np.interp(rows, np.arange(n_radii), rx / np.maximum(fractions, 1e-9))
        scale_y = np.interp(rows, np.arange(n_radii), ry / np.maximum(fractions, 1e-9))
        scale_x[rows < 1], scale_y[rows < 1] = inner.rx_px / share, inner.ry_px / share
        rho = np.hypot(dx / scale_x, dy / scale_y)
    theta = np.mod(np.arctan2(dy / scale_y, dx / scale_x), 2 * np.pi) * (n_angles / (2 * np.pi))
    return PolarGrid(
        sample_x,
        sample_y,
        (rho * ((n_radii - 1) / reach)).astype(np.float32),
        theta.astype(np.float32),
        (slice(top, bottom), slice(left, right)),
        core_row=share * (n_radii - 1) / reach,
        rim_row=(n_radii - 1) / reach,
    )


def concentric_background(
    chart: NDArray[np.float32], *, window_deg: float = 60.0, iterations: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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
    model : (R, A) float32 ndarray
    sigma : (R,) float32 ndarray
        Robust spread of each row about the model.
    """
    n_radii, n_angles = chart.shape
    row_median = np.median(chart, axis=1, keepdims=True).astype(np.float32)
    half = max(1, int(n_angles * window_deg / 720))
    model = np.repeat(row_median, n_angles, axis=1)
    sigma = _row_sigma(chart - model)
    for _ in range(iterations):
        weights = _tukey_weights(chart - model, sigma[:, None])
        # the row's own median is a weak prior: it holds where a whole window was rejected
        numerator = _running_mean(weights * chart, half) + 0.02 * row_median
        model = numerator / (_running_mean(weights, half) + 0.02)
        sigma = _row_sigma(chart - model)
    model = model + _rim_wander(chart, model, sigma)
    model = model + _short_rings(chart, model, half // 3)
    sigma = _row_sigma(chart - model)
    # near the centre a window is narrower than a defect: go over to the whole ring
    ring_px = np.arange(n_radii, dtype=np.float32) * (2 * np.pi * window_deg / 360)
    whole = np.clip((24.0 - ring_px) / 12.0, 0.0, 1.0)[:, None]
    blended = (1 - whole) * model + whole * row_median
    inner = int(min(n_radii - 1, 6))
    # the innermost rings have too few pixels for a median of their own
    blended[:inner] = np.median(chart[: inner + 4])
    return blended.astype(np.float32), sigma


def _rim_wander(
    chart: NDArray[np.float32], model: NDArray[np.float32], sigma: NDArray[np.float32]
) -> NDArray[np.float32]:
    # a rim is never a perfect ellipse: let edges shift radially, to first order (shift x gradient), by an
    # amount that is smooth over about 12 degrees and a few rows; a chip is shorter and stays
    gradient = np.gradient(model, axis=0).astype(np.float32)
    half = max(1, model.shape[1] // 60)
    correction = np.zeros_like(model)
    for _ in range(3):
        rest = chart - model - correction
        weights = _tukey_weights(rest, np.maximum(_row_sigma(rest), 1.5 * np.median(sigma))[:, None])
        top = cv2.GaussianBlur(_running_mean(weights * gradient * rest, half), (1, 15), sigmaX=0, sigmaY=3)
        bottom = cv2.GaussianBlur(_running_mean(weights * gradient**2, half), (1, 15), sigmaX=0, sigmaY=3)
        correction = correction + gradient * (top / (bottom + float(np.median(sigma)) ** 2 + 1e-6))
    return np.asarray(correction, np.float32)


def _short_rings(chart: NDArray[np.float32], model: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    # rings about another centre (a gap, a coating) do not hold still over a whole window: rows that fit
    # much worse than the fibre at large may bend three times as fast
    rest = chart - model
    sigma = _row_sigma(rest)
    base = np.median(sigma)
    misfit = np.clip(sigma / max(float(base), 1e-6) - 1.5, 0, 1)[:, None]
    if not misfit.any():
        return np.zeros_like(model)
    correction = np.zeros_like(model)
    for _ in range(3):
        weights = _tukey_weights(rest - correction, _row_sigma(rest - correction)[:, None])
        correction = _running_mean(weights * rest, half) / (_running_mean(weights, half) + 0.1)
    return np.asarray(misfit * correction, np.float32)


def _row_sigma(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1.4826 * np.median(np.abs(residual), axis=1), np.float32)


def _running_mean(values: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    padded = cv2.copyMakeBorder(values, 0, 0, 2 * half, 2 * half, cv2.BORDER_WRAP)
    # two box passes: a triangular window has no ringing at the ends of a crescent
    once = cv2.blur(padded, (half | 1, 1), borderType=cv2.BORDER_REPLICATE)
    twice = cv2.blur(once, (half | 1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(twice[:, 2 * half : -2 * half])
