"""A sample of the defects of a run, drawn while they pass by."""

from __future__ import annotations

import zlib
from collections import Counter

import polars as pl

from endface.rules import class_probabilities, decide

# what nobody who looks at the sample asks for
_LEFT_OUT = pl.selectors.matches("^(hu_|lbp_|glcm_(contrast|homogeneity|energy)|n_(end|branch))")


class Sample:
    """An even sample of any number of defects, drawn from the types the rules give, a part at a time.

    The same defects are drawn whatever the order and the parts they come in: those whose names have the
    smallest checksums. Of every type there are at least an eighth of the sample, or all.

    Parameters
    ----------
    limit : int
        All defects are taken up to this number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = pl.DataFrame()
        self._room = limit
        self._counts: Counter[str] = Counter()

    def add(self, table: pl.DataFrame) -> None:
        """Take defects into account; `image_id` tells images apart where there are several."""
        kinds = decide(class_probabilities(table))[0]
        self._counts.update(map(str, kinds))
        key = [name for name in ("image_id", "instance") if name in table.columns]
        ranks = [zlib.crc32(repr(names).encode()) for names in table.select(key).iter_rows()]
        part = table.select(~_LEFT_OUT).with_columns(
            pl.Series("_stratum", kinds, pl.String), pl.Series("_rank", ranks, pl.UInt32)
        )
        joined = part if self._kept.is_empty() else pl.concat([self._kept, part])
        self._kept = joined
        if joined.height > self._room:
            self._kept = self._smallest(joined, self._limit)
            # sorting takes its time: not every time a few are too many
            self._room = self._kept.height + self._limit // 4

    def table(self) -> pl.DataFrame:
        """Return the sample, ordered by image and instance."""
        total, limit = self._counts.total(), self._limit
        rows = self._kept
        if total > limit:
            shares = {
                kind: max(limit * count // total, min(count, limit // 8))
                for kind, count in self._counts.items()
            }
            parts = [self._smallest(rows.filter(_stratum=kind), share) for kind, share in shares.items()]
            rows = pl.concat(parts).sort("_rank", *_order(rows)).head(limit)
        return rows.sort(_order(rows), maintain_order=True)

    @staticmethod
    def _smallest(rows: pl.DataFrame, most: int) -> pl.DataFrame:
        best = rows.sort("_rank", *_order(rows)).group_by("_stratum", maintain_order=True).head(most)
        return best.select(rows.columns)


def _order(table: pl.DataFrame) -> list[str]:
    return [name for name in ("image_id", "instance") if name in table.columns]
