"""One image compared: rows for its true defects, its finds and its zones, from which metrics are made.

Knows one image at a time. What the rows add up to is in `metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.evaluation.matching import MatchResult, MatchRule, grown_body, match_scene
from endface.evaluation.predictions import FoundDefect, FoundImage
from endface.evaluation.ranking import PixelCounts, pixel_counts
from endface.evaluation.scenes import TruthDefect, TruthScene
from endface.imaging.ellipse import Ellipse
from endface.imaging.skeleton import trace


@dataclass(frozen=True, slots=True)
class DefectRow:
    """One true defect and what became of it.

    Attributes
    ----------
    found : bool
        By all finds together (the rule of `matching`).
    instance : int or None
        The find paired with it one to one, with that find's class and sizes.
    """

    image_id: str
    class_name: str
    kind: str
    certainty: str
    found: bool
    covered: float
    x_px: float
    y_px: float
    snr: float | None
    diameter_um: float | None
    length_um: float | None
    width_um: float | None
    instance: int | None = None
    found_class: str | None = None
    found_diameter_um: float | None = None
    found_length_um: float | None = None


@dataclass(frozen=True, slots=True)
class FindRow:
    """One find and how it was judged.

    Attributes
    ----------
    outcome : {'paired', 'part', 'open', 'false'}
        Partner of a true defect; on a true defect that has another partner; on an open area; on nothing.
    sure : bool
        Whether the partner is a sure one.
    overlap : float
        Sum of the shares of sure true defects it covers.
    """

    image_id: str
    instance: int
    class_name: str
    confidence: float
    outcome: str
    sure: bool
    area_px: int
    overlap: float
    false_px: int
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """One ellipse of one image: errors, None where it was not found."""

    image_id: str
    ellipse: str
    visible: str
    found: bool
    centre_px: float | None = None
    centre_um: float | None = None
    radius_px: float | None = None
    radius_um: float | None = None
    radius_pct: float | None = None
    pitch_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything about one image that metrics need."""

    defects: tuple[DefectRow, ...]
    finds: tuple[FindRow, ...]
    zones: tuple[ZoneRow, ...]
    pixels: PixelCounts
    negative_px: int
    judged_mm2: float | None


def compare(
    scene: TruthScene,
    found: FoundImage,
    instances: NDArray[np.integer],
    *,
    rule: MatchRule | None = None,
    tolerance_px: float = 2.0,
) -> Compared:
    """Compare the finds of one image with its truth.

    Parameters
    ----------
    instances : (H, W) integer ndarray
        Instance map of the run.
    tolerance_px : float
        Shift that pixel precision and recall allow.

    Raises
    ------
    InputError
        If the map has another size than the truth.
    """
    match = match_scene(scene, instances, rule=rule)
    pitch = scene.um_per_px or found.um_per_px
    table = {defect.instance: defect for defect in found.defects}
    sure, neutral = _areas(scene, tolerance_px)
    open_px = 0 if scene.open_area is None else int(np.count_nonzero(scene.open_area))
    judged_px = instances.size - open_px
    return Compared(
        defects=tuple(_defect_rows(scene, match, table, pitch)),
        finds=tuple(_find_rows(scene, match, table, instances, sure | neutral)),
        zones=compare_zones(scene, found),
        pixels=pixel_counts(sure, instances > 0, neutral=neutral, tolerance_px=tolerance_px),
        negative_px=int(np.count_nonzero(~(sure | neutral))),
        judged_mm2=None if pitch is None else judged_px * pitch[0] * pitch[1] * 1e-6,
    )


def compare_zones(scene: TruthScene, found: FoundImage) -> tuple[ZoneRow, ...]:
    """Compare cladding and core; where the truth has two cladding edges the nearer one counts.

    Radii are geometric means of the semi-axes. Micrometres use the truth's pixel pitch, or the run's.
    """
    if not scene.has_zones:
        return ()
    rows = []
    if scene.cladding is not None:
        edges = [edge for edge in (scene.cladding, scene.cladding_alternative) if edge is not None]
        place = found.cladding
        true = min(edges, key=lambda edge: abs(edge.radius_px - place.radius_px)) if place else edges[0]
        rows.append(_zone_row(scene, found, "cladding", "clear", true, place))
    if scene.core is not None:
        rows.append(_zone_row(scene, found, "core", scene.core_visible, scene.core, found.core))
    return tuple(rows)


def _zone_row(
    scene: TruthScene, found: FoundImage, name: str, visible: str, true: Ellipse, place: Ellipse | None
) -> ZoneRow:
    if place is None or not found.found:
        return ZoneRow(scene.image_id, name, visible, found=False)
    dx, dy = place.cx_px - true.cx_px, place.cy_px - true.cy_px
    pitch = scene.um_per_px or found.um_per_px
    off_px = place.radius_px - true.radius_px
    pitch_pct = None
    if scene.um_per_px and found.um_per_px:
        pitch_pct = 100 * (math.prod(found.um_per_px) / math.prod(scene.um_per_px)) ** 0.5 - 100
    return ZoneRow(
        scene.image_id,
        name,
        visible,
        found=True,
        centre_px=math.hypot(dx, dy),
        centre_um=math.hypot(dx * pitch[0], dy * pitch[1]) if pitch else None,
        radius_px=off_px,
        radius_um=off_px * math.sqrt(pitch[0] * pitch[1]) if pitch else None,
        radius_pct=100 * off_px / true.radius_px,
        pitch_pct=pitch_pct,
    )


