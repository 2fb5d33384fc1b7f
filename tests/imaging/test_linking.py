"""Linking: pieces that continue each other, and pieces that only lie near each other."""

import cv2
import numpy as np
import pytest

from endface.imaging.linking import describe_piece, link_pieces


def bar(x, y, *, length, width, degrees=0.0):
    canvas = np.zeros((200, 300), np.uint8)
    box = cv2.boxPoints(((float(x), float(y)), (length - 1, width - 1), degrees))
    cv2.fillConvexPoly(canvas, np.round(box).astype(np.int32), 1)
    return describe_piece(canvas > 0)


def groups(*pieces, corners=False):
    return link_pieces(list(pieces), corners=corners).tolist()


@pytest.mark.parametrize("gap", [5, 20, 35])
def test_pieces_of_one_line_are_linked_over_a_gap_no_longer_than_the_longer(gap):
    line = [bar(60, 100, length=40, width=4), bar(60 + 40 + gap, 100, length=40, width=4)]
    assert groups(*line) == [0, 0]
    assert groups(line[0], bar(60 + 60 + 2 * gap, 100, length=20, width=4)) == [0, int(2 * gap + 10 > 40)]


def test_the_wider_the_gap_the_straighter():
    first = bar(60, 100, length=60, width=4)
    assert groups(first, bar(115, 102, length=30, width=4)) == [0, 0]
    assert groups(first, bar(150, 118, length=40, width=4, degrees=14)) == [0, 1]


def test_bars_of_a_broad_scratch_are_linked_where_the_gap_is_no_wider_than_they():
    bars = [bar(60, 100, length=24, width=12), bar(94, 100, length=28, width=12)]
    assert groups(*bars) == [0, 0]
    assert groups(bars[0], bar(116, 100, length=28, width=12)) == [0, 1]


def test_what_lies_side_by_side_or_is_round_is_not_linked():
    assert groups(bar(60, 100, length=40, width=4), bar(62, 110, length=40, width=4)) == [0, 1]
    assert groups(bar(60, 100, length=12, width=12), bar(74, 100, length=12, width=12)) == [0, 1]


def stroke(*points, width=4):
    canvas = np.zeros((200, 300), np.uint8)
    cv2.polylines(canvas, [np.array(points, np.int32)], False, 1, width)
    return describe_piece(canvas > 0)


@pytest.mark.parametrize("corner", [(160, 100), (140, 140), (100, 150), (90, 150)])
def test_lines_that_end_where_they_meet_are_one_with_a_corner(corner):
    first = stroke((40, 100), (100, 100))
    assert groups(first, stroke((102, 103), corner), corners=True) == [0, 0]
    assert groups(first, stroke((102, 103), corner)) == [0, int(corner != (160, 100))]
    assert groups(first, stroke((112, 112), (112, 170)), corners=True) == [0, 1]


def test_lines_that_cross_or_pass_an_end_or_lie_side_by_side_do_not_meet():
    first = stroke((40, 100), (100, 100))
    assert groups(first, stroke((70, 70), (70, 130)), corners=True) == [0, 1]
    assert groups(first, stroke((100, 60), (100, 140)), corners=True) == [0, 1]
    assert groups(first, stroke((45, 104), (99, 104)), corners=True) == [0, 1]
    # two that run to one point, as the sides of a wedge
    assert groups(first, stroke((48, 125), (99, 104)), corners=True) == [0, 1]


def test_lines_followed_beyond_each_others_ends_are_one():
    first = stroke((40, 100), (120, 104))
    assert groups(first, stroke((96, 101), (180, 108)), corners=True) == [0, 0]
    assert groups(first, stroke((96, 108), (180, 112)), corners=True) == [0, 1]


def test_nothing_and_one_piece():
    assert groups() == []
    assert groups(bar(60, 100, length=40, width=4)) == [0]
