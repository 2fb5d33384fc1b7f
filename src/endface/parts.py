"""A table of any length: in memory while it is short, then in files, written at the end without being held.

Knows tables and files. Does not know columns or what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import polars as pl

from endface.places import Address, write_bytes

ROWS_IN_MEMORY = 5_000
ROW_GROUP = 10_000


class Parts:
    """A table that grows by parts with the same columns.

    Parameters
    ----------
    folder : Path
        Where parts go that do not fit: an existing folder of this machine, kept until the table is written.
    rows_in_memory : int, optional
        So many rows are held before they go to a file; `ROWS_IN_MEMORY` where not given.

    Examples
    --------
    >>> import tempfile
    >>> table = Parts(Path(tempfile.mkdtemp()), rows_in_memory=2)
    >>> for start in range(0, 6, 2):
    ...     table.append(pl.DataFrame({"n": [start, start + 1]}))
    >>> table.height, [part["n"].to_list() for part in table]
    (6, [[0, 1], [2, 3], [4, 5]])
    """

    def __init__(self, folder: Path, *, rows_in_memory: int | None = None) -> None:
        self._folder, self._limit = folder, rows_in_memory or ROWS_IN_MEMORY
        self._held: list[pl.DataFrame] = []
        self._files: list[Path] = []
        self.height = 0

    def append(self, table: pl.DataFrame) -> None:
        """Add rows at the end."""
        self._held.append(table)
        self.height += table.height
        if sum(part.height for part in self._held) >= self._limit:
            self._files.append(self._folder / f"{uuid4().hex}.parquet")
            self._together().write_parquet(self._files[-1], compression="lz4", statistics=False)
            self._held.clear()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield the table part by part."""
        for file in self._files:
            yield pl.read_parquet(file, memory_map=False)
        if self._held:
            yield self._together()

    def write(self, *paths: Path) -> None:
        """Write the table as CSV or parquet, by the suffix of each path."""
        whole = pl.concat(
            [*map(pl.scan_parquet, self._files), self._together().lazy()], how="diagonal_relaxed"
        )
        for path in paths:
            # a short name of its own: the final one may already be as long as the file system allows
            near = self._folder if isinstance(path, Address) else path.parent
            near.mkdir(parents=True, exist_ok=True)
            temporary = near / f".{uuid4().hex[:12]}.tmp"
            try:
                if path.suffix == ".csv":
                    self._write_csv(temporary, whole.collect_schema())
                else:
                    whole.sink_parquet(
                        temporary, compression="zstd", statistics=False, row_group_size=ROW_GROUP
                    )
                if isinstance(path, Address):
                    write_bytes(path, temporary.read_bytes())
                else:
                    temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _write_csv(self, path: Path, schema: pl.Schema) -> None:
        # part by part takes half the memory of a sink
        with path.open("wb") as file:
            pl.DataFrame(schema=schema).write_csv(file)
            for part in self:
                _without_empty_text(part.cast(schema)).write_csv(file, include_header=False)

    def _together(self) -> pl.DataFrame:
        return pl.concat(self._held, how="diagonal_relaxed") if self._held else pl.DataFrame()


def _without_empty_text(table: pl.DataFrame) -> pl.DataFrame:
    # an empty text is as good as none, and easier on the eye without its quotes
    return table.with_columns(pl.selectors.string().replace("", None))
