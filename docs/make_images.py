"""Make the pictures of the documentation with the project itself: `python docs/make_images.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import endface
from endface.annotation import DefectClass
from endface.imaging.draw import draw_overlay
from endface.synthesis import render_endface

SEED = 4


def main() -> None:
    """Render an end face, annotate it as a user would, and draw what was found."""
    image = render_endface(rng=np.random.default_rng(SEED), preset="sample", clean=False).image
    found = endface.annotate(image)
    codes = [0, *(DefectClass[name.upper()] for name in found.table["type"])]
    picture = draw_overlay(
        image,
        cladding=found.zones.cladding,
        core=found.zones.core,
        class_mask=np.asarray(codes, np.uint8)[found.instances()],
        iec=found.iec,
        core_measured=found.zones.core_source == "measured",
        legend=True,
    )
    Image.fromarray(picture).save(Path(__file__).parent / "images" / "overlay.png", optimize=True)


if __name__ == "__main__":
    main()
