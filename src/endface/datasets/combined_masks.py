"""One mask per image that tells zone and defect at once, in eight codes.

====  ================
code  pixel
====  ================
0     reserved, never written; read as 6
1     defect on the core
2     defect on the cladding
3     defect on the ferrule
4     core, clean
5     cladding, clean
6     ferrule, clean
7     outside
====  ================

The list this format comes from names both 0 and 6 'ferrule clean'; why 6 is written and 0 kept free is told
in docs/decisions/0003-combined-mask-codes.md. Loss: the classes of defects, which defect a pixel belongs to,
the adhesive (part of the ferrule here), IEC zones, and defects outside the surface.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from endface.annotation import AnatomyZone
from endface.datasets._folders import Export, read_card, run_images, whole_folder
from endface.errors import FormatError
from endface.store import RunFolder, read_png, write_bytes

FORMAT = "combined_masks"
LOSS = (
    "Defects have no class and no number, the adhesive is part of the ferrule, "
    "IEC zones and defects outside the surface are not kept."
)


class CombinedCode(IntEnum):
    """Codes of the combined mask."""

    RESERVED = 0
    CORE_DEFECT = 1
    CLADDING_DEFECT = 2
    FERRULE_DEFECT = 3
    CORE = 4
    CLADDING = 5
    FERRULE = 6
    OUTSIDE = 7


_COLOURS = (
    (255, 255, 255),
    (220, 40, 40),
    (240, 130, 30),
    (200, 60, 200),
    (90, 160, 230),
    (40, 90, 170),
    (150, 150, 150),
    (0, 0, 0),
)
_CLEAN = {
    AnatomyZone.OUTSIDE: CombinedCode.OUTSIDE,
    AnatomyZone.CORE: CombinedCode.CORE,
    AnatomyZone.CLADDING: CombinedCode.CLADDING,
    AnatomyZone.FERRULE: CombinedCode.FERRULE,
    AnatomyZone.ADHESIVE: CombinedCode.FERRULE,
}


@dataclass(frozen=True, eq=False)
class CombinedMask:
    """One mask taken apart again.

    Attributes
    ----------
    anatomy : (H, W) uint8 ndarray
        Codes of `AnatomyZone`, without `ADHESIVE`.
    defects : (H, W) bool ndarray
        Pixels of any defect.
    """

    image_id: str
    anatomy: NDArray[np.uint8]
    defects: NDArray[np.bool_]


def combine(
    anatomy: NDArray[np.uint8], defects: NDArray[np.integer] | NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the combined mask of one image.

    Parameters
    ----------
    anatomy : (H, W) uint8 ndarray
        Codes of `AnatomyZone`.
    defects : (H, W) ndarray
        Not 0 where there is a defect.

    Returns
    -------
    (H, W) uint8 ndarray
        Codes of `CombinedCode`.

    Examples
    --------
    >>> combine(np.array([[0, 1, 1, 3, 4]], np.uint8), np.array([[1, 0, 2, 1, 0]])).tolist()
    [[7, 4, 1, 3, 6]]
    """
    clean = np.full(256, CombinedCode.OUTSIDE, np.uint8)
    for zone, code in _CLEAN.items():
        clean[zone] = code
    # the code of a defect is that of the clean zone less 3; outside there are no defects
    dirty = np.where(clean == CombinedCode.OUTSIDE, clean, clean - 3)
    return np.where(defects != 0, dirty[anatomy], clean[anatomy])


def separate(mask: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the anatomy map and the defect pixels of a combined mask; 0 is read as clean ferrule.

    Examples
    --------
    >>> anatomy, defects = separate(np.array([[7, 4, 1, 3, 6, 0]], np.uint8))
    >>> anatomy.tolist(), defects.astype(int).tolist()
    ([[0, 1, 1, 3, 3, 3]], [[0, 0, 1, 1, 0, 0]])
    """
    table = np.array([3, 1, 2, 3, 1, 2, 3, 0], np.uint8)
    return table[mask], (mask >= CombinedCode.CORE_DEFECT) & (mask <= CombinedCode.FERRULE_DEFECT)


def write(run_folder: Path, out: Path) -> Export:
    """Write `<image_id>.png`, a palette PNG of 8 bits, for every image of a run.

    Parameters
    ----------
    run_folder : Path
        Folder of a finished run.
    out : Path
        New folder, or an earlier export of this format, which is replaced. It appears whole or not at all.

    Raises
    ------
    FormatError
        If there is no finished run, or a mask of it is damaged.
    SettingsError
        If `out` holds something else.
    """
    source = RunFolder(run_folder)
    images = run_images(run_folder)
    codes = {code.name.lower(): code.value for code in CombinedCode}
    card = {"format": FORMAT, "version": 1, "n_images": len(images), "codes": codes, "loss": LOSS}
    with whole_folder(out, card=card) as folder:
        for image in images:
            anatomy = read_png(source.mask(image.image_id, "zones"))
            # the class mask and not the instances, which are numbered before defects are named
            mask = combine(anatomy, read_png(source.mask(image.image_id, "mask")))
            write_bytes(folder / f"{image.image_id}.png", _palette_png(mask))
    return Export(out, len(images), LOSS)


def read(folder: Path) -> Iterator[CombinedMask]:
    """Yield the masks of an export one at a time, sorted by image_id.

    Raises
    ------
    FormatError
        If the folder is not an export of this format or a mask has other codes.
    """
    read_card(folder, expected=FORMAT)
    for path in sorted(folder.glob("*.png")):
        mask = read_png(path)
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.max(initial=0) > max(CombinedCode):
            raise FormatError(
                f"{path}: expected one channel of codes 0 to 7, found {mask.dtype} {mask.shape} "
                f"up to {mask.max(initial=0)}",
                hint="Write the export anew.",
            )
        anatomy, defects = separate(mask)
        yield CombinedMask(path.stem, anatomy, defects)


def _palette_png(mask: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(mask)
    image.putpalette([value for colour in _COLOURS for value in colour])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
