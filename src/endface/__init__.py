"""Inspect, measure, grade and annotate images of optical surfaces: fibre end faces and cover glass.

>>> import endface, numpy as np
>>> annotation = endface.annotate(np.full((64, 64), 90, np.uint8))
>>> annotation.verdict.decision.value
'INDETERMINATE'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endface.annotation import (
        AnatomyZone,
        Annotation,
        Calibration,
        Decision,
        Defect,
        DefectClass,
        IecZone,
        Verdict,
        Zones,
    )
    from endface.config import Settings, load_settings
    from endface.detection import detect_defects
    from endface.errors import EndfaceError
    from endface.features import measure_defects, measure_zones
    from endface.finishing import RunSummary
    from endface.grading import Profile, grade, load_profile
    from endface.pipeline import annotate, regrade, run
    from endface.samples import Sample, read_sample
    from endface.zones import iec_map, plain_zones, segment_zones

__version__ = "0.1.0"

# nothing is imported before it is asked for: `endface --help` and `import endface` stay quick
_HOMES = {
    "annotation": (
        "AnatomyZone",
        "Annotation",
        "Calibration",
        "Decision",
        "Defect",
        "DefectClass",
        "IecZone",
        "Verdict",
        "Zones",
    ),
    "config": ("Settings", "load_settings"),
    "detection": ("detect_defects",),
    "errors": ("EndfaceError",),
    "features": ("measure_defects", "measure_zones"),
    "grading": ("Profile", "grade", "load_profile"),
    "finishing": ("RunSummary",),
    "pipeline": ("annotate", "regrade", "run"),
    "samples": ("Sample", "read_sample"),
    "zones": ("iec_map", "plain_zones", "segment_zones"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnatomyZone",
    "Annotation",
    "Calibration",
    "Decision",
    "Defect",
    "DefectClass",
    "EndfaceError",
    "IecZone",
    "Profile",
    "RunSummary",
    "Sample",
    "Settings",
    "Verdict",
    "Zones",
    "annotate",
    "detect_defects",
    "grade",
    "iec_map",
    "load_profile",
    "load_settings",
    "measure_defects",
    "measure_zones",
    "plain_zones",
    "read_sample",
    "regrade",
    "run",
    "segment_zones",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'endface' has no attribute {name!r}")
    return getattr(import_module(f"endface.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
