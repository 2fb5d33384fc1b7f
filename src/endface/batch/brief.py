"""The few words that are kept of every image while the batch is studied."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from endface.errors import FormatError
from endface.inputs import InputImage
from endface.store import RunFolder, read_content


@dataclass(frozen=True, slots=True)
class Brief:
    """One image of a run; a hundred thousand of them take some tens of megabytes.

    Columns of the image table where nothing else is said.

    Attributes
    ----------
    digest : str
        SHA-256 of the input's bytes.
    """

    image: str
    image_id: str
    digest: str
    found: bool
    not_found_reason: str
    width_px: int
    height_px: int
    calibration: str
    um_per_px_x: float | None
    um_per_px_y: float | None


def read_brief(folder: RunFolder, source: InputImage) -> Brief:
    """Read the brief of a finished image.

    Raises
    ------
    FormatError
        If its record is missing or damaged.
    """
    content = read_content(folder, source.image_id)
    try:
        row = content["row"]
        return Brief(
            image=source.image,
            image_id=source.image_id,
            digest=content["digest"],
            found=row["found"],
            not_found_reason=sys.intern(row["not_found_reason"]),
            width_px=row["width_px"],
            height_px=row["height_px"],
            calibration=sys.intern(row["calibration"]),
            um_per_px_x=row["um_per_px_x"],
            um_per_px_y=row["um_per_px_y"],
        )
    except (KeyError, TypeError):
        raise FormatError(f"{folder.record(source.image_id)}: damaged meanwhile", hint="Run again.") from None
