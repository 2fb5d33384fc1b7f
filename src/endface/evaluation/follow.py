"""Look at an image, look at it again as a copy or another picture of the same face, and follow every defect.

One image in, what the analysis says of it out; two of these and the matrix between them in, pairs out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from endface.analysis import detect, locate, measure
from endface.annotation import Decision, Defect, RuleOutcome, Verdict, Zones
from endface.config import Settings
from endface.evaluation.matching import pair_one_to_one
from endface.grading import CLASS_CHANCES
from endface.imaging.jitter import Frame
from endface.judging import score, verdict_of, with_classes
from endface.samples import FrameArray

_MATCH_SHARE = 0.3
_SIZES = ("diameter_um", "width_um", "max_width_um")
_CLASS = ("type", "type_confidence", *CLASS_CHANCES.values())
_ZONES = ("iec_zone", "iec_zone_centroid", "iec_zones")


@dataclass(frozen=True, eq=False)
class Look:
    """What the analysis says of one image.

    Attributes
    ----------
    table : polars.DataFrame
        One row per defect, as `annotate` gives.
    row : dict
        Columns of the image table that need no class.
    """

    zones: Zones
    defects: tuple[Defect, ...]
    table: pl.DataFrame
    row: dict[str, Any]
    verdict: Verdict

    @property
    def pitch_um(self) -> float | None:
        """Geometric mean of the pixel pitches, None where unknown."""
        pitch = self.zones.calibration
        return math.sqrt(math.prod(pitch.spacing_um)) if pitch.known else None

    @property
    def fail_chance(self) -> float | None:
        """How likely a limit is exceeded."""
        return self.verdict.fail_chance

    @property
    def largest_um(self) -> float | None:
        """Diameter of the largest defect; 0 where there is none, None where the pitch is unknown."""
        if self.pitch_um is None:
            return None
        return float(str(self.table["diameter_um"].max())) if self.table.height else 0.0


def look_at(image: FrameArray, white: float, settings: Settings) -> Look:
    """Analyse, classify and judge one image alone."""
    zones = locate(image, settings)
    defects = detect(image, zones, settings)
    measures = measure(image, zones, defects, settings, white_level=white)
    table = score(with_classes(measures.defects), settings)
    return Look(zones, defects, table, measures.row, verdict_of(table, measures.row, settings))


def frame_of(look: Look, white: float) -> Frame:
    """Return what a jitter must know of an image that was looked at."""
    rows, cols = (np.flatnonzero(look.zones.valid.any(axis=axis)) for axis in (1, 0))
    box = (slice(0, look.zones.shape[0]), slice(0, look.zones.shape[1]))
    if rows.size:
        box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1))
    rim = look.zones.cladding
    if rim is None:
        height, width = look.zones.shape
        return Frame(box, ((width - 1) / 2, (height - 1) / 2), 1.0, white)
    return Frame(box, (rim.cx_px, rim.cy_px), rim.ry_px / rim.rx_px, white)


def turned_settings(settings: Settings, *, quarters: int) -> Settings:
    """Return the settings for an image turned by quarters: given pitches along x and y change places."""
    given = settings.calibration
    if quarters % 2 == 0 or given.um_per_px is None or given.um_per_px_y is None:
        return settings
    swapped = given.model_copy(update={"um_per_px": given.um_per_px_y, "um_per_px_y": given.um_per_px})
    return settings.model_copy(update={"calibration": swapped})


# ── following defects ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False, slots=True)
class Followed:
    """Which defects of a first look a second one shows again.

    Attributes
    ----------
    partner : (F,) int ndarray
        Index of the defect in the second look, -1 none.
    lost : (F,) bool ndarray
        In view of the second look and without a partner.
    new : (S,) bool ndarray
        Defects of the second look in view of the first and without a partner.
    """

    partner: NDArray[np.intp]
    lost: NDArray[np.bool_]
    new: NDArray[np.bool_]


def follow(first: Look, second: Look, matrix: NDArray[np.float64], *, reach_px: float = 2.0) -> Followed:
    """Pair the defects of two looks at the same face one to one.

    Parameters
    ----------
    matrix : (2, 3) float64 ndarray
        Takes x, y of the first image to x, y of the second.
    reach_px : float
        Pixels of the second image within which two count as the same place.

    Notes
    -----
    Two can be a pair where at least 30 % of the pixels of each lie on the other; of all such pairings the
    one with the largest summed agreement is taken.
    """
    back = _inverse(matrix)
    one, two = (_pixels(look.defects) for look in (first, second))
    partner = np.full(len(first.defects), -1, np.intp)
    if first.defects and second.defects:
        reached = _shares(
            _mapped(one[0], matrix), one[1], two, reach_px, len(first.defects), len(second.defects)
        )
        touched = _shares(
            two[0],
            two[1],
            (_mapped(one[0], matrix), one[1]),
            reach_px,
            len(second.defects),
            len(first.defects),
        ).T
        reached = np.where(touched >= _MATCH_SHARE, reached, 0.0)
        partner = pair_one_to_one(reached, touched, np.full(len(first.defects), _MATCH_SHARE))
    taken = np.zeros(len(second.defects), np.bool_)
    taken[partner[partner >= 0]] = True
    return Followed(
        partner,
        lost=(partner < 0) & _in_view(first, second, matrix),
        new=~taken & _in_view(second, first, back),
    )


def _pixels(defects: tuple[Defect, ...]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return x, y of all pixels of all defects (N, 2), and the index of the defect each belongs to (N,)."""
    if not defects:
        return np.empty((0, 2)), np.empty(0, np.intp)
    points = [np.argwhere(item.mask)[:, ::-1] + (item.x_px, item.y_px) for item in defects]
    owner = np.repeat(np.arange(len(defects)), [len(part) for part in points])
    return np.concatenate(points).astype(np.float64), owner


