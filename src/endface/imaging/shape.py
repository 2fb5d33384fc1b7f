"""Shape of one connected patch of pixels: moments, perimeter, holes, hull, enclosing circle.

Everything is measured in the units of `spacing` (row pitch, column pitch), so that pixels that are not square
give the same figures as square ones. Angles are counter-clockwise as seen on the screen, although rows grow
downwards. The cost of each function grows with the pixels of the patch, not with its box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Coordinates = NDArray[np.int64]
Pixels = tuple[Coordinates, Coordinates]
_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], np.float32)


@dataclass(frozen=True, slots=True)
class Shape:
    """Figures of one patch; lengths in the units of `spacing`, positions in pixels of the mask's box.

    Attributes
    ----------
    area_px : int
    area : float
    row_px, col_px : float
        Centroid.
    orientation_deg : float
        Major axis, 0 along x, counter-clockwise, in [0, 180).
    major, minor : float
        Extent of the pixels along and across the major axis.
    aspect_ratio : float
        Major to minor axis of the ellipse of equal second moments, at least 1.
    eccentricity : float
        Of the same ellipse, 0 circle to 1 line.
    perimeter : float
        By Crofton's formula in four directions.
    circularity : float
        4 pi area / perimeter^2, clipped to 1.
    solidity, extent : float
        Area over that of the convex hull, and over that of the smallest rotated rectangle.
    diameter : float
        Smallest circle around all pixels.
    euler_number : int
        Parts minus holes (8-connected parts).
    hu : tuple of float
        Seven Hu moments as sign(h) log10(1 + |h| 1e6): raw ones span ten decades.
    """

    area_px: int
    area: float
    row_px: float
    col_px: float
    orientation_deg: float
    major: float
    minor: float
    aspect_ratio: float
    eccentricity: float
    perimeter: float
    circularity: float
    solidity: float
    extent: float
    diameter: float
    euler_number: int
    hu: tuple[float, ...]


def measure_shape(
    mask: NDArray[np.bool_], *, spacing: tuple[float, float] = (1.0, 1.0), pixels: Pixels | None = None
) -> Shape:
    """Measure the shape of the set pixels of a mask.

    Parameters
    ----------
    mask : (h, w) bool ndarray
        At least one pixel set.
    spacing : (float, float)
        Pitch of rows and columns, e.g. um per px.
    pixels : (rows, cols), optional
        What `set_pixels(mask)` gives, where it is at hand: in the box of a long scratch it costs most of
        the time.

    Returns
    -------
    Shape

    Raises
    ------
    ValueError
        If no pixel is set.

    Examples
    --------
    >>> line = np.zeros((5, 20), bool)
    >>> line[2, 1:19] = True
    >>> shape = measure_shape(line, spacing=(0.5, 0.5))
    >>> shape.area, shape.major, shape.minor, shape.orientation_deg
    (4.5, 9.0, 0.5, 0.0)

    References
    ----------
    M.-K. Hu, "Visual pattern recognition by moment invariants", 1962, doi:10.1109/TIT.1962.1057692.
    S. B. Gray, "Local properties of binary images in two dimensions", 1971, doi:10.1109/T-C.1971.223289.
    """
    rows, cols = set_pixels(mask) if pixels is None else pixels
    if rows.size == 0:
        raise ValueError("measure_shape: expected a mask with at least one pixel, found none")
    sy, sx = spacing
    moments = _central_moments(rows, cols, sy, sx)
    crossings, edge_rows, edge_cols = _walk_boundary(pad(mask), rows, cols)
    perimeter = _crofton(crossings, sy, sx)
    major_axis, minor_axis, angle_rad = _principal_axes(moments)
    hull_area, rectangle_area, diameter = _hull_figures(edge_rows, edge_cols, sy, sx)
    extents = _extents(edge_rows, edge_cols, sy, sx, angle_rad)
    area = rows.size * sy * sx
    return Shape(
        area_px=int(rows.size),
        area=area,
        row_px=float(moments[0]),
        col_px=float(moments[1]),
        orientation_deg=math.degrees(angle_rad) % 180.0,
        major=max(extents),
        minor=min(extents),
        aspect_ratio=math.sqrt(major_axis / minor_axis),
        eccentricity=math.sqrt(max(0.0, 1.0 - minor_axis / major_axis)),
        perimeter=perimeter,
        circularity=min(1.0, 4.0 * math.pi * area / perimeter**2),
        solidity=min(1.0, area / hull_area),
        extent=min(1.0, area / rectangle_area),
        diameter=diameter,
        euler_number=int(crossings[4]),
        hu=tuple(_hu_moments(moments, area).tolist()),
    )


def set_pixels(mask: NDArray[np.bool_]) -> Pixels:
    """Return rows and columns of the set pixels."""
    rows, cols = np.nonzero(mask)
    return rows.astype(np.int64, copy=False), cols.astype(np.int64, copy=False)


def pad(mask: NDArray[np.bool_], width: int = 1) -> NDArray[np.uint8]:
    """Return the mask as uint8 with a margin of `width` zeros on every side."""
    out = np.zeros((mask.shape[0] + 2 * width, mask.shape[1] + 2 * width), np.uint8)
    out[width : out.shape[0] - width, width : out.shape[1] - width] = mask
    return out


def edge_pixels(mask: NDArray[np.bool_], *, pixels: Pixels | None = None) -> Pixels:
    """Return rows and columns of the set pixels with an unset 4-neighbour; beyond the box is unset."""
    rows, cols = set_pixels(mask) if pixels is None else pixels
    _, edge_rows, edge_cols = _walk_boundary(pad(mask), rows, cols)
    return edge_rows, edge_cols


@njit(cache=True)
def _central_moments(rows, cols, sy, sx):  # type: ignore[no-untyped-def]
    """Return row and column centroid (px), then mu20, mu11, mu02, mu30, mu21, mu12, mu03 (x right, y up)."""
    n = rows.size
    mean_row = 0.0
    mean_col = 0.0
    for k in range(n):
        mean_row += rows[k]
        mean_col += cols[k]
    mean_row /= n
    mean_col /= n
    out = np.zeros(9)
    out[0] = mean_row
    out[1] = mean_col
    for k in range(n):
        x = (cols[k] - mean_col) * sx
        y = (mean_row - rows[k]) * sy
        out[2] += x * x
        out[3] += x * y
        out[4] += y * y
        out[5] += x * x * x
        out[6] += x * x * y
        out[7] += x * y * y
        out[8] += y * y * y
    # a pixel is a small square, not a point: without this a single pixel or row has no width at all
    out[2] += n * sx * sx / 12.0
    out[4] += n * sy * sy / 12.0
    out[2:] *= sx * sy
    return out


@njit(cache=True)
def _walk_boundary(padded, rows, cols):  # type: ignore[no-untyped-def]
    """Return crossings along x, y and both diagonals and the Euler number, then the edge pixels."""
    crossings = np.zeros(5, np.int64)
    edge_rows = np.empty(rows.size, np.int64)
    edge_cols = np.empty(rows.size, np.int64)
    n_edge = 0
    quads = 0.0
    for k in range(rows.size):
        r = rows[k] + 1
        c = cols[k] + 1
        along_x = 2 - padded[r, c - 1] - padded[r, c + 1]
        along_y = 2 - padded[r - 1, c] - padded[r + 1, c]
        crossings[0] += along_x
        crossings[1] += along_y
        crossings[2] += 2 - padded[r - 1, c - 1] - padded[r + 1, c + 1]
        crossings[3] += 2 - padded[r - 1, c + 1] - padded[r + 1, c - 1]
        if along_x + along_y > 0:
            edge_rows[n_edge] = rows[k]
            edge_cols[n_edge] = cols[k]
            n_edge += 1
        for dr in range(-1, 1):
            for dc in range(-1, 1):
                a = padded[r + dr, c + dc]
                b = padded[r + dr, c + dc + 1]
                d = padded[r + dr + 1, c + dc]
                e = padded[r + dr + 1, c + dc + 1]
                total = a + b + d + e
                # Gray's quads; each is met once per set pixel, hence the division
                if total == 1:
                    quads += 1.0
                elif total == 3:
                    quads -= 1.0 / 3.0
                elif total == 2 and a == e:
                    quads -= 1.0
    crossings[4] = round(quads / 4.0)
    return crossings, edge_rows[:n_edge].copy(), edge_cols[:n_edge].copy()


def _crofton(crossings: NDArray[np.int64], sy: float, sx: float) -> float:
    """Return the perimeter from crossings: (pi / 2) sum of angular weight x crossings x line distance."""
    angle = math.atan2(sy, sx)
    diagonal = sy * sx / math.hypot(sy, sx)
    total = (
        angle / math.pi * float(crossings[0]) * sy
        + (0.5 - angle / math.pi) * float(crossings[1]) * sx
        + 0.25 * float(crossings[2] + crossings[3]) * diagonal
    )
    return 0.5 * math.pi * total


def _principal_axes(moments: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return larger and smaller eigenvalue of the second moments and the angle of the larger one."""
    mu20, mu11, mu02 = (float(m) for m in moments[2:5])
    half_sum, half_difference = (mu20 + mu02) / 2, (mu20 - mu02) / 2
    root = math.hypot(half_difference, mu11)
    smaller = max(half_sum - root, 1e-12 * half_sum)
    return half_sum + root, smaller, 0.5 * math.atan2(mu11, half_difference)


