"""Groups of images of a run that show the same face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from endface.batch.brief import Brief
from endface.faces import N_COLUMNS, chart_from, describe, likely_pairs, same_face
from endface.imaging.acontrario import score_threshold
from endface.imaging.facechart import Waves, waves_of
from endface.store import RunFolder, read_png

EPSILON = 1e-3
"""Pairs of different faces taken for one, expected in a run."""


def group_faces(folder: RunFolder, records: Sequence[Brief]) -> list[int]:
    """Return the number of the face each image shows, from 1; 0 where no other image shows it."""

    @lru_cache(maxsize=256)
    def waves(place: int) -> Waves:
        return waves_of(chart_from(read_png(folder.chart(records[place].image_id))))

    owner = _Sets(len(records))
    first: dict[str, int] = {}
    for place, record in enumerate(records):
        owner.join(first.setdefault(record.digest, place), place)
    places = [place for place in first.values() if records[place].found]
    if len(places) > 1:
        pairs = likely_pairs(lambda k: describe(waves(places[k])), len(places))
        # partners were chosen from all for being alike, so all pairs count as tested
        n_tests = 0.5 * len(places) * (len(places) - 1) * N_COLUMNS
        threshold = score_threshold(n_tests=n_tests, epsilon=EPSILON)
        for a, b in pairs:
            one, other = places[a], places[b]
            if not owner.joined(one, other) and same_face(waves(one), waves(other), min_surety=threshold):
                owner.join(one, other)
    return owner.numbers()


class _Sets:
    """Disjoint sets of numbers."""

    def __init__(self, n: int) -> None:
        self._above = list(range(n))

    def _top(self, k: int) -> int:
        while self._above[k] != k:
            self._above[k] = self._above[self._above[k]]
            k = self._above[k]
        return k

    def joined(self, a: int, b: int) -> bool:
        return self._top(a) == self._top(b)

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self._top(a), self._top(b)))
        self._above[high] = low

    def numbers(self) -> list[int]:
        """Return the number of each set of several members, from 1, and 0 for sets of one."""
        tops = [self._top(k) for k in range(len(self._above))]
        counts = Counter(tops)
        several = {top for top, count in counts.items() if count > 1}
        order = {top: number for number, top in enumerate(sorted(several), start=1)}
        return [order.get(top, 0) for top in tops]
