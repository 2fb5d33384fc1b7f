"""Settings: every value knows where it came from, every mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from endface.config import Settings, fingerprint, flatten, load_settings, parse_assignment
from endface.errors import SettingsError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_file_and_command_line_in_this_order(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", "detection: {epsilon: 0.5}\nsurface: plain\nseed: 3\n")
    resolved = load_settings(file, {"seed": 5})
    assert resolved.settings.detection.epsilon == 0.5
    assert resolved.settings.seed == 5
    origin = resolved.origins
    assert (origin["surface"], origin["seed"]) == ("file s.yaml", "command line")
    assert origin["detection.detector"] == "default"
    assert {key for key, _, _ in resolved.rows()} == set(origin)


def test_part_of_a_table_of_weights_keeps_the_rest(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.yaml", "severity:\n  zone_weights: {A: 0.5}\nclustering:\n  names: {2: pit_chip}\n"
    )
    settings = load_settings(file, {"severity.class_weights.scratch": 0.1}).settings
    assert settings.severity.zone_weights == Settings().severity.zone_weights | {"A": 0.5}
    assert settings.severity.class_weights["scratch"] == 0.1
    assert settings.clustering.names == {2: "pit_chip"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "detection: {epsilonn: 1}",
            ["unknown setting 'detection.epsilonn'", "s.yaml", "'detection.epsilon'"],
        ),
        ("epsilon: 1", ["unknown setting 'epsilon'", "'detection.epsilon'"]),
        ("detection: 3", ["detection", "expected a section"]),
        ("detection: {epsilon: -1}", ["detection.epsilon", "s.yaml", "greater than 0", "-1"]),
        ("surface: round", ["surface", "'fiber' or 'plain'", "'round'"]),
        ("- a\n- b", ["expected sections", "list"]),
        ("a: [1, 2", ["not valid YAML", "line"]),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path / "s.yaml", text))
    said = f"{caught.value.message} {caught.value.hint}"
    assert all(word in said for word in words), said


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "absent.yaml")
    assert load_settings(write(tmp_path / "empty.yaml", "")).settings == Settings()


def test_assignments() -> None:
    assert parse_assignment("output.overlays=false") == ("output.overlays", False)
    assert parse_assignment("grading.profile=a=b") == ("grading.profile", "a=b")
    for text in ("nothing", "=3"):
        with pytest.raises(SettingsError, match="KEY=VALUE"):
            parse_assignment(text)


def test_settings_survive_a_round_trip_through_their_own_leaves() -> None:
    settings = load_settings(overrides={"clustering.names.1": "scratch", "seed": 9}).settings
    again = load_settings(overrides=flatten(settings.model_dump(mode="json"))).settings
    assert again == settings
    assert fingerprint(again.model_dump(mode="json")) == fingerprint(settings.model_dump(mode="json"))
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
