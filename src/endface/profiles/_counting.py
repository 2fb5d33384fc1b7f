"""How many things lie in bins of size, and how likely a limit is exceeded where sizes are uncertain.

Knows numbers and bins alone; zones, kinds and words are in `grading`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from endface.profiles._model import Cut, Rule

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one rule counts: things as measured, the largest of them in um, how likely there are too many."""

    count: int
    largest_um: float
    chance: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of things with their standard uncertainties, (N,) float64 each.

    Attributes
    ----------
    um
        As measured. NaN is unknown: what the rules allow best.
    sd_um
        Uncertainty whatever the size, as that of an edge.
    relative_sd
        Uncertainty that comes on top, as a share of the size: that of a ragged outline.
    """

    um: Floats
    sd_um: Floats
    relative_sd: Floats


def tally_bins(
    rules: Sequence[Rule], sizes: Sizes, chance: Floats, counted: NDArray[np.bool_]
) -> tuple[Tally, ...]:
    """Count things by each rule of a list.

    A limit of n is exceeded as likely as the thing that is the (n + 1)-th likeliest to lie in the bin lies
    there. So hundreds of doubtful things are not made sure by their number: what makes one of them seem too
    large makes all of them seem so.

    Parameters
    ----------
    rules : sequence of Rule
        Bins that do not overlap; sizes between and beyond them are allowed in any number.
    sizes : Sizes
    chance : (N,) float64 ndarray
        How likely each thing is one that the list judges.
    counted : (N,) bool ndarray
        Which things are counted as measured.

    Examples
    --------
    >>> rules = (Rule(lt=2, limit=None), Rule(ge=2, le=5, limit=1), Rule(gt=5, limit=0))
    >>> um, sure = np.array([3.0, 4.8]), np.ones(2)
    >>> exact, blurred = Sizes(um, 0.0 * sure, 0.0 * sure), Sizes(um, 0.4 * sure, 0.0 * sure)
    >>> [round(tally.chance, 2) for tally in tally_bins(rules, exact, sure, sure > 0)]
    [0.0, 1.0, 0.0]
    >>> [round(tally.chance, 2) for tally in tally_bins(rules, blurred, sure, sure > 0)]
    [0.0, 0.66, 0.33]
    """
    likely = _chances_of_bins(rules, sizes) * chance
    exact = np.zeros_like(sizes.um)
    measured = _chances_of_bins(rules, Sizes(sizes.um, exact, exact)) > 0
    tallies = []
    for rule, share, inside in zip(rules, likely, measured & counted, strict=True):
        known = sizes.um[inside & np.isfinite(sizes.um)]
        exceeded = 0.0
        if rule.limit is not None and share.size > rule.limit:
            exceeded = float(np.sort(share)[-1 - rule.limit])
        tallies.append(Tally(int(np.count_nonzero(inside)), float(known.max(initial=0.0)), exceeded))
    return tuple(tallies)


def _chances_of_bins(rules: Sequence[Rule], sizes: Sizes) -> Floats:
    """Return how likely each size lies in the bin of each rule, (rules, things)."""
    chances = np.zeros((len(rules), sizes.um.size))
    for row, rule in zip(chances, rules, strict=True):
        row[:] = _below(rule.upper, sizes) - _below(rule.lower, sizes)
    unknown = np.isnan(sizes.um)
    chances[:, unknown] = 0.0
    limits = [rule.limit for rule in rules if rule.limit is not None]
    if len(limits) == len(rules) > 0 and _no_gap(rules):
        chances[limits.index(max(limits)), unknown] = 1.0
    return chances


def _below(cut: Cut, sizes: Sizes) -> Floats:
    """Return how likely each size lies below a cut; what was found has a size above 0.

    An error that is a share of the size is one of its logarithm, and 2 sinh(log(at / size) / 2) is
    (at - size) / sqrt(at size): so both kinds of errors add.
    """
    at, beyond = cut
    if at <= 0.0:
        return np.zeros_like(sizes.um)
    exact = np.asarray((sizes.um <= at if beyond else sizes.um < at), np.float64)
    if math.isinf(at):
        return exact
    sd = np.sqrt(sizes.sd_um**2 + sizes.relative_sd**2 * at * sizes.um)
    return np.where(sd > 0, error_below((at - sizes.um) / np.where(sd > 0, sd, 1.0)), exact)


def error_below(distance: Floats) -> Floats:
    """Return how likely a measure errs by less than so many standard uncertainties, from -inf to inf.

    Student's distribution with two degrees of freedom: most sizes are as good as the noise lets them be, but
    now and then an outline is that of two things, or of a part of one, and no measure of noise tells which.

    Examples
    --------
    >>> error_below(np.array([-np.inf, -2.0, 0.0, 1.0])).round(3).tolist()
    [0.0, 0.092, 0.5, 0.789]
    """
    far = np.clip(distance, -1e9, 1e9)
    return np.asarray(0.5 + 0.5 * far / np.sqrt(2.0 + far * far))


def _no_gap(rules: Sequence[Rule]) -> bool:
    """Whether every size lies in one of the bins."""
    ends = all(first.upper == second.lower for first, second in pairwise(rules))
    return ends and rules[0].lower[0] == 0.0 and np.isinf(rules[-1].upper[0])
