"""What crosses what: scratches one another, and defects the borders of zones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.profiles._counting import error_below
from endface.severity import numbers

Floats = NDArray[np.float64]


def zone_chances(
    table: pl.DataFrame,
    diameters_um: Mapping[str, tuple[float, float]],
    measured: Mapping[str, Floats],
    *,
    sd_um: float,
) -> dict[str, Floats]:
    """Return how likely each defect's innermost zone is each of those that are judged.

    Parameters
    ----------
    table : polars.DataFrame
        `inner_distance_um`: how near to the centre a defect reaches. Where it is missing or null,
        the zone is taken as measured.
    diameters_um : mapping of str to (float, float)
        Inner (included) and outer (excluded) diameter of the zones.
    measured : mapping of str to (N,) float64 ndarray
        1 where a defect belongs to a zone as measured, else 0.
    sd_um : float
        Standard uncertainty of the distance; where it is NaN or 0, zones are as measured.

    Examples
    --------
    >>> table = pl.DataFrame({"inner_distance_um": [57.4, 57.6, 70.0]})
    >>> seen = {"B": np.array([1.0, 0.0, 0.0]), "C": np.array([0.0, 1.0, 0.0])}
    >>> near = zone_chances(table, {"B": (25, 115), "C": (115, 135)}, seen, sd_um=0.3)
    >>> near["B"].round(2).tolist(), near["C"].round(2).tolist()
    ([0.61, 0.39, 0.0], [0.38, 0.61, 0.01])
    """
    distance = numbers(table, "inner_distance_um")
    if not sd_um > 0:
        return dict(measured)
    found = {}
    for zone, taken in measured.items():
        inner, outer = diameters_um[zone]
        within = error_below((outer / 2.0 - distance) / sd_um)
        if inner > 0:
            within -= error_below((inner / 2.0 - distance) / sd_um)
        found[zone] = np.where(np.isnan(distance), taken, within)
    return found


def crossing_scratches(table: pl.DataFrame, *, um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which rows are scratches that cross another one.

    Each scratch is taken as the straight segment through its centroid with its length and orientation, so
    curved ones are judged roughly; scratches that the detector merged into one defect are not told apart.

    Parameters
    ----------
    table : polars.DataFrame
        `type`, `centroid_x_px`, `centroid_y_px`, `length_um`, `orientation_deg` (0 = along x,
        counter-clockwise).
    um_per_px : (float, float)
        Pixel pitch along x and y.

    Returns
    -------
    (N,) bool ndarray
        All False where a column is missing.
    """
    result = np.zeros(table.height, np.bool_)
    columns = ("centroid_x_px", "centroid_y_px", "length_um", "orientation_deg")
    if table.is_empty() or not set(columns) <= set(table.columns):
        return result
    rows = np.flatnonzero((table["type"] == "scratch").fill_null(value=False).to_numpy())
    x, y, length, degrees = (numbers(table, name)[rows] for name in columns)
    centre = x * um_per_px[0] - 1j * y * um_per_px[1]
    half = length / 2.0 * np.exp(1j * np.deg2rad(degrees))
    # segment j seen from i: its ends lie on two sides of the line through i
    start, end = (centre - half)[None, :] - centre[:, None], (centre + half)[None, :] - centre[:, None]
    along = np.conj(half)[:, None]
    apart = (along * start).imag * (along * end).imag < 0
    np.fill_diagonal(apart, val=False)
    result[rows] = (apart & apart.T).any(axis=1)
    return result
