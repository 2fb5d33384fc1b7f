"""Pictures for people: findings and zones drawn on an image, sheets of patches, and the shared colours.

Knows colours, lines and letters; does not know files, tables or how anything was found.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from endface.imaging.ellipse import Ellipse
from endface.imaging.noise import quantiles

Rgb: TypeAlias = tuple[int, int, int]
PaletteName: TypeAlias = Literal["defects", "anatomy", "iec"]

_SUBPIXEL_BITS = 4
_PANEL: Rgb = (24, 26, 30)
_INK: Rgb = (232, 234, 237)
_MUTED: Rgb = (150, 156, 165)


@dataclass(frozen=True, slots=True)
class Swatch:
    """A name and its colour."""

    name: str
    rgb: Rgb

    @property
    def hex(self) -> str:
        """Colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


# After Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision, and on any gray.
_PALETTES: dict[PaletteName, tuple[Swatch, ...]] = {
    "defects": (
        Swatch("none", (0, 0, 0)),
        Swatch("scratch", (242, 201, 34)),
        Swatch("contamination", (86, 180, 233)),
        Swatch("pit_chip", (230, 85, 13)),
        Swatch("other", (204, 121, 167)),
    ),
    "anatomy": (
        Swatch("outside", (0, 0, 0)),
        Swatch("core", (240, 228, 66)),
        Swatch("cladding", (0, 158, 115)),
        Swatch("ferrule", (90, 104, 122)),
        Swatch("adhesive", (230, 159, 0)),
    ),
    "iec": (
        Swatch("outside", (0, 0, 0)),
        Swatch("A", (213, 94, 0)),
        Swatch("B", (240, 228, 66)),
        Swatch("C", (86, 180, 233)),
        Swatch("D", (90, 104, 122)),
    ),
}
_ZONE_LINE: Rgb = (60, 205, 155)
_IEC_LINE: Rgb = (238, 240, 244)
_IEC_GAP: Rgb = (70, 74, 82)
#: colours of the lines that `draw_overlay` draws besides near-grays
LINE_COLOURS: tuple[Rgb, ...] = (*(swatch.rgb for swatch in _PALETTES["defects"][1:]), _ZONE_LINE)


def palette(kind: PaletteName = "defects") -> tuple[Swatch, ...]:
    """Return names and colours in the order of their codes in the masks.

    Examples
    --------
    >>> [swatch.name for swatch in palette()]
    ['none', 'scratch', 'contamination', 'pit_chip', 'other']
    >>> palette("iec")[1].hex
    '#d55e00'
    """
    return _PALETTES[kind]


