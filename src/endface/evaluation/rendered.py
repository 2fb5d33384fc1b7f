"""Truth that `endface synth` wrote: a JSON file per image and its instance map beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from endface.errors import FormatError
from endface.evaluation.scenes import TrueSizes, TruthDefect, TruthScene, class_of_kind, defect_of_mask
from endface.imaging.ellipse import Ellipse
from endface.store import read_png


def is_rendered(raw: object) -> bool:
    """Tell whether parsed JSON is rendered truth."""
    return isinstance(raw, dict) and {"schema_version", "defects", "zones"} <= raw.keys()


def read_rendered(path: Path, *, visible_snr: float = 2.2) -> TruthScene:
    """Read the truth of one rendered image: `<id>.json` with `<id>_instances.png` beside it.

    Defects with an SNR of `visible_snr` or more are 'sure', others 'faint'.

    Raises
    ------
    FormatError
        If one of the two files is missing or broken, or they do not fit together.
    """
    instances = read_png(path.with_name(f"{path.stem}_instances.png"))
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return _scene(path.stem, raw, instances, visible_snr)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path}: expected rendered truth, found {type(error).__name__}: {error}",
            hint="Render the set again with `endface synth`.",
        ) from error


def _scene(name: str, raw: dict[str, Any], instances: NDArray[np.integer], visible_snr: float) -> TruthScene:
    boxes = find_objects(instances.astype(np.int32))
    defects: list[TruthDefect] = []
    for item in raw["defects"]:
        number = int(item["instance"])
        box = boxes[number - 1] if number <= len(boxes) else None
        if box is None:  # wholly behind another defect, or too weak to show on any pixel
            continue
        snr = _number(item.get("snr"))
        defect = defect_of_mask(
            np.asarray(instances[box] == number),
            defect_class=class_of_kind(str(item["class"])),
            kind=str(item.get("kind", item["class"])),
            x_px=box[1].start,
            y_px=box[0].start,
            certainty="sure" if snr is None or snr >= visible_snr else "faint",
            sizes=TrueSizes(
                snr, *(_number(item.get(key)) for key in ("diameter_um", "length_um", "width_um"))
            ),
        )
        if defect is not None:
            defects.append(defect)
    zones = raw["zones"]
    return TruthScene(
        image_id=name,
        shape=(instances.shape[0], instances.shape[1]),
        defects=tuple(defects),
        has_zones=True,
        cladding=_ellipse(zones["cladding"]),
        cladding_alternative=_ellipse(other) if (other := zones.get("cladding_alternative")) else None,
        core=_ellipse(zones["core"]),
        core_visible=str(zones["core"]["state"]),
        um_per_px=(float(raw["um_per_px_x"]), float(raw["um_per_px_y"])),
        n_empty=len(raw["defects"]) - len(defects),
        source="rendered",
    )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _ellipse(item: dict[str, Any]) -> Ellipse:
    return Ellipse(*(float(item[key]) for key in ("cx_px", "cy_px", "rx_px", "ry_px")))
