"""The verdict on an image: its table of defects judged by a profile.

Knows zones, kinds of defects, and what an inspector is told. What a standard allows is in `profiles`,
how defects are measured in `features`, how serious one is in `severity`.

Nothing about a find is quite certain: its size, its class, whether it is anything at all. So each rule has
a chance to be broken. The image FAILs where one is likely to be, PASSes where none is, and is MARGINAL in
between. An image that cannot be judged is INDETERMINATE unless it FAILs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.annotation import Decision, RuleOutcome, Verdict, any_exceeded
from endface.crossings import crossing_scratches, zone_chances
from endface.errors import FormatError
from endface.profiles import Profile, Rule, ZoneRules, choose_profile, load_profile, profile_names
from endface.profiles._counting import Floats, Sizes, Tally, tally_bins
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

EVEN_CONFIDENCE = 0.99
"""A find of this confidence, of which 0.01 are expected by chance, is as likely nothing as something.

Of such finds a third was not seen again in copies of the same picture (docs/repeatability.md).
"""

FAINT_LINE = 1.6
"""A line whose crest stands this many standard deviations of a pixel's noise above it is doubtful.

What an inspector sees counts. Of rendered lines found at this contrast two in three were visible, of those at
half of it one in three, at twice of it 19 in 20.
"""

FAINT_SPOT = 1.0
"""A spot that differs from its surroundings (rms) by so many standard deviations of their noise is doubtful.

