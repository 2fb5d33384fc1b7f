"""Whether the pixel pitch of an image agrees with that of the other images of its scope.

A pitch taken from "the cladding is 125 um wide" is wrong for a fibre of another size. The other images of the
same frame size tell: a microscope does not change its magnification between two fibres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.batch.brief import Brief

MIN_IMAGES = 5
# claddings of one make differ by 1 um, and their rims are found to better than that
_AGREEING = 0.015
_DISAGREEING = 0.04
_MAJORITY = 0.6
# claddings that are sold, besides the nominal one
KNOWN_CLADDINGS_UM = (80.0, 125.0, 140.0, 200.0, 230.0)
# where there is a gap round the fibre, its far edge may be taken for the rim
_NEAR_KNOWN = 0.03


@dataclass(frozen=True, slots=True)
class PitchDoubt:
    """An image whose pitch disagrees with its scope's.

    Attributes
    ----------
    own, scope : (float, float)
        um per px along x and y, from the image itself and from most images of its scope.
    cladding_um : float
        What the cladding measures by the pitch of the scope.
    known_um : float or None
        The cladding that is sold and nearest to it: then another fibre explains the pitch, and another
        microscope or a rim that was not found rightly need not be thought of. None where there is none.
    """

    own: tuple[float, float]
    scope: tuple[float, float]
    cladding_um: float
    known_um: float | None


def pitch_doubts(rows: Sequence[Brief], *, cladding_um: float) -> dict[int, PitchDoubt]:
    """Return the images whose pitch disagrees with that of their scope, by position.

    Parameters
    ----------
    rows : sequence of Brief
        All images. Only a pitch that comes from the cladding is looked at.
    cladding_um : float
        The nominal cladding the pitches were taken from.

    Notes
    -----
    A scope is a frame size. Its pitch is known where at least five images, and six of ten, agree within
    1.5 %.

    Examples
    --------
    >>> pitches = [0.431, 0.430, 0.432, 0.431, 0.431, 0.385]
    >>> rows = [Brief("a.png", "a", "", True, "", 640, 480, "cladding", p, p) for p in pitches]
    >>> found = pitch_doubts(rows, cladding_um=125.0)
    >>> list(found), round(found[5].cladding_um), found[5].known_um
    ([5], 140, 140.0)
    """
    scopes: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        if row.calibration == "cladding":
            scopes.setdefault((row.width_px, row.height_px), []).append(place)
    doubts = {}
    for places in scopes.values():
        pitch = np.array([(rows[k].um_per_px_x, rows[k].um_per_px_y) for k in places], float)
        agreed = _consensus(pitch)
        if agreed is None:
            continue
        ratio = np.sqrt(np.prod(agreed / pitch, axis=1))
        for k in np.flatnonzero(np.abs(np.log(ratio)) > _DISAGREEING):
            width = cladding_um * float(ratio[k])
            apart = np.abs(np.log(width / np.array(KNOWN_CLADDINGS_UM)))
            nearest = int(apart.argmin())
            known_um = KNOWN_CLADDINGS_UM[nearest] if apart[nearest] < _NEAR_KNOWN else None
            own = (float(pitch[k, 0]), float(pitch[k, 1]))
            doubts[places[k]] = PitchDoubt(own, (float(agreed[0]), float(agreed[1])), width, known_um)
    return doubts


def _consensus(pitch: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the median pitch (x, y) of the largest group that agrees, None where it is too small."""
    order = np.argsort(np.prod(pitch, axis=1), kind="stable")
    mean = 0.5 * np.log(np.prod(pitch, axis=1))[order]
    ends = np.searchsorted(mean, mean + 2 * _AGREEING, side="right")
    start = int((ends - np.arange(len(ends))).argmax())
    agreeing = order[start : ends[start]]
    if len(agreeing) < max(MIN_IMAGES, _MAJORITY * len(pitch)):
        return None
    return np.asarray(np.median(pitch[agreeing], axis=0))
