"""What is done to one image of a run, as tasks that any engine can carry out: analyse it, draw its pictures.

A task names files; pixels never travel. Every task writes its own files and returns a few words. This is the
one place where an unforeseen error is caught, so that one bad image never stops a batch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.analysis import detect, iec_of, locate, measure, profile_for, profile_name
from endface.annotation import DefectClass, IecZone, instance_map
from endface.config import Settings, fingerprint
from endface.errors import EndfaceError
from endface.features import pixel_maps
from endface.imaging.draw import draw_overlay
from endface.inputs import InputImage
from endface.samples import decode_sample, read_bytes
from endface.store import (
    Record,
    RunFolder,
    is_finished,
    read_json,
    read_png,
    read_record,
    write_bytes,
    write_gray,
    write_maps,
    write_numbers,
    write_overlay,
    write_palette,
    write_record,
    zones_from_record,
    zones_to_record,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one image could not be done; a row of failures.csv."""

    image: str
    stage: str
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task.

    Attributes
    ----------
    digest : str
        SHA-256 of the input's bytes, empty where it could not be read.
    reused : bool
        Whether everything was there already.
    """

    digest: str = ""
    reused: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class AnalyseTask:
    """Read, locate, detect and measure one image."""

    source: InputImage
    folder: RunFolder
    settings: Settings
    basis: str
    """Hash of all that the result depends on besides the image itself."""


@dataclass(frozen=True, slots=True)
class DrawTask:
    """Write what depends on names and severity: class mask, overlay, patches."""

    image: str
    image_id: str
    folder: RunFolder
    settings: Settings
    defects: tuple[tuple[int, str, str, str], ...]
    """instance, defect_id, type and severity level of each defect"""


@dataclass(frozen=True, slots=True)
class RezoneTask:
    """Give the IEC zones of another profile to one finished image."""

    image: str
    image_id: str
    folder: RunFolder
    settings: Settings
    basis: str


def analyse_file(task: AnalyseTask) -> Outcome:
    """Analyse one image file unless its record says that it is done."""
    source, folder, settings = task.source, task.folder, task.settings
    stage = _Stage()

    def work() -> Outcome:
        data = read_bytes(source.path)
        digest = stage.digest = hashlib.sha256(data).hexdigest()
        key = record_key(digest, task.basis)
        if is_finished(folder, source.image_id, key):
            return Outcome(digest, reused=True)
        folder.record(source.image_id).unlink(missing_ok=True)
        sample = decode_sample(
            data, source=source.path.name, max_megapixels=settings.max_megapixels, max_frames=1
        )
        stage.name = "zones"
        zones = locate(sample.image, settings)
        stage.name = "detect"
        defects = detect(sample.image, zones, settings)
        stage.name = "measure"
        measures = measure(
            sample.image, zones, defects, settings, white_level=sample.white_level, notes=sample.notes
        )
        stage.name = "write"
        write_gray(folder.image(source.image_id), sample.image)
        write_palette(folder.mask(source.image_id, "zones"), zones.anatomy, kind="anatomy")
        write_palette(folder.mask(source.image_id, "iec"), measures.iec, kind="iec")
        write_numbers(folder.mask(source.image_id, "instances"), instance_map(defects, zones.shape))
        if settings.features.save_maps:
            write_maps(folder.maps(source.image_id), vars(pixel_maps(sample.image, zones)))
        write_record(
            folder,
            Record(
                image=source.image,
                image_id=source.image_id,
                digest=digest,
                key=key,
                row=measures.row,
                zones=zones_to_record(zones),
                zone_rows=measures.zones.to_dicts(),
                defects=measures.defects,
            ),
        )
        return Outcome(digest)

    return _guarded(work, source.image, stage)


def draw_image(task: DrawTask) -> Outcome:
    """Write the class mask, the overlay and the patches of one analysed image."""
    stage = _Stage("draw")

    def work() -> Outcome:
        folder, image_id = task.folder, task.image_id
        record = read_json(folder.record(image_id))
        done = fingerprint([record["key"], task.defects, task.settings.output.model_dump(mode="json")])
        files = drawn_files(task)
        if _says(folder.drawn(image_id), done) and all(file.is_file() for file in files):
            return Outcome(record["digest"], reused=True)
        folder.drawn(image_id).unlink(missing_ok=True)
        image = read_png(folder.image(image_id))
        instances = read_png(folder.mask(image_id, "instances"))
        mask = class_mask(instances, {number: kind for number, _, kind, _ in task.defects})
        write_palette(folder.mask(image_id, "mask"), mask, kind="defects")
        if task.settings.output.overlays:
            zones = zones_from_record(record["zones"], read_png(folder.mask(image_id, "zones")))
            overlay = draw_overlay(
                image,
                cladding=zones.cladding,
                core=zones.core,
                class_mask=mask,
                iec=read_png(folder.mask(image_id, "iec")),
                core_measured=zones.core_source == "measured",
            )
            write_overlay(folder.overlay(image_id), overlay)
        boxes = instance_boxes(instances)
        for number, defect_id, kind, level in task.defects:
            write_gray(folder.patch(defect_id, kind, level), patch(image, boxes.get(number)))
        write_bytes(folder.drawn(image_id), done.encode())
        return Outcome(record["digest"])

    return _guarded(work, task.image, stage)


def rezone_image(task: RezoneTask) -> Outcome:
    """Redraw the IEC map of a finished image for the profile of the settings; pixels are not looked at."""
    stage = _Stage("grade")

    def work() -> Outcome:
        folder, image_id = task.folder, task.image_id
        record = read_record(folder, image_id)
        if record is None:
            raise EndfaceError(
                f"{image_id}: its record in the journal is missing", hint="Complete it by `endface run`."
            )
        key = record_key(record.digest, task.basis)
        if record.key == key:
            return Outcome(record.digest, reused=True)
        zones = zones_from_record(record.zones, read_png(folder.mask(image_id, "zones")))
        profile = profile_for(zones, task.settings)
        iec = iec_of(zones, profile)
        instances = read_png(folder.mask(image_id, "instances"))
        defects = iec_columns(instances, iec, record.defects)
        write_palette(folder.mask(image_id, "iec"), iec, kind="iec")
        row = record.row | {"profile": profile_name(profile, task.settings)}
        write_record(folder, replace(record, defects=defects, key=key, row=row))
        return Outcome(record.digest)

    return _guarded(work, task.image, stage)


def record_key(digest: str, basis: str) -> str:
    """Return the key of a record: the image's bytes and all else that its content depends on."""
    return fingerprint([digest, basis])


