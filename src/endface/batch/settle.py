"""Make of one finished image what the batch says: finds that are no defects out, another pixel pitch in.

Record and masks as the image alone gave them are kept in the journal, so that this can be undone or made
anew whenever other images, or other settings, say otherwise.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endface.analysis import measure
from endface.annotation import AnatomyZone, Defect, Zones, instance_map
from endface.config import Settings, fingerprint
from endface.drawing import instance_boxes
from endface.errors import FormatError
from endface.samples import white_level
from endface.stages import Outcome, Stage, guarded
from endface.store import (
    Record,
    RunFolder,
    columns_of,
    forget_batch,
    read_json,
    read_png,
    read_record,
    write_bytes,
    write_numbers,
    write_palette,
    write_record,
    zones_from_record,
    zones_to_record,
)

_FROM_PITCH = ("um_per_px_x", "um_per_px_y", "core_offset_um", "profile")
_NOMINAL_CORE_UM = 9.0


@dataclass(frozen=True, slots=True)
class Correction:
    """What the batch says of one image.

    Attributes
    ----------
    um_per_px : (float, float), optional
        Pixel pitch along x and y to use instead of the image's own.
    left_out : tuple of int
        Instances that are marks of the optics.
    flag, note : str
        Added to `quality_flags` and `notes`.
    """

    um_per_px: tuple[float, float] | None = None
    left_out: tuple[int, ...] = ()
    flag: str = ""
    note: str = ""

    def __bool__(self) -> bool:
        return self != Correction()


@dataclass(frozen=True, slots=True)
class SettleTask:
    """Apply a correction, perhaps an empty one, to one image."""

    image: str
    image_id: str
    folder: RunFolder
    settings: Settings
    correction: Correction


def settled_record(folder: RunFolder, image_id: str) -> Record | None:
    """Return the record an image is judged by: what the batch made of it, else its own."""
    return read_record(folder.batch, image_id) or read_record(folder, image_id)


def settle_image(task: SettleTask) -> Outcome:
    """Write what the batch makes of one image, or put back what the image alone gave."""
    stage = Stage("settle")

    def work() -> Outcome:
        folder, image_id, correction = task.folder, task.image_id, task.correction
        own = read_record(folder, image_id)
        if own is None:
            raise FormatError(f"{folder.record(image_id)}: damaged meanwhile", hint="Run again.")
        path = folder.batch.record(image_id)
        key = fingerprint([own.key, asdict(correction), task.settings.calibration.model_dump(mode="json")])
        if correction and path.is_file() and read_json(path).get("key") == key:
            return Outcome(own.digest, reused=True)
        forget_batch(folder, image_id)
        if correction:
            _apply(task, own, key)
        return Outcome(own.digest)

    return guarded(work, task.image, stage)


def _apply(task: SettleTask, own: Record, key: str) -> None:
    """Measure the image again as the correction says; masks as found are set aside first."""
    folder, correction, image_id = task.folder, task.correction, task.image_id
    row = own.row | {
        "quality_flags": _joined(own.row["quality_flags"], correction.flag),
        "notes": _joined(own.row["notes"], correction.note),
    }
    record = replace(own, key=key, row=row)
    if correction.um_per_px is not None or correction.left_out:
        image = read_png(folder.image(image_id))
        zones = zones_from_record(own.zones, read_png(folder.mask(image_id, "zones")))
        if correction.um_per_px is not None:
            zones = recalibrated(zones, correction.um_per_px, core_um=task.settings.calibration.core_um)
        instances = read_png(folder.mask(image_id, "instances"))
        defects = _defects(own, instances, correction.left_out)
        measures = measure(image, zones, defects, task.settings, white_level=white_level(image))
        masks = ("zones", "iec", "instances") if correction.um_per_px is not None else ("instances",)
        for kind in masks:
            write_bytes(folder.batch.mask(image_id, kind), folder.mask(image_id, kind).read_bytes())
        if correction.um_per_px is not None:
            write_palette(folder.mask(image_id, "zones"), zones.anatomy, kind="anatomy")
            write_palette(folder.mask(image_id, "iec"), measures.iec, kind="iec")
        write_numbers(folder.mask(image_id, "instances"), instance_map(defects, zones.shape))
        changed = {name: value for name, value in measures.row.items() if name in _FROM_PITCH}
        changed |= {name: value for name, value in measures.row.items() if name.startswith("core_")}
        record = replace(
            record,
            row=row | changed,
            zones=zones_to_record(zones),
            zone_rows=measures.zones.to_dicts(),
            columns=columns_of(measures.defects),
        )
    write_record(folder.batch, record)


def recalibrated(zones: Zones, um_per_px: tuple[float, float], *, core_um: float | None = None) -> Zones:
    """Return zones with another pixel pitch; a core that was not seen gets its nominal size anew."""
    zones = replace(
        zones, calibration=replace(zones.calibration, um_per_px_x=um_per_px[0], um_per_px_y=um_per_px[1])
    )
    if zones.cladding is None or zones.core is None or zones.core_source != "nominal":
        return zones
    share = (core_um or _NOMINAL_CORE_UM) / (2 * zones.cladding.rx_px * um_per_px[0])
    core = zones.cladding.scaled(min(share, 0.9))
    anatomy = np.where(zones.anatomy == AnatomyZone.CORE, np.uint8(AnatomyZone.CLADDING), zones.anatomy)
    anatomy[(anatomy == AnatomyZone.CLADDING) & (core.radius_map(zones.shape) <= 1)] = AnatomyZone.CORE
    return replace(zones, core=core, anatomy=anatomy)


def _defects(own: Record, instances: NDArray[np.uint16], left_out: tuple[int, ...]) -> tuple[Defect, ...]:
    """Rebuild the defects of a record from its instance map, without those left out."""
    boxes = instance_boxes(instances)
    columns = ("instance", "detector", "confidence", "polarity", "provenance")
    defects = []
    for number, detector, confidence, polarity, provenance in own.defects.select(columns).iter_rows():
        if number in left_out:
            continue
        rows, cols = boxes[number]
        # the inverse of features' confidence = 1 / (1 + expected false alarms)
        score = math.log10(confidence / (1 - confidence)) if confidence < 1 else 300.0
        defects.append(
            Defect(
                mask=instances[rows, cols] == number,
                x_px=cols.start,
                y_px=rows.start,
                detector=detector,
                score=score,
                polarity=polarity or 0,
                provenance=provenance,
            )
        )
    return tuple(defects)


def _joined(text: str, more: str) -> str:
    return "; ".join(part for part in (text, more) if part)
