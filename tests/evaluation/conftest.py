"""Runs made from the truth itself, so that what an evaluation must say is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from evaluation_fakes import FakeImage
from PIL import Image

from endface.store import RunFolder

IMAGE_COLUMNS = [
    *(
        "image",
        "image_id",
        "width_px",
        "height_px",
        "pass_fail",
        "profile",
        "found",
        "um_per_px_x",
        "um_per_px_y",
    ),
    *(f"{name}_{part}_px" for name in ("cladding", "core") for part in ("cx", "cy", "rx", "ry")),
]
DEFECT_COLUMNS = ["image_id", "instance", "type", "confidence", "diameter_um", "length_um"]


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder that holds these images."""

    def write(images: Sequence[FakeImage], *, failed: Sequence[str] = (), name: str = "run") -> Path:
        folder = RunFolder(tmp_path / name)
        image_rows, defect_rows = [], []
        for item in images:
            path = folder.mask(item.image_id, "instances")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(item.instances.astype(np.uint16)).save(path)
            row = {
                "image": item.image,
                "image_id": item.image_id,
                "width_px": item.instances.shape[1],
                "height_px": item.instances.shape[0],
                "pass_fail": item.verdict,
                "profile": item.profile,
                "found": str(item.cladding is not None).lower(),
            }
            for which, shape in (("cladding", item.cladding), ("core", item.core)):
                for part in ("cx", "cy", "rx", "ry"):
                    row[f"{which}_{part}_px"] = "" if shape is None else getattr(shape, f"{part}_px")
            row["um_per_px_x"], row["um_per_px_y"] = item.um_per_px or ("", "")
            image_rows.append(row)
            for number, find in enumerate(item.finds, start=1):
                values = {key: "" if value is None else value for key, value in vars(find).items()}
                defect_rows.append({"image_id": item.image_id, "instance": number, **values})
        _table(folder.image_labels.with_suffix(".csv"), IMAGE_COLUMNS, image_rows)
        _table(folder.defect_index.with_suffix(".csv"), DEFECT_COLUMNS, defect_rows)
        _table(folder.failures, ["image", "stage", "error", "hint"], [{"image": name} for name in failed])
        return folder.root

    return write


@pytest.fixture
def label_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write label files: one 100 x 80 image with one scratch, two blobs and a region, per name."""

    def write(*names: str, **changes: object) -> Path:
        folder = tmp_path / "labels"
        folder.mkdir(exist_ok=True)
        for name in names:
            content = {
                "image": f"{name}.jpg",
                "width": 100,
                "height": 80,
                "cladding": {"cx": 50, "cy": 40, "rx": 30, "ry": 32},
                "core": {"cx": 50, "cy": 40, "rx": 10, "ry": 11, "visible": "clear"},
                "scratches": [{"points": [[5, 5], [45, 5]], "width": 2, "certainty": "sure"}],
                "blobs": [
                    {
                        "cx": 60,
                        "cy": 40,
                        "rx": 4,
                        "ry": 3,
                        "angle_deg": 0,
                        "kind": "dust",
                        "certainty": "sure",
                    },
                    {
                        "cx": 20,
                        "cy": 60,
                        "rx": 2,
                        "ry": 2,
                        "angle_deg": 0,
                        "kind": "pit",
                        "certainty": "faint",
                    },
                ],
                "regions": [{"polygon": [[80, 60], [99, 60], [99, 79], [80, 79]], "kind": "residue"}],
            }
            (folder / f"{name}.json").write_text(json.dumps(content | changes))
        return folder

    return write


def _table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
