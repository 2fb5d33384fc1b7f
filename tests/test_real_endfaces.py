"""Real labelled end faces: zones as people drew them, most defects found, few false finds.

Guards against loss, not goals: the limits lie a little below what was measured when they were set.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from endface.annotation import instance_map
from endface.detection import detect_defects
from endface.evaluation.labels import read_label
from endface.evaluation.matching import match_label
from endface.samples import read_sample
from endface.zones import segment_zones

pytestmark = pytest.mark.real

# both instruments; scratch bundles, dust, unlit core, hidden rim, droplets, hardly anything
CHOSEN = (
    "19700101000617-J65531FT25",
    "19700103075245-J67693-FT24",
    "DSCN0002",
    "DSCN0013",
    "DSCN0026",
    "DSCN0041",
    "DSCN0059",
    "DSCN0078",
    "DSCN0089",
)


@cache
def labelled(folder):
    """Label and image by name."""
    found = {}
    for path in sorted((folder / "labels").glob("*.json")):
        truth = read_label(path)
        (picture,) = folder.glob(f"*/{truth.image}")
        found[path.stem] = (truth, read_sample(picture).frames[0])
    return found


@cache
def matched(folder):
    """For each chosen image: label, match and number of finds."""
    results = {}
    for name in CHOSEN:
        truth, image = labelled(folder)[name]
        finds = detect_defects(image, segment_zones(image))
        results[name] = (truth, match_label(truth, instance_map(finds, image.shape)), len(finds))
    return results


def test_cladding_and_core_lie_where_people_drew_them(real_data):
    worst = {}
    for name, (truth, image) in labelled(real_data / "endface").items():
        zones = segment_zones(image)
        assert zones.found, name
        rims = [e for e in (truth.cladding, truth.cladding_inner_alt) if e is not None]
        worst[name] = min(distance(zones.cladding, rim) for rim in rims)
        if truth.core_visible == "clear":
            assert zones.core_source == "measured", name
            assert distance(zones.core, truth.core) < 1.5, name
    assert len(worst) > 15
    assert max(worst.values()) < 1.5, worst
    assert np.median(list(worst.values())) < 0.5


def distance(first, second):
    """Largest difference of the centres' coordinates and the radii, px."""
    names = ("cx_px", "cy_px", "rx_px", "ry_px")
    return max(abs(getattr(first, name) - getattr(second, name)) for name in names)


def test_most_sure_defects_are_found(real_data):
    scratches, blobs = [], []
    for truth, match, _ in matched(real_data / "endface").values():
        things = (*truth.scratches, *truth.blobs)
        for place, (thing, found) in enumerate(zip(things, match.found, strict=True)):
            if thing.certainty == "sure":
                (scratches if place < len(truth.scratches) else blobs).append(bool(found))
    assert len(scratches) > 80
    assert len(blobs) > 200
    assert np.mean(scratches) >= 0.85
    assert np.mean(blobs) >= 0.8


def test_false_finds_are_few(real_data):
    counts = {name: match.n_false for name, (_, match, _) in matched(real_data / "endface").items()}
    assert np.median(list(counts.values())) <= 8, counts
    assert max(counts.values()) <= 30, counts


def test_a_clean_face_has_few_finds(real_data):
    assert matched(real_data / "endface")["DSCN0002"][2] <= 15
