"""One defect per thing: bring together what several detectors, scales and polarities saw of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones, instance_map
from endface.detection.joining import join_onto, owners, stamp, trim, unite
from endface.detection.rim import along_rim
from endface.imaging.linking import describe_piece, link_pieces

# how far the halo of optics and camera sharpening reaches round a defect
_HALO_PX = 4
_BRIGHT_SIDE_PX = 6
_ON_HALO = 0.3
_FRINGE_PX = 30
_ON_LINE_PX = 3
_BESIDE_PX = 8
_LEAST_PX = 12
# a chip of which so little more is seen inside ends at the rim's strip
_DEEP = 0.3
# a find of twice the significance is no companion
_RIM_LIGHT = 0.5
_THIN = 2.5
# a way into a ring that is narrower than this is no way in
_GAP_PX = 2


def merge_findings(
    spots: list[Defect], lines: list[Defect], chips: list[Defect], zones: Zones
) -> tuple[Defect, ...]:
    """Merge spots and lines that belong to one defect, and drop halos of stronger findings.

    A spot is a halo if it lies beside a stronger line or chip of the opposite polarity. What runs round a
    clear spot is its fringe or the light its edge catches. What spots saw of lines is shared out among
    them. A line mostly on one compact spot is that spot's outline. A chip of the rim and the dark spots
    on it are one defect.

    Parameters
    ----------
    spots, lines, chips : list of Defect
        Findings of the region, the line and the rim detector.
    zones : Zones
        Of the image.
    """
    shape = zones.shape
    kept_lines = [line for line in lines if not _runs_round(line, spots)]
    spots = [spot for spot in spots if not _runs_round(spot, spots)]
    spots = _without_halos(spots, [*kept_lines, *chips], shape)
    kept_lines = _without_halos(kept_lines, [d for d in spots if is_long(d)], shape)
    chips = _without_halos(chips, [*kept_lines, *spots], shape)
    dark, chips = _take_breaks([d for d in spots if d.polarity < 0], chips, zones)
    spots = [d for d in spots if d.polarity >= 0] + dark + chips
    return tuple(_link(_share_out(spots, kept_lines, shape), zones))


def join_corners(findings: list[Defect], zones: Zones) -> list[Defect]:
    """Make one defect of the lines that meet at their ends, as the pieces of a jagged crack do.

    Fringes of oil meet as well: what makes a field or a film shall be one before.
    """
    return _link(findings, zones, corners=True)


def _take_breaks(spots: list[Defect], chips: list[Defect], zones: Zones) -> tuple[list[Defect], list[Defect]]:
    """Make one defect of each chip and the spots on it; return the other spots, and the chips.

    A spot that lies for the most part far from all chips is no spot on a chip. What crosses the rim breaks it
    twice: chips mostly on such a spot are parts of it.
    """
    beside = owners(chips, zones.shape, reach_px=_BESIDE_PX)
    across = [np.count_nonzero(beside[d.box][d.mask]) < 0.5 * d.area_px for d in spots]
    large = [spot for spot, far in zip(spots, across, strict=True) if far]
    number = owners(large, zones.shape, reach_px=0)
    together = [[spot] for spot in large]
    left = []
    for chip in chips:
        under = np.bincount(number[chip.box][chip.mask], minlength=1)
        host = int(under.argmax())
        if host and 2 * under[host] > chip.area_px:
            together[host - 1].append(chip)
        else:
            left.append(chip)
    chips, small = _onto_chips(left, [d for d, far in zip(spots, across, strict=True) if not far], zones)
    return [unite(parts) for parts in together] + small, chips


def _runs_round(find: Defect, hosts: list[Defect]) -> bool:
    """Whether a find runs along the outline of a clear spot: a fringe round dust, light caught by a rim.

    It keeps its distance to within its own thickness, for a sixth of the way round where it is a line or
    bright beside dark, else for half of it: dust lies beside dust.
    """
    rows, cols = np.nonzero(find.mask)
    rows, cols = rows + find.y_px, cols + find.x_px
    thickness = 2 * _half_width(find.mask)
    for host in hosts:
        height, width = host.mask.shape
        y, x = rows - host.y_px + _FRINGE_PX, cols - host.x_px + _FRINGE_PX
        near = (x >= 0) & (y >= 0) & (x < width + 2 * _FRINGE_PX) & (y < height + 2 * _FRINGE_PX)
        if host is find or host.score < _RIM_LIGHT * find.score or near.mean() < 0.9:
            continue
        # scratches and fringes of oil have company that keeps its distance too
        if host.area_px < 0.3 * max(height, width) ** 2:
            continue
        body = np.pad(host.mask.astype(np.uint8), _FRINGE_PX)
        distance = cv2.distanceTransform(1 - body, cv2.DIST_L2, 5)[y[near], x[near]]
        low, middle, high = np.quantile(distance, [0.1, 0.5, 0.9])
        if high - low > thickness + 2 or middle == 0:
            continue
        out = x - _FRINGE_PX - width / 2 + 1j * (y - _FRINGE_PX - height / 2)
        ways = out / np.maximum(np.abs(out), 1e-9)
        turn = np.sort(np.angle(out * np.conj(ways.sum())))
        round_rad = float(np.ptp(turn[[turn.size // 20, -1 - turn.size // 20]]))
        least_rad = np.pi / 3 if host.polarity < find.polarity or "line" in find.detector else np.pi
        if round_rad > least_rad and round_rad * np.median(np.abs(out)) > _THIN * thickness:
            return True
    return False


def _half_width(mask: NDArray[np.bool_]) -> float:
    return float(cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5).max())


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


def _onto_chips(chips: list[Defect], spots: list[Defect], zones: Zones) -> tuple[list[Defect], list[Defect]]:
    """Add to each chip what spots saw of it farther inside; return the spots on no chip as well.

    Along the rim itself chips were seen against the rim, and one by one: their outlines stand.
    """
    owner = owners(chips, zones.shape, reach_px=1)
    inside, left = [], []
    for spot in spots:
        if not owner[spot.box][spot.mask].any():
            left.append(spot)
            continue
        deep = spot.mask & ~along_rim(spot, zones)
        if np.count_nonzero(deep) > _DEEP * spot.area_px:
            inside.append(trim(replace(spot, mask=deep)))
    chips, apart = join_onto(chips, inside, zones.shape, reach_px=2)
    return chips, left + apart


def is_long(spot: Defect) -> bool:
    """Whether a spot has the shape of a line; the ring of a dried droplet, closed or nearly so, has not."""
    if max(spot.mask.shape) <= 30 or spot.area_px >= 0.5 * spot.mask.size:
        return False
    # what is enclosed counts as body: crossing scratches enclose little of their box
    body = cv2.dilate(
        np.pad(spot.mask, _GAP_PX + 1).astype(np.uint8), np.ones((2 * _GAP_PX + 1,) * 2, np.uint8)
    )
    cv2.floodFill(body, None, (0, 0), 2)
    return bool(np.count_nonzero(body == 0) < 0.25 * spot.mask.size)


def _strength(defect: Defect) -> float:
    return max(defect.score, 0.1) * defect.area_px


def _share_out(spots: list[Defect], lines: list[Defect], shape: tuple[int, int]) -> list[Defect]:
    """Give lines what spots saw of them: where scratches cross or run close, one spot may have seen them all.

    What is left of a spot stays. A compact spot that lies beside lines for the most part stays whole, and a
    line that lies on it is its outline: dropped.
    """
    lines = sorted(lines, key=_strength)
    spot_map = instance_map(tuple(spots), shape)
    under = [np.bincount(spot_map[line.box][line.mask], minlength=len(spots) + 1) for line in lines]
    beside = owners(lines, shape, reach_px=_BESIDE_PX)
    owner = owners(lines, shape, reach_px=_ON_LINE_PX)
    for number, line in enumerate(lines, start=1):  # a line's own pixels come before its neighbour's reach
        owner[line.box][line.mask] = number
    together = [[line] for line in lines]
    left: list[Defect] = []
    outlines: set[int] = set()
    for place, spot in enumerate(spots, start=1):
        on = np.where(spot.mask, owner[spot.box], 0)
        if not is_long(spot) and 2 * np.count_nonzero(on) <= spot.area_px:
            left.append(spot)
            outlines |= {k for k, counts in enumerate(under) if counts[place] > 0.6 * counts.sum()}
            continue
        for number in np.unique(on[on > 0]).tolist():
            together[number - 1].append(trim(replace(spot, mask=on == number)))
        rest = _pieces(replace(spot, mask=spot.mask & (on == 0)))
        left += [p for p in rest if p.area_px >= _LEAST_PX and not beside[p.box][p.mask].all()]
    return left + [unite(parts) for k, parts in enumerate(together) if k not in outlines]


def _pieces(defect: Defect) -> list[Defect]:
    """Return the connected parts of a defect's mask."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(defect.mask.astype(np.uint8), connectivity=8)
    found = []
    for number, (x, y, width, height, _area) in enumerate(stats[1:].tolist(), start=1):
        body = parts[y : y + height, x : x + width] == number
        found.append(replace(defect, mask=body, x_px=defect.x_px + x, y_px=defect.y_px + y))
    return found


def _link(findings: list[Defect], zones: Zones, *, corners: bool = False) -> list[Defect]:
    """Make one defect of the pieces of an interrupted scratch, of one polarity."""
    able = [_may_be_piece(d, zones) for d in findings]
    linked = [d for d, may in zip(findings, able, strict=True) if not may]
    slender = [d for d, may in zip(findings, able, strict=True) if may]
    for polarity in (-1, 0, 1):
        members = [d for d in slender if d.polarity == polarity]
        pieces = [describe_piece(d.mask, x_px=d.x_px, y_px=d.y_px) for d in members]
        groups = link_pieces(pieces, corners=corners).tolist()
        together: dict[int, list[Defect]] = {}
        for member, group in zip(members, groups, strict=True):
            together.setdefault(group, []).append(member)
        linked += [unite(parts) for parts in together.values()]
    return linked


def _may_be_piece(defect: Defect, zones: Zones) -> bool:
    # chips in a row follow the rim, they are no scratch
    if "rim" in defect.detector and 2 * along_rim(defect, zones)[defect.mask].mean() > 1:
        return False
    return bool(max(defect.mask.shape) >= 6)
