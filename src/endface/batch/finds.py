"""The finds of one image as the study of the optics needs them: where they lie, and which pixels can tell.

Taken from the record alone, where they take a few kilobytes; no mask is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endface.errors import FormatError
from endface.imaging.ellipse import Ellipse
from endface.store import RunFolder, read_content, rims_from_record, unpack_pixels

COARSE = 4
"""Step of the maps of pixels that can tell."""


@dataclass(frozen=True, slots=True)
class Finds:
    """What was found in one image, before anything was taken out.

    Attributes
    ----------
    shape : (int, int)
        Height and width.
    rims : tuple of Ellipse
        Cladding and core: along these a fibre that stays in place looks like a mark.
    packed : str
        Where the finds lie.
    instances : (n,) int64 ndarray
        Their numbers.
    bright : (n,) bool ndarray
        Which are brighter than their surroundings.
    contrast : (n,) float64 ndarray
        Grey levels above the surroundings.
    """

    shape: tuple[int, int]
    rims: tuple[Ellipse, ...]
    packed: str
    instances: NDArray[np.int64]
    bright: NDArray[np.bool_]
    contrast: NDArray[np.float64]

    def pixels(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the number of the find and the flat index of every pixel."""
        return unpack_pixels(self.packed)

    def can_tell(self, places: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether pixels, by flat index, are far enough from rim and core."""
        y, x = np.divmod(places, self.shape[1])
        able = np.ones(places.shape, np.bool_)
        for rim in self.rims:
            able &= _apart(rim, rim.normalized_radius(x, y))
        return able

    def coarse_map(self) -> NDArray[np.bool_]:
        """Return `can_tell` of every fourth pixel of every fourth row."""
        shape = (-(-self.shape[0] // COARSE), -(-self.shape[1] // COARSE))
        able = np.ones(shape, np.bool_)
        for rim in self.rims:
            small = Ellipse(*(part / COARSE for part in (rim.cx_px, rim.cy_px, rim.rx_px, rim.ry_px)))
            able &= _apart(rim, small.radius_map(shape))
        return able


def read_finds(folder: RunFolder, image_id: str) -> Finds:
    """Read the finds of one image."""
    content = read_content(folder, image_id)
    try:
        columns = {name: values for name, _, values in content["columns"]}
        row, zones = content["row"], content["zones"]
        return Finds(
            shape=(row["height_px"], row["width_px"]),
            rims=tuple(rim for rim in rims_from_record(zones) if rim is not None),
            packed=content["pixels"],
            instances=np.array(columns["instance"], np.int64),
            bright=np.array([(value or 0) > 0 for value in columns["polarity"]], np.bool_),
            contrast=np.array([value or 0.0 for value in columns["contrast_gray"]], np.float64),
        )
    except (KeyError, TypeError):
        raise FormatError(f"{folder.record(image_id)}: damaged meanwhile", hint="Run again.") from None


def _apart(rim: Ellipse, radius: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(radius - 1) * rim.radius_px > max(4.0, 0.05 * rim.radius_px))
