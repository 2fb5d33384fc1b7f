"""What the defect rows of all images add up to: recall, false finds, detection curves, classes, sizes.

Knows rows (`comparison`) and statistics. Groups without a member are left out; what cannot be known is None.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from endface.annotation import DefectClass
from endface.evaluation.comparison import DefectRow, FindRow
from endface.evaluation.pod import Pod, fit_pod
from endface.evaluation.statistics import (
    Bias,
    Proportion,
    bias,
    confusion,
    wilson,
    wilson_of,
)

CLASSES = tuple(member.label for member in DefectClass if member)
SIZE_EDGES_UM = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 25.0, 50.0, 100.0, math.inf)
SNR_EDGES = (0.0, 1.2, 2.2, 4.0, 8.0, 16.0, math.inf)


@dataclass(frozen=True, slots=True)
class Recall:
    """Share found of a group of true defects, by the rule and one to one (each by a find of its own)."""

    group: str
    name: str
    found: Proportion
    one_to_one: Proportion


@dataclass(frozen=True, slots=True)
class FalseFinds:
    """False finds of all images; per mm2 only over images whose pixel pitch is known."""

    total: int
    per_image: float
    median: float
    largest: int
    per_mm2: float | None
    mm2: float
    clean_images: Proportion
    by_class: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PodCurve:
    """A detection curve and the shares in bins of size that it is drawn through."""

    class_name: str
    measure: str
    pod: Pod
    bins: tuple[tuple[float, float, Proportion], ...]


@dataclass(frozen=True, slots=True)
class SizeBias:
    """Found minus true size of paired defects, in um and in per cent of the true size."""

    measure: str
    name: str
    um: Bias
    percent: Bias


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts with true names in rows and found names in columns."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    right: Proportion


def recalls(rows: Sequence[DefectRow]) -> tuple[Recall, ...]:
    """Return recall by certainty, class, size and SNR, and of the named groups acceptance looks at."""
    result = [_recall("all", "all", rows)]
    for certainty in ("sure", "faint"):
        picked = [row for row in rows if row.certainty == certainty]
        result.append(_recall("certainty", certainty, picked))
        result += [
            _recall(f"class, {certainty}", name, [row for row in picked if row.class_name == name])
            for name in CLASSES
        ]
    spots = [row for row in rows if row.class_name != "scratch"]
    lines = [row for row in rows if row.class_name == "scratch"]
    result += _binned("diameter (not scratches), um", spots, lambda row: row.diameter_um, SIZE_EDGES_UM)
    result += _binned("scratch length, um", lines, lambda row: row.length_um, SIZE_EDGES_UM)
    result += _binned("SNR (not scratches)", spots, lambda row: row.snr, SNR_EDGES)
    result += _binned("SNR of scratches", lines, lambda row: row.snr, SNR_EDGES)
    weak = [
        row for row in lines if row.snr is not None and 1.2 <= row.snr < 2.2 and (row.length_um or 0) > 25
    ]
    result.append(_recall("scratches of SNR 1.2 to 2.2", "longer than 25 um", weak))
    return tuple(item for item in result if item.found.trials)


def _recall(group: str, name: str, rows: Sequence[DefectRow]) -> Recall:
    return Recall(
        group,
        name,
        wilson_of([row.found for row in rows]),
        wilson_of([row.instance is not None for row in rows]),
    )


def _binned(
    group: str,
    rows: Sequence[DefectRow],
    measure: Callable[[DefectRow], float | None],
    edges: Sequence[float],
) -> list[Recall]:
    result = []
    for low, high in itertools.pairwise(edges):
        picked = [row for row in rows if (value := measure(row)) is not None and low <= value < high]
        result.append(_recall(group, bin_name(low, high), picked))
    return result


def bin_name(low: float, high: float) -> str:
    """Return a bin in words.

    Examples
    --------
    >>> bin_name(0, 1), bin_name(1, 2), bin_name(8, math.inf)
    ('below 1', '1 to 2', '8 and more')
    """
    if low == 0:
        return f"below {high:g}"
    return f"{low:g} and more" if math.isinf(high) else f"{low:g} to {high:g}"


def false_finds(
    finds: Sequence[FindRow],
    image_ids: Sequence[str],
    truly_clean: Sequence[bool],
    mm2: Sequence[float | None],
) -> FalseFinds:
    """Count false finds over the compared images (one entry per image in all sequences but the first).

    `clean_images` is the share of the images without any true defect that have no false find.
    """
    false = [row for row in finds if row.outcome == "false"]
    counts = dict.fromkeys(image_ids, 0)
    for row in false:
        counts[row.image_id] += 1
    values = list(counts.values())
    known = [(counts[name], area) for name, area in zip(image_ids, mm2, strict=True) if area is not None]
    area = sum(value for _, value in known)
    quiet = [counts[name] == 0 for name, clean in zip(image_ids, truly_clean, strict=True) if clean]
    names = {row.class_name for row in false}
    return FalseFinds(
        total=len(false),
        per_image=float(np.mean(values)),
        median=float(np.median(values)),
        largest=max(values),
        per_mm2=sum(count for count, _ in known) / area if area else None,
        mm2=area,
        clean_images=wilson_of(quiet),
        by_class=tuple((name, sum(row.class_name == name for row in false)) for name in sorted(names)),
    )


def pod_curves(rows: Sequence[DefectRow]) -> tuple[PodCurve, ...]:
    """Fit detection curves: pits and contamination by diameter, scratches by width and by length."""
    wanted: tuple[tuple[str, str, Callable[[DefectRow], float | None]], ...] = (
        ("pit_chip", "diameter_um", lambda row: row.diameter_um),
        ("contamination", "diameter_um", lambda row: row.diameter_um),
        ("scratch", "width_um", lambda row: row.width_um),
        ("scratch", "length_um", lambda row: row.length_um),
    )
    curves = []
    for name, measure, get in wanted:
        known = [
            (size, row.found)
            for row in rows
            if row.class_name == name and (size := get(row)) is not None and size > 0
        ]
        if known:
            sizes, hits = zip(*known, strict=True)
            curves.append(PodCurve(name, measure, fit_pod(sizes, hits), _pod_bins(sizes, hits)))
    return tuple(curves)


def _pod_bins(sizes: Sequence[float], hits: Sequence[bool]) -> tuple[tuple[float, float, Proportion], ...]:
    """Shares found in up to eight bins of about equal numbers, each with its range of sizes."""
    order = np.argsort(sizes, kind="stable")
    size, hit = np.asarray(sizes)[order], np.asarray(hits)[order]
    parts = np.array_split(np.arange(len(size)), min(8, max(1, len(size) // 5)))
    return tuple((float(size[part[0]]), float(size[part[-1]]), wilson_of(hit[part])) for part in parts)


def size_biases(rows: Sequence[DefectRow]) -> tuple[SizeBias, ...]:
    """Return errors of diameter (not scratches) and of scratch length by true size; paired ones only."""
    spots = size_pairs(rows, scratches=False)
    lines = size_pairs(rows, scratches=True)
    result = [_size_bias("diameter", "all", spots)]
    groups = [*itertools.pairwise(SIZE_EDGES_UM), (2.0, 10.0)]
    for low, high in groups:
        inside = [pair for pair in spots if low <= pair[0] < high]
        result.append(_size_bias("diameter", f"{bin_name(low, high)} um", inside))
    result.append(_size_bias("length", "all", lines))
    for low, high in ((0.0, 25.0), (25.0, 50.0), (50.0, 100.0), (100.0, math.inf)):
        inside = [pair for pair in lines if low <= pair[0] < high]
        result.append(_size_bias("length", f"{bin_name(low, high)} um", inside))
    return tuple(item for item in result if item.um.n)


def size_pairs(rows: Sequence[DefectRow], *, scratches: bool) -> list[tuple[float, float]]:
    """Return (true, found) lengths of paired scratches, or diameters of all other paired defects, in um."""
    pairs = []
    for row in rows:
        if (row.class_name == "scratch") is scratches:
            true, found = (
                (row.length_um, row.found_length_um)
                if scratches
                else (row.diameter_um, row.found_diameter_um)
            )
            if true and found is not None:
                pairs.append((true, found))
    return pairs


def _size_bias(measure: str, name: str, pairs: Sequence[tuple[float, float]]) -> SizeBias:
    return SizeBias(
        measure,
        name,
        bias([found - true for true, found in pairs]),
        bias([100 * (found / true - 1) for true, found in pairs]),
    )


def class_confusion(defects: Sequence[DefectRow], finds: Sequence[FindRow]) -> Confusion:
    """Return true against found class of paired defects, with the unpaired and the false ones.

    The last column counts true defects without a partner, the last row false finds; `right` is the share of
    paired defects with the right class.
    """
    last = len(CLASSES)
    code = {name: position for position, name in enumerate(CLASSES)}
    truth = [code[row.class_name] for row in defects]
    found = [code.get(row.found_class or "", last) for row in defects]
    false = [code.get(row.class_name, CLASSES.index("other")) for row in finds if row.outcome == "false"]
    table = confusion([*truth, *[last] * len(false)], [*found, *false], n=last + 1)
    paired = int(table[:last, :last].sum())
    return Confusion(
        (*CLASSES, "false find"),
        (*CLASSES, "not paired"),
        tuple(tuple(int(value) for value in row) for row in table),
        wilson(int(np.trace(table[:last, :last])), paired),
    )


def presence(
    defects: Sequence[Sequence[DefectRow]], finds: Sequence[Sequence[FindRow]]
) -> tuple[tuple[str, Proportion], ...]:
    """Return the share of images on which both agree whether there is a scratch, and any other defect.

    Takes the rows image by image. Where only faint ones are there either answer is right; finds on open areas
    do not count.
    """
    agreed: dict[str, list[bool]] = {"scratches": [], "regions": []}
    for true, seen in zip(defects, finds, strict=True):
        for name, flags in agreed.items():
            states = {row.certainty for row in true if (row.class_name == "scratch") is (name == "scratches")}
            found = any(
                (row.class_name == "scratch") is (name == "scratches")
                for row in seen
                if row.outcome != "open"
            )
            flags.append(bool(states) if found else "sure" not in states)
    return tuple((name, wilson_of(flags)) for name, flags in agreed.items())