def gray_base(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an 8-bit, contrast-stretched copy of a gray image for looking at.

    Parameters
    ----------
    image : (H, W) uint8, uint16 or float ndarray

    Returns
    -------
    (H, W) uint8 ndarray
        The 0.5th percentile becomes black and the 99.5th white. An image of one value stays as dark as it
        is in its type (float: 0 to 1). White and black lie at least 5 % of the white level apart (in integer
        images also 8 counts), so that the noise of a blank image stays faint.

    Examples
    --------
    >>> gray_base(np.array([[1000, 1010, 3000, 3000]], np.uint16)).tolist()
    [[0, 1, 255, 255]]
    """
    integer = np.issubdtype(image.dtype, np.integer)
    full = float(np.iinfo(image.dtype).max) if integer else 1.0
    step = max(1, math.isqrt(max(1, image.size // 65_000)))
    sample = np.asarray(image[::step, ::step], np.float32)
    low, high = (float(value) for value in quantiles(sample, (0.005, 0.995)))
    if high <= low:
        low, scale = 0.0, 255.0 / full
    else:
        scale = 255.0 / max(high - low, 0.05 * high, 8.0 if integer else 0.0)
    if image.dtype != np.uint8:
        return _stretched(np.asarray(image, np.float32), low, scale)
    levels = np.arange(256, dtype=np.float32)
    return np.asarray(cv2.LUT(image, _stretched(levels, low, scale)), np.uint8)


def _stretched(pixels: NDArray[np.float32], low: float, scale: float) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip((pixels - low) * scale, 0, 255)), np.uint8)


def draw_overlay(
    image: NDArray[Any],
    *,
    cladding: Ellipse | None,
    core: Ellipse | None,
    class_mask: NDArray[np.uint8],
    iec: NDArray[np.uint8] | None = None,
    core_measured: bool = True,
    legend: bool = False,
) -> NDArray[np.uint8]:
    """Draw zones and defects on an image.

    Defects get a coloured outline a little outside of them; no pixel of a defect is painted over. Core and
    cladding are thin green ellipses (the core dashed where it was not measured), IEC zones dashed ones in
    white and gray with their letter.

    Parameters
    ----------
    image : (H, W) uint8, uint16 or float ndarray
    cladding, core : Ellipse or None
        None where not found.
    class_mask : (H, W) uint8 ndarray
        0 none, then codes in the order of `palette("defects")`.
    iec : (H, W) uint8 ndarray, optional
        0 outside, 1 to 4 the zones A to D, concentric with the cladding. Not drawn without a cladding.
    core_measured : bool
        False: the core is a nominal one.
    legend : bool
        Whether a strip that explains the colours is added below.

    Returns
    -------
    (H, W, 3) uint8 ndarray
        RGB; with `legend` some rows higher.

    Raises
    ------
    ValueError
        If the maps do not have the shape of the image.

    Examples
    --------
    >>> picture = draw_overlay(np.full((40, 60), 9, np.uint8), cladding=Ellipse(30, 20, 15, 15), core=None,
    ...                        class_mask=np.zeros((40, 60), np.uint8))
    >>> picture.shape
    (40, 60, 3)
    """
    if image.ndim != 2 or class_mask.shape != image.shape or (iec is not None and iec.shape != image.shape):
        maps = [class_mask.shape, *([iec.shape] if iec is not None else [])]
        raise ValueError(f"expected maps of the shape of a gray image {image.shape}, found {maps}")
    base = cv2.cvtColor(gray_base(image), cv2.COLOR_GRAY2RGB)
    canvas = base.copy()
    width = max(1, round(min(image.shape) / 600))
    if cladding is not None:
        if iec is not None:
            _draw_iec(canvas, iec, cladding, width)
        _draw_ellipse(canvas, cladding, _ZONE_LINE, width)
    if core is not None:
        _draw_ellipse(canvas, core, _ZONE_LINE, width, dashed=not core_measured)
    _outline_defects(canvas, class_mask, width)
    picture = np.asarray(cv2.copyTo(base, class_mask, canvas), np.uint8)
    return np.vstack([picture, _legend(picture.shape[1], iec is not None)]) if legend else picture


def contact_sheet(
    patches: Sequence[NDArray[Any]],
    *,
    captions: Sequence[str] = (),
    title: str = "",
    columns: int = 8,
    tile_px: int = 120,
) -> NDArray[np.uint8]:
    """Lay patches out as a picture sheet.

    Parameters
    ----------
    patches : sequence of (h, w) or (h, w, 3) ndarray
        Gray patches are contrast-stretched one by one, RGB ones (uint8) shown as they are; each is fitted
        into a square tile without distortion.
    captions : sequence of str
        One line below each patch, cut where too long; empty: none.
    title : str
        One line above all, empty: none.
    columns, tile_px : int
        Patches per row at most, edge of a tile in px.

    Returns
    -------
    (H, W, 3) uint8 ndarray
        RGB.

    Raises
    ------
    ValueError
        If there are captions, but not one for each patch.

    Examples
    --------
    >>> contact_sheet([np.zeros((5, 9), np.uint8)] * 3, columns=2, tile_px=50).shape
    (124, 124, 3)
    """
    if captions and len(captions) != len(patches):
        raise ValueError(f"expected a caption for each of {len(patches)} patches, found {len(captions)}")
    gap, size = 8, 12
    head = 34 if title else 0
    cell_h = tile_px + (size + 8 if captions else 0)
    n_columns = max(1, min(columns, len(patches)))
    n_rows = math.ceil(len(patches) / n_columns)
    width = gap + n_columns * (tile_px + gap)
    if title:
        width = max(width, math.ceil(_font(17).getlength(title)) + 2 * gap)
    sheet = Image.new("RGB", (width, head + gap + n_rows * (cell_h + gap)), _PANEL)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((gap, 10), title, font=_font(17), fill=_INK)
    for index, patch in enumerate(patches):
        row, column = divmod(index, n_columns)
        x, y = gap + column * (tile_px + gap), head + gap + row * (cell_h + gap)
        tile = Image.fromarray(_fit(patch, tile_px))
        sheet.paste(tile, (x + (tile_px - tile.width) // 2, y + (tile_px - tile.height) // 2))
        if captions:
            pen.text(
                (x, y + tile_px + 4), _cut(captions[index], tile_px, size), font=_font(size), fill=_MUTED
            )
    return np.asarray(sheet, np.uint8).copy()


def _draw_ellipse(
    canvas: NDArray[Any],
    ellipse: Ellipse,
    rgb: Rgb,
    width: int,
    *,
    dashed: bool = False,
    gap_rgb: Rgb | None = None,
) -> None:
    around = 2 * math.pi * ellipse.radius_px
    n_points = int(np.clip(around / 2, 32, 2000))
    points = ellipse.points(np.linspace(0, 2 * math.pi, n_points, endpoint=False))
    fixed = np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    if not dashed:
        cv2.polylines(canvas, [fixed], True, rgb, width, cv2.LINE_AA, _SUBPIXEL_BITS)
        return
    n_dashes = max(4, int(around / (16 * width)))
    edges = np.linspace(0, n_points, 2 * n_dashes + 1).astype(int)
    closed = np.concatenate([fixed, fixed[:1]])
    pieces = [closed[a : b + 1] for a, b in itertools.pairwise(edges)]
    if gap_rgb is not None:
        cv2.polylines(canvas, pieces[1::2], False, gap_rgb, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(canvas, pieces[::2], False, rgb, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_iec(canvas: NDArray[Any], iec: NDArray[np.uint8], cladding: Ellipse, width: int) -> None:
    letters = []
    # of a few thousand pixels along a border some lie next to it, of every second as well
    step = 2 if min(iec.shape) > 400 else 1
    coarse = np.ascontiguousarray(iec[::step, ::step])
    present = cv2.calcHist([coarse], [0], None, [5], [0, 5]).ravel() > 0
    for code, swatch in enumerate(palette("iec")[1:], start=1):
        if not present[code]:
            continue
        # zones are concentric, so the border is one radius, also where the frame cuts it
        inside = cv2.inRange(coarse, 1, code)
        rims, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        x, y = np.concatenate([rim.reshape(-1, 2) for rim in rims]).T * step
        border = cladding.scaled(float(cladding.normalized_radius(x, y).max()))
        # dashes of two grays are seen on any ground
        _draw_ellipse(canvas, border, _IEC_LINE, width, dashed=True, gap_rgb=_IEC_GAP)
        letters.append((swatch.name, border))
    size = max(11, round(min(iec.shape) / 45))
    letters = [(name, border) for name, border in letters if border.radius_px > 2 * size]
    for (name, border), angle_deg in zip(letters, (45, 60, 30, 45), strict=False):
        # just inside of the rim, to the upper right, in turn so that near circles do not share a place
        x, y = border.scaled(1 - 0.9 * size / border.radius_px).points(-math.radians(angle_deg))
        _draw_letter(canvas, name, (float(x), float(y)), size)


def _draw_letter(canvas: NDArray[Any], letter: str, place: tuple[float, float], size: int) -> None:
    left, top = (max(0, math.floor(value) - size) for value in place)
    piece = canvas[top : top + 2 * size, left : left + 2 * size]
    if piece.size:
        tile = Image.fromarray(np.ascontiguousarray(piece))
        at = (place[0] - left, place[1] - top)
        ImageDraw.Draw(tile).text(
            at, letter, font=_font(size), fill=_IEC_LINE, anchor="mm", stroke_width=1, stroke_fill=(0, 0, 0)
        )
        piece[:] = np.asarray(tile)


def _outline_defects(canvas: NDArray[Any], class_mask: NDArray[np.uint8], width: int) -> None:
    gap = 2 + width  # the outline lies outside of it, its seam does not reach the defect
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
    left, top, across, down = cv2.boundingRect(class_mask)
    if not across:
        return
    margin = gap + width + 2
    left, top, right, bottom = max(left - margin, 0), max(top - margin, 0), left + across, top + down
    box = class_mask[top : bottom + margin, left : right + margin]
    outlines = []
    for code, swatch in enumerate(palette("defects")[1:], start=1):
        mask = cv2.inRange(box, code, code)
        if cv2.countNonZero(mask):
            contours, _ = cv2.findContours(
                cv2.dilate(mask, kernel), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top)
            )
            outlines.append((contours, swatch.rgb))
    for contours, rgb in outlines:  # a dark seam first keeps the colour readable on a bright ground
        seam = tuple(channel // 4 for channel in rgb)
        cv2.drawContours(canvas, contours, -1, seam, width + 2, cv2.LINE_AA)
    for contours, rgb in outlines:
        cv2.drawContours(canvas, contours, -1, rgb, width + (width == 1), cv2.LINE_AA)


def _legend(width: int, has_iec: bool) -> NDArray[np.uint8]:
    size = int(np.clip(width / 60, 10, 22))
    entries = [(swatch.name.replace("_", "/"), swatch.rgb) for swatch in palette("defects")[1:]]
    entries += [("core, cladding", _ZONE_LINE), *([("IEC zones", _IEC_LINE)] if has_iec else [])]
    places, x, y = [], size, 0
    for name, _ in entries:
        needed = int(1.4 * size + _font(size).getlength(name) + 1.2 * size)
        if x + needed > width and x > size:
            x, y = size, y + 2 * size
        places.append((x, y))
        x += needed
    strip = Image.new("RGB", (width, y + 2 * size + size // 2), _PANEL)
    pen = ImageDraw.Draw(strip)
    for (name, rgb), (x, y) in zip(entries, places, strict=True):
        pen.rectangle((x, y + 0.8 * size, x + size, y + 1.7 * size), fill=rgb)
        pen.text((x + 1.4 * size, y + 1.25 * size), name, font=_font(size), fill=_INK, anchor="lm")
    return np.asarray(strip, np.uint8)


def _fit(patch: NDArray[Any], tile_px: int) -> NDArray[np.uint8]:
    rgb = cv2.cvtColor(gray_base(patch), cv2.COLOR_GRAY2RGB) if patch.ndim == 2 else patch
    scale = tile_px / max(patch.shape[:2])
    size = (max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def _cut(text: str, width_px: int, size: int) -> str:
    if _font(size).getlength(text) <= width_px:
        return text
    # the end of a defect's name tells it from its neighbours
    kept = text
    while kept and _font(size).getlength("…" + kept) > width_px:
        kept = kept[1:]
    return "…" + kept


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
