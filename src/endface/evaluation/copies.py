"""Jittered copies of one image, each analysed like the original and compared with it: a worker's task."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endface.config import Settings
from endface.errors import EndfaceError
from endface.evaluation.follow import (
    Followed,
    Look,
    cause_of_change,
    changed_rules,
    follow,
    frame_of,
    look_at,
    mapped_point,
    turned_settings,
)
from endface.imaging.facechart import face_chart
from endface.imaging.jitter import KINDS, Jitter, apply_jitter, draw_jitter, jitter_matrix
from endface.inputs import InputImage
from endface.samples import read_sample


@dataclass(frozen=True, slots=True)
class CopyTask:
    """One image and how many copies of each kind to make of it."""

    source: InputImage
    settings: Settings
    trials: int
    seed: int

    @property
    def image(self) -> str:
        """Name of the image, for messages."""
        return self.source.image


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One look at an image: the original (`kind` 'original', `trial` -1) or a copy.

    Attributes
    ----------
    cause, rules : str
        Why the verdict differs from that of the original (see `endface.evaluation.follow.CAUSES`), and which
        rules decided otherwise; empty where it does not.
    n_paired, n_lost, n_new : int
        Defects of the original found again and not found again, and finds the original lacks, all in view
        of both.
    cladding_um : float or None
        Cladding diameter by the original's pixel pitch.
    centre_px : float or None
        Distance of the cladding's centre from where the original's centre went.
    """

    image_id: str
    kind: str
    trial: int
    change: str
    decision: str
    reason: str
    cause: str
    rules: str
    n_defects: int
    n_paired: int
    n_lost: int
    n_new: int
    fail_chance: float | None
    largest_um: float | None
    cladding_um: float | None
    centre_px: float | None
    um_per_px: float | None


@dataclass(frozen=True, slots=True)
class SizeRow:
    """Sizes of one defect of the original in one look; `instance` is its number in the original."""

    image_id: str
    instance: int
    kind: str
    trial: int
    type: str
    is_line: bool
    diameter_um: float | None
    length_um: float | None
    width_um: float | None


