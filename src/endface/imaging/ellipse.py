"""Axis-aligned ellipses in pixels: the shape of a round fibre seen through pixels that may not be square.

Holds the shape itself and its robust fits to edge points: RANSAC to start with, then Tukey-weighted least
squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An axis-aligned ellipse, centre and semi-axes in pixels.

    Examples
    --------
    >>> rim = Ellipse(cx_px=10.0, cy_px=20.0, rx_px=4.0, ry_px=5.0)
    >>> float(rim.normalized_radius(14.0, 20.0))
    1.0
    """

    cx_px: float
    cy_px: float
    rx_px: float
    ry_px: float

    @property
    def radius_px(self) -> float:
        """Geometric mean of the semi-axes."""
        return math.sqrt(self.rx_px * self.ry_px)

    @property
    def area_px(self) -> float:
        """Area in square pixels."""
        return math.pi * self.rx_px * self.ry_px

    def normalized_radius(self, x_px: ArrayLike, y_px: ArrayLike) -> NDArray[np.float64]:
        """Return the distance from the centre in units of the ellipse: 0 at the centre, 1 on the rim."""
        x, y = np.asarray(x_px, np.float64), np.asarray(y_px, np.float64)
        return np.asarray(np.hypot((x - self.cx_px) / self.rx_px, (y - self.cy_px) / self.ry_px))

    def radius_map(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return `normalized_radius` of every pixel of an image of `shape` (H, W)."""
        y = ((np.arange(shape[0]) - self.cy_px) / self.ry_px).astype(np.float32)
        x = ((np.arange(shape[1]) - self.cx_px) / self.rx_px).astype(np.float32)
        return np.asarray(np.sqrt(y[:, None] ** 2 + x[None, :] ** 2))

    def points(self, angles_rad: ArrayLike) -> NDArray[np.float64]:
        """Return rim points (N, 2) as x, y at parametric angles (0 = +x, growing towards +y)."""
        angles = np.asarray(angles_rad, np.float64)
        return np.stack(
            [self.cx_px + self.rx_px * np.cos(angles), self.cy_px + self.ry_px * np.sin(angles)], axis=-1
        )

    def scaled(self, factor: float) -> Ellipse:
        """Return the concentric ellipse `factor` times as large."""
        return Ellipse(self.cx_px, self.cy_px, self.rx_px * factor, self.ry_px * factor)


# Free fits stay within the pixel aspects of analogue and digital video (10:11 to 12:11) with some to spare:
# more freedom would only serve things that are not round.
MAX_ASPECT = 1.18
_TUKEY = 4.685


def fit_ellipse_ransac(
    points_px: NDArray[np.float64],
    *,
    tolerance_px: float,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
    aspect: float | None = None,
    n_trials: int = 120,
) -> Ellipse | None:
    """Fit an axis-aligned ellipse to points of which many are wrong.

    Each trial puts an ellipse through four points (three where the aspect is fixed), one from every sector of
    directions, and counts the points within the tolerance.

    Parameters
    ----------
    points_px : (N, 2) float64 ndarray
        Edge points as x, y, spread round the ellipse.
    tolerance_px : float
        Largest distance of a point that supports an ellipse.
    weights : (N,) float64 ndarray, optional
        How much each point counts, 0 to 1, such as the strength of its edge; trials begin with points of 0.5
        or more.
    aspect : float, optional
        Known ry / rx.

    Returns
    -------
    Ellipse or None
        The better of the two best trials, each refined by a few steps of least squares on its own points;
        None where no trial gave an ellipse.

    References
    ----------
    Fischler and Bolles, Communications of the ACM 24 (1981), doi:10.1145/358669.358692; the refinement of the
    best trials after Chum, Matas and Kittler, DAGM 2003, doi:10.1007/978-3-540-45243-0_31.
    """
    n_picked = 4 if aspect is None else 3
    if len(points_px) < 2 * n_picked:
        return None
    middle = points_px.mean(axis=0)
    size = float(np.abs(points_px - middle).max()) or 1.0
    unit = (points_px - middle) / size
    share = np.ones(len(unit)) if weights is None else weights
    promising = unit[share >= min(0.5, float(np.median(share)))]
    trials = _solve_trials(promising[_pick_round_the_centre(promising, n_picked, n_trials, rng)], aspect)
    if len(trials) == 0:
        return None
    cost = _trial_cost(unit, trials, share, tolerance_px / size)
    best, least = None, math.inf
    for k in np.argsort(cost, kind="stable")[:2]:
        ellipse = Ellipse(*(float(value) for value in trials[k]))
        radius = ellipse.normalized_radius(unit[:, 0], unit[:, 1])
        near = np.abs(radius - 1) * ellipse.radius_px < 2 * tolerance_px / size
        ellipse = refine_ellipse(
            unit[near], ellipse, aspect=aspect, min_scale_px=0.3 * tolerance_px / size, n_iterations=3
        )
        row = np.array([[ellipse.cx_px, ellipse.cy_px, ellipse.rx_px, ellipse.ry_px]])
        refined = float(_trial_cost(unit, row, share, tolerance_px / size)[0])
        if refined < least:
            best, least = ellipse, refined
    if best is None:
        return None
    cx, cy = best.cx_px * size + float(middle[0]), best.cy_px * size + float(middle[1])
    return Ellipse(cx, cy, best.rx_px * size, best.ry_px * size)


def _trial_cost(
    unit: NDArray[np.float64], trials: NDArray[np.float64], weights: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """Sum the truncated squares of the distances (MSAC): two ellipses with as many inliers are told apart."""
    cx, cy, rx, ry = (column[:, None] for column in trials.T)
    radius = np.sqrt(((unit[:, 0] - cx) / rx) ** 2 + ((unit[:, 1] - cy) / ry) ** 2)
    distance = np.abs(radius - 1) * np.sqrt(np.abs(rx * ry))
    return np.asarray(np.minimum(distance / tolerance, 1.0) ** 2 @ weights)


def _pick_round_the_centre(
    unit: NDArray[np.float64], n_picked: int, n_trials: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Pick (n_trials, n_picked) numbers of points, spread evenly over the directions in each trial."""
    order = np.argsort(np.arctan2(unit[:, 1], unit[:, 0]), kind="stable")
    share = len(order) / n_picked
    turn = rng.uniform(0, share, (n_trials, 1))
    place = turn + share * np.arange(n_picked) + rng.uniform(0, 0.8 * share, (n_trials, n_picked))
    return np.asarray(order[place.astype(np.intp) % len(order)])


def _solve_trials(picked: NDArray[np.float64], aspect: float | None) -> NDArray[np.float64]:
    """Put an ellipse through each set of points; rows cx, cy, rx, ry of those that are ellipses."""
    x, y = picked[..., 0], picked[..., 1]
    ones = np.ones_like(x)
    if aspect is None:  # x2 + b y2 + c x + d y + e = 0
        system, right = np.stack([y**2, x, y, ones], axis=-1), -(x**2)
    else:
        system, right = np.stack([x, y, ones], axis=-1), -(x**2 + y**2 / aspect**2)
    sound = np.abs(np.linalg.det(system)) > 1e-9
    solved = np.linalg.solve(system[sound], right[sound][..., None])[..., 0]
    if aspect is None:
        ratio, c, d, e = solved.T
    else:
        (c, d, e), ratio = solved.T, np.full(len(solved), aspect**-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        cx, cy = -c / 2, -d / (2 * ratio)
        rx = np.sqrt(cx**2 + ratio * cy**2 - e)
        ry = rx / np.sqrt(ratio)
        good = np.isfinite(rx) & np.isfinite(ry) & (rx > 0)
        if aspect is None:
            good &= (ry / rx < MAX_ASPECT) & (rx / ry < MAX_ASPECT)
    return np.asarray(np.stack([cx, cy, rx, ry], axis=-1)[good])


def refine_ellipse(
    points_px: NDArray[np.float64],
    start: Ellipse,
    *,
    aspect: float | None = None,
    min_scale_px: float = 0.15,
    n_iterations: int = 12,
) -> Ellipse:
    """Fit an axis-aligned ellipse by Tukey-weighted geometric least squares, beginning near the solution.

    Parameters
    ----------
    points_px : (N, 2) float64 ndarray
        Edge points as x, y; some may be wrong by far.
    start : Ellipse
        Where to begin; a robust fit such as `fit_ellipse_ransac`.
    aspect : float, optional
        Known ry / rx; free where None.
    min_scale_px : float
        Least spread assumed, so that perfect points do not end in weights of a few points only.

    Returns
    -------
    Ellipse
        Minimises the weighted distances along the radius, which are the true distances to first order for
        aspect ratios near 1.

    Examples
    --------
    >>> rim = Ellipse(50.0, 40.0, 20.0, 22.0)
    >>> points = rim.points(np.linspace(0, 6, 90))
    >>> found = refine_ellipse(points, Ellipse(51.0, 39.5, 21.0, 21.0))
    >>> round(found.cx_px, 3), round(found.ry_px, 3)
    (50.0, 22.0)
    """
    ellipse = start
    if aspect is not None:
        radius = start.radius_px
        ellipse = Ellipse(start.cx_px, start.cy_px, radius / math.sqrt(aspect), radius * math.sqrt(aspect))
    if len(points_px) < 5:
        return ellipse
    x, y = np.ascontiguousarray(points_px.T)
    for _ in range(n_iterations):
        residual, jacobian = _residuals(x, y, ellipse, aspect)
        size = np.sort(np.abs(residual))
        scale = max(1.4826 * float(size[len(size) // 2]), min_scale_px)
        weight = np.maximum(1 - (residual / (_TUKEY * scale)) ** 2, 0)  # squared weight is Tukey's
        weighted = jacobian * weight
        normal = weighted @ weighted.T
        # solvable even where all points are one
        normal.flat[:: len(normal) + 1] = normal.diagonal() * (1 + 1e-9) + 1e-12
        right = -weighted @ (residual * weight)[:, None]
        step = np.asarray(cv2.solve(normal, right, flags=cv2.DECOMP_LU)[1], np.float64).ravel()
        ellipse = _moved(ellipse, step, aspect)
        if float(np.abs(step).max()) < 3e-5 * ellipse.radius_px:
            break
    return ellipse


def _residuals(
    x: NDArray[np.float64], y: NDArray[np.float64], ellipse: Ellipse, aspect: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return signed distances (N,) and their derivatives, rows by cx, cy and rx, ry (or the one radius)."""
    u = (x - ellipse.cx_px) / ellipse.rx_px
    v = (y - ellipse.cy_px) / ellipse.ry_px
    rho = np.maximum(np.sqrt(u * u + v * v), 1e-6)
    local = np.sqrt((ellipse.rx_px * u) ** 2 + (ellipse.ry_px * v) ** 2) / rho  # radius in this direction
    by_x, by_y = -local * u / (rho * ellipse.rx_px), -local * v / (rho * ellipse.ry_px)
    rows = [by_x, by_y]
    if aspect is None:
        rows += [by_x * u, by_y * v]
    else:
        rows.append(by_x * u / math.sqrt(aspect) + by_y * v * math.sqrt(aspect))
    return (rho - 1) * local, np.stack(rows)


def _moved(ellipse: Ellipse, step: NDArray[np.float64], aspect: float | None) -> Ellipse:
    """Take one step of the fit, at most a quarter of the radius."""
    limit = 0.25 * ellipse.radius_px
    step = np.minimum(np.maximum(step, -limit), limit)
    if aspect is None:
        d_rx, d_ry = float(step[2]), float(step[3])
    else:
        d_rx, d_ry = float(step[2]) / math.sqrt(aspect), float(step[2]) * math.sqrt(aspect)
    return Ellipse(
        ellipse.cx_px + float(step[0]),
        ellipse.cy_px + float(step[1]),
        ellipse.rx_px + d_rx,
        ellipse.ry_px + d_ry,
    )
