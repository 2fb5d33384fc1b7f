"""Counts of sizes in bins, at best and at worst, where each size is known as an interval.

Knows numbers and bins alone; zones, kinds and words are in `grading`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Decision
from endface.profiles._model import Cut, Rule


@dataclass(frozen=True, slots=True)
class Tally:
    """How many things one rule counts: as measured, at least and at most; and the largest of them in um."""

    count: int
    fewest: int
    most: int
    largest_um: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class BinsVerdict:
    """Decision on one list of rules, with the tally of each rule in the order given."""

    decision: Decision
    tallies: tuple[Tally, ...]


def judge_bins(
    rules: Sequence[Rule],
    low_um: NDArray[np.float64],
    size_um: NDArray[np.float64],
    high_um: NDArray[np.float64],
    *,
    sure: NDArray[np.bool_] | None = None,
) -> BinsVerdict:
    """Judge things by one list of rules.

    FAIL where no sizes within the intervals meet all limits, PASS where all sizes do, MARGINAL otherwise.
    Things that are not sure may be there or not.

    Parameters
    ----------
    rules : sequence of Rule
        Ordered bins that do not overlap; sizes between and beyond them are allowed in any number.
    low_um, size_um, high_um : (N,) float64 ndarray
        Interval of each size, low > 0; `size_um` is what was measured, NaN where it is unknown (counted
        as small).
    sure : (N,) bool ndarray, optional
        Which things are there for sure; all where not given.

    Examples
    --------
    >>> rules = (Rule(lt=2, limit=None), Rule(ge=2, le=5, limit=1), Rule(gt=5, limit=0))
    >>> size = np.array([3.0, 4.8])
    >>> judge_bins(rules, size, size, size).decision.value
    'FAIL'
    >>> judge_bins(rules, size - 1.5, size, size + 1.5).decision.value
    'MARGINAL'
    >>> judge_bins(rules, size, size, size, sure=np.array([True, False])).decision.value
    'MARGINAL'
    """
    real = np.ones(len(size_um), np.bool_) if sure is None else sure
    cuts, owner = _partition(rules)
    measured = np.where(np.isnan(size_um), low_um, np.clip(size_um, low_um, high_um))
    low, middle, high = (_bins_of(cuts, sizes) for sizes in (low_um, measured, high_um))
    limits = [None if rule is None else rules[rule].limit for rule in owner]
    possible = _can_meet(low[real], high[real], limits)
    tallies = []
    for number, rule in enumerate(rules):
        own = owner.index(number)
        inside = middle == own
        count = int(np.count_nonzero(inside))
        fewest = int(np.count_nonzero((low == own) & (high == own) & real))
        most = int(np.count_nonzero((low <= own) & (high >= own)))
        if rule.limit is None or most <= rule.limit:
            decision = Decision.PASS
        # no rule alone may be broken for sure while all together are: then name those broken as measured
        elif fewest > rule.limit or (not possible and count > rule.limit):
            decision = Decision.FAIL
        else:
            decision = Decision.MARGINAL
        largest = float(np.max(size_um[inside], initial=0.0, where=~np.isnan(size_um[inside])))
        tallies.append(Tally(count, fewest, most, largest, decision))
    if not possible:
        return BinsVerdict(Decision.FAIL, tuple(tallies))
    passed = all(tally.decision == Decision.PASS for tally in tallies)
    return BinsVerdict(Decision.PASS if passed else Decision.MARGINAL, tuple(tallies))


def _partition(rules: Sequence[Rule]) -> tuple[list[Cut], list[int | None]]:
    """Return the lower ends of bins that fill all sizes, and the rule each belongs to (None: no rule)."""
    cuts: list[Cut] = [(0.0, 0)]
    owner: list[int | None] = [None]
    for number, rule in enumerate(rules):
        if cuts[-1] == rule.lower:
            owner[-1] = number
        else:
            cuts.append(rule.lower)
            owner.append(number)
        cuts.append(rule.upper)
        owner.append(None)
    return cuts, owner


def _bins_of(cuts: Sequence[Cut], sizes_um: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each size: the last whose lower end lies at or below it."""
    return np.array([bisect_right(cuts, (size, 0)) - 1 for size in sizes_um.tolist()], np.intp)


def _can_meet(low: NDArray[np.intp], high: NDArray[np.intp], limits: Sequence[int | None]) -> bool:
    """Return whether every thing finds a place in one of the bins low..high without breaking a limit.

    Places are given away from the smallest bin up, first to the thing whose last bin comes first; for
    intervals of bins that finds a solution wherever there is one (Glover 1967, convex bipartite matching).
    """
    free = np.array([limit is None for limit in limits])
    # number of free bins below each bin: a thing that reaches a free one needs no place
    below = np.concatenate([[0], np.cumsum(free)])
    bound = below[high + 1] == below[low]
    order = np.argsort(low[bound], kind="stable")
    starts, ends = low[bound][order].tolist(), high[bound][order].tolist()
    waiting: list[int] = []
    upcoming = 0
    for number, limit in enumerate(limits):
        while upcoming < len(starts) and starts[upcoming] == number:
            heapq.heappush(waiting, ends[upcoming])
            upcoming += 1
        for _ in range(min(limit or 0, len(waiting))):
            heapq.heappop(waiting)
        if waiting and waiting[0] <= number:
            return False
    return True
