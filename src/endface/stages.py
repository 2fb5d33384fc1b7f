"""What is done to one image of a run, as tasks that any engine can carry out: analyse it, draw its pictures.

A task names files; pixels never travel. Every task writes its own files and returns a few words. This is the
one place where an unforeseen error is caught, so that one bad image never stops a batch.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.analysis import detect, iec_of, locate, measure, profile_for, profile_name
from endface.annotation import IecZone, instance_map
from endface.config import Settings, fingerprint
from endface.drawing import (
    DrawTask,
    Pixels,
    draw,
    drawing_key,
    drawn_files,
    instance_boxes,
    named_alone,
    read_note,
)
from endface.errors import EndfaceError
from endface.faces import chart_of
from endface.features import pixel_maps
from endface.inputs import InputImage
from endface.places import are_files, together
from endface.samples import decode_sample, read_bytes
from endface.store import (
    Record,
    RunFolder,
    columns_of,
    forget_batch,
    is_finished,
    pack_pixels,
    read_json,
    read_png,
    read_record,
    rims_from_record,
    write_gray,
    write_maps,
    write_numbers,
    write_palette,
    write_record,
    zones_from_record,
    zones_to_record,
)

_log = logging.getLogger(__name__)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h


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
    stage = Stage()
    _keep_freed_memory()

    def work() -> Outcome:
        data = read_bytes(source.path)
        digest = stage.digest = hashlib.sha256(data).hexdigest()
        key = record_key(digest, task.basis)
        if is_finished(folder, source.image_id, key) and folder.chart(source.image_id).is_file():
            return Outcome(digest, reused=True)
        folder.record(source.image_id).unlink(missing_ok=True)
        forget_batch(folder, source.image_id)
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
        instances = instance_map(defects, zones.shape)
        with together():
            write_gray(folder.image(source.image_id), sample.image)
            write_palette(folder.mask(source.image_id, "zones"), zones.anatomy, kind="anatomy")
            write_palette(folder.mask(source.image_id, "iec"), measures.iec, kind="iec")
            write_numbers(folder.mask(source.image_id, "instances"), instances)
            write_gray(folder.chart(source.image_id), chart_of(sample.image, zones))
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
                columns=columns_of(measures.defects),
                pixels=pack_pixels(defects, width_px=zones.shape[1]),
            ),
        )
        # while the pixels are at hand: most defects keep the name they would get alone
        named = named_alone(source.image_id, measures.defects, settings)
        drawing = DrawTask(source.image, source.image_id, folder, settings, named)
        rims = (zones.cladding, zones.core, zones.core_source == "measured")
        draw(drawing, Pixels(sample.image, measures.iec, instances, *rims), key)
        return Outcome(digest)

    return guarded(work, source.image, stage)


def draw_image(task: DrawTask) -> Outcome:
    """Write the class mask, the overlay and the patches of one image unless they are there already."""
    stage = Stage("draw")

    def work() -> Outcome:
        folder, image_id = task.folder, task.image_id
        settled = folder.batch.record(image_id)
        record = read_json(settled if settled.is_file() else folder.record(image_id))
        note = read_note(folder.drawn(image_id))
        if note[0] == drawing_key(task, record["key"]) and are_files(drawn_files(task)):
            return Outcome(reused=True)
        pixels = Pixels(
            read_png(folder.image(image_id)),
            read_png(folder.mask(image_id, "iec")),
            read_png(folder.mask(image_id, "instances")),
            *rims_from_record(record["zones"]),
            record["zones"]["core_source"] == "measured",
        )
        draw(task, pixels, record["key"])
        kept = {str(file) for file in drawn_files(task)}
        for name in note[1:]:
            if str(folder.root / name) not in kept:
                (folder.root / name).unlink(missing_ok=True)
        return Outcome()

    return guarded(work, task.image, stage)


def rezone_image(task: RezoneTask) -> Outcome:
    """Redraw the IEC map of a finished image for the profile of the settings; pixels are not looked at."""
    stage = Stage("grade")

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
        forget_batch(folder, image_id)
        zones = zones_from_record(record.zones, read_png(folder.mask(image_id, "zones")))
        profile = profile_for(zones, task.settings)
        iec = iec_of(zones, profile)
        instances = read_png(folder.mask(image_id, "instances"))
        defects = iec_columns(instances, iec, record.defects)
        write_palette(folder.mask(image_id, "iec"), iec, kind="iec")
        row = record.row | {"profile": profile_name(profile, task.settings)}
        write_record(folder, replace(record, columns=columns_of(defects), key=key, row=row))
        return Outcome(record.digest)

    return guarded(work, task.image, stage)


def record_key(digest: str, basis: str) -> str:
    """Return the key of a record: the image's bytes and all else that its content depends on."""
    return fingerprint([digest, basis])


def analysed_files(folder: RunFolder, image_id: str, settings: Settings) -> list[Path]:
    """Return the files that `analyse_file` writes."""
    files = [folder.image(image_id), *(folder.mask(image_id, kind) for kind in ("zones", "iec", "instances"))]
    if settings.features.save_maps:
        files.append(folder.maps(image_id))
    files.append(folder.chart(image_id))
    return [*files, folder.record(image_id)]


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


@dataclass
class Stage:
    """Where the work on an image is, for the failure table."""

    name: str = "read"
    digest: str = ""


def guarded(work: Callable[[], Outcome], image: str, stage: Stage) -> Outcome:
    """Do the work on one image; whatever goes wrong becomes a failure of that image."""
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


@cache
def _keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones.

    The C library of Linux hands large blocks back at once; having them zeroed for every image costs half
    the time of steps that do little more than touch memory. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter, n_bytes in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 256 << 20)):
        mallopt(parameter, n_bytes)
