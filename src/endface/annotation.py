"""The nouns of the project as frozen types: zones, defects, verdicts and the annotation that holds them.

Pure data. How zones are found is in `zones`, how defects are found in `detection`, how they are
measured in `features` and judged in `grading`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from endface.imaging.ellipse import Ellipse

if TYPE_CHECKING:
    import polars as pl


class AnatomyZone(IntEnum):
    """What a pixel shows; the values are those of the `_zones.png` palette."""

    OUTSIDE = 0
    CORE = 1
    CLADDING = 2
    FERRULE = 3
    ADHESIVE = 4


class IecZone(IntEnum):
    """Zone of IEC 61300-3-35; the values are those of the `_iec.png` palette."""

    OUTSIDE = 0
    A = 1
    B = 2
    C = 3
    D = 4


class DefectClass(IntEnum):
    """Class of a defect; the values are those of the `_mask.png` palette."""

    NONE = 0
    SCRATCH = 1
    CONTAMINATION = 2
    PIT_CHIP = 3
    OTHER = 4

    @property
    def label(self) -> str:
        """Name used in tables and folders, lower case."""
        return self.name.lower()


class Decision(StrEnum):
    """Outcome of grading."""

    PASS = "PASS"
    FAIL = "FAIL"
    MARGINAL = "MARGINAL"
    INDETERMINATE = "INDETERMINATE"


CalibrationSource = Literal["settings", "cladding", "unknown"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Pixel pitch in micrometres along x and y, and where it comes from."""

    um_per_px_x: float | None = None
    um_per_px_y: float | None = None
    source: CalibrationSource = "unknown"

    @property
    def known(self) -> bool:
        """Whether micrometres can be given at all."""
        return self.um_per_px_x is not None and self.um_per_px_y is not None

    @property
    def spacing_um(self) -> tuple[float, float]:
        """Pitch as (row, col) in um, or (1, 1) pixels where it is unknown."""
        if self.um_per_px_x is None or self.um_per_px_y is None:
            return (1.0, 1.0)
        return (self.um_per_px_y, self.um_per_px_x)


# the flag of a fibre that was found although part of it lies beyond the picture
CUT_OFF = "fibre cut off by the picture's border"
# the flag of a picture with text, cross-hairs or the like drawn into it, under which nothing is looked for
DRAWN_ON = "graphics drawn into the picture"


@dataclass(frozen=True, eq=False)
class Zones:
    """Where the fibre is: its ellipses, the anatomy map and what is doubtful about them.

    Attributes
    ----------
    found : bool
        Whether a fibre was found. If not, `cladding` and `core` are None and `reason` says why.
    reason : str
        Why no fibre was found, empty otherwise.
    anatomy : (H, W) uint8 ndarray
        Codes of `AnatomyZone`. All `FERRULE` (one zone) inside the valid area where no fibre is looked for.
    valid : (H, W) bool ndarray
        False on dead frame borders and other pixels that show no surface.
    cladding, core : Ellipse or None
        Axis-aligned, sub-pixel.
    core_source : {'measured', 'nominal', 'none'}
        'nominal' where the core could not be seen and its nominal size stands in.
    confidence : float
        0 to 1: share of the rim that supports the ellipse, lowered by doubt.
    rim_angles_rad, rim_deviation_px : (N,) float64 ndarray
        Edge found along the rim minus the ellipse (NaN where no edge was seen); negative is inwards (a chip).
    rings_px : tuple of float
        Radii (geometric mean, px) of further concentric edges of the fibre itself, such as a coating or gap.
    flags : tuple of str
        Doubts in words a user understands, e.g. 'core not visible'.
    adhesive : Ellipse or None
        Outer edge of what is seen round the glass: adhesive, a gap, a coating. Need not share its centre.
    """

    found: bool
    reason: str
    anatomy: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    calibration: Calibration
    cladding: Ellipse | None = None
    core: Ellipse | None = None
    core_source: Literal["measured", "nominal", "none"] = "none"
    confidence: float = 0.0
    rim_angles_rad: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rim_deviation_px: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rings_px: tuple[float, ...] = ()
    flags: tuple[str, ...] = ()
    adhesive: Ellipse | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return (self.anatomy.shape[0], self.anatomy.shape[1])

    def mask(self, zone: AnatomyZone) -> NDArray[np.bool_]:
        """Return the (H, W) bool mask of one anatomical zone."""
        return np.asarray(self.anatomy == zone)


