"""The command line: quick to answer, exit codes of the contract, no traceback for what a user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

import endface
from endface.cli import app
from endface.config import Settings
from endface.store import write_gray


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    write_gray(
        tmp_path / "in" / "dark.png", np.random.default_rng(0).integers(5, 9, (64, 80)).astype(np.uint8)
    )
    return tmp_path / "in"


def test_help_needs_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "polars", "numba", "sklearn", "scipy", "pydantic", "PIL", "yaml", "rich"}
    code = (
        "import sys; from typer.testing import CliRunner; from endface.cli import app; "
        f"print(CliRunner().invoke(app, ['--help']).output, {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "evaluate" in done.stdout
    assert done.stdout.endswith("set()\n")


def test_version() -> None:
    assert call("--version").output == f"endface {endface.__version__}\n"


def test_done_is_0_and_some_failed_is_1(dark: Path, tmp_path: Path) -> None:
    done = call("run", dark, "-o", tmp_path / "out", "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "1 INDETERMINATE" in done.output
    assert (tmp_path / "out" / "report.html").is_file()
    (dark / "bad.png").write_text("no image")
    done = call("run", dark, "-o", tmp_path / "out", "--jobs", 1, "--no-report")
    assert done.exit_code == 1
    assert "1 of 2 images done (1 taken over" in done.output
    assert "bad.png: expected an image" in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent", "-o", "OUT"], "no such file or folder"),
        (["run", "IN", "-o", "OUT", "--profile", "nonsense"], "nonsense"),
        (["run", "IN", "-o", "OUT", "--set", "detection.epsilonn=1"], "detection.epsilon"),
        (["run", "IN", "-o", "OUT", "--set", "epsilon"], "KEY=VALUE"),
        (["run", "IN", "-o", "OUT", "--surface", "moon"], "'fiber' or 'plain'"),
        (["run", "IN", "-o", "OUT", "--config", "absent.yaml"], "no such settings file"),
        (["run", "IN", "-o", "OUT", "--fail-on", "everything"], "expected reject"),
        (["run", "IN", "-o", "OUT", "--jobs", "0"], "--jobs"),
        (["run", "IN", "-o", "IN"], "not those of a run"),
        (["run", "IN"], "--out"),
        (["grade", "IN"], "no run.json"),
        (["profiles", "nonsense"], "nonsense"),
        (["config", "--set", "seed=x"], "seed"),
        (["synth", "--preset", "nonsense", "-o", "OUT"], "nonsense"),
        (["synth", "-n", "0", "-o", "OUT"], "-n"),
        (["synth", "--backgrounds", "IN", "-o", "OUT"], "no fibre found in any of 1 images"),
        (["evaluate", "IN", "IN", "-o", "OUT"], "run"),
        (["bench", "detectors", "--real", "IN"], "endface/labels"),
    ],
)
def test_bad_usage_is_2_and_writes_nothing(
    dark: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    names = {"IN": dark, "OUT": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    done = call(*[names.get(argument, argument) for argument in arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output + done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_config_prints_a_file_that_it_reads_back(tmp_path: Path) -> None:
    printed = call("config", "--set", "seed=4", "--set", "clustering.names.2=pit_chip")
    assert printed.exit_code == 0
    (tmp_path / "again.yaml").write_text(printed.output)
    assert Settings.model_validate(yaml.safe_load(printed.output)).seed == 4
    again = call("config", "--config", tmp_path / "again.yaml").output
    assert yaml.safe_load(again) == yaml.safe_load(printed.output)
    line = next(line for line in printed.output.splitlines() if line.startswith("seed: 4"))
    assert line.endswith("# command line")


def test_profiles_are_listed_and_shown() -> None:
    listed = call("profiles").output
    assert "sm_upc" in listed
    assert "mm_pc" in listed
    shown = yaml.safe_load(call("profiles", "sm_upc").output)
    assert shown["zone_diameters_um"]["A"][0] == 0


def test_a_picture_called_like_an_option_and_names_from_other_alphabets(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(90, 110, (64, 80)).astype(np.uint8)
    write_gray(tmp_path / "in" / "光ファイバー é.png", image)
    done = call("run", tmp_path / "in", "-o", tmp_path / "out dir", "--jobs", 1, "--no-report")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out dir/pixel_level/masks/光ファイバー é_mask.png").is_file()


# ── truth: render, compare, bench ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two rendered images and the run over them."""
    folder = tmp_path_factory.mktemp("rendered set")
    made = call("synth", "-n", 2, "--seed", 1, "--preset", "sample", "-o", folder / "set")
    assert made.exit_code == 0, made.output
    assert "2 images, 1 of them clean" in made.output
    assert f"images: {folder / 'set' / 'images'}" in made.output
    assert call("run", folder / "set/images", "-o", folder / "out", "--jobs", 1).exit_code == 0
    return folder / "set", folder / "out"


def test_a_run_is_compared_with_the_truth(rendered: tuple[Path, Path], tmp_path: Path) -> None:
    truth, out = rendered
    done = call("evaluate", out, truth, "-o", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    assert "2 of 2 images compared" in done.output
    assert "fibres found: 2 of 2" in done.output
    assert f"evaluation: {tmp_path / 'figures/evaluation.html'}" in done.output
    assert (tmp_path / "figures/evaluation.html").is_file()


def test_images_that_cannot_be_compared_are_said_and_give_1(
    rendered: tuple[Path, Path], tmp_path: Path
) -> None:
    assert call("synth", "-n", 3, "--seed", 1, "--preset", "sample", "-o", tmp_path / "more").exit_code == 0
    done = call("evaluate", rendered[1], tmp_path / "more", "-o", tmp_path / "figures")
    assert done.exit_code == 1
    assert "2 of 3 images compared" in done.output
    assert "1 not in the run" in done.output


def test_defects_are_put_onto_images_of_ones_own(rendered: tuple[Path, Path], tmp_path: Path) -> None:
    folder = rendered[0] / "images"
    done = call("synth", "-n", 2, "-o", tmp_path / "set", "--preset", "sample", "--backgrounds", folder)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "set/images").iterdir())) == 2


def test_the_bench_prints_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from endface.evaluation import bench
    from endface.evaluation.bench import table

    asked: list[object] = []

    def measured(data: object, methods: object) -> tuple[object, ...]:
        asked.append(data)
        return ()

    monkeypatch.setattr(table, "measure_methods", measured)
    done = call("bench", "detectors", "--rendered", 3, "--seed", 5)
    assert done.exit_code == 0, done.output
    assert "endface bench detectors --rendered 3 --seed 5" in done.output
    assert len(asked) == 1
    assert isinstance(asked[0], bench.DataSet)
    assert call("bench", "detectors", "--rendered", 3, "-o", tmp_path / "bench").exit_code == 0
    assert (tmp_path / "bench/detectors.md").is_file()
