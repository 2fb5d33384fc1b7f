"""The verdict on an image: its table of defects judged by a profile.

Knows zones, kinds of defects, and what an inspector is told. What a standard allows is in `profiles`,
how defects are measured in `features`, how serious one is in `severity`.

A size is known as an interval, and a find that is little above the threshold of detection may be nothing. A
zone FAILs when no sizes within the intervals meet the limits, with the sure finds alone, PASSes when all do,
with all finds, and is MARGINAL in between. An image that cannot be judged is INDETERMINATE unless it FAILs
for sure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Decision, RuleOutcome, Verdict
from endface.errors import FormatError
from endface.profiles import Profile, Rule, ZoneRules, choose_profile, load_profile, profile_names
from endface.profiles._counting import Tally, judge_bins
from endface.severity import numbers, score_severity

__all__ = [
    "Profile",
    "choose_profile",
    "grade",
    "load_profile",
    "profile_names",
    "score_severity",
]

ZoneCrossing = Literal["innermost", "centroid", "every"]
Kind = Literal["scratches", "defects", "contamination"]

BLUR_SHRINK = 0.5
"""Out of focus, a thing is at least this share of the size it seems to have."""

SURE_CONFIDENCE = 0.99
"""A find of less confidence, of which 0.01 or more are expected by chance, may be nothing.

