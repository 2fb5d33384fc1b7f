"""Types of a profile file: rules, zones, profiles, where their numbers come from; and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ZONE_ORDER = ("A", "B", "C", "D")
"""Zones from the inside out; the IEC map has a code for each of them and no others."""

PLAIN_ZONE = "surface"
"""The one zone of a profile for plain surfaces."""

Kind = Literal["scratches", "defects", "contamination"]
Cut = tuple[float, int]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=False)


class Rule(_Part):
    """One size bin and how many are allowed in it.

    Attributes
    ----------
    gt, ge : float or None
        Lower bound in um, excluded or included; neither: from 0.
    lt, le : float or None
        Upper bound in um, excluded or included; neither: no upper bound.
    limit : int or None
        Allowed count (`max` in the file); None: any number.

    Examples
    --------
    >>> Rule(ge=2, le=5, limit=5).words("defects")
    'of 2 to 5 um'
    """

    gt: float | None = Field(None, ge=0)
    ge: float | None = Field(None, ge=0)
    lt: float | None = Field(None, gt=0)
    le: float | None = Field(None, gt=0)
    limit: int | None = Field(alias="max", ge=0)

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if self.gt is not None and self.ge is not None:
            raise ValueError("expected one lower bound, found both gt and ge")
        if self.lt is not None and self.le is not None:
            raise ValueError("expected one upper bound, found both lt and le")
        if not all(math.isfinite(b) for b in (self.gt, self.ge, self.lt, self.le) if b is not None):
            raise ValueError("expected finite bounds in um; leave a bound out for 'no bound'")
        if self.lower >= self.upper:
            raise ValueError(f"the bin holds no size: {self.words('defects')}")
        return self

    @property
    def lower(self) -> Cut:
        """Lower end as a cut: (v, 0) lies just below the size v, (v, 1) just above it."""
        if self.gt is not None:
            return (self.gt, 1)
        return (self.ge or 0.0, 0)

    @property
    def upper(self) -> Cut:
        """Upper end as a cut, as in `lower`."""
        if self.lt is not None:
            return (self.lt, 0)
        return (self.le, 1) if self.le is not None else (math.inf, 1)

    @property
    def bounds_um(self) -> tuple[float, ...]:
        """The sizes above 0 at which something changes."""
        return tuple(b for b in (self.gt, self.ge, self.lt, self.le) if b)

    def words(self, kind: Kind) -> str:
        """Return the bin in words: 'of 2 to 5 um', 'over 3 um wide', 'of any size'."""
        wide = " wide" if kind == "scratches" else ""
        low, high = self.gt or self.ge, self.lt if self.lt is not None else self.le
        if not low and high is None:
            return "of any width" if kind == "scratches" else "of any size"
        if high is None:
            return f"over {low:g} um{wide}" if self.gt else f"of {low:g} um{wide} or more"
        end = f"under {high:g} um{wide}" if self.lt is not None else f"up to {high:g} um{wide}"
        if not low:
            return end
        if self.ge and self.le is not None:
            return f"of {low:g} to {high:g} um{wide}"
        return f"over {low:g} and {end}" if self.gt else f"from {low:g} and {end}"


class ZoneRules(_Part):
    """What one zone allows.

    `contamination` None: removable dirt counts as a defect. A list: it is judged by that list alone.
    """

    scratches: tuple[Rule, ...] = ()
    defects: tuple[Rule, ...] = ()
    contamination: tuple[Rule, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> ZoneRules:
        for kind, rules in self.lists():
            for first, second in pairwise(rules):
                if second.lower < first.upper:
                    raise ValueError(
                        f"{kind}: bins overlap or are out of order: "
                        f"{first.words(kind)} and {second.words(kind)}"
                    )
        return self

    def lists(self) -> tuple[tuple[Kind, tuple[Rule, ...]], ...]:
        """Return (kind, rules) for every kind that has a list of its own."""
        own: tuple[tuple[Kind, tuple[Rule, ...]], ...] = (
            ("scratches", self.scratches),
            ("defects", self.defects),
        )
        return own if self.contamination is None else (*own, ("contamination", self.contamination))


class Provenance(_Part):
    """Where the numbers of a profile come from and how sure they are."""

    verify: Literal["sourced_x2", "sourced", "recall", "unknown", "own"] = "own"
    confidence: float = Field(1.0, ge=0, le=1)
    sources: tuple[str, ...] = ()
    note: str = ""
    open_question: str = ""


class Source(_Part):
    """A page or document that numbers were taken from."""

    what: str
    url: str = ""


class AltValue(_Part):
    """Another reading of a list of rules; recorded, not applied."""

    zone: str
    kind: Kind
    rules: tuple[Rule, ...]
    sources: tuple[str, ...] = ()
    note: str = ""


class _Common(_Part):
    title: str = ""
    surface: Literal["fiber", "plain"] = "fiber"
    graded_zones: tuple[str, ...] | None = None
    return_loss_db: float | None = None
    dark_scratches_fail: bool = False
    crossed_scratches_fail: bool = False
    notes: tuple[str, ...] = ()
    provenance: Provenance = Provenance()
    alt_values: tuple[AltValue, ...] = ()


class ProfileEntry(_Common):
    """A profile as written in a file: what it changes of its base."""

    base: str | None = None
    zones: str | Mapping[str, tuple[float, float]] | None = None
    rules: Mapping[str, ZoneRules] = Field(default_factory=dict)


class ProfileFile(_Part):
    """One YAML file: a standard, its geometries and its profiles."""

    schema_version: Literal[1] = 1
    standard: str = "house"
    title: str = ""
    status: Literal["current", "superseded", "provisional", "house"] = "house"
    sources: Mapping[str, Source] = Field(default_factory=dict)
    geometries: Mapping[str, Mapping[str, tuple[float, float]]] = Field(default_factory=dict)
    profiles: Mapping[str, ProfileEntry] = Field(min_length=1)


class Profile(_Common):
    """A grading profile, ready to judge by.

    Attributes
    ----------
    name, title : str
        `name` is what `--profile` takes.
    standard, standard_title, status : str
        Document it belongs to; status 'current', 'superseded', 'provisional' or 'house'.
    zone_diameters_um : mapping of str to (float, float)
        Inner and outer diameter in um, [inner, outer), round the fibre's centre, from the inside out.
    rules : mapping of str to ZoneRules
        By zone.
    graded_zones : tuple of str or None
        Zones that are judged; None: all that have rules.
    surface : {'fiber', 'plain'}
        A 'plain' profile has no zones and the rules of one zone named 'surface'.
    dark_scratches_fail, crossed_scratches_fail : bool
        Whether any dark scratch, or scratches that cross, fail in every graded zone.
    """

    name: str
    standard: str = "house"
    standard_title: str = ""
    status: Literal["current", "superseded", "provisional", "house"] = "house"
    sources: Mapping[str, Source] = Field(default_factory=dict)
    zone_diameters_um: Mapping[str, tuple[float, float]] = Field(default_factory=dict)
    rules: Mapping[str, ZoneRules] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Profile:
        if self.surface == "plain":
            if self.zone_diameters_um or set(self.rules) != {PLAIN_ZONE}:
                raise ValueError(f"a plain surface has no zones and the rules of one zone, {PLAIN_ZONE!r}")
        else:
            _check_zones(self.zone_diameters_um)
        for key, names in (("rules", tuple(self.rules)), ("graded_zones", self.graded_zones or ())):
            for zone in names:
                if zone not in self.zone_diameters_um and zone != PLAIN_ZONE:
                    raise ValueError(
                        f"{key}: zone {zone!r} is not one of {', '.join(self.zone_diameters_um)}"
                    )
        if not self.judged:
            raise ValueError("rules: expected rules for at least one zone, found none")
        return self

    @property
    def judged(self) -> tuple[tuple[str, ZoneRules], ...]:
        """The zones that are judged with their rules, from the inside out."""
        graded = self.rules if self.graded_zones is None else self.graded_zones
        order = (*ZONE_ORDER, PLAIN_ZONE)
        return tuple((zone, self.rules[zone]) for zone in order if zone in graded and zone in self.rules)

    @property
    def smallest_limit_um(self) -> float | None:
        """The smallest size above 0 that a judged rule tells apart; None where sizes do not matter."""
        bounds = [b for _, z in self.judged for _, rules in z.lists() for r in rules for b in r.bounds_um]
        return min(bounds, default=None)

    @property
    def provisional(self) -> bool:
        """Whether its limits were not seen in any public page."""
        return self.status == "provisional" or self.provenance.verify in {"recall", "unknown"}


def _check_zones(zones: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError unless the zones are rings A to D that lie one outside the other."""
    if not zones:
        raise ValueError("zones: expected diameters such as {A: [0, 25], B: [25, 115]}, found none")
    unknown = sorted(set(zones) - set(ZONE_ORDER))
    if unknown:
        raise ValueError(f"zones: expected names out of A, B, C, D, found {', '.join(unknown)}")
    previous, before = "", 0.0
    for zone in (z for z in ZONE_ORDER if z in zones):
        inner, outer = zones[zone]
        if not (math.isfinite(outer) and 0 <= inner < outer):
            raise ValueError(
                f"zones: {zone} must be [inner, outer) with 0 <= inner < outer, found {zones[zone]}"
            )
        if inner < before:
            raise ValueError(
                f"zones do not nest: {zone} begins at {inner:g} um, but {previous} ends at {before:g} um"
            )
        previous, before = zone, outer
