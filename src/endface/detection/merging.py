"""One defect per thing: bring together what several detectors, scales and polarities saw of it."""

from __future__ import annotations

import cv2
import numpy as np

from endface.annotation import Defect, instance_map
from endface.detection.joining import stamp, unite
from endface.imaging.linking import describe_piece, link_pieces

# how far the halo of optics and camera sharpening reaches round a defect
_HALO_PX = 4
_BRIGHT_SIDE_PX = 6
_ON_HALO = 0.3
_FRINGE_PX = 30


def merge_findings(
    spots: list[Defect], lines: list[Defect], chips: list[Defect], shape: tuple[int, int]
) -> tuple[Defect, ...]:
    """Merge spots and lines that belong to one defect, and drop halos of stronger findings.

    A spot is a halo if it touches a stronger line of the opposite polarity, and part of a line if most of it
    lies on the line. A line mostly on one compact spot is that spot's outline. A chip of the rim and
    the dark spots on it are one defect.

    Parameters
    ----------
    spots, lines, chips : list of Defect
        Findings of the region, the line and the rim detector.
    shape : tuple of int
        Height and width of the image.
    """
    kept_lines = [line for line in lines if not _is_diffraction_ring(line, spots)]
    spots = _without_halos(spots, kept_lines, shape)
    kept_lines = _without_halos(kept_lines, [d for d in spots if is_long(d)], shape)
    chips = _without_halos(chips, [*kept_lines, *spots], shape)
    return tuple(_link(_absorb(_join_chips(spots, chips, shape), kept_lines, shape)))


def _join_chips(spots: list[Defect], chips: list[Defect], shape: tuple[int, int]) -> list[Defect]:
    owner = np.zeros(shape, np.int32)
    for number, chip in enumerate(chips, start=1):
        stamp(owner, chip, 1, value=number)
    members: dict[int, list[Defect]] = {}
    left = []
    for spot in spots:
        number = int(owner[spot.box][spot.mask].max())
        if number and spot.polarity < 0:
            members.setdefault(number, []).append(spot)
        else:
            left.append(spot)
    return left + [unite([chip, *members.get(number, [])]) for number, chip in enumerate(chips, start=1)]


def _is_diffraction_ring(line: Defect, spots: list[Defect]) -> bool:
    """Whether a line keeps its distance from the outline of a stronger spot, as the fringes round dust do."""
    rows, cols = np.nonzero(line.mask)
    for spot in spots:
        height, width = spot.mask.shape
        x, y = cols + line.x_px - spot.x_px + _FRINGE_PX, rows + line.y_px - spot.y_px + _FRINGE_PX
        near = (x >= 0) & (y >= 0) & (x < width + 2 * _FRINGE_PX) & (y < height + 2 * _FRINGE_PX)
        if spot.score < line.score or near.mean() < 0.9:
            continue
        body = np.pad(spot.mask.astype(np.uint8), _FRINGE_PX)
        # a scratch has company that keeps its distance too
        if 10 * cv2.distanceTransform(body, cv2.DIST_L2, 5).max() < max(height, width):
            continue
        distance = cv2.distanceTransform(1 - body, cv2.DIST_L2, 5)
        low, middle, high = np.quantile(distance[y[near], x[near]], [0.1, 0.5, 0.9])
        if low > 1 and high - low < 4 + 0.1 * middle:
            return True
    return False


def _without_halos(spots: list[Defect], others: list[Defect], shape: tuple[int, int]) -> list[Defect]:
    # number of the strongest neighbour of each polarity within reach
    near = {polarity: np.zeros(shape, np.int32) for polarity in (-1, 1)}
    ranked = sorted(others, key=_strength)
    for number, other in enumerate(ranked, start=1):
        reach_px = _BRIGHT_SIDE_PX if other.polarity < 0 else _HALO_PX
        stamp(near[other.polarity], other, reach_px, value=number)
    kept = []
    for spot in spots:
        under = near[-spot.polarity][spot.box][spot.mask]
        number = int(under.max())
        # the halo of a line runs along it: a spot that only touches one is something of its own
        apart = spot.detector == "region" and np.count_nonzero(under) < _ON_HALO * under.size
        rival = None if apart or not number else ranked[number - 1]
        # slanting light gives dark pits and dust a bright side; the reverse takes clear evidence
        ratio = 0.5 if spot.polarity > 0 else 2.0
        if rival is None or _strength(rival) < _strength(spot) or rival.score < ratio * spot.score:
            kept.append(spot)
    return kept


def is_long(spot: Defect) -> bool:
    """Whether a spot has the shape of a line."""
    return max(spot.mask.shape) > 30 and spot.area_px < 0.5 * spot.mask.size


def _strength(defect: Defect) -> float:
    return max(defect.score, 0.1) * defect.area_px


def _absorb(spots: list[Defect], lines: list[Defect], shape: tuple[int, int]) -> list[Defect]:
    owner = np.zeros(shape, np.int32)
    for number, line in reversed(list(enumerate(lines, start=1))):
        stamp(owner, line, 2, value=number)
    spot_map = instance_map(tuple(spots), shape) if spots else np.zeros(shape, np.uint16)
    members: dict[int, list[Defect]] = {}
    left = []
    for spot in spots:
        under = owner[spot.box][spot.mask]
        line_number = int(np.bincount(under).argmax()) if under.any() else 0
        if line_number and (under == line_number).mean() > 0.5:
            members.setdefault(line_number, []).append(spot)
        else:
            left.append(spot)
    result = []
    for number, line in enumerate(lines, start=1):
        below = spot_map[line.box][line.mask]
        counts = np.bincount(below)
        counts[0] = 0
        if counts.size > 1 and counts.max() > 0.6 * below.size and counts.argmax() - 1 < len(spots):
            host = spots[int(counts.argmax()) - 1]
            if host in left and not is_long(host):
                continue
            if host in left:
                left.remove(host)
                members.setdefault(number, []).append(host)
        result.append(unite([line, *members.get(number, [])]))
    return left + result


def _link(findings: list[Defect]) -> list[Defect]:
    """Make one defect of the pieces of an interrupted scratch, of one polarity."""
    linked = [d for d in findings if not _may_be_slender(d)]
    slender = [d for d in findings if _may_be_slender(d)]
    for polarity in (-1, 0, 1):
        members = [d for d in slender if d.polarity == polarity]
        groups = link_pieces([describe_piece(d.mask, x_px=d.x_px, y_px=d.y_px) for d in members]).tolist()
        together: dict[int, list[Defect]] = {}
        for member, group in zip(members, groups, strict=True):
            together.setdefault(group, []).append(member)
        linked += [unite(parts) for parts in together.values()]
    return linked


def _may_be_slender(defect: Defect) -> bool:
    # chips in a row follow the rim, they are no scratch
    if "rim" in defect.detector:
        return False
    # an ellipse three times as long as wide fills a quarter of the square of its length, a disc 0.39 of it
    height, width = defect.mask.shape
    return bool(height**2 + width**2 >= 64 and defect.area_px < 0.33 * (height**2 + width**2))