@dataclass(frozen=True, slots=True)
class CopyResult:
    """All looks at one image."""

    copies: tuple[CopyRow, ...]
    sizes: tuple[SizeRow, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """An image that gave no result, why, and what to do."""

    image: str
    error: str
    hint: str


def look_at_copies(task: CopyTask) -> CopyResult | Unread:
    """Analyse an image and its copies."""
    source = task.source
    try:
        sample = read_sample(source.path, max_megapixels=task.settings.max_megapixels, max_frames=1)
    except EndfaceError as error:
        return Unread(source.image, error.message, error.hint)
    image, white = sample.image, sample.white_level
    first = look_at(image, white, task.settings)
    frame = frame_of(first, white)
    rows = [_original(source.image_id, first)]
    sizes = size_rows(source.image_id, first, first, np.arange(len(first.defects)), ("original", -1))
    for number, kind in enumerate(KINDS):
        for trial in range(task.trials):
            # by name, so that an image gives the same copies in whatever company
            rng = np.random.default_rng([task.seed, zlib.crc32(source.image_id.encode()), number, trial])
            jitter = draw_jitter(kind, trial=trial, rng=rng)
            copy = apply_jitter(image, jitter, frame, rng=rng)
            settings = turned_settings(task.settings, quarters=jitter.quarters)
            second = look_at(copy, white, settings)
            matrix = jitter_matrix(jitter, frame, (image.shape[0], image.shape[1]))
            pairs = follow(first, second, matrix)
            rows.append(_copy(source.image_id, jitter, trial, first, second, pairs, matrix, settings))
            sizes += size_rows(source.image_id, first, second, pairs.partner, (kind, trial))
    return CopyResult(tuple(rows), tuple(sizes))


def _original(image_id: str, look: Look) -> CopyRow:
    return CopyRow(
        image_id=image_id,
        kind="original",
        trial=-1,
        change="",
        decision=look.verdict.decision.value,
        reason=look.verdict.reason,
        cause="",
        rules="",
        n_defects=len(look.defects),
        n_paired=len(look.defects),
        n_lost=0,
        n_new=0,
        fail_chance=look.fail_chance,
        largest_um=look.largest_um,
        cladding_um=cladding_um(look, look.pitch_um),
        centre_px=None if look.zones.cladding is None else 0.0,
        um_per_px=look.pitch_um,
    )


def _copy(
    image_id: str,
    jitter: Jitter,
    trial: int,
    first: Look,
    second: Look,
    pairs: Followed,
    matrix: NDArray[np.float64],
    settings: Settings,
) -> CopyRow:
    cause = cause_of_change(first, second, pairs, settings)
    centre = None
    old, new = first.zones.cladding, second.zones.cladding
    if old is not None and new is not None:
        x, y = mapped_point(old.cx_px, old.cy_px, matrix)
        centre = math.hypot(new.cx_px - x, new.cy_px - y)
    return CopyRow(
        image_id=image_id,
        kind=jitter.kind,
        trial=trial,
        change=change_in_words(jitter),
        decision=second.verdict.decision.value,
        reason=second.verdict.reason,
        cause=cause,
        rules=changed_rules(first.verdict, second.verdict) if cause else "",
        n_defects=len(second.defects),
        n_paired=int(np.count_nonzero(pairs.partner >= 0)),
        n_lost=int(np.count_nonzero(pairs.lost)),
        n_new=int(np.count_nonzero(pairs.new)),
        fail_chance=second.fail_chance,
        largest_um=second.largest_um,
        cladding_um=cladding_um(second, first.pitch_um),
        centre_px=centre,
        um_per_px=second.pitch_um,
    )


def cladding_um(look: Look, pitch_um: float | None) -> float | None:
    """Return the cladding diameter by a given pixel pitch: its own may come from the cladding itself."""
    rim = look.zones.cladding
    return None if rim is None or pitch_um is None else 2.0 * rim.radius_px * pitch_um


def change_in_words(jitter: Jitter) -> str:
    """Return what was done to a copy.

    Examples
    --------
    >>> change_in_words(Jitter("gain", gain=1.08))
    'gain 1.080'
    """
    return {
        "shift": f"shifted by {jitter.shift_px[0]:.2f}, {jitter.shift_px[1]:.2f} px",
        "turn": f"turned by {jitter.turn_deg:.2f} degrees",
        "quarter": f"turned by {90 * jitter.quarters} degrees",
        "gain": f"gain {jitter.gain:.3f}",
        "blur": f"blurred by {jitter.blur_px:.2f} px",
        "noise": f"{100 * jitter.noise_share:.0f} % more noise",
        "jpeg": f"JPEG quality {jitter.jpeg_quality}",
    }[jitter.kind]


def size_rows(
    image_id: str, first: Look, look: Look, partner: NDArray[np.intp], which: tuple[str, int]
) -> list[SizeRow]:
    """Return the sizes that a look gives to the defects of the first one."""
    columns = look.table.select("type", "diameter_um", "length_um", "width_um").rows()
    lines = first.table["is_line"].to_list()
    return [
        SizeRow(image_id, number, *which, columns[other][0], bool(line), *columns[other][1:])
        for number, (line, other) in enumerate(zip(lines, partner.tolist(), strict=True), start=1)
        if other >= 0
    ]


@dataclass(frozen=True, slots=True)
class FaceTask:
    """One picture of a face that was photographed several times."""

    path: Path
    image: str
    group: str
    settings: Settings


@dataclass(frozen=True, eq=False, slots=True)
class FaceLook:
    """What one picture of a face shows; `chart` is None where there is no fibre."""

    image: str
    group: str
    look: Look
    chart: NDArray[np.float32] | None


def look_at_face(task: FaceTask) -> FaceLook | Unread:
    """Analyse one picture of a face and chart it, so that the parent can register it."""
    try:
        sample = read_sample(task.path, max_megapixels=task.settings.max_megapixels, max_frames=1)
    except EndfaceError as error:
        return Unread(task.image, error.message, error.hint)
    look = look_at(sample.image, sample.white_level, task.settings)
    rim = look.zones.cladding
    chart = None if rim is None else face_chart(sample.image, rim)
    return FaceLook(task.image, task.group, look, chart)
