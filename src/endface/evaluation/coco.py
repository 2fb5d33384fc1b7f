"""COCO instance annotations as truth: polygons and run-length codes, crowds as open areas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from endface.errors import FormatError
from endface.evaluation.scenes import TruthDefect, TruthScene, class_of_kind, defect_of_mask

_FAULTS = (KeyError, TypeError, ValueError, IndexError, AttributeError)


def is_coco(raw: object) -> bool:
    """Tell whether parsed JSON is a COCO instance file."""
    return isinstance(raw, dict) and {"images", "annotations", "categories"} <= raw.keys()


def coco_scenes(raw: dict[str, Any], *, source: str = "COCO") -> dict[str, Callable[[], TruthScene]]:
    """Return, by image id (file name without extension, '/' as '__'), a function that draws its truth.

    Categories named like our classes or like label kinds (dust, pit, ...) get that class, others 'other';
    `iscrowd` annotations become open areas.

    Raises
    ------
    FormatError
        Also later, from the functions, if an annotation is broken.
    """
    try:
        names = {item["id"]: str(item["name"]) for item in raw["categories"]}
        grouped: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for item in raw["annotations"]:
            grouped[item["image_id"]].append(item)
        scenes: dict[str, Callable[[], TruthScene]] = {}
        for image in raw["images"]:
            name = "__".join(PurePosixPath(str(image["file_name"])).with_suffix("").parts)
            if name in scenes:
                raise ValueError(f"two images called {name}")
            scenes[name] = partial(_scene, name, image, grouped[image["id"]], names, source)
    except _FAULTS as error:
        raise _broken(source, error) from error
    return scenes


def decode_rle(counts: str | list[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the (H, W) mask of a COCO run-length code, compressed (str) or not (list).

    Examples
    --------
    >>> decode_rle([1, 2, 1], (2, 2)).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    runs = _uncompress(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"run lengths add up to {sum(runs)} pixels, expected {shape[0] * shape[1]}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(shape, order="F")


def _uncompress(text: str) -> list[int]:
    """Undo the code of pycocotools: 5 bits a character, from the 3rd run on as difference to two before."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _scene(
    name: str, image: dict[str, Any], items: list[dict[str, Any]], names: dict[Any, str], source: str
) -> TruthScene:
    try:
        shape = (int(image["height"]), int(image["width"]))
        open_area = np.zeros(shape, bool)
        defects: list[TruthDefect] = []
        for item in items:
            mask = _mask(item["segmentation"], shape)
            if item.get("iscrowd"):
                open_area |= mask
                continue
            kind = names[item["category_id"]]
            defect = defect_of_mask(mask, defect_class=class_of_kind(kind), kind=kind)
            if defect is not None:
                defects.append(defect)
    except _FAULTS as error:
        raise _broken(f"{source}, image {name}", error) from error
    return TruthScene(name, shape, tuple(defects), open_area, n_empty=_n_empty(items, defects), source="coco")


def _n_empty(items: list[dict[str, Any]], defects: list[TruthDefect]) -> int:
    return sum(not item.get("iscrowd") for item in items) - len(defects)


def _mask(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, dict):
        return decode_rle(segmentation["counts"], shape)
    mask = np.zeros(shape, bool)
    for ring in segmentation:
        points = np.asarray(ring, np.float64).reshape(-1, 2) - 0.5  # COCO counts from the pixel's corner
        rows, cols = polygon(points[:, 1], points[:, 0], shape)  # type: ignore[no-untyped-call]
        mask[rows, cols] = True
    return mask


def _broken(source: str, error: Exception) -> FormatError:
    return FormatError(
        f"{source}: expected COCO instance annotations, found {type(error).__name__}: {error}",
        hint="images need id, file_name, width, height; annotations image_id, category_id, segmentation.",
    )
