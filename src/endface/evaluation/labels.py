"""Hand-made label files: ellipses, scratches as polylines, blobs as ellipses, and regions left open.

Knows the JSON format only; `scenes` turns it into pixels and `matching` compares those.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from endface.errors import FormatError
from endface.imaging.ellipse import Ellipse

Certainty = Literal["sure", "faint"]


@dataclass(frozen=True, eq=False, slots=True)
class LabelScratch:
    """A scratch drawn as a polyline: `points_px` is (N, 2) float64 as x, y."""

    points_px: NDArray[np.float64]
    width_px: float
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class LabelBlob:
    """A spot drawn as an ellipse, turned by `angle_deg` (clockwise on the screen, as y points down)."""

    ellipse: Ellipse
    angle_deg: float
    kind: str
    certainty: Certainty


@dataclass(frozen=True, eq=False, slots=True)
class LabelRegion:
    """An area in which single things were not labelled: `polygon_px` is (N, 2) float64 as x, y."""

    polygon_px: NDArray[np.float64]
    kind: str


@dataclass(frozen=True, eq=False, slots=True)
class TruthImage:
    """What a person drew on one image.

    Attributes
    ----------
    cladding, core, cladding_inner_alt : Ellipse or None
        `cladding_inner_alt` is a second cladding edge where there is a gap; either is right.
    core_visible : {'clear', 'faint', 'none'}
    """

    image: str
    width_px: int
    height_px: int
    cladding: Ellipse | None
    core: Ellipse | None
    core_visible: str
    cladding_inner_alt: Ellipse | None
    scratches: tuple[LabelScratch, ...]
    blobs: tuple[LabelBlob, ...]
    regions: tuple[LabelRegion, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return (self.height_px, self.width_px)


def read_label(path: Path) -> TruthImage:
    """Read one label file.

    Raises
    ------
    FormatError
        If the file is no label JSON; names the file and what is missing or wrong in it.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return _parse(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FormatError(
            f"{path}: expected a label JSON with image, width, height, scratches, blobs and regions; "
            f"found {type(error).__name__}: {error}",
            hint="The format is described in docs/evaluation.md.",
        ) from error


def is_label(raw: object) -> bool:
    """Tell whether parsed JSON is one of these label files."""
    return isinstance(raw, dict) and {"image", "width", "height", "scratches", "blobs"} <= raw.keys()


def _parse(raw: dict[str, Any]) -> TruthImage:
    return TruthImage(
        image=str(raw["image"]),
        width_px=int(raw["width"]),
        height_px=int(raw["height"]),
        cladding=_ellipse(raw.get("cladding")),
        core=_ellipse(raw.get("core")),
        core_visible=str((raw.get("core") or {}).get("visible", "none")),
        cladding_inner_alt=_ellipse(raw.get("cladding_inner_alt")),
        scratches=tuple(
            LabelScratch(_points(item["points"]), float(item.get("width", 1)), _certainty(item))
            for item in raw["scratches"]
        ),
        blobs=tuple(_blob(item) for item in raw["blobs"]),
        regions=tuple(
            LabelRegion(_points(item["polygon"]), str(item.get("kind", "")))
            for item in raw.get("regions", [])
        ),
    )


def _blob(item: dict[str, Any]) -> LabelBlob:
    shape = _ellipse(item)
    if shape is None:
        raise ValueError("a blob without an ellipse")
    return LabelBlob(
        shape, float(item.get("angle_deg", 0.0)), str(item.get("kind", "unknown")), _certainty(item)
    )


def _ellipse(item: dict[str, Any] | None) -> Ellipse | None:
    if not item:
        return None
    shape = Ellipse(float(item["cx"]), float(item["cy"]), float(item["rx"]), float(item["ry"]))
    if not (shape.rx_px > 0 and shape.ry_px > 0):
        raise ValueError(f"an ellipse with radii {shape.rx_px} and {shape.ry_px}")
    return shape


def _points(values: object) -> NDArray[np.float64]:
    points = np.asarray(values, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points of shape {points.shape}, expected (N, 2) finite numbers")
    return points


def _certainty(item: dict[str, Any]) -> Certainty:
    value = item.get("certainty", "sure")
    if value not in ("sure", "faint"):
        raise ValueError(f"certainty {value!r}, expected 'sure' or 'faint'")
    return cast(Certainty, value)
