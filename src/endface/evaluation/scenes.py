"""What is true of one image, as pixels: one type for hand labels, rendered truth and COCO alike.

Knows how to turn each kind of truth into `TruthScene`; comparing is left to `matching`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.evaluation.labels import Certainty, LabelBlob, LabelScratch, TruthImage
from endface.imaging.ellipse import Ellipse
from endface.imaging.skeleton import thin

_CLASS_OF_KIND = {
    **{member.label: member for member in DefectClass if member},
    "dust": DefectClass.CONTAMINATION,
    "residue": DefectClass.CONTAMINATION,
    "pit": DefectClass.PIT_CHIP,
    "chip": DefectClass.PIT_CHIP,
}


@dataclass(frozen=True, slots=True)
class TrueSizes:
    """Signal-to-noise ratio and sizes of a true defect, None where the truth does not tell."""

    snr: float | None = None
    diameter_um: float | None = None
    length_um: float | None = None
    width_um: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class TruthDefect:
    """One true defect.

    Attributes
    ----------
    probe : (N, 2) int ndarray
        Row and column of the pixels that must be reached: samples 1 px apart along the centre line of a
        scratch, every pixel of anything else.
    body : (h, w) bool ndarray
        Pixels of the whole defect within its box, whose top-left pixel is (`y_px`, `x_px`).
    sizes : TrueSizes
        As far as the truth tells.
    line_px : (N, 2) float64 ndarray or None
        The polyline (x, y) a scratch was drawn as.
    """

    defect_class: DefectClass
    kind: str
    certainty: Certainty
    probe: NDArray[np.intp]
    body: NDArray[np.bool_]
    x_px: int
    y_px: int
    sizes: TrueSizes = TrueSizes()
    line_px: NDArray[np.float64] | None = None

    @property
    def is_line(self) -> bool:
        """Whether it is matched by its centre line."""
        return self.defect_class is DefectClass.SCRATCH

    @property
    def box(self) -> tuple[slice, slice]:
        """Slices (rows, cols) that cut the box out of the image."""
        height, width = self.body.shape
        return (slice(self.y_px, self.y_px + height), slice(self.x_px, self.x_px + width))


@dataclass(frozen=True, eq=False, slots=True)
class TruthScene:
    """Everything true of one image.

    Attributes
    ----------
    open_area : (H, W) bool ndarray or None
        Where finds are neither right nor wrong.
    has_zones : bool
        Whether the truth says anything about the fibre; if it does and `cladding` is None there is none.
    um_per_px : (float, float) or None
        Pixel pitch along x and y.
    n_empty : int
        Defects the truth names that show on no pixel; they are left out of `defects`.
    source : str
        'label', 'rendered' or 'coco'.
    """

    image_id: str
    shape: tuple[int, int]
    defects: tuple[TruthDefect, ...]
    open_area: NDArray[np.bool_] | None = None
    has_zones: bool = False
    cladding: Ellipse | None = None
    cladding_alternative: Ellipse | None = None
    core: Ellipse | None = None
    core_visible: str = "none"
    um_per_px: tuple[float, float] | None = None
    n_empty: int = 0
    source: str = ""


def scene_of_label(truth: TruthImage, *, image_id: str = "") -> TruthScene:
    """Draw a hand-made label into pixels.

    Blobs of kind 'dust' and 'residue' are contamination, 'pit' and 'chip' pit_chip, others 'other'. Parts
    outside the image are cut off; a thing wholly outside is left out.
    """
    drawn = [_scratch(item, truth.shape) for item in truth.scratches]
    drawn += [_blob(item, truth.shape) for item in truth.blobs]
    open_area = np.zeros(truth.shape, np.uint8)
    for region in truth.regions:
        cv2.fillPoly(open_area, [np.round(region.polygon_px).astype(np.int32)], 1)
    return TruthScene(
        image_id=image_id or truth.image.rsplit(".", 1)[0],
        shape=truth.shape,
        defects=tuple(item for item in drawn if item is not None),
        open_area=open_area.astype(bool),
        has_zones=truth.cladding is not None,
        cladding=truth.cladding,
        cladding_alternative=truth.cladding_inner_alt,
        core=truth.core,
        core_visible=truth.core_visible,
        source="label",
    )


def class_of_kind(kind: str) -> DefectClass:
    """Return the class a kind belongs to: our own class names, label kinds, and 'other' for the rest.

    Examples
    --------
    >>> class_of_kind("dust").label, class_of_kind("Scratch").label, class_of_kind("hair").label
    ('contamination', 'scratch', 'other')
    """
    return _CLASS_OF_KIND.get(kind.lower(), DefectClass.OTHER)


def defect_of_mask(
    mask: NDArray[np.bool_],
    *,
    defect_class: DefectClass,
    kind: str,
    x_px: int = 0,
    y_px: int = 0,
    certainty: Certainty = "sure",
    sizes: TrueSizes | None = None,
) -> TruthDefect | None:
    """Return the defect with this bool mask, whose top-left pixel is (`y_px`, `x_px`); None if it is empty.

    The centre line of a scratch is the skeleton of its mask.
    """
    if not mask.any():
        return None
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    body = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    y_px, x_px = y_px + int(rows[0]), x_px + int(cols[0])
    probe = thin(body) if defect_class is DefectClass.SCRATCH else body
    return TruthDefect(
        defect_class,
        kind,
        certainty,
        np.argwhere(probe) + np.array([y_px, x_px]),
        body,
        x_px,
        y_px,
        sizes or TrueSizes(),
    )


def polyline_samples(points_px: NDArray[np.float64], *, step_px: float = 1.0) -> NDArray[np.float64]:
    """Return (N, 2) points spaced evenly along a polyline, ends included.

    Examples
    --------
    >>> polyline_samples(np.array([[0.0, 0.0], [2.0, 0.0]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    steps = np.hypot(*np.diff(points_px, axis=0).T) if len(points_px) > 1 else np.zeros(0)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, along[-1], max(2, round(along[-1] / step_px) + 1))
    return np.stack([np.interp(wanted, along, points_px[:, axis]) for axis in (0, 1)], axis=1)


def _scratch(item: LabelScratch, shape: tuple[int, int]) -> TruthDefect | None:
    samples = np.round(polyline_samples(item.points_px)).astype(np.intp)
    inside = ((samples >= 0) & (samples < (shape[1], shape[0]))).all(axis=1)
    probe = samples[inside][:, ::-1]
    if not len(probe):
        return None
    width = max(1, round(item.width_px))
    canvas, (x_px, y_px) = _canvas(item.points_px, width + 1.0, shape)
    line = np.round(item.points_px - (x_px, y_px)).astype(np.int32)
    cv2.polylines(canvas, [line], isClosed=False, color=1, thickness=width)
    return TruthDefect(DefectClass.SCRATCH, "scratch", item.certainty, probe, canvas.astype(bool), x_px, y_px)


def _blob(item: LabelBlob, shape: tuple[int, int]) -> TruthDefect | None:
    shape_px = item.ellipse
    centre = np.array([[shape_px.cx_px, shape_px.cy_px]])
    canvas, (x_px, y_px) = _canvas(centre, max(shape_px.rx_px, shape_px.ry_px) + 1.0, shape)
    if not canvas.size:
        return None
    rows, cols = np.indices(canvas.shape)
    dx, dy = cols + x_px - shape_px.cx_px, rows + y_px - shape_px.cy_px
    angle = np.deg2rad(item.angle_deg)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    body = np.hypot(along / shape_px.rx_px, across / shape_px.ry_px) <= 1.0
    if not body.any():  # smaller than a pixel: the pixel it lies in
        row, col = round(shape_px.cy_px) - y_px, round(shape_px.cx_px) - x_px
        if not (0 <= row < body.shape[0] and 0 <= col < body.shape[1]):
            return None
        body[row, col] = True
    return TruthDefect(
        class_of_kind(item.kind),
        item.kind,
        item.certainty,
        np.argwhere(body) + np.array([y_px, x_px]),
        body,
        x_px,
        y_px,
    )


def _canvas(
    points_px: NDArray[np.float64], margin_px: float, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Empty canvas around the points, cut to the image, and its top-left pixel (x, y)."""
    low = np.clip(np.floor(points_px.min(axis=0) - margin_px), 0, (shape[1], shape[0])).astype(int)
    high = np.clip(np.ceil(points_px.max(axis=0) + margin_px) + 1, 0, (shape[1], shape[0])).astype(int)
    width, height = np.maximum(high - low, 0)
    return np.zeros((height, width), np.uint8), (int(low[0]), int(low[1]))
