"""Figures of repeatability from rows: shares of equal verdicts, spreads, gauge R&R. No images, no files."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from endface.evaluation.copies import CopyRow, SizeRow
from endface.evaluation.faces import FaceRow
from endface.evaluation.gauge import Gauge, crossed_gauge, one_way_gauge
from endface.evaluation.page import number, share
from endface.evaluation.statistics import Proportion, wilson, wilson_of
from endface.imaging.jitter import KINDS

if TYPE_CHECKING:
    from endface.evaluation.repeatability import Repeatability


@dataclass(frozen=True, slots=True)
class KindRow:
    """What one kind of change does: equal verdicts, defects found again, new finds per copy.

    `count_bias` and `count_sd` are mean and standard deviation of the number of defects less the original's.
    """

    kind: str
    equal: Proportion
    found_again: Proportion
    new_per_copy: float
    count_bias: float
    count_sd: float


@dataclass(frozen=True, slots=True)
class SpreadRow:
    """Spread of one measure of the same thing: pooled standard deviation, median of all, widest range."""

    quantity: str
    unit: str
    n_things: int
    n_values: int
    mean: float
    sd: float
    median_sd: float
    largest_range: float


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """Gauge R&R of one measure."""

    quantity: str
    unit: str
    gauge: Gauge


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Pictures of one face: how many have the commonest verdict, how the number of defects varies.

    `found_again` is the share of the first picture's defects that the others show, where registered.
    """

    group: str
    n_pictures: int
    n_registered: int
    decisions: tuple[tuple[str, int], ...]
    equal: Proportion
    count_mean: float
    count_sd: float
    count_low: int
    count_high: int
    found_again: Proportion


def copies_only(rows: Iterable[CopyRow]) -> list[CopyRow]:
    """Return the rows of copies."""
    return [row for row in rows if row.kind != "original"]


def originals(rows: Iterable[CopyRow]) -> dict[str, CopyRow]:
    """Return the rows of originals by image."""
    return {row.image_id: row for row in rows if row.kind == "original"}


def transitions(rows: Sequence[CopyRow]) -> tuple[tuple[str, str, int], ...]:
    """Return how often an original's verdict (first) became that of a copy (second)."""
    first = originals(rows)
    counts = Counter((first[row.image_id].decision, row.decision) for row in copies_only(rows))
    return tuple((*key, count) for key, count in sorted(counts.items()))


def kind_rows(rows: Sequence[CopyRow]) -> tuple[KindRow, ...]:
    """Return one row per kind of change that was made."""
    first, copies = originals(rows), copies_only(rows)
    return tuple(
        _kind_row(kind, own, first) for kind in KINDS if (own := [row for row in copies if row.kind == kind])
    )


def _kind_row(kind: str, rows: Sequence[CopyRow], first: dict[str, CopyRow]) -> KindRow:
    change = np.array([row.n_defects - first[row.image_id].n_defects for row in rows], np.float64)
    paired, lost = sum(row.n_paired for row in rows), sum(row.n_lost for row in rows)
    return KindRow(
        kind,
        equal=wilson_of([row.decision == first[row.image_id].decision for row in rows]),
        found_again=wilson(paired, paired + lost),
        new_per_copy=sum(row.n_new for row in rows) / len(rows),
        count_bias=float(change.mean()),
        count_sd=float(change.std()),
    )


def spread_row(quantity: str, unit: str, groups: Iterable[Sequence[float | None]]) -> SpreadRow | None:
    """Return the spread within groups of values that should be equal; None where no group has two values.

    Examples
    --------
    >>> row = spread_row("diameter", "um", [[1.0, 3.0], [5.0, None, 5.0], [7.0]])
    >>> row.n_things, row.mean, row.sd, row.largest_range
    (2, 3.5, 1.0, 2.0)
    """
    known = [[value for value in group if value is not None] for group in groups]
    kept = [np.array(group) for group in known if len(group) >= 2]
    if not kept:
        return None
    sds = np.array([group.std(ddof=1) for group in kept])
    weights = np.array([len(group) - 1 for group in kept])
    return SpreadRow(
        quantity,
        unit,
        n_things=len(kept),
        n_values=sum(len(group) for group in kept),
        mean=float(np.mean([group.mean() for group in kept])),
        sd=math.sqrt(float((weights * sds**2).sum() / weights.sum())),
        median_sd=float(np.median(sds)),
        largest_range=float(max(np.ptp(group) for group in kept)),
    )