Of rendered finds over 5 um with less, 7 % were visible defects; with up to twice of it half.
"""

CLASS_CHANCES: Mapping[str, str] = {
    "scratch": "scratch_chance",
    "contamination": "contamination_chance",
}
"""Columns that tell how likely a find is of a class that has limits of its own."""

_PLAIN = 0.95  # from here on a chance is not worth mentioning

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


def grade(
    table: pl.DataFrame,
    profile: Profile,
    *,
    found: bool,
    um_per_px: tuple[float, float] | None,
    size_uncertainty_px: float = 0.5,
    marginal_chance: float = 0.2,
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
        needs. Sizes that are null are unknown: the image is INDETERMINATE unless it FAILs whatever they are.
        `width_sd_um` and `diameter_sd_um` are standard uncertainties that come on top of
        `size_uncertainty_px`, none where they are missing. `confidence` tells how likely a find is anything
        (`EVEN_CONFIDENCE`), `line_snr` and `snr` how well it is seen (`FAINT_LINE`, `FAINT_SPOT`),
        `scratch_chance` and `contamination_chance` how likely it is of that class,
        `inner_distance_um` how near to the centre it reaches; where they are missing, finds are real, of
        their type, and in their zone. `polarity` (-1 dark), `centroid_x_px`,
        `centroid_y_px`, `length_um` and `orientation_deg` serve the rules on dark and crossed scratches.
    profile : Profile
        From `load_profile`.
    found : bool
        Whether the fibre was found.
    um_per_px : (float, float) or None
        Pixel pitch along x and y in um, None where it is unknown.
    size_uncertainty_px : float
        Standard uncertainty of a size, in pixels.
    marginal_chance : float
        A rule that is broken with a chance from this one up to 1 minus it is MARGINAL; 0.5: none is.
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
    things = _things(
        table,
        profile,
        zone_crossing,
        sd_um=math.nan if pitch is None else size_uncertainty_px * pitch,
        shrink=BLUR_SHRINK if blurred else 1.0,
    )
    crossed = np.zeros(len(things.types), np.bool_)
    if profile.crossed_scratches_fail and um_per_px is not None:
        crossed = crossing_scratches(table, um_per_px=um_per_px)
    judged = [
        _judge_zone(zone, rules, things, profile, crossed, marginal_chance) for zone, rules in profile.judged
    ]
    doubts = _doubts(profile, pitch)
    if pitch is not None and (unknown := _unknown_sizes(things, profile)):
        doubts.append(f"{unknown} {_NOUNS['defects'][unknown != 1]} of unknown size")
    if blurred:
        doubts.append(f"out of focus (focus score {focus_score:.2f}, at least {min_focus_score:.2f} needed)")
    if not wholly_seen:
        doubts.append("part of the fibre lies beyond the picture")
    return _conclude(judged, doubts, profile, marginal_chance)


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
    """Defects as the rules see them: sizes in um with standard uncertainties, and chances.

    `zones` are those in which each is judged as measured, `reach` the chance that it is judged in a zone;
    `real`, `scratch` and `dirt` are the chances that a find counts at all, as a scratch, as contamination.
    """

    zones: list[frozenset[str]]
    reach: Mapping[str, Floats]
    types: list[str]
    widths: Sizes
    diameters: Sizes
    real: Floats
    scratch: Floats
    dirt: Floats
    dark: NDArray[np.bool_]


def _things(
    table: pl.DataFrame, profile: Profile, zone_crossing: ZoneCrossing, *, sd_um: float, shrink: float
) -> _Things:
    """Return what the rules need to know of the defects; sizes are unknown where `sd_um` is NaN."""
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
    reach = {zone: np.array([zone in own for own in zones], np.float64) for zone, _ in profile.judged}
    if zone_crossing == "innermost" and not plain:
        reach = zone_chances(table, profile.zone_diameters_um, reach, sd_um=sd_um)
    known = 1.0 if math.isfinite(sd_um) else math.nan
    width, diameter = (
        known * shrink * _values(table, name, math.nan) for name in ("width_um", "diameter_um")
    )
    edge, ragged = np.full(len(types), np.nan_to_num(sd_um)), _values(table, "diameter_sd_um", 0.0)
    confidence = _values(table, "confidence", 1.0)
    odds = EVEN_CONFIDENCE / (1.0 - EVEN_CONFIDENCE)
    scratch, dirt = (np.array([name == kind for name in types], np.float64) for kind in CLASS_CHANCES)
    return _Things(
        zones,
        reach,
        types,
        widths=Sizes(width, np.hypot(edge, _values(table, "width_sd_um", 0.0)), 0.0 * edge),
        diameters=Sizes(diameter, edge, ragged / _values(table, "diameter_um", math.inf)),
        real=confidence
        / (confidence + odds * (1.0 - confidence))
        * _visible(_values(table, "line_snr", 0.0), _values(table, "snr", math.inf)),
        scratch=_values(table, CLASS_CHANCES["scratch"], scratch),
        dirt=_values(table, CLASS_CHANCES["contamination"], dirt),
        dark=_values(table, "polarity", 0.0) < 0,
    )


def _values(table: pl.DataFrame, name: str, otherwise: float | Floats) -> Floats:
    """Return a column with something else where it is missing, null or NaN."""
    values = numbers(table, name)
    return np.where(np.isnan(values), otherwise, values)


def _visible(line_snr: Floats, snr: Floats) -> Floats:
    """Return how likely an inspector sees lines, of a `line_snr` above 0, and spots of such contrast."""
    line = 1.0 - 0.7 / (1.0 + (line_snr / FAINT_LINE) ** 4)
    return np.where(line_snr > 0.0, line, 1.0 - 1.0 / (1.0 + (snr / FAINT_SPOT) ** 4))


def _unknown_sizes(things: _Things, profile: Profile) -> int:
    """Count the finds in judged zones whose size is unknown."""
    judged = {zone for zone, _ in profile.judged}
    inside = np.array([bool(judged & zones) for zones in things.zones], np.bool_)
    scratch = np.array([name == "scratch" for name in things.types], np.bool_)
    return int(np.count_nonzero(inside & np.isnan(np.where(scratch, things.widths.um, things.diameters.um))))


@dataclass(frozen=True, slots=True)
class _Judged:
    """A zone's decision, its rules' outcomes and what an inspector reads about each of them, or ''."""

    zone: str
    decision: Decision
    outcomes: tuple[RuleOutcome, ...]
    words: tuple[str, ...]


def _decision(chance: float, marginal_chance: float) -> Decision:
    """Return the decision that goes with a chance that a limit is broken."""
    if chance >= 1.0 - marginal_chance:
        return Decision.FAIL
    return Decision.MARGINAL if chance >= marginal_chance else Decision.PASS


def _judge_zone(
    zone: str,
    rules: ZoneRules,
    things: _Things,
    profile: Profile,
    crossed: NDArray[np.bool_],
    marginal_chance: float,
) -> _Judged:
    """Judge all lists of rules of one zone."""
    inside = np.array([zone in zones for zones in things.zones], np.bool_)
    scratch = np.array([name == "scratch" for name in things.types], np.bool_)
    dirt = np.array([name == "contamination" for name in things.types], np.bool_)
    own_list = rules.contamination is not None
    members = {"scratches": scratch, "contamination": dirt, "defects": ~scratch & ~(dirt & own_list)}
    chances = {
        "scratches": things.scratch,
        "contamination": things.dirt,
        "defects": np.maximum(1.0 - things.scratch - own_list * things.dirt, 0.0),
    }
    outcomes: list[RuleOutcome] = []
    words: list[str] = []
    for kind, bins in rules.lists():
        chance = things.real * chances[kind] * things.reach[zone]
        sizes = things.widths if kind == "scratches" else things.diameters
        tallies = tally_bins(bins, sizes, chance, members[kind] & inside)
        for rule, tally in zip(bins, tallies, strict=True):
            decision = _decision(tally.chance, marginal_chance)
            outcomes.append(
                RuleOutcome(zone, kind, rule.words(kind), tally.count, rule.limit, decision, tally.chance)
            )
            told = (tally.count and rule.limit) or tally.chance > 1.0 - _PLAIN
            words.append(_sentence(zone, kind, rule, tally) if told else "")
    for name, wanted, flags in (
        ("dark scratches", profile.dark_scratches_fail, things.dark & scratch),
        ("crossed scratches", profile.crossed_scratches_fail, crossed),
    ):
        if wanted:
            count = int(np.count_nonzero(flags & inside))
            chance = things.real * things.scratch * things.reach[zone]
            likely = float(np.max(chance, initial=0.0, where=flags))
            decision = _decision(likely, marginal_chance)
            outcomes.append(RuleOutcome(zone, "scratches", name, count, 0, decision, likely))
            said = name if count > 1 else name[:-2]
            words.append(f"zone {zone}: {count} {said}, none allowed" if count else "")
    decision = _decision(any_exceeded(outcomes), marginal_chance)
    return _Judged(zone, decision, tuple(outcomes), tuple(words))


def _sentence(zone: str, kind: Kind, rule: Rule, tally: Tally) -> str:
    """Return 'zone B: 6 defects of 2 to 5 um, 5 allowed', and how sure that is where it is not."""
    limit = rule.limit or 0
    noun = _NOUNS[kind][tally.count != 1]
    text = f"zone {zone}: {tally.count} {noun} {rule.words(kind)}"
    if limit == 0 and tally.largest_um > 0:
        text += f" (largest {tally.largest_um:.3g} um)"
    text += f", {limit or 'none'} allowed"
    if tally.chance > 1.0 - _PLAIN and (tally.chance < _PLAIN or tally.count <= limit):
        more = ": sizes, classes and borders are not sure" if tally.count <= limit else ""
        text += f", exceeded with a chance of {100.0 * tally.chance:.0f} %{more}"
    return text


def _conclude(
    judged: Sequence[_Judged], doubts: Sequence[str], profile: Profile, marginal_chance: float
) -> Verdict:
    """Turn what is known of the zones and the doubts about the image into its verdict."""
    outcomes = tuple(outcome for part in judged for outcome in part.outcomes)
    decision = _decision(any_exceeded(outcomes), marginal_chance)
    if doubts and decision != Decision.FAIL:
        decision = Decision.INDETERMINATE
    zones = tuple(
        (p.zone, Decision.INDETERMINATE if doubts and p.decision != Decision.FAIL else p.decision)
        for p in judged
    )
    words = [text for part in judged for text in part.words]
    if decision == Decision.PASS:
        told = [f"within all limits of {profile.name}", *filter(None, words)]
    elif decision == Decision.INDETERMINATE:
        told = list(doubts)
    else:
        told = [text for item, text in zip(outcomes, words, strict=True) if item.decision == decision]
        told = told or _together(outcomes, words)
    return Verdict(decision, "; ".join(told), profile.name, zones, outcomes)


def _together(outcomes: Sequence[RuleOutcome], words: Sequence[str]) -> list[str]:
    """Return the limits that lead to a verdict which none of them alone would lead to: the likeliest."""
    least = 0.5 * max(item.chance for item in outcomes)
    told = [text for item, text in zip(outcomes, words, strict=True) if item.chance >= least and text]
    return [
        *told,
        f"one or more of all limits exceeded with a chance of {100.0 * any_exceeded(outcomes):.0f} %",
    ]
