"""All records of a run as one sequence that is never in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from endface.errors import FormatError
from endface.places import read_all
from endface.store import Record, RunFolder, read_record


class Journal(Sequence[Record]):
    """The records of finished images, read anew whenever they are asked for: none stays in memory.

    Raises FormatError where one is missing or damaged.
    """

    def __init__(self, folder: RunFolder, image_ids: Sequence[str]) -> None:
        self._folder, self.image_ids = folder, image_ids

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Journal: ...
    def __getitem__(self, place: int | slice) -> Record | Journal:
        if isinstance(place, slice):
            return Journal(self._folder, self.image_ids[place])
        return self._read(self.image_ids[place])

    def __iter__(self) -> Iterator[Record]:
        return read_all(self._read, self.image_ids, root=self._folder.root)

    def _read(self, image_id: str) -> Record:
        record = read_record(self._folder, image_id)
        if record is None:
            raise FormatError(f"{self._folder.record(image_id)}: damaged meanwhile", hint="Run again.")
        return record