def _hull_figures(
    edge_rows: Coordinates, edge_cols: Coordinates, sy: float, sx: float
) -> tuple[float, float, float]:
    """Return area of the hull of all pixel corners, area of its smallest rectangle, enclosing diameter."""
    centres = np.empty((edge_rows.size, 2), np.float32)
    centres[:, 0], centres[:, 1] = edge_cols, edge_rows
    hull = cv2.convexHull(centres)[:, 0, :]
    corners = (hull[:, None, :] + _CORNERS[None]).reshape(-1, 2)
    corners *= np.array([sx, sy], np.float32)
    outline = cv2.convexHull(corners)
    size = cv2.minAreaRect(outline)[1]
    pitch = math.sqrt(sx * sy)
    # in units of the pitch, because OpenCV adds a fixed margin of 1e-4 to the radius
    square = hull * np.array([sx / pitch, sy / pitch], np.float32)
    between_centres = 2.0 * cv2.minEnclosingCircle(square)[1]
    diameter = (between_centres + _diameter_margin(between_centres)) * pitch
    return cv2.contourArea(outline), size[0] * size[1], diameter


def _diameter_margin(between_centres_px: float) -> float:
    """Return what to add to the circle around pixel centres so that discs of 2 to 30 px come out unbiased.

    The outermost centres of a digitised disc lie inside its outline, the less so the more of them there are;
    pixel corners would lie outside. Fitted to discs at random sub-pixel positions: residual bias below 0.06
    px.
    """
    return 1.7 / (between_centres_px + 1.4)