def drawn_files(task: DrawTask) -> list[Path]:
    """Return the files that `draw_image` writes."""
    files = [task.folder.mask(task.image_id, "mask"), task.folder.drawn(task.image_id)]
    if task.settings.output.overlays:
        files.append(task.folder.overlay(task.image_id))
    return files + [task.folder.patch(name, kind, level) for _, name, kind, level in task.defects]


def analysed_files(folder: RunFolder, image_id: str, settings: Settings) -> list[Path]:
    """Return the files that `analyse_file` writes."""
    files = [folder.image(image_id), *(folder.mask(image_id, kind) for kind in ("zones", "iec", "instances"))]
    if settings.features.save_maps:
        files.append(folder.maps(image_id))
    record = folder.record(image_id)
    return [*files, record, record.with_name(f"{image_id}.parquet")]


def class_mask(instances: NDArray[np.uint16], types: dict[int, str]) -> NDArray[np.uint8]:
    """Recolour an instance map by class.

    Examples
    --------
    >>> class_mask(np.array([[0, 1, 2]], np.uint16), {1: "scratch", 2: "other"})
    array([[0, 1, 4]], dtype=uint8)
    """
    lookup = np.zeros(int(instances.max(initial=0)) + 1, np.uint8)
    for number, name in types.items():
        if number < lookup.size:
            lookup[number] = DefectClass[name.upper()]
    return lookup[instances]


def iec_columns(instances: NDArray[np.uint16], iec: NDArray[np.uint8], defects: pl.DataFrame) -> pl.DataFrame:
    """Return the defect table with its columns on IEC zones made anew from another map."""
    boxes = instance_boxes(instances)
    rows = []
    for number, x, y in defects.select("instance", "centroid_x_px", "centroid_y_px").iter_rows():
        rows_px, cols_px = np.nonzero(instances[boxes[number]] == number)
        top, left = boxes[number][0].start, boxes[number][1].start
        codes = iec[rows_px + top, cols_px + left]
        nearest = int(np.argmin((rows_px + top - y) ** 2 + (cols_px + left - x) ** 2))
        touched = [zone.name for zone in IecZone if zone and zone in codes] or ["outside"]
        centre = IecZone(int(codes[nearest]))
        rows.append((touched[0], centre.name if centre else "outside", ";".join(touched)))
    names = ("iec_zone", "iec_zone_centroid", "iec_zones")
    return defects.with_columns(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"))


def instance_boxes(instances: NDArray[np.uint16]) -> dict[int, tuple[slice, slice]]:
    """Return the box (rows, cols) of every instance."""
    from scipy.ndimage import find_objects

    found = enumerate(find_objects(instances), start=1)
    return {number: (box[0], box[1]) for number, box in found if box is not None}


def patch(image: NDArray[Any], box: tuple[slice, slice] | None) -> NDArray[Any]:
    """Cut a defect out of its image with a margin of a quarter of its size, at least 8 px."""
    if box is None:
        return np.zeros((1, 1), image.dtype)
    sides = []
    for cut, size in zip(box, image.shape, strict=True):
        margin = max(8, (cut.stop - cut.start) // 4)
        sides.append(slice(max(cut.start - margin, 0), min(cut.stop + margin, size)))
    return np.ascontiguousarray(image[sides[0], sides[1]])


@dataclass
class _Stage:
    """Where the work on an image is, for the failure table."""

    name: str = "read"
    digest: str = ""


def _guarded(work: Callable[[], Outcome], image: str, stage: _Stage) -> Outcome:
    try:
        return work()
    except EndfaceError as error:
        return Outcome(stage.digest, failure=Failure(image, stage.name, error.message, error.hint))
    except Exception as error:
        _log.debug("%s: %s failed", image, stage.name, exc_info=True)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "Please report this with the image; --debug shows where it happened."
        if isinstance(error, OSError):
            hint = "Check free space and permissions of the output folder."
        return Outcome(stage.digest, failure=Failure(image, stage.name, words, hint))


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False
