"""The repeatability study as one self-contained HTML page, in the look of the evaluation's."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from endface.evaluation.page import number, share

if TYPE_CHECKING:
    from endface.evaluation.repeatability import Repeatability


def render_repeatability(found: Repeatability) -> str:
    """Return the HTML of a study; the same study gives the same text."""
    folder = resources.files("endface.evaluation")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(share=share, number=number)
    template = environment.from_string((folder / "repeatability.html.j2").read_text(encoding="utf-8"))
    page = (folder / "evaluation.html.j2").read_text(encoding="utf-8")
    style = re.search(r"<style>.*?</style>", page, re.DOTALL)
    assert style is not None
    return template.render(r=found, style=Markup(style.group()))
