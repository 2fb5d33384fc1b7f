"""Renderers with exact truth: fibre end faces from nothing, or defects on real clean images."""

from endface.synthesis.presets import PRESETS, DefectMix, Preset
from endface.synthesis.scene import render_endface
from endface.synthesis.truth import DefectTruth, RenderedImage, SceneTruth
from endface.synthesis.write import WrittenSet, iter_set, render_of_set, write_set

__all__ = [
    "PRESETS",
    "DefectMix",
    "DefectTruth",
    "Preset",
    "RenderedImage",
    "SceneTruth",
    "WrittenSet",
    "iter_set",
    "render_endface",
    "render_of_set",
    "write_set",
]