def _defect_rows(
    scene: TruthScene,
    match: MatchResult,
    table: dict[int, FoundDefect],
    pitch: tuple[float, float] | None,
) -> list[DefectRow]:
    rows = []
    for position, defect in enumerate(scene.defects):
        partner = int(match.partner[position])
        number = int(match.numbers[partner]) if partner >= 0 else None
        entry = table.get(number) if number is not None else None
        y_px, x_px = defect.probe.mean(axis=0)
        diameter_um, length_um = true_sizes(defect, pitch)
        rows.append(
            DefectRow(
                scene.image_id,
                defect.defect_class.label,
                defect.kind,
                defect.certainty,
                bool(match.found[position]),
                float(match.covered[position]),
                float(x_px),
                float(y_px),
                defect.sizes.snr,
                diameter_um,
                length_um,
                defect.sizes.width_um,
                number,
                None if number is None else (entry.type if entry else DefectClass.OTHER.label),
                entry.diameter_um if entry else None,
                entry.length_um if entry else None,
            )
        )
    return rows


def true_sizes(defect: TruthDefect, pitch: tuple[float, float] | None) -> tuple[float | None, float | None]:
    """Return diameter and length in um: the truth's own, else measured on the mask (None without a pitch).

    On the mask the diameter is that of the circle of equal area and only given for what is no line, the
    length is that of the centre line and only given for lines.
    """
    diameter, length = defect.sizes.diameter_um, defect.sizes.length_um
    if pitch is None:
        return diameter, length
    if diameter is None and not defect.is_line:
        diameter = math.sqrt(4 / math.pi * np.count_nonzero(defect.body) * pitch[0] * pitch[1])
    if length is None and defect.is_line:
        length = _line_um(defect, pitch)
    return diameter, length


def _line_um(defect: TruthDefect, pitch: tuple[float, float]) -> float:
    if defect.line_px is None:
        return trace(defect.body, spacing=(pitch[1], pitch[0])).length
    return float(np.hypot(*(np.diff(defect.line_px, axis=0) * pitch).T).sum())


def _find_rows(
    scene: TruthScene,
    match: MatchResult,
    table: dict[int, FoundDefect],
    instances: NDArray[np.integer],
    not_negative: NDArray[np.bool_],
) -> list[FindRow]:
    size = int(instances.max(initial=0)) + 1
    flat = instances.ravel()
    area = np.bincount(flat, minlength=size)
    false_px = np.bincount(instances[~not_negative], minlength=size)
    rows_px, cols_px = np.nonzero(instances)
    of_pixel = instances[rows_px, cols_px]
    y_sum = np.bincount(of_pixel, rows_px, minlength=size)
    x_sum = np.bincount(of_pixel, cols_px, minlength=size)
    overlap = _overlaps(scene, instances, size)
    truth_of = {int(find): truth for truth, find in enumerate(match.partner) if find >= 0}
    rows = []
    for position, number in enumerate(match.numbers.tolist()):
        entry = table.get(number)
        truth = truth_of.get(position)
        rows.append(
            FindRow(
                scene.image_id,
                number,
                entry.type if entry else DefectClass.OTHER.label,
                entry.confidence if entry and entry.confidence is not None else 0.0,
                _outcome(match, position, paired=truth is not None),
                truth is not None and scene.defects[truth].certainty == "sure",
                int(area[number]),
                float(overlap[number]),
                int(false_px[number]),
                float(x_sum[number] / area[number]),
                float(y_sum[number] / area[number]),
            )
        )
    return rows


def _outcome(match: MatchResult, position: int, *, paired: bool) -> str:
    if paired:
        return "paired"
    if match.false[position]:
        return "false"
    return "open" if match.open_share[position] >= match.touching[position] / 2 else "part"


def _overlaps(scene: TruthScene, instances: NDArray[np.integer], size: int) -> NDArray[np.float64]:
    """Per number of a find: the shares of sure true defects it covers, summed."""
    total = np.zeros(size)
    for defect in scene.defects:
        if defect.certainty == "sure":
            inside = instances[defect.box][defect.body]
            total += np.bincount(inside, minlength=size) / len(inside)
    return total


def _areas(scene: TruthScene, grow_px: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels of sure defects, and pixels that count neither way: open areas and faint defects, grown."""
    sure = np.zeros(scene.shape, bool)
    neutral = np.zeros(scene.shape, bool) if scene.open_area is None else scene.open_area.copy()
    for defect in scene.defects:
        if defect.certainty == "sure":
            sure[defect.box] |= defect.body
        else:
            box, grown = grown_body(defect, scene.shape, grow_px)
            neutral[box] |= grown
    return sure, neutral
