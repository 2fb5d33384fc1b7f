"""Images of the detector bench with their truth and zones: rendered ones and, where present, real ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from endface.annotation import Zones
from endface.errors import InputError
from endface.evaluation.scenes import TruthScene
from endface.evaluation.truth import open_truth
from endface.samples import FrameArray, read_sample
from endface.synthesis import write_set
from endface.zones import plain_zones, segment_zones


@dataclass(frozen=True, eq=False, slots=True)
class BenchImage:
    """One image (H, W), what is true of it, and its zones as the product finds them."""

    image: FrameArray
    scene: TruthScene
    zones: Zones


@dataclass(frozen=True, slots=True)
class DataSet:
    """A named set of images; `images()` goes through them anew, one in memory at a time."""

    name: str
    images: Callable[[], Iterator[BenchImage]]


def rendered_set(*, n: int, seed: int, preset: str = "clinic") -> DataSet:
    """Return `n` rendered images; written to a temporary folder, so that they take the way of any file."""

    def images() -> Iterator[BenchImage]:
        with tempfile.TemporaryDirectory() as folder:
            write_set(folder, n=n, seed=seed, preset=preset)
            yield from _images(Path(folder), Path(folder) / "images", plain=False)

    return DataSet(f"rendered {preset}", images)


#: folder below the given one, name of the set, whether its surface is plain
_REAL = (("endface", "real end faces", False), ("darkfield", "real dark field", True))


def real_sets(folder: Path | None) -> tuple[tuple[DataSet, ...], tuple[tuple[str, str], ...]]:
    """Return the labelled real sets below `folder`, and (name, reason) of those left out.

    Raises
    ------
    InputError
        If a folder is given that holds neither.
    """
    if folder is None:
        reason = "the real images are not part of the repository; give their folder"
        return (), tuple((name, reason) for _, name, _ in _REAL)
    present, absent = [], []
    for part, name, plain in _REAL:
        if (folder / part / "labels").is_dir():
            present.append(DataSet(name, partial(_real, folder / part, plain=plain)))
        else:
            absent.append((name, f"no folder {part}/labels in the one given"))
    if not present:
        raise InputError(
            f"{folder}: expected endface/labels or darkfield/labels with label files, found neither",
            hint="Give the folder that holds `endface` and `darkfield`, or leave the real images out.",
        )
    return tuple(present), tuple(absent)


def _real(folder: Path, *, plain: bool) -> Iterator[BenchImage]:
    return _images(folder / "labels", folder, plain=plain)


def _images(truth: Path, folder: Path, *, plain: bool) -> Iterator[BenchImage]:
    source = open_truth(truth)
    files = {
        file.stem: file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix.lower() not in (".json", ".md")
    }
    for image_id in source.image_ids:
        if image_id not in files:
            raise InputError(
                f"{truth}: expected an image named {image_id!r} below {folder}, found none",
                hint="Every truth file needs its image.",
            )
        image = read_sample(files[image_id]).frames[0]
        zones = plain_zones(image) if plain else segment_zones(image)
        yield BenchImage(image, source.load(image_id), zones)