Of such finds a third was not seen again in copies of the same picture (docs/repeatability.md).
"""

_ZONE_COLUMN: Mapping[ZoneCrossing, str] = {
    "innermost": "iec_zone",
    "centroid": "iec_zone_centroid",
    "every": "iec_zones",
}
_NOUNS = {
    "scratches": ("scratch", "scratches"),
    "defects": ("defect", "defects"),
    "contamination": ("speck of contamination", "specks of contamination"),
}
# A found thing has a size, however small, so that 'none over 0 um' always counts it.
_TINY_UM = math.ulp(0.0)


def grade(
    table: pl.DataFrame,
    profile: Profile,
    *,
    found: bool,
    um_per_px: tuple[float, float] | None,
    size_uncertainty_px: float = 0.5,
    coverage_factor: float = 2.0,
    focus_score: float | None = None,
    min_focus_score: float = 0.0,
    zone_crossing: ZoneCrossing = "innermost",
    surface: Literal["fiber", "plain"] = "fiber",
    not_found_reason: str = "",
    wholly_seen: bool = True,
) -> Verdict:
    """Judge the defects of one image by a profile.

    Parameters
    ----------
    table : polars.DataFrame
        One row per defect with `type`, `diameter_um`, `width_um` and the column that `zone_crossing`
        needs. Sizes that are null are taken as unknown: anything above 0. `width_sd_um` is the
        standard uncertainty of a scratch's width that comes on top of `size_uncertainty_px`, none where it
        is missing; finds whose `confidence` is below `SURE_CONFIDENCE` may be there or not. `polarity`
        (-1 dark), `centroid_x_px`, `centroid_y_px`, `length_um` and `orientation_deg` serve the rules on
        dark and crossed scratches.
    profile : Profile
        From `load_profile`.
    found : bool
        Whether the fibre was found.
    um_per_px : (float, float) or None
        Pixel pitch along x and y in um, None where it is unknown.
    size_uncertainty_px : float
        Standard uncertainty of a size, in pixels.
    coverage_factor : float
        k: sizes are taken to lie within +-k standard uncertainties (2: about 95 %).
    focus_score, min_focus_score : float
        Below the minimum the image is out of focus.
    zone_crossing : {'innermost', 'centroid', 'every'}
        Which zone judges a defect that touches several: the innermost one (the standard's worked
        example), the one its centroid lies in, or each of them.
    surface : {'fiber', 'plain'}
        A plain surface can only be judged by a profile for plain surfaces.
    not_found_reason : str
        Why there is no fibre, for the reason of the verdict.
    wholly_seen : bool
        False where part of the fibre lies beyond the picture: what is there nobody knows.

    Returns
    -------
    Verdict
        With one outcome per rule and one decision per judged zone.

    Raises
    ------
    FormatError
        If a table with rows lacks a column that is needed.

    Notes
    -----
    A pitch of more than half the smallest size the profile tells apart is too coarse: such a thing covers
    less than two pixels. Whether a zone border lies within the uncertainty is not looked at.

    Examples
    --------
    >>> row = {"type": ["pit_chip"], "iec_zone": ["B"], "diameter_um": [7.5], "width_um": [6.0]}
    >>> verdict = grade(pl.DataFrame(row), load_profile("sm_upc"), found=True, um_per_px=(0.4, 0.4))
    >>> verdict.decision.value, verdict.reason
    ('FAIL', 'zone B: 1 defect over 5 um (largest 7.5 um), none allowed')
    """
    if surface == "plain" and profile.surface != "plain":
        reason = f"plain surface: {profile.name} is a profile for fibres"
        return _unjudged(profile, reason)
    if profile.surface == "fiber" and not found:
        return _unjudged(profile, "no fibre found" + (f": {not_found_reason}" if not_found_reason else ""))

    pitch = max(um_per_px) if um_per_px is not None else None
    blurred = focus_score is not None and focus_score < min_focus_score
    margin = coverage_factor * size_uncertainty_px * pitch if pitch is not None else math.inf
    things = _things(
        table,
        profile,
        zone_crossing,
        margin=margin,
        coverage=coverage_factor,
        shrink=BLUR_SHRINK if blurred else 1.0,
    )
    crossed = np.zeros(len(things.types), np.bool_)
    if profile.crossed_scratches_fail and um_per_px is not None:
        crossed = crossing_scratches(table, um_per_px=um_per_px)
    judged = [_judge_zone(zone, rules, things, profile, crossed) for zone, rules in profile.judged]
    doubts = _doubts(profile, pitch)
    if blurred:
        doubts.append(f"out of focus (focus score {focus_score:.2f}, at least {min_focus_score:.2f} needed)")
    if not wholly_seen:
        doubts.append("part of the fibre lies beyond the picture")
    return _conclude(judged, doubts, profile)


def _unjudged(profile: Profile, reason: str) -> Verdict:
    zones = tuple((zone, Decision.INDETERMINATE) for zone, _ in profile.judged)
    return Verdict(Decision.INDETERMINATE, reason, profile.name, zones)


def _doubts(profile: Profile, pitch: float | None) -> list[str]:
    """Return why an image of this pixel pitch cannot be judged, in words."""
    if pitch is None:
        return ["pixel pitch unknown, so sizes in um are unknown"]
    limit = profile.smallest_limit_um
    if limit is not None and pitch > limit / 2.0:
        return [f"too coarse: {pitch:.2f} um per pixel, at most {limit / 2.0:g} needed to tell {limit:g} um"]
    return []


@dataclass(frozen=True, slots=True)
class _Things:
    """Defects as the rules see them; sizes in um are the width of scratches, else the diameter.

    A size lies between `low` and `high`: within `margin` of what was measured.
    """

    zones: list[frozenset[str]]
    types: list[str]
    size: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    margin: NDArray[np.float64]
    sure: NDArray[np.bool_]
    dark: NDArray[np.bool_]


def _things(
    table: pl.DataFrame,
    profile: Profile,
    zone_crossing: ZoneCrossing,
    *,
    margin: float,
    coverage: float,
    shrink: float,
) -> _Things:
    """Return the defects with the interval each size lies in."""
    column = _ZONE_COLUMN[zone_crossing]
    plain = profile.surface == "plain"
    needed = {"type", "diameter_um", "width_um"} | (set() if plain else {column})
    if table.is_empty():
        table = table.clear() if needed <= set(table.columns) else pl.DataFrame(schema=dict.fromkeys(needed))
    if missing := sorted(needed - set(table.columns)):
        raise FormatError(
            f"defect table: expected the columns {', '.join(sorted(needed))}; missing: {', '.join(missing)}",
            hint="Give the table that `endface.features` measures.",
        )
    types = ["" if name is None else str(name) for name in table["type"]]
    if plain:
        zones = [frozenset({zone for zone, _ in profile.judged})] * len(types)
    else:
        zones = [frozenset((text or "").split(";")) for text in table[column].cast(pl.String)]
    scratch = np.array([name == "scratch" for name in types], np.bool_)
    size = np.where(scratch, numbers(table, "width_um"), numbers(table, "diameter_um"))
    known = np.isfinite(size)
    noise = np.nan_to_num(numbers(table, "width_sd_um"))
    margins = np.hypot(margin, np.where(scratch, coverage * noise, 0.0))
    low = np.where(known, size * shrink - margins, 0.0)
    high = np.where(known, size + margins, math.inf)
    sure = ~(numbers(table, "confidence") < SURE_CONFIDENCE)
    dark = numbers(table, "polarity") < 0
    return _Things(zones, types, size, np.maximum(low, _TINY_UM), high, margins, sure, dark)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A zone's decision, its rules' outcomes and what an inspector reads about those that count."""

    zone: str
    decision: Decision
    outcomes: tuple[RuleOutcome, ...]
    words: tuple[tuple[Decision, str], ...]


