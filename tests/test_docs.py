"""The documentation: links lead somewhere, settings and commands in it exist, Python in it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from endface.cli import app
from endface.config import Settings, flatten
from endface.store import write_gray
from endface.synthesis import render_of_set

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_page_can_be_reached() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index.read_text())}
    assert {page for page in PAGES if page.parent != ROOT} - {index} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    keys = flatten(Settings().model_dump())
    sections = {key.split(".")[0] for key in keys if "." in key}
    text = page.read_text()
    named = re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", text) + re.findall(r"--set ([a-z_.]+)=", text)
    for name in named:
        if name.split(".")[0] in sections and not name.endswith((".py", ".csv")):
            assert name in keys, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in re.findall(r"^(?:`+)?endface ([a-z].*)$", page.read_text(), flags=re.MULTILINE):
        words = line.split("#")[0].split("`")[0].split()
        command = get_command(app)
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in words if word.startswith("-")} <= options, line


def test_python_of_the_how_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_gray(tmp_path / "a.png", render_of_set(seed=1, index=0, preset="sample").image)
    page = (ROOT / "docs/how-to/use-from-python.md").read_text()
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, scope)
    assert {"annotation", "picture", "rendered"} <= set(scope)
