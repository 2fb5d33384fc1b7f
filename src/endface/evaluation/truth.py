"""Find and read the truth of many images: rendered truth, hand-made label files, or COCO.

Knows file layouts; what is in them becomes `TruthScene`, one image at a time so that memory stays bounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from endface.errors import FormatError, InputError
from endface.evaluation.coco import coco_scenes, is_coco
from endface.evaluation.labels import is_label, read_label
from endface.evaluation.rendered import is_rendered, read_rendered
from endface.evaluation.scenes import TruthScene, scene_of_label

TruthFormat = Literal["rendered", "labels", "coco"]
_HINT = (
    "Give a folder that `endface synth` wrote, a folder of label JSON files, or a COCO file; "
    "docs/evaluation.md describes all three."
)


@dataclass(frozen=True, eq=False, slots=True)
class TruthSource:
    """Truth of many images: `load(image_id)` reads one of `image_ids`."""

    path: Path
    format: TruthFormat
    image_ids: tuple[str, ...]
    load: Callable[[str], TruthScene]


def open_truth(path: Path, *, visible_snr: float = 2.2) -> TruthSource:
    """Look at a truth file or folder and list its images without reading their pixels.

    Parameters
    ----------
    visible_snr : float
        Rendered defects from this SNR on are 'sure', weaker ones 'faint'.

    Raises
    ------
    InputError
        If there is nothing at `path`, or nothing in it that is truth of any image.
    FormatError
        If a JSON file cannot be read as any of the formats.
    """
    if not path.exists():
        raise InputError(f"{path}: expected truth there, found nothing", hint=_HINT)
    files = [path] if path.is_file() else _json_files(path)
    if not files:
        raise InputError(f"{path}: expected truth files (*.json), found none", hint=_HINT)
    first = _parse(files[0])
    if is_coco(first):
        if len(files) > 1:
            raise InputError(
                f"{path}: expected one COCO file, found {len(files)} JSON files",
                hint="Give the path of the COCO file itself.",
            )
        return _coco(files[0], first)
    by_id = {file.stem: file for file in files}
    if is_label(first):
        return TruthSource(
            path, "labels", tuple(by_id), lambda name: scene_of_label(read_label(by_id[name]), image_id=name)
        )
    if is_rendered(first):
        return TruthSource(
            path, "rendered", tuple(by_id), lambda name: read_rendered(by_id[name], visible_snr=visible_snr)
        )
    raise FormatError(
        f"{files[0]}: expected rendered truth, a label file or COCO, found none of them", hint=_HINT
    )


def _coco(file: Path, raw: dict[str, Any]) -> TruthSource:
    scenes = coco_scenes(raw, source=str(file))
    if not scenes:
        raise InputError(f"{file}: expected images with truth, found an empty COCO file", hint=_HINT)
    return TruthSource(file, "coco", tuple(scenes), lambda name: scenes[name]())


def _json_files(folder: Path) -> list[Path]:
    inner = folder / "truth"
    place = inner if inner.is_dir() else folder
    return sorted(
        file for file in place.glob("*.json") if file.name not in ("index.json", "manifest.json", "run.json")
    )


def _parse(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: expected JSON, found {error}", hint=_HINT) from error
    if not isinstance(raw, dict):
        raise FormatError(f"{file}: expected a JSON object, found {type(raw).__name__}", hint=_HINT)
    return raw
