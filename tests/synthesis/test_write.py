from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from endface.annotation import Calibration, Zones
from endface.errors import InputError
from endface.synthesis import render_of_set, write_set
from endface.synthesis.background import background_of, edge_blur_px, render_on_background
from endface.synthesis.write import SCHEMA_VERSION, is_clean


def test_a_set_is_complete_and_the_same_bytes_every_time(tmp_path):
    first = write_set(tmp_path / "a", n=4, seed=3, preset="sample")
    write_set(tmp_path / "b", n=4, seed=3, preset="sample")
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(names) == 4 * 5 + 1
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert index["schema_version"] == SCHEMA_VERSION
    assert [row["image_id"] for row in index["images"]] == list(first.image_ids)
    assert index["n_clean"] == first.n_clean == 2


def test_files_hold_the_rendered_arrays(tmp_path):
    written = write_set(tmp_path, n=3, seed=5, preset="grabber")
    for k, image_id in enumerate(written.image_ids):
        rendered = render_of_set(seed=5, index=k, preset="grabber")
        record = json.loads((tmp_path / "truth" / f"{image_id}.json").read_text())
        image = cv2.imread(str(tmp_path / record["image"]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(image, rendered.image)
        instances = cv2.imread(str(tmp_path / "truth" / f"{image_id}_instances.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(instances, rendered.truth.instances)
        assert len(record["defects"]) == len(rendered.truth.defects)
        assert record["zones"]["cladding"]["cx_px"] == rendered.truth.cladding.cx_px


def test_a_longer_set_begins_with_the_shorter_one(tmp_path):
    write_set(tmp_path / "short", n=1, seed=9, preset="sample")
    write_set(tmp_path / "long", n=3, seed=9, preset="sample")
    name = next((tmp_path / "short" / "images").iterdir()).name
    short, long = (tmp_path / which / "images" / name for which in ("short", "long"))
    assert short.read_bytes() == long.read_bytes()


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_exactly_half_of_the_images_are_clean(seed):
    flags = [is_clean(seed=seed, index=k) for k in range(60)]
    assert sum(flags) == 30
    assert flags != [k % 2 == 0 for k in range(60)]


def test_an_empty_set_has_an_index(tmp_path):
    assert write_set(tmp_path, n=0).image_ids == ()
    assert json.loads((tmp_path / "index.json").read_text())["images"] == []


def test_a_negative_number_is_refused(tmp_path):
    with pytest.raises(InputError):
        write_set(tmp_path, n=-1)


def test_an_empty_background_folder_is_refused(tmp_path):
    with pytest.raises(InputError):
        write_set(tmp_path / "out", n=1, backgrounds=tmp_path)


def background_from_rendering():
    rendered = render_of_set(seed=4, index=0, preset="sample")
    truth = rendered.truth
    pitch = Calibration(truth.um_per_px_x, truth.um_per_px_y, "cladding")
    zones = Zones(True, "", truth.anatomy, truth.valid, pitch, truth.cladding, truth.core)
    return rendered, background_of(rendered.clean, zones, name="made up")


def test_blur_and_noise_of_a_background_are_measured():
    rendered, background = background_from_rendering()
    instrument = rendered.truth.instrument
    gray = rendered.clean.astype(np.float32)
    assert edge_blur_px(gray, rendered.truth.cladding) == pytest.approx(instrument.blur_x_px, rel=0.25)
    level = np.float32(rendered.truth.look.ferrule_gray)
    measured = float(background.instrument.noise_gray(level))
    assert measured == pytest.approx(float(instrument.noise_gray(level)), rel=0.15)
    assert background.frame.um_per_px_x == rendered.truth.um_per_px_x


def test_defects_on_a_background_leave_the_rest_of_it_alone():
    rendered, background = background_from_rendering()
    made = render_on_background(background, rng=np.random.default_rng(3), preset="sample", clean=False)
    assert made.truth.defects
    assert np.array_equal(made.clean, rendered.clean)
    far = np.abs(made.difference) < 0.4
    assert np.array_equal(made.image[far], made.clean[far])
    assert made.truth.cladding == rendered.truth.cladding


def test_real_clean_images_can_be_backgrounds(real_data, tmp_path):
    pytest.importorskip("endface.zones")
    folder = tmp_path / "clean"
    folder.mkdir()
    source = real_data / "endface" / "scope_1152x864" / "19700103050740-J67690-FT38.jpg"
    (folder / source.name).write_bytes(source.read_bytes())
    written = write_set(tmp_path / "out", n=2, seed=1, backgrounds=folder)
    assert written.n_clean == 1
    assert written.n_defects > 0