def _judge_zone(
    zone: str,
    rules: ZoneRules,
    things: _Things,
    profile: Profile,
    crossed: NDArray[np.bool_],
) -> _Judged:
    """Judge all lists of rules of one zone."""
    inside = np.array([zone in zones for zones in things.zones], np.bool_)
    scratch = np.array([name == "scratch" for name in things.types], np.bool_)
    dirt = np.array([name == "contamination" for name in things.types], np.bool_)
    if rules.contamination is None:
        dirt[:] = False
    members = {"scratches": scratch, "contamination": dirt, "defects": ~scratch & ~dirt}
    decisions: list[Decision] = []
    outcomes: list[RuleOutcome] = []
    words: list[tuple[Decision, str]] = []
    for kind, bins in rules.lists():
        picked = inside & members[kind]
        part = judge_bins(
            bins, things.low[picked], things.size[picked], things.high[picked], sure=things.sure[picked]
        )
        unsure = int(np.count_nonzero(picked & ~things.sure))
        decisions.append(part.decision)
        margin = float(np.max(things.margin[picked], initial=0.0))
        for rule, tally in zip(bins, part.tallies, strict=True):
            outcomes.append(
                RuleOutcome(zone, kind, rule.words(kind), tally.count, rule.limit, tally.decision)
            )
            if tally.decision != Decision.PASS or (tally.count and rule.limit):
                words.append((tally.decision, _sentence(zone, kind, rule, tally, margin, unsure)))
    for name, wanted, flags in (
        ("dark scratches", profile.dark_scratches_fail, things.dark & scratch),
        ("crossed scratches", profile.crossed_scratches_fail, crossed),
    ):
        if wanted:
            count = int(np.count_nonzero(flags & inside))
            decision = Decision.PASS
            if count:
                decision = Decision.FAIL if (flags & inside & things.sure).any() else Decision.MARGINAL
            decisions.append(decision)
            outcomes.append(RuleOutcome(zone, "scratches", name, count, 0, decision))
            if count:
                said = name if count > 1 else name[:-2]
                words.append((decision, f"zone {zone}: {count} {said}, none allowed"))
    return _Judged(zone, worst(decisions), tuple(outcomes), tuple(words))


def _sentence(zone: str, kind: Kind, rule: Rule, tally: Tally, margin: float, unsure: int) -> str:
    """Return 'zone B: 6 defects of 2 to 5 um, 5 allowed', and what uncertainty could make of it."""
    limit = rule.limit or 0
    noun = _NOUNS[kind][tally.count != 1]
    text = f"zone {zone}: {tally.count} {noun} {rule.words(kind)}"
    if limit == 0 and tally.largest_um > 0:
        text += f" (largest {tally.largest_um:.3g} um)"
    text += f", {limit or 'none'} allowed"
    if tally.decision != Decision.MARGINAL:
        return text
    why = f"sizes are good to +-{margin:.2g} um" if math.isfinite(margin) else "sizes are unknown"
    why += f", {unsure} may be nothing" if unsure else ""
    other = f"{tally.most} possible" if tally.count <= limit else f"as few as {tally.fewest} possible"
    return f"{text}, but {other}: {why}"


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


def _conclude(judged: Sequence[_Judged], doubts: Sequence[str], profile: Profile) -> Verdict:
    """Turn the zones' decisions and the doubts about the image into its verdict."""
    decision = worst([part.decision for part in judged])
    if doubts and decision != Decision.FAIL:
        decision = Decision.INDETERMINATE
    zones = tuple(
        (p.zone, Decision.INDETERMINATE if doubts and p.decision != Decision.FAIL else p.decision)
        for p in judged
    )
    words = [text for part in judged for about, text in part.words if about == decision]
    if decision == Decision.PASS:
        words.insert(0, f"within all limits of {profile.name}")
    elif decision == Decision.INDETERMINATE:
        words = list(doubts)
    outcomes = tuple(outcome for part in judged for outcome in part.outcomes)
    return Verdict(decision, "; ".join(words), profile.name, zones, outcomes)


def worst(decisions: Sequence[Decision]) -> Decision:
    """Return FAIL if any failed, else MARGINAL if any is, else PASS."""
    for decision in (Decision.FAIL, Decision.MARGINAL):
        if decision in decisions:
            return decision
    return Decision.PASS
