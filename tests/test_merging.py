"""Merging: which finds are one thing, and which are several."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from endface.annotation import AnatomyZone, Calibration, Defect, Zones, instance_map
from endface.detection.fields import unite_fields
from endface.detection.joining import join_onto, owners, trim
from endface.detection.merging import is_long, join_corners, merge_findings
from endface.detection.scratches import _with_other_sides
from endface.imaging.ellipse import Ellipse

SHAPE = (400, 400)


def zones():
    anatomy = np.full(SHAPE, AnatomyZone.FERRULE, np.uint8)
    return Zones(False, "plain surface", anatomy, anatomy > 0, Calibration(0.5, 0.5, "settings"))


def find(mask, *, detector="region", polarity=-1, score=50.0):
    whole = Defect(mask.astype(bool), x_px=0, y_px=0, detector=detector, score=score, polarity=polarity)
    return trim(whole)


def disc(x, y, radius, **kind):
    return find(cv2.circle(np.zeros(SHAPE, np.uint8), (x, y), radius, 1, -1), **kind)


def stroke(start, end, width=3, **kind):
    return find(cv2.line(np.zeros(SHAPE, np.uint8), start, end, 1, width), **kind)


def both(*finds):
    canvas = np.zeros(SHAPE, bool)
    for one in finds:
        canvas[one.box] |= one.mask
    return find(canvas)


def covered(part, whole):
    canvas = np.zeros(SHAPE, bool)
    canvas[whole.box] = whole.mask
    return canvas[part.box][part.mask].mean()


def test_crossing_lines_share_out_the_spot_that_saw_both():
    lines = [
        stroke((100, 100), (300, 200), detector="line"),
        stroke((100, 220), (300, 120), detector="line", score=40),
    ]
    cross = both(*lines)
    found = merge_findings([cross], lines, [], zones())
    assert len(found) == 2
    for line in lines:
        assert max(covered(line, one) for one in found) > 0.95
    # each is as thin as its line: none took the other's arms along
    assert all(one.area_px < 1.3 * line.area_px for one, line in zip(found, lines, strict=True))


def test_what_no_line_explains_stays_a_find():
    line = stroke((100, 200), (300, 200), detector="line")
    branch = stroke((200, 210), (200, 290))
    found = merge_findings([both(line, stroke((200, 200), (200, 290)))], [line], [], zones())
    assert len(found) == 2
    assert max(covered(branch, one) for one in found if "line" not in one.detector) > 0.95


def test_a_spot_beside_a_line_keeps_its_shape():
    spot, line = disc(200, 206, 8), stroke((100, 200), (300, 200), detector="line")
    found = merge_findings([spot], [line], [], zones())
    assert sorted(one.area_px for one in found) == sorted([spot.area_px, line.area_px])


def crescent(x, y, inner, outer, *, degrees, **kind):
    canvas = np.zeros(SHAPE, np.uint8)
    middle = (inner + outer) // 2
    cv2.ellipse(canvas, (x, y), (middle, middle), 0, 0, degrees, 1, outer - inner)
    return find(canvas, **kind)


@pytest.mark.parametrize("radius", [5, 10, 20])
def test_light_on_the_edge_of_a_pit_is_no_defect(radius):
    pit = disc(200, 200, radius)
    light = crescent(200, 200, radius + 1, radius + 1 + radius // 2, degrees=160, polarity=1, score=80)
    assert merge_findings([pit, light], [], [], zones()) == (pit,)


def test_a_ring_round_dust_is_its_fringe_but_its_neighbour_is_dust():
    dust = disc(200, 200, 6, score=80)
    ring = crescent(200, 200, 14, 17, degrees=360, score=40)
    neighbour = disc(200, 214, 5, score=40)
    assert merge_findings([dust, ring], [], [], zones()) == (dust,)
    assert len(merge_findings([dust, neighbour], [], [], zones())) == 2


def test_chips_seen_one_by_one_stay_apart_and_grow_inwards_only():
    face = replace(zones(), cladding=Ellipse(200, 200, 150, 150))
    chips = [disc(x, 54, 3, detector="rim") for x in (190, 200, 210)]
    across = stroke((185, 54), (215, 54), width=9)
    assert sorted(d.area_px for d in merge_findings([across], [], chips, face)) == [d.area_px for d in chips]
    deep = stroke((200, 54), (200, 84), width=5)
    (one,) = merge_findings([deep], [], [chips[1]], face)
    assert one.area_px > 2 * chips[1].area_px
    assert covered(chips[1], one) == 1


def test_specks_closer_than_chance_are_one_field():
    rng = np.random.default_rng(0)
    specks = [disc(100 + 9 * (k % 4), 100 + 9 * (k // 4), 2) for k in range(12)]
    far = disc(320, 330, 4)
    fields = unite_fields([*specks, far], [], zones())
    assert len(fields) == 2
    field = max(fields, key=lambda one: one.area_px)
    # its outline holds the specks and what lies between them
    assert field.area_px > 1.2 * sum(one.area_px for one in specks)
    drawn = instance_map((field,), zones().shape)
    assert all(drawn[one.box][one.mask].all() for one in specks)
    strewn = [disc(int(x), int(y), 2) for x, y in rng.uniform(10, 390, (12, 2))]
    assert unite_fields(strewn, [], zones()) == strewn


@pytest.mark.parametrize("seed", range(8))
def test_strewn_specks_hardly_ever_make_a_field(seed):
    rng = np.random.default_rng(seed)
    strewn = [disc(int(x), int(y), 2) for x, y in rng.uniform(10, 390, (40, 2))]
    assert len(unite_fields(strewn, [], zones())) >= 38


def test_a_field_is_no_surer_than_that_its_specks_belong_together():
    def field(gap, scores):
        specks = [disc(100 + gap * k, 100, 2, score=score) for k, score in enumerate(scores)]
        (found,) = unite_fields([*specks, *(disc(40 + 60 * k, 300, 2) for k in range(5))], [], zones())[-1:]
        return found

    near, apart = field(7, [60.0] * 4), field(12, [60.0] * 4)
    assert 60 > near.score > apart.score >= 2.0
    # of four none may be missing, of six two
    assert field(7, [60.0, 60.0, 60.0, 1.5]).score == 1.5
    assert field(7, [60.0, 60.0, 1.4, 60.0, 1.5, 60.0]).score > near.score


def test_pieces_of_scratches_make_no_field():
    pieces = [stroke((100, 100 + 8 * k), (140, 100 + 8 * k)) for k in range(6)]
    assert unite_fields(pieces, [], zones()) == pieces


def test_a_field_takes_in_what_lies_within_it():
    specks = [disc(100 + 12 * (k % 4), 100 + 12 * (k // 4), 2) for k in range(12)]
    within, across = stroke((104, 106), (128, 106), 1), stroke((20, 118), (380, 118), 1)
    fields = unite_fields([*specks, within, across], [], zones())
    assert len(fields) == 2
    assert across in fields


def test_guests_join_their_hosts_and_are_shared_out_among_several():
    hosts = [disc(100, 100, 10), disc(130, 100, 10)]
    guest, across, stranger = stroke((90, 95), (90, 120)), stroke((105, 100), (126, 100)), disc(300, 300, 4)
    joined, left = join_onto(hosts, [guest, across, stranger], SHAPE, reach_px=1)
    assert left == [stranger]
    assert covered(guest, joined[0]) == 1
    # what was seen apart stays apart
    assert max(one.x_px + one.mask.shape[1] for one in joined[:1]) <= 112
    assert joined[1].x_px >= 119
    assert set(np.unique(owners(hosts, SHAPE, reach_px=1))) == {0, 1, 2}


def test_what_crosses_the_rim_is_no_row_of_chips():
    thread = stroke((60, 100), (340, 200), 7)
    chips = [
        stroke((140, 128), (150, 132), 7, detector="rim"),
        stroke((240, 164), (252, 168), 7, detector="rim"),
    ]
    # a chip and the spot that a wider look finds on it, beside the thread
    chip = disc(200, 300, 6, detector="rim")
    found = merge_findings([thread, disc(200, 300, 8)], [], [*chips, chip], zones())
    assert len(found) == 2
    assert min(covered(thread, max(found, key=lambda one: one.area_px)), 1.0) == 1.0
    assert covered(chip, min(found, key=lambda one: one.area_px)) == 1.0


def test_a_dark_and_a_bright_side_are_one_scratch_however_broad():
    gray = np.zeros(SHAPE, np.float32)
    dark, bright = stroke((50, 100), (150, 100), 11), stroke((50, 109), (150, 109), 5, polarity=1, score=60)
    apart = stroke((50, 130), (150, 130), 5, polarity=1)
    for line in (dark, bright, apart):
        gray[line.box][line.mask] = 40.0 * line.polarity
    dark, bright, apart = (replace(line, detector="line") for line in (dark, bright, apart))
    assert len(_with_other_sides([dark, bright, apart], gray)) == 2
    # its own kind beside a line is another line
    assert len(_with_other_sides([dark, replace(bright, polarity=-1)], gray)) == 2


def test_a_ring_is_one_find_and_crossing_scratches_are_not():
    ring = find(cv2.circle(np.zeros(SHAPE, np.uint8), (100, 100), 24, 1, 6))
    arcs = [
        find(cv2.ellipse(np.zeros(SHAPE, np.uint8), (100, 100), (24, 24), 0, start, start + 120, 1, 5))
        for start in (0, 180)
    ]
    lines = [replace(arc, detector="line") for arc in arcs]
    assert len(join_corners(list(merge_findings([ring], lines, [], zones())), zones())) == 1
    broken = replace(ring, mask=ring.mask & ~np.eye(*ring.mask.shape, dtype=bool))
    crossing = both(
        stroke((200, 200), (300, 300)), stroke((200, 300), (300, 200)), stroke((220, 180), (230, 320))
    )
    assert [is_long(spot) for spot in (ring, broken, crossing)] == [False, False, True]


def test_a_crack_that_starts_at_the_rim_is_one_with_its_corner_and_chips_are_not():
    face = replace(zones(), cladding=Ellipse(200, 200, 150, 150))
    broken = stroke((200, 56), (206, 100), 4, detector="region+rim")
    inside = stroke((207, 103), (150, 130), 4, detector="line")
    assert len(join_corners([broken, inside], face)) == 1
    # two breaks of the rim that touch each other stay two
    chips = [stroke((170, 54), (200, 51), 4, detector="rim"), stroke((203, 51), (232, 54), 4, detector="rim")]
    assert len(join_corners([inside, *chips], face)) == 3
