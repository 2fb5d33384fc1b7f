"""Reading: every format gives the same pixels, broken files are named, nothing is lost in depth."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from endface.errors import InputError
from endface.inputs import find_images, image_ids
from endface.samples import decode_sample, read_sample, to_gray

RNG = np.random.default_rng(7)
GRAY8 = RNG.integers(0, 256, (40, 56), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (40, 56), dtype=np.uint16)
COLOUR8 = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
COLOUR16 = RNG.integers(0, 65536, (40, 56, 3), dtype=np.uint16)


def by_cv2(image: np.ndarray, suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def by_pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, **options: object) -> np.ndarray:
    return decode_sample(data, source="x", **options).frames


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_gray_comes_back_exactly(suffix: str) -> None:
    assert np.array_equal(decode(by_cv2(GRAY8, suffix))[0], GRAY8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_stays_16_bit(suffix: str) -> None:
    frame = decode(by_cv2(GRAY16, suffix))[0]
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, GRAY16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("image", [COLOUR8, COLOUR16], ids=["8 bit", "16 bit"])
def test_colour_becomes_luminance_at_its_depth(image: np.ndarray, suffix: str) -> None:
    frame = decode(by_cv2(image, suffix))[0]
    assert frame.dtype == image.dtype
    assert np.array_equal(frame, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def test_webp_and_jpeg_are_read() -> None:
    smooth = cv2.GaussianBlur(GRAY8, (0, 0), 3)
    lossless = by_pillow(Image.fromarray(np.dstack([smooth] * 3)), "WEBP", lossless=True)
    assert np.array_equal(decode(lossless)[0], smooth)
    jpeg = decode(by_cv2(smooth, ".jpg"))[0]
    assert np.abs(jpeg.astype(int) - smooth).max() < 12


def test_jpeg_equals_opencv() -> None:
    data = by_cv2(cv2.GaussianBlur(COLOUR8, (0, 0), 2), ".jpg")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(decode(data)[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_either_byte_order(order: str) -> None:
    pixels = GRAY16.astype(f"{order}u2").tobytes()
    height, width = GRAY16.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(pixels)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    data = head + pixels + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0"
    assert np.array_equal(decode(data)[0], GRAY16)


@pytest.mark.parametrize("maxval", [1023, 4095, 65535])
@pytest.mark.parametrize("comment", [b"", b"# by a camera\n"])
def test_pgm_keeps_the_values_of_the_file(maxval: int, comment: bytes) -> None:
    image = (GRAY16.astype(np.int64) * maxval // 65535).astype(np.uint16)
    header = b"P5\n" + comment + b"%d %d\n%d\n" % (image.shape[1], image.shape[0], maxval)
    sample = decode_sample(header + image.astype(">u2").tobytes(), source="x")
    assert np.array_equal(sample.image, image)
    assert sample.white_level == maxval


def test_pages_become_frames_and_the_first_is_analysed() -> None:
    pages = [Image.fromarray(GRAY16 // (k + 1)) for k in range(3)]
    sample = decode_sample(by_pillow(pages[0], "TIFF", save_all=True, append_images=pages[1:]), source="x")
    assert sample.frames.shape == (3, *GRAY16.shape)
    assert np.array_equal(sample.frames[2], GRAY16 // 3)
    assert np.array_equal(sample.image, GRAY16)
    assert "3 pages" in sample.notes[0]


def test_palette_bitmap_alpha_and_cmyk() -> None:
    two = Image.fromarray(GRAY8 > 128)
    assert np.array_equal(decode(by_pillow(two, "PNG"))[0], (GRAY8 > 128) * np.uint8(255))
    palette = Image.fromarray(GRAY8 // 64 * 64).convert("P")
    assert np.array_equal(decode(by_pillow(palette, "PNG"))[0], GRAY8 // 64 * 64)
    opaque = np.dstack([GRAY8, GRAY8, GRAY8, np.full_like(GRAY8, 255)])
    assert np.array_equal(decode(by_pillow(Image.fromarray(opaque), "PNG"))[0], GRAY8)
    opaque[:10, :, 3] = 0
    assert (decode(by_pillow(Image.fromarray(opaque), "PNG"))[0, :10] == 0).all()
    flat = Image.new("CMYK", (48, 40), (0, 0, 0, 100))
    assert abs(int(decode(by_pillow(flat, "JPEG"))[0].mean()) - 155) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation_is_applied(orientation: int, deep: bool) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    expected = GRAY8
    ways = {2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    if orientation > 4:
        expected = expected.T
    flip_x, flip_y = ways.get(orientation, (0, 0))
    expected = expected[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    if deep:
        png = by_cv2(np.dstack([GRAY8.astype(np.uint16) * 257] * 3), ".png")
        block = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        data = (
            png[:33]
            + struct.pack(">I", len(block) - 4)
            + block
            + struct.pack(">I", zlib.crc32(block))
            + png[33:]
        )
        assert np.array_equal(decode(data)[0], expected.astype(np.uint16) * 257)
    else:
        data = by_pillow(Image.fromarray(GRAY8), "PNG", exif=exif)
        assert np.array_equal(decode(data)[0], expected)


@given(cut=st.floats(0.05, 0.9), kind=st.sampled_from([".png", ".jpg", ".bmp", ".tif", ".pgm", ".webp"]))
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_cut_off_never_reads_as_whole(cut: float, kind: str) -> None:
    data = by_cv2(GRAY8, kind)
    with pytest.raises(InputError) as caught:
        decode(data[: int(len(data) * cut)])
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_deep_colour_that_is_cut_off_is_refused(suffix: str) -> None:
    data = by_cv2(COLOUR16, suffix)
    with pytest.raises(InputError):
        decode(data[: int(len(data) * 0.7)])


def test_progressive_jpeg_cut_off_is_refused() -> None:
    data = by_pillow(Image.fromarray(GRAY8), "JPEG", progressive=True)
    with pytest.raises(InputError):
        decode(data[: len(data) // 2])


def test_jpeg_with_bytes_behind_its_end_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    data = by_cv2(GRAY8, ".jpg")
    assert np.array_equal(decode(data + b"\0" * 100), decode(data))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"hello, this is text\n" * 9, "text"),
        (b"%PDF-1.7 ...", "a PDF"),
        (bytes(range(200, 256)), "bytes c8"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, word: str) -> None:
    with pytest.raises(InputError, match=word):
        decode(data)


def test_decompression_bomb_is_refused_by_its_header() -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(InputError, match="60000 x 60000 px"):
        decode(data + by_cv2(GRAY8, ".png")[33:])
    with pytest.raises(InputError, match="megapixels"):
        decode(by_cv2(GRAY8, ".png"), max_megapixels=0.001)


def test_missing_empty_and_tiny_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_sample(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_sample(tmp_path / "b.png")
    with pytest.raises(InputError, match="8 x 8 px"):
        decode(by_cv2(GRAY8[:8, :8], ".png"))


def test_float_tiff_with_gaps() -> None:
    image = GRAY16.astype(np.float32) / 7
    image[0, 0] = np.nan
    sample = decode_sample(by_pillow(Image.fromarray(image), "TIFF"), source="x")
    assert sample.image.dtype == np.float32
    assert np.isfinite(sample.image).all()
    assert "no number" in sample.notes[0]


@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
@settings(max_examples=30, deadline=None)
def test_three_equal_channels_give_that_channel(dtype: type, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    before = image.copy()
    gray = to_gray(np.dstack([image] * 3))
    assert gray.dtype == dtype
    assert np.allclose(gray, image, atol=0 if dtype != np.float32 else 1e-4)
    assert np.array_equal(to_gray(image), before)


@pytest.mark.parametrize("shape", [(5,), (5, 5, 2), (2, 5, 5, 3)])
def test_arrays_that_are_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected an image"):
        to_gray(np.zeros(shape, np.uint8))


def test_real_grabber_frames_read_without_noise(real_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted((real_data / "endface" / "grabber_720x576").iterdir())[:3]:
        sample = read_sample(path)
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert np.abs(sample.image.astype(int) - expected).max() <= 1
        capfd.readouterr()  # what OpenCV just said
        read_sample(path)
        assert capfd.readouterr().err == ""


# ── which images ────────────────────────────────────────────────────────────────────────────────────────────


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_ids_of_a_folder(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b.png",
        "a.png",
        "a.jpg",
        "sub dir/ä ö.tif",
        ".hidden.png",
        ".git/x.png",
        "notes.txt",
        "A.PNG",
    )
    found = find_images([tmp_path])
    ids = {item.image: item.image_id for item in found}
    assert ids["sub dir/ä ö.tif"] == "sub dir__ä ö"
    assert ids["b.png"] == "b"
    assert ids["a.jpg"] == "a_jpg"
    assert {ids["a.png"], ids["A.PNG"]} == {"A_PNG", "a_png_2"}
    assert [item.image for item in found] == sorted(ids)


@given(
    st.lists(
        st.from_regex(r"[abAB_]{1,3}(/[ab_]{1,2})?(_png|_2)?\.(png|jpg|PNG)", fullmatch=True),
        unique=True,
        max_size=12,
    )
)
@settings(max_examples=200, deadline=None)
def test_ids_are_unique_whatever_the_names(images: list[str]) -> None:
    ids = image_ids(images)
    assert len({name.casefold() for name in ids}) == len(images)
    assert all("/" not in name for name in ids)


def test_long_names_fit_and_stay_apart() -> None:
    ids = image_ids([f"{'x' * 150}/{'y' * 150}{k}.png" for k in range(3)])
    assert len(set(ids)) == 3
    assert max(len(name.encode()) for name in ids) <= 180


def test_files_globs_and_overlap(tmp_path: Path) -> None:
    make(tmp_path, "in/a.png", "in/deep/b.png", "in/c.dat", "in/out/pixel_level/images/a.png")
    out = tmp_path / "in" / "out"
    assert [item.image for item in find_images([tmp_path / "in"], exclude=out)] == ["a.png", "deep/b.png"]
    found = find_images([tmp_path / "in" / "*.png", tmp_path / "in", tmp_path / "in/c.dat"], exclude=out)
    assert [item.image for item in found] == ["a.png", "deep/b.png", "c.dat"]
    assert [item.image for item in find_images([str(tmp_path / "in/**/b.png")])] == ["deep/b.png"]


def test_two_inputs_that_hold_the_same_names(tmp_path: Path) -> None:
    make(tmp_path, "one/a.png", "two/a.png", "two/b.png")
    found = find_images([tmp_path / "one", tmp_path / "two"])
    assert [item.image for item in found] == ["one/a.png", "two/a.png", "b.png"]
    assert [item.image_id for item in found] == ["one__a", "two__a", "b"]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_images([tmp_path / "absent"])
    with pytest.raises(InputError, match="no images found"):
        find_images([tmp_path])