def _shares(
    points: NDArray[np.float64],
    owner: NDArray[np.intp],
    others: tuple[NDArray[np.float64], NDArray[np.intp]],
    reach_px: float,
    n_own: int,
    n_others: int,
) -> NDArray[np.float64]:
    """(own, others) share of each defect's pixels whose nearest other pixel belongs to each other defect."""
    distance, found = cKDTree(others[0]).query(points, distance_upper_bound=reach_px)
    nearest = np.asarray(found, np.intp)
    hit = np.isfinite(distance)
    shares = np.zeros((n_own, n_others))
    np.add.at(shares, (owner[hit], others[1][nearest[hit]]), 1.0)
    return shares / np.bincount(owner, minlength=n_own)[:, None]


def _in_view(look: Look, other: Look, matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which defects of a look have their centroid on the living part of the other image."""
    x, y = _mapped(look.table.select("centroid_x_px", "centroid_y_px").to_numpy(), matrix).T
    cols, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    height, width = other.zones.shape
    inside = (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)
    inside[inside] = other.zones.valid[rows[inside], cols[inside]]
    return np.asarray(inside, np.bool_)


def _mapped(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def mapped_point(x_px: float, y_px: float, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Return x, y of one point by a (2, 3) matrix."""
    x, y = _mapped(np.array([[x_px, y_px]]), matrix)[0]
    return float(x), float(y)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


# ── why a verdict changed ───────────────────────────────────────────────────────────────────────────────────

CAUSES: Final = ("fibre", "size", "class", "zone", "lost or new defect", "several")
"""What can make two verdicts on one face differ."""


def cause_of_change(first: Look, second: Look, pairs: Followed, settings: Settings) -> str:
    """Return which of `CAUSES` made the second verdict another one; '' where the verdicts are equal.

    The second look is judged again with one thing at a time taken over from the first: sizes, classes or
    zones of paired defects, or the set of defects itself. The first that brings the verdict back is it.
    """
    wanted = first.verdict.decision
    if second.verdict.decision == wanted:
        return ""
    if first.verdict.profile != second.verdict.profile or first.row["found"] != second.row["found"]:
        return "fibre"
    if Decision.INDETERMINATE in (wanted, second.verdict.decision):
        return "fibre"
    rows = np.flatnonzero(pairs.partner >= 0)
    for cause, columns in (("size", _SIZES), ("class", _CLASS), ("zone", _ZONES)):
        table = second.table
        for name in columns:
            taken = table[name].to_list()
            for row in rows:
                taken[pairs.partner[row]] = first.table[name][int(row)]
            table = table.with_columns(pl.Series(name, taken, table[name].dtype))
        if verdict_of(table, second.row, settings).decision == wanted:
            return cause
    same = second.table[sorted(pairs.partner[rows].tolist())]
    lost = first.table[np.flatnonzero(pairs.partner < 0).tolist()]
    table = pl.concat([same, lost], how="diagonal_relaxed")
    alike = verdict_of(table, second.row, settings).decision == wanted
    return "lost or new defect" if alike else "several"


def changed_rules(first: Verdict, second: Verdict) -> str:
    """Return the rules that decided otherwise, in words."""
    before = {_key(item): item for item in first.outcomes}
    words = []
    for item in second.outcomes:
        known = before.get(_key(item))
        if known is not None and known.decision != item.decision:
            limit = "" if item.limit is None else f", {item.limit} allowed"
            words.append(
                f"zone {item.zone}, {item.kind} {item.rule}: {known.count} {known.decision} -> "
                f"{item.count} {item.decision}{limit}"
            )
    return "; ".join(words) or f"{first.reason} -> {second.reason}"


def _key(item: RuleOutcome) -> tuple[str, str, str]:
    return (item.zone, item.kind, item.rule)
