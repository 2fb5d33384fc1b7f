"""Sets of rendered images in a folder: `images/`, `truth/` and `index.json`, each file whole or absent.

Image `k` of a set depends on (seed, k, preset) and, where there are backgrounds, on the folder's images;
never on how many images are made or in which order.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import DefectClass
from endface.errors import InputError
from endface.imaging.ellipse import Ellipse
from endface.synthesis.background import any_background, background_paths, render_on_background
from endface.synthesis.draws import draw_instrument
from endface.synthesis.presets import preset_named
from endface.synthesis.scene import render_endface
from endface.synthesis.truth import DefectTruth, RenderedImage, SceneTruth

#: version of the truth files; a reader refuses a larger one
SCHEMA_VERSION = 1
_STREAMS = {"image": 0, "instrument": 1, "coin": 2}


@dataclass(frozen=True, slots=True)
class WrittenSet:
    """What `write_set` left on disk."""

    folder: Path
    image_ids: tuple[str, ...]
    n_clean: int
    n_defects: int


def _generator(seed: int, preset: str, stream: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(preset.encode()), _STREAMS[stream], number])


def is_clean(*, seed: int, index: int, preset: str = "clinic") -> bool:
    """Say whether image `index` of a set is clean: one of every two neighbours, by the toss of a coin.

    Examples
    --------
    >>> sum(is_clean(seed=3, index=k) for k in range(100))
    50
    """
    coin = int(_generator(seed, preset, "coin", index // 2).integers(2))
    return index % 2 == coin


def render_of_set(
    *, seed: int, index: int, preset: str = "clinic", backgrounds: tuple[Path, ...] = ()
) -> RenderedImage:
    """Render image `index` of the set (seed, preset).

    The images of a set come from the preset's number of instruments, in turn, so that everything about an
    instrument (field of view, pixel pitch, blur, dirt on the optics) recurs. `backgrounds` are files of real
    clean images: one of them, drawn at random, takes the place of the rendered face.

    Examples
    --------
    >>> first = render_of_set(seed=1, index=2, preset="sample")
    >>> bool((first.image == render_of_set(seed=1, index=2, preset="sample").image).all())
    True
    """
    rng = _generator(seed, preset, "image", index)
    clean = is_clean(seed=seed, index=index, preset=preset)
    if backgrounds:
        background = any_background(backgrounds, rng=rng)
        return render_on_background(background, rng=rng, preset=preset, clean=clean)
    ranges = preset_named(preset)
    # in turn by pairs: clean and dirty images come from every instrument alike
    number = (index // 2) % ranges.instruments
    instrument = draw_instrument(
        ranges, rng=_generator(seed, preset, "instrument", number), name=f"scope {number}"
    )
    return render_endface(rng=rng, preset=ranges, clean=clean, instrument=instrument)


def write_set(
    out: str | Path,
    *,
    n: int,
    seed: int = 0,
    preset: str = "clinic",
    backgrounds: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> WrittenSet:
    """Render `n` images with their truth into a folder.

    Writes `images/<id>.png` (`.jpg` where the instrument compresses), `truth/<id>.json`,
    `truth/<id>_classes.png` (codes of `DefectClass`), `truth/<id>_instances.png` (uint16),
    `truth/<id>_zones.png` (codes of `AnatomyZone`) and, last, `index.json`.

    Parameters
    ----------
    backgrounds : path, optional
        Folder of real clean images: defects are rendered onto these.
    progress : callable, optional
        Called with ("render", images done, images in all).

    Raises
    ------
    InputError
        If `n` is negative, or `backgrounds` holds no image with a fibre.
    SettingsError
        If there is no such preset.
    """
    folder = Path(out)
    ids: list[str] = []
    entries: list[dict[str, Any]] = []
    clean = defects = 0
    for image_id, rendered in iter_set(n=n, seed=seed, preset=preset, backgrounds=backgrounds):
        index = len(ids)
        entry = write_rendered(
            folder, image_id, rendered, source={"seed": seed, "index": index, "preset": preset}
        )
        entries.append(entry)
        ids.append(image_id)
        clean += rendered.truth.clean
        defects += len(rendered.truth.defects)
        if progress is not None:
            progress("render", len(ids), n)
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": "endface synthetic set",
        "seed": seed,
        "preset": preset,
        "n": n,
        "n_clean": clean,
        "backgrounds": None if backgrounds is None else Path(backgrounds).name,
        "class_codes": {item.label: int(item) for item in DefectClass},
        "images": entries,
    }
    _write_bytes(folder / "index.json", _json(content))
    return WrittenSet(folder, tuple(ids), clean, defects)


def iter_set(
    *, n: int, seed: int = 0, preset: str = "clinic", backgrounds: str | Path | None = None
) -> Iterator[tuple[str, RenderedImage]]:
    """Yield (image_id, rendered image) of a set, one at a time."""
    if n < 0:
        raise InputError(f"expected a number of images, found {n}", hint="Give n >= 0.")
    preset_named(preset)
    real = () if backgrounds is None else background_paths(backgrounds)
    for index in range(n):
        yield (
            f"{preset}_{seed}_{index:05d}",
            render_of_set(seed=seed, index=index, preset=preset, backgrounds=real),
        )


def write_rendered(
    folder: Path, image_id: str, rendered: RenderedImage, *, source: dict[str, Any]
) -> dict[str, Any]:
    """Write one image with its truth; return its row of the index."""
    if rendered.jpeg is not None:
        name, data = f"{image_id}.jpg", rendered.jpeg
    else:
        name, data = f"{image_id}.png", _png(rendered.image)
    _write_bytes(folder / "images" / name, data)
    truth = rendered.truth
    for suffix, labels in (
        ("classes", truth.classes),
        ("instances", truth.instances),
        ("zones", truth.anatomy),
    ):
        _write_bytes(folder / "truth" / f"{image_id}_{suffix}.png", _png(labels))
    record = {"schema_version": SCHEMA_VERSION, "image_id": image_id, "image": f"images/{name}", **source}
    _write_bytes(folder / "truth" / f"{image_id}.json", _json({**record, **truth_record(truth)}))
    return {
        "image_id": image_id,
        "image": f"images/{name}",
        "clean": truth.clean,
        "n_defects": len(truth.defects),
    }


def truth_record(truth: SceneTruth) -> dict[str, Any]:
    """Return the truth of one image as plain values: what its JSON file holds."""
    height, width = truth.anatomy.shape
    instrument = truth.instrument
    return {
        "width_px": width,
        "height_px": height,
        "clean": truth.clean,
        "um_per_px_x": truth.um_per_px_x,
        "um_per_px_y": truth.um_per_px_y,
        "zones": {
            "found": True,
            "cladding": _ellipse_record(truth.cladding),
            "cladding_alternative": _outer_record(truth),
            "core": {**_ellipse_record(truth.core), "state": truth.core_state},
            "cladding_um": 2.0 * truth.cladding.rx_px * truth.um_per_px_x,
            "core_um": 2.0 * truth.core.rx_px * truth.um_per_px_x,
            "outer_radius_um": truth.outer_um,
            "border_px": list(instrument.border_px),
        },
        "face": None if truth.look is None else truth.look.face,
        "instrument": asdict(instrument),
        "defects": [_defect_record(item) for item in truth.defects],
    }


def _outer_record(truth: SceneTruth) -> dict[str, float] | None:
    """Return the edge of the hole where glue or a coating lies around the glass: a second, equal rim."""
    factor = truth.outer_um / (truth.cladding.rx_px * truth.um_per_px_x)
    return _ellipse_record(truth.cladding.scaled(factor)) if factor > 1.001 else None


def _ellipse_record(ellipse: Ellipse) -> dict[str, float]:
    return {key: float(value) for key, value in asdict(ellipse).items()}


def _defect_record(item: DefectTruth) -> dict[str, Any]:
    record = asdict(item)
    record["class"] = record.pop("defect_class").label
    for zone in ("zone", "inner_zone"):
        record[zone] = record[zone].name.lower()
    return record


def _png(image: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
