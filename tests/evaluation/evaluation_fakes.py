"""Images of a run as they shall be, and small true defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.evaluation.scenes import TruthDefect, TruthScene, defect_of_mask
from endface.imaging.ellipse import Ellipse


@dataclass
class FakeFind:
    """A row of the defect table."""

    type: str = "contamination"
    confidence: float = 0.9
    diameter_um: float | None = None
    length_um: float | None = None


@dataclass
class FakeImage:
    """One image of a run as it shall be written."""

    image: str
    instances: NDArray[np.integer]
    finds: Sequence[FakeFind] = ()
    verdict: str = "PASS"
    profile: str = "sm_upc"
    cladding: Ellipse | None = None
    core: Ellipse | None = None
    um_per_px: tuple[float, float] | None = None
    image_id: str = field(default="")

    def __post_init__(self) -> None:
        self.image_id = self.image_id or self.image.rsplit(".", 1)[0].replace("/", "__")


def perfect(scene: TruthScene, *, verdict: str = "PASS", image: str = "") -> FakeImage:
    """Return the image of a run that found exactly what is true."""
    instances = np.zeros(scene.shape, np.uint16)
    for number, defect in enumerate(scene.defects, start=1):
        instances[defect.box][defect.body] = number
    return FakeImage(
        image or f"{scene.image_id}.png",
        instances,
        [FakeFind(d.defect_class.label, 0.9, d.sizes.diameter_um, d.sizes.length_um) for d in scene.defects],
        verdict,
        cladding=scene.cladding,
        core=scene.core,
        um_per_px=scene.um_per_px,
    )


def square(
    row: int, col: int, size: int, *, kind: DefectClass = DefectClass.CONTAMINATION, certainty: str = "sure"
) -> TruthDefect:
    """Return a square true defect."""
    defect = defect_of_mask(
        np.ones((size, size), bool),
        defect_class=kind,
        kind=kind.label,
        x_px=col,
        y_px=row,
        certainty=certainty,
    )
    assert defect is not None
    return defect
