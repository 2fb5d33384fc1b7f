"""The public names: what `import endface` promises. A name taken away or renamed breaks a program."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

import endface

SURFACE = {
    "endface": """
        AnatomyZone Annotation Calibration Decision Defect DefectClass EndfaceError IecZone Profile RunSummary
        Sample Settings Verdict Zones annotate detect_defects grade iec_map load_profile load_settings
        measure_defects measure_zones plain_zones read_sample regrade run segment_zones
    """,
    "endface.synthesis": """
        DefectMix DefectTruth PRESETS Preset RenderedImage SceneTruth WrittenSet iter_set render_endface
        render_of_set write_set
    """,
    "endface.report": "write_cluster_sheets write_report",
    "endface.evaluation.bench": """
        BenchImage BenchRow DataSet DetectorBench Method OperatingPoint bench_detectors bench_methods markdown
        measure_methods
    """,
}
NAMES = [(module, name) for module, names in SURFACE.items() for name in names.split()]


@pytest.mark.parametrize("module", SURFACE)
def test_public_names_are_these(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(SURFACE[module].split())


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_name_is_documented_and_typed(module: str, name: str) -> None:
    thing: Any = getattr(importlib.import_module(module), name)
    if not callable(thing):
        return
    assert thing.__module__.startswith("endface.")
    # a dataclass without a docstring gets its signature as one
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_names_are_found_by_completion_and_wrong_ones_are_refused() -> None:
    assert set(dir(endface)) >= {*endface.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = endface.no_such_thing


def test_import_alone_loads_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "polars", "numba", "sklearn", "scipy", "skimage", "pydantic"}
    code = f"import sys, endface; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
