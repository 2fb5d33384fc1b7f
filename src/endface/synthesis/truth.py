"""What is known about a rendered image: zones, masks, and every defect with its sizes and its visibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, DefectClass
from endface.imaging.ellipse import Ellipse
from endface.synthesis.fibre import FibreLook
from endface.synthesis.sensor import Instrument
from endface.synthesis.shapes import FloatMap


@dataclass(frozen=True, slots=True)
class DefectTruth:
    """What is known about one rendered defect.

    Attributes
    ----------
    instance : int
        Its number in the instance map.
    x_um, y_um : float
        Position (middle of a line) from the fibre's centre; `x_px, y_px` the same in pixels.
    diameter_um, length_um, width_um, area_um2 : float
        Sizes as drawn, before the optics (see `endface.synthesis.defects.Drawing`).
    visible_area_px, visible_area_um2 : float
        Size of the visible support (see `stage.SUPPORT_SHARE`), overlaps included.
    zone : AnatomyZone
        Zone of its position; `inner_zone` is the innermost one its support touches.
    nearest_um, farthest_um : float
        Smallest and largest distance of its support from the fibre's centre.
    contrast_gray : float
        Peak of the noise-free contribution (lines: median along the crest), signed by polarity.
    snr : float
        The smaller of two ratios: `|contrast_gray| / noise_gray`, and `sqrt(sum c**2) / noise_gray / 2.5`
        with `c` the contribution. The second is the matched-filter ratio and limits spots of few pixels: a
        value of 2.2 there is a matched ratio of 5.5, the least that stands out among a million noisy pixels.
    noise_gray : float
        Standard deviation of sensor noise, rounding and ferrule grain at its place.
    group : int
        Defects of one bundle, crossing or scatter share it.
    cut : bool
        Whether the image's border cuts it, so that its sizes are not all in the picture.
    """

    instance: int
    kind: str
    defect_class: DefectClass
    x_px: float
    y_px: float
    x_um: float
    y_um: float
    diameter_um: float
    length_um: float
    width_um: float
    area_um2: float
    visible_area_px: int
    visible_area_um2: float
    zone: AnatomyZone
    inner_zone: AnatomyZone
    nearest_um: float
    farthest_um: float
    polarity: int
    contrast_gray: float
    snr: float
    noise_gray: float
    group: int
    cut: bool


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """Everything known about a rendered image.

    Attributes
    ----------
    cladding, core : Ellipse
        Exact edges in pixels; `core_state` says whether the core shines.
    outer_um : float
        Radius at which the ferrule begins (larger than the cladding's where there is glue or a coating).
    anatomy, classes : (H, W) uint8 ndarray
        Codes of `AnatomyZone` and `DefectClass`.
    instances : (H, W) uint16 ndarray
        Number of the defect whose contribution is strongest there; 0 none.
    valid : (H, W) bool ndarray
        False on the dead border of the frame.
    """

    cladding: Ellipse
    core: Ellipse
    core_state: str
    outer_um: float
    um_per_px_x: float
    um_per_px_y: float
    anatomy: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    valid: NDArray[np.bool_]
    defects: tuple[DefectTruth, ...]
    look: FibreLook
    instrument: Instrument

    @property
    def clean(self) -> bool:
        """Whether there is nothing to find."""
        return not self.defects


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """A rendered image with its truth.

    Attributes
    ----------
    image : (H, W) uint8 or uint16 ndarray
    clean : (H, W) uint8 or uint16 ndarray
        The same exposure without defects: same face, same noise, same compression.
    difference : (H, W) float32 ndarray
        What the defects add, free of noise, in grey levels of an 8-bit image, before clipping.
    jpeg : bytes or None
        The file whose decoded pixels `image` holds, where the instrument compresses.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    clean: NDArray[np.uint8] | NDArray[np.uint16]
    difference: FloatMap
    truth: SceneTruth
    jpeg: bytes | None = None
