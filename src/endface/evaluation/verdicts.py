"""The true verdict of an image: its true defects graded by the profile the run used, sizes taken as exact."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import polars as pl

from endface.annotation import Decision
from endface.evaluation.comparison import true_sizes
from endface.evaluation.scenes import TruthDefect, TruthScene
from endface.grading import Profile, choose_profile, grade, load_profile

_load = lru_cache(maxsize=32)(load_profile)
_COLUMNS = {"type": pl.String, "iec_zone": pl.String, "diameter_um": pl.Float64, "width_um": pl.Float64}


def true_verdict(scene: TruthScene, *, profile: str) -> Decision | None:
    """Grade the sure defects of a rendered image.

    Parameters
    ----------
    profile : str
        Name or path; 'auto' or '' chooses by the true core diameter.

    Returns
    -------
    Decision or None
        None where the truth does not tell enough: no zones, no pixel pitch, or sizes that nobody measured
        (hand-made labels and COCO).

    Notes
    -----
    Faint defects (below the SNR from which an inspector sees them) do not count. A defect belongs to the
    innermost zone that its visible pixels touch.
    """
    if scene.source != "rendered" or scene.cladding is None or scene.um_per_px is None:
        return None
    if profile in ("", "auto"):
        pitch = math.sqrt(math.prod(scene.um_per_px))
        profile = choose_profile(None if scene.core is None else 2 * scene.core.radius_px * pitch)
    rules = _load(profile)
    sure = [defect for defect in scene.defects if defect.certainty == "sure"]
    rows = [_row(defect, scene, rules) for defect in sure]
    table = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    verdict = grade(table, rules, found=True, um_per_px=scene.um_per_px, size_uncertainty_px=0.0)
    return verdict.decision


def _row(
    defect: TruthDefect, scene: TruthScene, profile: Profile
) -> tuple[str, str, float | None, float | None]:
    diameter_um, _ = true_sizes(defect, scene.um_per_px)
    return (
        defect.defect_class.label,
        innermost_zone(defect, scene, profile),
        diameter_um,
        defect.sizes.width_um,
    )


def innermost_zone(defect: TruthDefect, scene: TruthScene, profile: Profile) -> str:
    """Return the name of the zone of the defect's pixel nearest to the fibre's centre, or 'outside'."""
    assert scene.cladding is not None
    assert scene.um_per_px is not None
    rows, cols = np.nonzero(defect.body)
    dx = (cols + defect.x_px - scene.cladding.cx_px) * scene.um_per_px[0]
    dy = (rows + defect.y_px - scene.cladding.cy_px) * scene.um_per_px[1]
    across = 2 * float(np.hypot(dx, dy).min())
    for name, (inner, outer) in profile.zone_diameters_um.items():
        if inner <= across < outer:
            return name
    return "outside"
