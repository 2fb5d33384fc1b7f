"""Several pictures of one face: registered by their turn about the fibre's centre, then compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from endface.evaluation.copies import FaceLook, SizeRow, cladding_um, size_rows
from endface.evaluation.follow import Followed, follow
from endface.imaging.facechart import Turn, likely_turns, turn_matrix, waves_of

SURE_TURN = 6.0
"""Below this surety, and without paired defects, a picture counts as not registered."""

_REACH_UM = 2.0


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One picture of a face; what needs a registration with the group's first picture is None without it.

    Attributes
    ----------
    turn_deg, surety : float or None
        Counter-clockwise turn against the first picture, and how sure it is (see `facechart.Turn`).
    n_paired, n_lost, n_new : int or None
        Defects of the first picture found again and not found again, finds it lacks; in view of both.
    """

    group: str
    image: str
    decision: str
    reason: str
    n_defects: int
    turn_deg: float | None
    surety: float | None
    n_paired: int | None
    n_lost: int | None
    n_new: int | None
    fail_chance: float | None
    largest_um: float | None
    cladding_um: float | None


def compare_faces(looks: Sequence[FaceLook]) -> tuple[list[FaceRow], list[SizeRow]]:
    """Compare the pictures of one group with the first of them that shows a fibre.

    Returns
    -------
    rows : list of FaceRow
        One per picture that could be read.
    sizes : list of SizeRow
        Sizes of the first picture's defects wherever they were found again; `trial` counts the pictures.
    """
    rows: list[FaceRow] = []
    sizes: list[SizeRow] = []
    reference = next((item for item in looks if item.chart is not None), None)
    for number, item in enumerate(looks):
        turn, pairs = register(reference, item) if reference is not None else (None, None)
        rows.append(_row(item, turn, pairs, None if reference is None else reference.look.pitch_um))
        if reference is not None and pairs is not None:
            which = ("picture", number)
            sizes += size_rows(item.group, reference.look, item.look, pairs.partner, which)
    return rows, sizes


def register(first: FaceLook, second: FaceLook) -> tuple[Turn | None, Followed | None]:
    """Return the turn between two pictures and the pairs of defects under it; (None, None) if there is none.

    Of the turns at which the charts agree best, the one that pairs the most defects is taken, among equals
    the one of the best agreement.
    """
    old, new = first.look.zones.cladding, second.look.zones.cladding
    if old is None or new is None or first.chart is None or second.chart is None:
        return None, None
    reach_px = max(_REACH_UM / (second.look.pitch_um or 1.0), 2.0)
    tried = []
    for turn in likely_turns(waves_of(first.chart), waves_of(second.chart)):
        pairs = follow(first.look, second.look, turn_matrix(old, new, turn.turn_deg), reach_px=reach_px)
        tried.append((int(np.count_nonzero(pairs.partner >= 0)), turn.surety, turn, pairs))
    n_paired, surety, turn, pairs = max(tried, key=lambda item: item[:2])
    return (turn, pairs) if n_paired or surety >= SURE_TURN else (None, None)


def _row(item: FaceLook, turn: Turn | None, pairs: Followed | None, pitch_um: float | None) -> FaceRow:
    look = item.look
    return FaceRow(
        group=item.group,
        image=item.image,
        decision=look.verdict.decision.value,
        reason=look.verdict.reason,
        n_defects=len(look.defects),
        turn_deg=None if turn is None else turn.turn_deg,
        surety=None if turn is None else turn.surety,
        n_paired=None if pairs is None else int(np.count_nonzero(pairs.partner >= 0)),
        n_lost=None if pairs is None else int(np.count_nonzero(pairs.lost)),
        n_new=None if pairs is None else int(np.count_nonzero(pairs.new)),
        fail_chance=look.fail_chance,
        largest_um=look.largest_um,
        cladding_um=cladding_um(look, pitch_um),
    )