@dataclass(frozen=True, eq=False)
class Defect:
    """One connected finding in one image.

    Attributes
    ----------
    mask : (h, w) bool ndarray
        Pixels of the defect within its bounding box.
    x_px, y_px : int
        Column and row of the box's top-left pixel.
    detector : str
        Which detectors saw it, joined by '+': 'region', 'line', 'rim'.
    score : float
        Significance: -log10 of the expected number of false alarms, larger is surer.
    polarity : int
        -1 darker than its surroundings, +1 brighter, 0 both (relief).
    provenance : str
        'machine', 'edited' or 'confirmed'.
    """

    mask: NDArray[np.bool_]
    x_px: int
    y_px: int
    detector: str
    score: float
    polarity: int = 0
    provenance: Literal["machine", "edited", "confirmed"] = "machine"

    @property
    def area_px(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def box(self) -> tuple[slice, slice]:
        """Slices (rows, cols) that cut the box out of the image."""
        height, width = self.mask.shape
        return (slice(self.y_px, self.y_px + height), slice(self.x_px, self.x_px + width))


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule of a profile applied to one zone: what was counted against which limit.

    Attributes
    ----------
    chance : float
        How likely the limit is exceeded, sizes, classes and finds being uncertain.
    """

    zone: str
    kind: Literal["scratches", "defects", "contamination"]
    rule: str
    count: int
    limit: int | None
    decision: Decision
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """PASS, FAIL, MARGINAL or INDETERMINATE for one image, with the rules that led there."""

    decision: Decision
    reason: str
    profile: str
    zones: tuple[tuple[str, Decision], ...] = ()
    outcomes: tuple[RuleOutcome, ...] = ()

    @property
    def fail_chance(self) -> float | None:
        """How likely a limit is exceeded; None where nothing was judged."""
        return any_exceeded(self.outcomes) if self.outcomes else None


def any_exceeded(outcomes: Iterable[RuleOutcome]) -> float:
    """Return how likely one limit or more is exceeded, where each is or is not for reasons of its own.

    Examples
    --------
    >>> rule = RuleOutcome("A", "defects", "over 5 um", 0, 0, Decision.MARGINAL, chance=0.5)
    >>> any_exceeded([rule, rule]), any_exceeded([])
    (0.75, 0.0)
    """
    return 1.0 - math.prod(1.0 - item.chance for item in outcomes)


@dataclass(frozen=True, eq=False)
class Annotation:
    """Everything known about one image.

    Attributes
    ----------
    iec : (H, W) uint8 ndarray
        Codes of `IecZone` for the profile the verdict used.
    defects : tuple of Defect
        Numbered from 1 in the order given here (the `instance` column).
    table : polars.DataFrame
        One row per defect: measures, features, `type`, `severity_score`, ...
    """

    zones: Zones
    iec: NDArray[np.uint8]
    defects: tuple[Defect, ...]
    table: pl.DataFrame
    verdict: Verdict

    def instances(self) -> NDArray[np.uint16]:
        """Return the (H, W) instance map: number of the defect, 0 none."""
        return instance_map(self.defects, self.zones.shape)


def instance_map(defects: tuple[Defect, ...], shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Draw defects into one (H, W) uint16 map numbered from 1; where two overlap the first one stays."""
    canvas = np.zeros(shape, np.uint16)
    for number, defect in reversed(list(enumerate(defects, start=1))):
        canvas[defect.box][defect.mask] = number
    return canvas
