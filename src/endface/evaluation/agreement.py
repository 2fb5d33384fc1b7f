"""What the other rows of all images add up to: zones, ranking by confidence, pixels and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from endface.annotation import Decision
from endface.evaluation.comparison import DefectRow, FindRow, ZoneRow
from endface.evaluation.metrics import Confusion
from endface.evaluation.ranking import PixelCounts, aupro, average_precision
from endface.evaluation.statistics import (
    Bias,
    Kappa,
    Proportion,
    Spread,
    bias,
    bootstrap_kappa,
    confusion,
    spread,
    wilson,
    wilson_of,
)


@dataclass(frozen=True, slots=True)
class ZoneErrors:
    """Errors of one kind of ellipse over all images; radius errors are signed in `bias_pct` only."""

    ellipse: str
    found: Proportion
    centre_px: Spread
    centre_um: Spread
    radius_px: Spread
    radius_um: Spread
    radius_pct: Spread
    bias_pct: Bias
    pitch_pct: Spread


@dataclass(frozen=True, slots=True)
class Ranking:
    """Average precision and AUPRO by the confidence of the finds; None where nothing is true."""

    average_precision: float | None
    aupro: float | None


@dataclass(frozen=True, slots=True)
class Pixels:
    """Agreement of pixels within `tolerance_px`."""

    tolerance_px: float
    precision: float | None
    recall: float | None
    f1: float | None
    counts: PixelCounts


@dataclass(frozen=True, slots=True)
class VerdictAgreement:
    """Verdicts of the run against true ones.

    Attributes
    ----------
    table : Confusion
        All verdicts.
    kappa_decided : Kappa
        Over images on which both say PASS or FAIL.
    kappa_all : Kappa
        Over all images, anything but PASS taken as not accepted.
    false_accepts : Proportion
        Truly not acceptable images that were passed, of the truly FAIL ones.
    false_rejects : Proportion
        Truly acceptable images that were failed, of the truly PASS ones.
    undecided : Proportion
        MARGINAL or INDETERMINATE verdicts of the run.
    """

    table: Confusion
    kappa_decided: Kappa
    kappa_all: Kappa
    false_accepts: Proportion
    false_rejects: Proportion
    undecided: Proportion


def zone_errors(rows: Sequence[ZoneRow]) -> tuple[ZoneErrors, ...]:
    """Return the errors of cladding, of all cores, and of clearly visible cores."""
    groups = [
        ("cladding", [row for row in rows if row.ellipse == "cladding"]),
        ("core", [row for row in rows if row.ellipse == "core"]),
    ]
    states = sorted({row.visible for row in groups[1][1]})
    if len(states) > 1:
        groups += [(f"core, {state}", [r for r in groups[1][1] if r.visible == state]) for state in states]
    return tuple(_zone_errors(name, members) for name, members in groups if members)


def _zone_errors(name: str, rows: Sequence[ZoneRow]) -> ZoneErrors:
    def known(get: Callable[[ZoneRow], float | None]) -> list[float]:
        return [value for row in rows if (value := get(row)) is not None]

    return ZoneErrors(
        name,
        wilson_of([row.found for row in rows]),
        spread(known(lambda row: row.centre_px)),
        spread(known(lambda row: row.centre_um)),
        spread(known(lambda row: row.radius_px)),
        spread(known(lambda row: row.radius_um)),
        spread(known(lambda row: row.radius_pct)),
        bias(known(lambda row: row.radius_pct)),
        spread(known(lambda row: row.pitch_pct)),
    )


def rank(defects: Sequence[DefectRow], finds: Sequence[FindRow], *, negative_px: int) -> Ranking:
    """Return average precision and AUPRO over all images.

    Finds on open areas, on faint defects, and further parts of a defect that has its partner are left out of
    the precision: they are neither right nor wrong.
    """
    n_sure = sum(row.certainty == "sure" for row in defects)
    counted = [row for row in finds if row.outcome == "false" or (row.outcome == "paired" and row.sure)]
    return Ranking(
        average_precision(
            [row.confidence for row in counted], [row.outcome == "paired" for row in counted], n_truth=n_sure
        ),
        aupro(
            [row.confidence for row in finds],
            [row.overlap for row in finds],
            [row.false_px for row in finds],
            n_truth=n_sure,
            negative_px=negative_px,
        ),
    )


def verdict_agreement(
    pairs: Sequence[tuple[str, str]], *, rng: np.random.Generator, resamples: int = 2000
) -> VerdictAgreement | None:
    """Compare (true, found) verdicts; None where there is no true one."""
    if not pairs:
        return None
    names = tuple(member.value for member in Decision)
    code = {name: position for position, name in enumerate(names)}
    table = confusion([code[true] for true, _ in pairs], [code[found] for _, found in pairs], n=len(names))
    accepted = confusion([t == "PASS" for t, _ in pairs], [f == "PASS" for _, f in pairs], n=2)
    good, bad = code["PASS"], code["FAIL"]
    doubtful = [code["MARGINAL"], code["INDETERMINATE"]]
    agreed = int(np.trace(table))
    return VerdictAgreement(
        Confusion(
            names,
            names,
            tuple(tuple(int(value) for value in row) for row in table),
            wilson(agreed, len(pairs)),
        ),
        bootstrap_kappa(table[np.ix_([good, bad], [good, bad])], rng=rng, resamples=resamples),
        bootstrap_kappa(accepted, rng=rng, resamples=resamples),
        wilson(int(table[bad, good]), int(table[bad].sum())),
        wilson(int(table[good, bad]), int(table[good].sum())),
        wilson(int(table[:, doubtful].sum()), len(pairs)),
    )
