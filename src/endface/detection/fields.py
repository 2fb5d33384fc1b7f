"""Fields of residue and films of oil: many finds that lie closer together than chance would have them."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones, instance_map
from endface.detection.joining import trim, unite

_FEWEST = 4
# expected number of fields among finds that lie anywhere by chance
_EPSILON = 1e-2
_RIM_PX = 4.0
# share of a find that lies within a field it belongs to
_WITHIN = 0.8
# the outline of a film is as coarse as this
_FILM_GAP_PX = 8.0


def unite_fields(findings: list[Defect], films: list[Defect], zones: Zones) -> list[Defect]:
    """Make one defect of finds that lie together, as an inspector sees a patch and not its specks.

    Were N finds of radii r strewn over the picture's area A, each would have on average
    L = N pi ((2 r + g)^2 - (2 r)^2) / A others within a gap g, and one would expect fewer than
    N (e L)^(k - 1) groups of k that hang together by such gaps. Groups of which fewer than 0.01 are expected
    are fields; of nested ones the largest. What lies mostly within the hull of a field is part of it, and so
    is what lies between its specks. Chips follow the rim, and pieces of scratches their line: neither makes
    a field. It is no surer than that its specks belong together, nor than the least of those it needs.
    A film was seen as a whole: what lies within its hull is part of it as well.

    References
    ----------
    A. Desolneux, L. Moisan, J.-M. Morel, "A grouping principle and four applications", IEEE TPAMI 25 (2003),
    doi:10.1109/TPAMI.2003.1190576.
    """
    free = [d for d in findings if "rim" not in d.detector and not _on_rim(d, zones)]
    members = [d for d in free if not _is_slender(d)]
    groups = _groups(members, zones.shape) if len(members) >= _FEWEST else []
    taken: set[int] = set()
    fields = []
    seen = [([film], _FILM_GAP_PX, film.score) for film in films]
    for core, gap, score in seen + [
        ([members[k] for k in group], gap, score) for group, gap, score in groups
    ]:
        inside = _hull(core, zones.shape)
        own = {id(part) for part in core}
        parts = core + [d for d in free if id(d) not in own and inside[d.box][d.mask].mean() > _WITHIN]
        parts = [part for part in parts if id(part) not in taken]
        if not parts:
            continue
        taken |= {id(part) for part in parts}
        field = unite(parts)
        fourth = sorted(part.score for part in parts)[-_FEWEST:][0]
        fields.append((replace(field, score=min(fourth, score) if len(core) > 1 else score), gap))
    rest = [d for d in findings if id(d) not in taken]
    if not fields:
        return rest
    empty = instance_map(tuple(rest), zones.shape) == 0
    whole = [_filled(field, gap, empty[field.box]) for field, gap in fields]
    # what runs through a film stays what it is
    return rest + [trim(replace(d, mask=d.mask & empty[d.box])) for d in whole if empty[d.box][d.mask].any()]


def _filled(field: Defect, gap_px: float, free: NDArray[np.bool_]) -> Defect:
    """Take what is free between the specks of a field as part of it, where it is narrower than its gaps."""
    # so far that the middle of four neighbours is reached from all of them
    reach = math.ceil(0.75 * gap_px)
    away = cv2.distanceTransform(
        np.pad(~field.mask, reach + 1, constant_values=True).astype(np.uint8), cv2.DIST_L2, 5
    )
    depth = cv2.distanceTransform((away <= reach).astype(np.uint8), cv2.DIST_L2, 5)
    inner = np.s_[reach + 1 : -reach - 1, reach + 1 : -reach - 1]
    return replace(field, mask=field.mask | (free & (depth[inner] > reach)))


def _on_rim(defect: Defect, zones: Zones) -> bool:
    if zones.cladding is None:
        return False
    rows, cols = np.nonzero(defect.mask)
    radius = zones.cladding.normalized_radius(cols + defect.x_px, rows + defect.y_px)
    return bool(np.abs(radius - 1.0).min() * zones.cladding.radius_px < _RIM_PX)


def _is_slender(defect: Defect) -> bool:
    """Whether a find has the outline of a piece of a scratch: a narrow rectangle around it fits."""
    points = np.argwhere(defect.mask).astype(np.float32)
    short, long = sorted(side + 1.0 for side in cv2.minAreaRect(points)[1])
    return bool(long >= 8 and long >= 3 * short)


def _groups(members: list[Defect], shape: tuple[int, int]) -> list[tuple[list[int], float, float]]:
    """Return the groups of members too close to lie together by chance.

    Of each also the widest gap (px), and the score: minus log10 of how many such groups chance would make.
    """
    n = len(members)
    radius = np.sqrt([d.area_px / math.pi for d in members])
    root = list(range(n))
    group: dict[int, list[int]] = {k: [k] for k in range(n)}
    nodes: list[tuple[float, list[int], float]] = []
    for first, second, gap in _nearest_pairs(members, shape):
        a, b = root[first], root[second]
        if a == b:
            continue
        joined = group.pop(a) + group.pop(b)
        group[a] = joined
        for k in joined:
            root[k] = a
        if len(joined) < _FEWEST:
            continue
        own = np.sort(radius[joined])[1:]
        around = math.e * n * math.pi * gap * (gap + 2.0 * (own + own.mean())) / (shape[0] * shape[1])
        nodes.append((math.log(n) + float(np.log(np.clip(around, 1e-12, 1.0)).sum()), joined, gap))
    chosen: list[tuple[list[int], float, float]] = []
    used: set[int] = set()
    for surprise, joined, gap in sorted(nodes, key=lambda node: -len(node[1])):
        if surprise < math.log(_EPSILON) and not used & set(joined):
            chosen.append((sorted(joined), gap, -surprise / math.log(10.0)))
            used |= set(joined)
    return chosen


def _nearest_pairs(members: list[Defect], shape: tuple[int, int]) -> list[tuple[int, int, float]]:
    """Return neighbours and the gaps between them (px), smallest first: those whose nearest regions meet."""
    numbers = instance_map(tuple(members), shape)
    distance, cells = cv2.distanceTransformWithLabels(
        (numbers == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    lookup = np.zeros(int(cells.max()) + 1, np.int64)
    lookup[cells[numbers > 0]] = numbers[numbers > 0]
    nearest = lookup[cells]
    codes, gaps = [], []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        meet = np.nonzero(nearest[here] != nearest[there])
        one, other = nearest[here][meet], nearest[there][meet]
        codes.append(np.minimum(one, other) * (len(members) + 1) + np.maximum(one, other))
        gaps.append(distance[here][meet] + distance[there][meet])
    code, gap = np.concatenate(codes), np.concatenate(gaps)
    order = np.lexsort((code, gap))
    code, firsts = np.unique(code[order], return_index=True)
    gap = gap[order][firsts]
    ranked = np.lexsort((code, gap))
    first, second = np.divmod(code[ranked], len(members) + 1)
    return list(zip((first - 1).tolist(), (second - 1).tolist(), gap[ranked].tolist(), strict=True))


def _hull(parts: list[Defect], shape: tuple[int, int]) -> NDArray[np.bool_]:
    points = np.concatenate(
        [np.argwhere(d.mask)[:, ::-1] + np.array([d.x_px, d.y_px]) for d in parts]
    ).astype(np.int32)
    canvas = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(points), 1)
    return canvas > 0
