import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from endface.imaging.indexed import N_GRAYS, blend_palette, index_picture
from endface.imaging.png import encode_png

IMAGES = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
) | hnp.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7), st.just(3)))


@settings(max_examples=60, deadline=None)
@given(image=IMAGES, content=st.sampled_from(["picture", "codes"]))
def test_readers_get_what_was_written(image, content):
    data = encode_png(image, content=content)
    with Image.open(io.BytesIO(data)) as opened:
        opened.verify()
    seen = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(seen.astype(image.dtype), image)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(other if image.ndim == 2 else other[..., ::-1], image)


def test_views_and_read_only_arrays_are_taken_as_they_are():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image.flags.writeable = False
    data = encode_png(image[::2, ::-1], content="picture")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image[::2, ::-1])


def test_palette_images_hold_codes_and_colours():
    codes = np.array([[0, 1, 2]], np.uint8)
    colours = np.array([[0, 0, 0], [10, 20, 30], [250, 0, 0]], np.uint8)
    image = Image.open(io.BytesIO(encode_png(codes, content="codes", palette=colours)))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), codes)
    assert np.array_equal(np.asarray(image.convert("RGB"))[0], colours)


@pytest.mark.parametrize("content", ["picture", "codes"])
def test_each_kind_of_content_is_smallest_in_its_own_way(content):
    rng = np.random.default_rng(0)
    noisy = np.clip(rng.normal(120, 2, (200, 300)) + np.linspace(0, 90, 300), 0, 255).astype(np.uint8)
    flat = np.zeros((200, 300), np.uint8)
    flat[50:120, 40:200] = 3
    image, other = (noisy, "codes") if content == "picture" else (flat, "picture")
    assert len(encode_png(image, content=content)) < len(encode_png(image, content=other))
    assert len(encode_png(image, content=content)) < 1.05 * len(
        cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    )


COLOURS = ((242, 201, 34), (60, 205, 155))


def test_grays_and_line_colours_survive_indexing():
    picture = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).copy()
    picture[0, :2] = COLOURS
    shown = blend_palette(COLOURS)[index_picture(picture, colours=COLOURS)].astype(int)
    assert np.array_equal(shown[0, :2], COLOURS)
    assert np.abs(shown - picture).max() <= 1


def test_indexed_grays_stay_in_order():
    grays = blend_palette(COLOURS)[:N_GRAYS]
    assert (np.diff(grays[:, 0].astype(int)) > 0).all()
    assert (grays == grays[:, :1]).all()


def test_soft_edges_of_lines_keep_a_mixed_colour():
    mixed = np.array([[[150, 132, 60]]], np.uint8)  # half way from yellow to dark gray
    shown = blend_palette(COLOURS)[index_picture(mixed, colours=COLOURS)].astype(int)
    assert np.abs(shown - mixed).max() < 45
    assert shown[0, 0, 2] < shown[0, 0, 0]