def _extents(
    edge_rows: Coordinates, edge_cols: Coordinates, sy: float, sx: float, angle_rad: float
) -> tuple[float, float]:
    """Return the extent of the pixels along the major axis and across it."""
    x, y = edge_cols * sx, -edge_rows * sy
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    along, across = x * cosine + y * sine, y * cosine - x * sine
    # a pixel's own size in that direction, as seen by the equal-area disc's softer edge
    own_along = math.hypot(sx * cosine, sy * sine)
    own_across = math.hypot(sx * sine, sy * cosine)
    return float(np.ptp(along)) + own_along, float(np.ptp(across)) + own_across


@njit(cache=True)
def _hu_moments(moments, area):  # type: ignore[no-untyped-def]
    """Return Hu's seven invariants from central moments (mu20, mu11, mu02, mu30, mu21, mu12, mu03)."""
    n20, n11, n02 = moments[2] / area**2, moments[3] / area**2, moments[4] / area**2
    third = area**2.5
    n30, n21, n12, n03 = moments[5] / third, moments[6] / third, moments[7] / third, moments[8] / third
    p, q = n30 + n12, n21 + n03
    r, s = n30 - 3 * n12, 3 * n21 - n03
    hu = np.empty(7)
    hu[0] = n20 + n02
    hu[1] = (n20 - n02) ** 2 + 4 * n11 * n11
    hu[2] = r * r + s * s
    hu[3] = p * p + q * q
    hu[4] = r * p * (p * p - 3 * q * q) + s * q * (3 * p * p - q * q)
    hu[5] = (n20 - n02) * (p * p - q * q) + 4 * n11 * p * q
    hu[6] = s * p * (p * p - 3 * q * q) - r * q * (3 * p * p - q * q)
    return np.sign(hu) * np.log10(1.0 + 1e6 * np.abs(hu))