def copy_spreads(rows: Sequence[CopyRow], sizes: Sequence[SizeRow]) -> tuple[SpreadRow, ...]:
    """Return the spreads of an image's measures and of its defects' sizes over all its looks."""
    made = [
        spread_row(name, unit, _by(rows, lambda row: row.image_id, attribute).values())
        for name, unit, attribute in (
            ("defects per image", "", "n_defects"),
            ("chance to fail", "", "fail_chance"),
            ("largest diameter", "um", "largest_um"),
            ("cladding diameter", "um", "cladding_um"),
            ("distance of the centre", "px", "centre_px"),
            ("pixel pitch", "um/px", "um_per_px"),
        )
    ]
    return tuple(row for row in (*made, *size_spreads(sizes)) if row is not None)


def size_spreads(sizes: Sequence[SizeRow]) -> list[SpreadRow | None]:
    """Return the spreads of diameters of spots and lengths of lines, each defect with itself."""
    spots = [row for row in sizes if not row.is_line]
    lines = [row for row in sizes if row.is_line]
    return [
        spread_row("defect diameter", "um", _by(spots, _defect, "diameter_um").values()),
        spread_row("scratch length", "um", _by(lines, _defect, "length_um").values()),
        spread_row("scratch width", "um", _by(lines, _defect, "width_um").values()),
    ]


def copy_gauges(rows: Sequence[CopyRow], sizes: Sequence[SizeRow]) -> tuple[GaugeRow, ...]:
    """Return gauge R&R over copies: parts are images or defects, conditions the kinds of change.

    A part counts only where it was measured in every copy.
    """
    copies = copies_only(rows)
    own = [row for row in sizes if row.kind != "original"]
    spots, lines = [row for row in own if not row.is_line], [row for row in own if row.is_line]
    made = [
        ("number of defects", "", _crossed(copies, lambda row: row.image_id, "n_defects")),
        ("largest diameter", "um", _crossed(copies, lambda row: row.image_id, "largest_um")),
        ("cladding diameter", "um", _crossed(copies, lambda row: row.image_id, "cladding_um")),
        ("defect diameter", "um", _crossed(spots, _defect, "diameter_um")),
        ("scratch length", "um", _crossed(lines, _defect, "length_um")),
        ("scratch width", "um", _crossed(lines, _defect, "width_um")),
    ]
    return tuple(GaugeRow(name, unit, gauge) for name, unit, gauge in made if gauge is not None)


def face_gauges(rows: Sequence[FaceRow], sizes: Sequence[SizeRow]) -> tuple[GaugeRow, ...]:
    """Return gauge R&R over real pictures: parts are faces or defects, all else is repeatability."""
    made = [
        ("number of defects", "", _by(rows, lambda row: row.group, "n_defects")),
        ("largest diameter", "um", _by(rows, lambda row: row.group, "largest_um")),
        ("cladding diameter", "um", _by(rows, lambda row: row.group, "cladding_um")),
        ("defect diameter", "um", _by([row for row in sizes if not row.is_line], _defect, "diameter_um")),
        ("scratch length", "um", _by([row for row in sizes if row.is_line], _defect, "length_um")),
        ("scratch width", "um", _by([row for row in sizes if row.is_line], _defect, "width_um")),
    ]
    found = [
        (
            name,
            unit,
            one_way_gauge([[value for value in part if value is not None] for part in parts.values()]),
        )
        for name, unit, parts in made
    ]
    return tuple(GaugeRow(name, unit, gauge) for name, unit, gauge in found if gauge is not None)


def face_spreads(rows: Sequence[FaceRow], sizes: Sequence[SizeRow]) -> tuple[SpreadRow, ...]:
    """Return the spreads over the pictures of each face."""
    made = [
        spread_row(name, unit, _by(rows, lambda row: row.group, attribute).values())
        for name, unit, attribute in (
            ("defects per image", "", "n_defects"),
            ("chance to fail", "", "fail_chance"),
            ("largest diameter", "um", "largest_um"),
            ("cladding diameter", "um", "cladding_um"),
        )
    ]
    return tuple(row for row in (*made, *size_spreads(sizes)) if row is not None)


