"""Read maps of codes (PNG) as they are: class, zone and instance maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from endface.errors import FormatError


def read_codes(path: Path) -> NDArray[np.integer]:
    """Return the (H, W) codes of a palette or gray PNG of 8 or 16 bits.

    Raises
    ------
    FormatError
        If the file is missing, is no image, or has several channels.
    """
    hint = "Run or render the set again; the file was not written completely or was changed."
    try:
        with Image.open(path) as image:
            codes = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(
            f"{path}: expected a map of codes, found {type(error).__name__}: {error}", hint=hint
        ) from error
    if codes.ndim != 2 or codes.dtype.kind not in "ui":
        raise FormatError(
            f"{path}: expected one channel of whole numbers, found shape {codes.shape} and {codes.dtype}",
            hint=hint,
        )
    return codes
