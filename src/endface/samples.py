"""Bytes of an image file become a Sample: gray frames at the depth of the file.

Knows file formats, colour, orientation and what a broken file looks like. Does not know zones, settings or
folders of results; which files there are is in `inputs`.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from endface import places
from endface.errors import InputError
from endface.imaging.graphics import whiten_colours
from endface.places import place

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP")
MIN_SIDE_PX = 32

_EXIF_ORIENTATION = 274
# everything Pillow's plugins are known to raise on damaged headers and data
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, ZeroDivisionError, AssertionError, NotImplementedError, struct.error, MemoryError,
    cv2.error,
)  # fmt: skip

# uint8, uint16 or float32: a union of the three would have to be taken apart at every call
FrameArray: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing inspected: its gray frames as the file holds them.

    Attributes
    ----------
    frames : (F, H, W) uint8, uint16 or float32 ndarray
        Depth of the file; colour is turned into luminance at that depth.
    names : tuple of str
        One name per frame, e.g. 'page 1'.
    source : str
        File name, for messages.
    digest : str
        SHA-256 of the file's bytes.
    white_level : float
        Largest value a pixel can take: 255, 65535, or less where only some of the 16 bits are used.
    notes : tuple of str
        What was done or left out while reading, in words a user understands.
    """

    frames: FrameArray
    names: tuple[str, ...]
    source: str
    digest: str
    white_level: float
    notes: tuple[str, ...] = ()

    @property
    def image(self) -> FrameArray:
        """The (H, W) frame that is analysed: the first one."""
        first: FrameArray = self.frames[0]
        return first