def group_rows(rows: Sequence[FaceRow]) -> tuple[GroupRow, ...]:
    """Return one row per face."""
    groups: dict[str, list[FaceRow]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    return tuple(_group_row(name, own) for name, own in groups.items())


def _group_row(name: str, rows: Sequence[FaceRow]) -> GroupRow:
    decisions = Counter(row.decision for row in rows).most_common()
    counts = np.array([row.n_defects for row in rows])
    # the first picture shows all its own defects
    others = [row for row in rows[1:] if row.n_paired is not None]
    paired, lost = (sum(getattr(row, part) for row in others) for part in ("n_paired", "n_lost"))
    return GroupRow(
        name,
        n_pictures=len(rows),
        n_registered=len(others) + 1,
        decisions=tuple(decisions),
        equal=wilson(decisions[0][1], len(rows)),
        count_mean=float(counts.mean()),
        count_sd=float(counts.std(ddof=1)) if len(counts) > 1 else 0.0,
        count_low=int(counts.min()),
        count_high=int(counts.max()),
        found_again=wilson(paired, paired + lost),
    )


def _defect(row: SizeRow) -> tuple[str, int]:
    return (row.image_id, row.instance)


def _by(rows: Sequence[Any], key: Callable[[Any], Any], attribute: str) -> dict[Any, list[Any]]:
    """Return the values of an attribute by the thing they belong to."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(getattr(row, attribute))
    return found


def _crossed(rows: Sequence[Any], key: Callable[[Any], Any], attribute: str) -> Gauge | None:
    """Return the gauge of the parts that have a value in every kind and trial."""
    cells = sorted({(KINDS.index(row.kind), row.trial) for row in rows})
    conditions = sorted({kind for kind, _ in cells})
    trials = sorted({trial for _, trial in cells})
    parts: dict[Any, dict[tuple[int, int], float]] = defaultdict(dict)
    for row in rows:
        value = getattr(row, attribute)
        if value is not None:
            parts[key(row)][KINDS.index(row.kind), row.trial] = value
    full = [found for found in parts.values() if len(found) == len(conditions) * len(trials)]
    table = [[[found[kind, trial] for trial in trials] for kind in conditions] for found in full]
    return crossed_gauge(np.array(table)) if table else None


def in_tables(found: Repeatability) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Yield (title, headings, rows) of what a terminal shows of a study."""
    if found.n_copies:
        again = [
            [row.kind, share(row.equal), share(row.found_again), number(row.new_per_copy)]
            for row in found.kinds
        ]
        again.append(["all", share(found.equal), "", ""])
        yield (
            f"{found.n_copies} copies of {found.n_images} images",
            ("change", "equal verdicts", "defects found again", "new per copy"),
            again,
        )
        yield "Gauge R&R, copies", *_gauge_table(found.gauges)
    if found.faces:
        rows = [
            [row.group, share(row.equal), f"{row.count_low} to {row.count_high}", share(row.found_again)]
            for row in found.groups
        ]
        rows.append(["all", share(found.group_equal), "", ""])
        yield (
            "Pictures of the same face",
            ("face", "commonest verdict", "defects", "defects found again"),
            rows,
        )
        yield "Gauge R&R, pictures of the same face", *_gauge_table(found.face_gauges)


def _gauge_table(rows: Sequence[GaugeRow]) -> tuple[Sequence[str], list[list[str]]]:
    headings = ("measure", "mean", "EV", "AV", "GRR", "PV", "% GRR", "ndc")
    return headings, [
        [
            f"{row.quantity}, {row.unit}" if row.unit else row.quantity,
            *(
                number(value)
                for value in (
                    row.gauge.mean,
                    row.gauge.repeatability,
                    row.gauge.reproducibility,
                    row.gauge.gauge,
                    row.gauge.parts,
                    row.gauge.gauge_pct,
                    row.gauge.distinct,
                )
            ),
        ]
        for row in rows
    ]
