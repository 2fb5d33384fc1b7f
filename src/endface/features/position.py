"""Where defects lie: the zones they touch, and their place relative to the cladding."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, IecZone, Zones
from endface.imaging.patches import Floats, Indexes, Patches

ON_RIM = 0.04  # of the cladding radius: 2.5 um of 62.5 um
ZONE_ORDER = (
    AnatomyZone.CORE,
    AnatomyZone.CLADDING,
    AnatomyZone.ADHESIVE,
    AnatomyZone.FERRULE,
    AnatomyZone.OUTSIDE,
)
IEC_NAMES = {IecZone.A: "A", IecZone.B: "B", IecZone.C: "C", IecZone.D: "D", IecZone.OUTSIDE: "outside"}


def zones_touched(
    anatomy: NDArray[np.uint8],
    iec: NDArray[np.uint8],
    patches: Patches,
    rows: Indexes,
    cols: Indexes,
    *,
    centroids: Floats,
) -> list[dict[str, object]]:
    """Return which zones each defect touches, and in which it has its centroid.

    Parameters
    ----------
    anatomy, iec : (H, W) uint8 ndarray
        Codes of `AnatomyZone` and of `IecZone`.
    patches : Patches
    rows, cols : (P,) int64 ndarray
        Where the pixels of the patches lie in the image.
    centroids : (N, 2) float64 ndarray
        Row and column in the image.
    """
    codes = iec[rows, cols]
    in_anatomy, in_iec = (
        np.bincount(patches.owner * 8 + zone, minlength=8 * patches.n).reshape(-1, 8) > 0
        for zone in (anatomy[rows, cols], codes)
    )
    centre = centroids[patches.owner]
    away = (rows - centre[:, 0]) ** 2 + (cols - centre[:, 1]) ** 2
    nearest = np.flatnonzero(away == np.minimum.reduceat(away, patches.firsts)[patches.owner])
    nearest = nearest[np.searchsorted(nearest, patches.firsts)]  # the first of several
    found: list[dict[str, object]] = []
    for zones, touched, own in zip(
        in_anatomy.tolist(), in_iec.tolist(), codes[nearest].tolist(), strict=True
    ):
        names = [IEC_NAMES[zone] for zone in IecZone if zone and touched[zone]] or ["outside"]
        found.append(
            {
                "anatomy_zone": next(zone.name.lower() for zone in ZONE_ORDER if zones[zone]),
                "iec_zone": names[0],
                "iec_zone_centroid": IEC_NAMES[IecZone(own)],
                "iec_zones": ";".join(names),
            }
        )
    return found


_POSITION = (
    "distance_px",
    "distance_um",
    "inner_distance_um",
    "angle_deg",
    "radius_norm",
    "rim_distance_norm",
    "rim_distance_um",
    "beyond_rim_um",
    "rim_share",
)


def positions(
    zones: Zones, patches: Patches, rows: Indexes, cols: Indexes, *, centroids: Floats
) -> list[dict[str, object]]:
    """Return where each defect lies relative to the cladding; nothing is known where none was found.

    Parameters are those of `zones_touched`.
    """
    rim = zones.cladding
    if rim is None:
        return [dict.fromkeys(_POSITION)] * patches.n
    sy, sx = zones.calibration.spacing_um
    unknown = [None] * patches.n
    known = zones.calibration.known
    dy, dx = centroids[:, 0] - rim.cy_px, centroids[:, 1] - rim.cx_px
    radii = np.asarray(rim.normalized_radius(cols, rows))
    inner, outer = (part.reduceat(radii, patches.firsts) for part in (np.minimum, np.maximum))
    reach_um = np.minimum.reduceat(np.hypot((rows - rim.cy_px) * sy, (cols - rim.cx_px) * sx), patches.firsts)
    gap = np.maximum(0.0, np.maximum(inner - 1.0, 1.0 - outer))
    radius = math.sqrt(rim.rx_px * sx * rim.ry_px * sy)
    columns = (
        np.hypot(dx, dy).tolist(),
        np.hypot(dx * sx, dy * sy).tolist() if known else unknown,
        reach_um.tolist() if known else unknown,
        (np.degrees(np.arctan2(-dy * sy, dx * sx)) % 360.0).tolist(),
        np.asarray(rim.normalized_radius(centroids[:, 1], centroids[:, 0])).tolist(),
        gap.tolist(),
        (gap * radius).tolist() if known else unknown,
        ((outer - 1.0) * radius).tolist() if known else unknown,
        (patches.total(np.abs(radii - 1.0) < ON_RIM) / patches.counts).tolist(),
    )
    return [dict(zip(_POSITION, row, strict=True)) for row in zip(*columns, strict=True)]