def read_sample(path: str | Path, *, max_megapixels: float = 200.0, max_frames: int | None = None) -> Sample:
    """Read an image file into gray frames at full depth.

    PNG, JPEG, BMP, TIFF (pages become frames), PGM/PPM and WebP, told by content and not by name. Colour
    becomes luminance (Rec. 601), palettes are resolved, transparent pixels become black, the EXIF
    orientation is applied. Of several frames the first is analysed: pages may be a focus or time series,
    and their mean would blur what the first shows sharply.

    Parameters
    ----------
    path : str or Path
        File to read.
    max_megapixels : float
        Images whose header announces more are refused before anything is decoded.
    max_frames : int, optional
        Read at most this many frames.

    Raises
    ------
    InputError
        If the file is missing, empty, cut off, damaged, too large or no image.
    """
    return decode_sample(
        read_bytes(path), source=Path(path).name, max_megapixels=max_megapixels, max_frames=max_frames
    )


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file; InputError if it cannot be read or is empty."""
    file = place(path)
    try:
        data = places.read_bytes(file)
    except FileNotFoundError:
        raise InputError(
            f"{file.name}: no such file", hint="Check the path; a link may be dangling."
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{file.name}: cannot be read ({reason})", hint="Check the file's permissions."
        ) from None
    if not data:
        raise InputError(f"{file.name}: the file is empty (0 bytes)", hint="Copy or export the image again.")
    return data


def decode_sample(
    data: bytes, *, source: str, max_megapixels: float = 200.0, max_frames: int | None = None
) -> Sample:
    """Decode the bytes of an image file; see `read_sample`."""
    try:
        with _quiet_pillow(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            frames, notes = _decode_frames(image, data, max_megapixels * 1e6, max_frames)
    except UnidentifiedImageError:
        raise _not_an_image(data, source) from None
    except InputError as error:
        raise InputError(f"{source}: {error.message}", hint=error.hint) from None
    except _DECODE_ERRORS as error:
        raise InputError(
            f"{source}: the image is cut off or damaged ({error or type(error).__name__})",
            hint="Copy or export the image again; a viewer may show it although part of it is missing.",
        ) from None
    stack, more_notes = _native(frames)
    height, width = stack.shape[1:]
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(
            f"{source}: the image is {width} x {height} px, at least {MIN_SIDE_PX} each are needed",
            hint="Is this a thumbnail? Use the full image.",
        )
    return Sample(
        frames=stack,
        names=tuple(f"page {number}" for number in range(1, len(stack) + 1)),
        source=source,
        digest=hashlib.sha256(data).hexdigest(),
        white_level=white_level(stack),
        notes=(*notes, *more_notes),
    )


def to_gray(array: ArrayLike) -> FrameArray:
    """Turn an image array into one gray channel at its own depth.

    Parameters
    ----------
    array : (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA array_like
        bool, integers or floats. Alpha darkens: transparent pixels become black.

    Returns
    -------
    (H, W) uint8, uint16 or float32 ndarray
        Luminance 0.299 R + 0.587 G + 0.114 B (Rec. 601). Three equal channels give exactly that channel.
        Graphics drawn in colour become white.

    Raises
    ------
    InputError
        If the shape is not that of an image or values do not fit 16 bits.

    Examples
    --------
    >>> to_gray(np.full((2, 2, 3), 300, np.uint16))
    array([[300, 300],
           [300, 300]], dtype=uint16)
    """
    image = _supported_depth(np.asarray(array))
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise InputError(
            f"expected an image (H, W), (H, W, 3) or (H, W, 4), found shape {image.shape}",
            hint="Pass one image at a time, channels last.",
        )
    colours = np.ascontiguousarray(image[:, :, :3])
    gray: FrameArray = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    whiten_colours(gray, colours)
    return gray if image.shape[2] == 3 else _over_black(gray, image[:, :, 3])


def _supported_depth(image: NDArray[Any]) -> FrameArray:
    """Bring any numeric array to uint8, uint16 or float32 without losing a level."""
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype.kind in "ui" and image.dtype != np.uint8:
        if image.size and (image.min() < 0 or image.max() > 65535):
            return image.astype(np.float32)
        return image.astype(np.uint16)
    if image.dtype.kind == "f":
        return image.astype(np.float32)
    if image.dtype != np.uint8:
        raise InputError(f"expected numbers, found an array of {image.dtype}", hint="Pass pixel values.")
    return image


def _over_black(gray: FrameArray, alpha: NDArray[Any]) -> FrameArray:
    if gray.dtype == np.float32:
        return np.asarray(gray * alpha, np.float32)
    top = np.iinfo(gray.dtype).max
    blended = (gray.astype(np.uint32) * alpha + top // 2) // top
    return np.asarray(blended, gray.dtype)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Lift Pillow's own size limit (ours replaces it) and keep its warnings off the terminal."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _decode_frames(
    image: Image.Image, data: bytes, max_pixels: float, max_frames: int | None
) -> tuple[list[FrameArray], list[str]]:
    _refuse_bomb(image.size, max_pixels)
    pages = getattr(image, "n_frames", 1)
    notes: list[str] = []
    if pages > 1 and image.format != "TIFF":
        notes.append(f"{pages} frames of an animation, only the first is read")
        pages = 1
    if _is_deep_colour(image, data):
        frames = _decode_deep_colour(image, data, max_pixels, max_frames)
    else:
        frames = []
        for page in range(pages if max_frames is None else min(pages, max_frames)):
            image.seek(page)
            _refuse_bomb(image.size, max_pixels / (len(frames) + 1))
            frames.append(_gray_of_pillow(image, data))
    same = [frame for frame in frames if frame.shape == frames[0].shape and frame.dtype == frames[0].dtype]
    if len(same) < len(frames):
        notes.append(
            f"{len(frames) - len(same)} of {pages} pages left out: other size or depth than the first"
        )
    if pages > 1:
        notes.append(f"{pages} pages, the first is analysed")
    return same, notes


def _refuse_bomb(size: tuple[int, int], max_pixels: float) -> None:
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"the header announces {width} x {height} px, more than {max_pixels / 1e6:g} megapixels",
            hint="Raise max_megapixels in the settings if the image is really that large.",
        )


def _gray_of_pillow(image: Image.Image, data: bytes) -> FrameArray:
    if image.format in ("JPEG", "MPO"):
        # libjpeg hands out the luminance it stores: half the time, and what OpenCV does too
        image.draft("L", image.size)
    if image.format == "JPEG" and image.mode not in ("L", "RGB"):
        image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P":
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    elif upright.mode in ("LA", "La", "PA", "RGBa"):
        upright = upright.convert("RGBA")
    elif upright.mode not in ("1", "L", "I", "F", "RGB", "RGBA") and not upright.mode.startswith("I;16"):
        upright = upright.convert("RGB")
    pixels = np.asarray(upright)
    if image.format == "PPM" and image.mode == "I":
        # Pillow stretches to 65535; the values of the file are wanted
        pixels = np.rint(pixels * (_pnm_maxval(data) / 65535.0)).astype(np.uint16)
    return to_gray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether the image has several channels of more than 8 bits, which Pillow would cut to 8."""
    if image.mode not in ("RGB", "RGBA", "LA", "RGBX"):
        return False
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        return bool(max(image.tag_v2.get(258, (8,))) > 8)  # type: ignore[attr-defined]
    return image.format == "PPM" and _pnm_maxval(data) > 255


def _decode_deep_colour(
    image: Image.Image, data: bytes, max_pixels: float, max_frames: int | None
) -> list[FrameArray]:
    # OpenCV hands out half an image when the file is cut off, so completeness is checked first
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1) if image.format == "PNG" else 1
    pages = min(getattr(image, "n_frames", 1), max_frames or 1_000_000)
    for page in range(pages):
        image.seek(page)
        _refuse_bomb(image.size, max_pixels / (page + 1))
        _refuse_cut_off(image, data)
    ok, decoded = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(0, pages))
    if not ok or len(decoded) != pages:
        raise OSError("the decoder gave up")
    return [_upright(to_gray(_rgb_first(frame)), orientation) for frame in decoded]


def _rgb_first(frame: NDArray[Any]) -> NDArray[Any]:
    """Reorder OpenCV's BGR(A) to RGB(A)."""
    if frame.ndim == 3 and frame.shape[2] >= 3:
        return frame[:, :, [2, 1, 0, *range(3, frame.shape[2])]]
    return frame


def _refuse_cut_off(image: Image.Image, data: bytes) -> None:
    if image.format == "PNG":
        with Image.open(io.BytesIO(data), formats=("PNG",)) as copy:
            copy.verify()
        return
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        starts, sizes = tags.get(273) or tags.get(324) or (), tags.get(279) or tags.get(325) or ()
        needed = max((start + size for start, size in zip(starts, sizes, strict=False)), default=0)
    else:
        # binary PNM only; a text file that ends early is noticed by the decoder
        binary = data[:2] in (b"P5", b"P6")
        needed = len(image.getbands()) * image.width * image.height * 2 if binary else 0
    if needed > len(data):
        raise OSError(f"{needed} bytes expected, {len(data)} found")


def _upright(gray: FrameArray, orientation: int) -> FrameArray:
    """Apply an EXIF orientation (1 to 8) to an array."""
    if orientation in (2, 3, 4):
        return np.ascontiguousarray({2: gray[:, ::-1], 3: gray[::-1, ::-1], 4: gray[::-1]}[orientation])
    if orientation in (5, 6, 7, 8):
        turned = gray.T
        flips = {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}
        return np.ascontiguousarray(flips[orientation])
    return gray


def _pnm_maxval(data: bytes) -> int:
    """Return the maximum value a PGM or PPM header announces."""
    header = re.match(
        rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*)(\d+)(?:\s+(?:#[^\n]*\n\s*)*)(\d+)(?:\s+(?:#[^\n]*\n\s*)*)(\d+)",
        data,
    )
    if header is None:
        raise ValueError("the PNM header is damaged")
    return int(header[3])


def _native(frames: list[FrameArray]) -> tuple[FrameArray, list[str]]:
    """Stack frames and replace what is no number."""
    stack: FrameArray = np.stack(frames)
    finite = np.isfinite(stack) if stack.dtype == np.float32 else np.True_
    if finite.all():
        return stack, []
    if not finite.any():
        raise InputError("the image holds no finite number", hint="Export it again.")
    low = np.float32(stack[finite].min())
    return np.where(finite, stack, low), [
        f"{np.count_nonzero(~finite)} pixels that are no number read as the darkest"
    ]


def white_level(frames: FrameArray) -> float:
    """Return the largest value pixels can take; unused upper bits are told from the data."""
    if frames.dtype == np.uint8:
        return 255.0
    top = float(frames.max())
    if frames.dtype == np.uint16:
        return next((level for level in (255.0, 1023.0, 4095.0, 16383.0) if 0 < top <= level), 65535.0)
    return top


def _not_an_image(data: bytes, source: str) -> InputError:
    head = data[:512]
    known = {b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP archive", b"GIF8": "a GIF", b"\x89HDF": "an HDF5 file"}
    found = next((name for magic, name in known.items() if head.startswith(magic)), "")
    if not found:
        # the last letter may be cut
        text = head.decode("utf-8", "replace")[:-1]
        is_text = "\ufffd" not in text and all(letter.isprintable() or letter.isspace() for letter in text)
        found = "text" if is_text else f"bytes {head[:4].hex(' ')} ..."
    return InputError(
        f"{source}: expected an image (PNG, JPEG, BMP, TIFF, PGM or WebP), found {found}",
        hint="The file is no image whatever its name says, or its header is damaged; export it again.",
    )
