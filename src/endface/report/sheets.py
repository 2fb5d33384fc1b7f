"""Pictures of the page: bounded thumbnails as data URIs, and one picture sheet per cluster."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from endface.imaging.draw import contact_sheet, gray_base
from endface.places import read_bytes
from endface.report.tables import read_clusters, read_defects
from endface.store import RunFolder, write_colour

PATCHES_PER_SHEET = 48


def spread(n_items: int, limit: int) -> list[int]:
    """Return at most `limit` indices spread evenly over `n_items`, always the same ones.

    Examples
    --------
    >>> spread(3, 5), spread(9, 3)
    ([0, 1, 2], [0, 4, 8])
    """
    if n_items <= limit:
        return list(range(n_items))
    return [round(place) for place in np.linspace(0, n_items - 1, max(0, limit))]


def small_copy(picture: Image.Image, *, longest_px: int) -> Image.Image:
    """Return a picture as RGB of at most `longest_px` by `longest_px`, gray ones contrast-stretched."""
    gray = picture.mode.startswith("I") or picture.mode in {"L", "F"}
    rgb = (Image.fromarray(gray_base(np.asarray(picture))) if gray else picture).convert("RGB")
    scale = longest_px / max(rgb.size)
    if scale >= 1:
        return rgb
    size = (max(1, round(scale * rgb.width)), max(1, round(scale * rgb.height)))
    return Image.fromarray(cv2.resize(np.asarray(rgb), size, interpolation=cv2.INTER_AREA))


def data_uri(picture: Image.Image, *, quality: int) -> str:
    """Return a picture as a WebP data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def open_picture(path: Path) -> Image.Image | None:
    """Return a picture of the run folder, None where it is not there."""
    if not path.is_file():
        return None
    with Image.open(io.BytesIO(read_bytes(path))) as picture:
        picture.load()
        return picture


def write_cluster_sheets(run_folder: Path) -> list[Path]:
    """Write a picture sheet for every cluster of a run, `clusters/cluster_NN.png`.

    Large clusters show an even sample of 48 patches, the same one every time. A cluster number
    below 0 (defects that fit no cluster) becomes `cluster_none.png`.

    Parameters
    ----------
    run_folder : Path
        With `clusters/clusters.csv` (columns cluster, name, size) and the defect library.

    Returns
    -------
    list of Path
        In the order of the table; empty where nothing was clustered.
    """
    folder = RunFolder(run_folder)
    clusters = read_clusters(folder)
    if clusters.is_empty():
        return []
    defects = read_defects(folder)
    paths = []
    for row in clusters.iter_rows(named=True):
        members = _members(defects, row["cluster"])
        patches, captions = [], []
        for defect in members[spread(members.height, PATCHES_PER_SHEET)].iter_rows(named=True):
            path = folder.patch(defect["defect_id"], defect["type"], defect["severity_level"])
            if (patch := open_picture(path)) is not None:
                patches.append(_pixels(patch))
                captions.append(str(defect["defect_id"]))
        shown = f", {len(patches)} shown" if len(patches) < members.height else ""
        number = f"Cluster {row['cluster']}" if row["cluster"] >= 0 else "No cluster"
        title = f"{number}: {row['name']} ({members.height} defects{shown})"
        paths.append(sheet_path(folder, row["cluster"]))
        write_colour(paths[-1], contact_sheet(patches, captions=captions, title=title))
    return paths


def sheet_path(folder: RunFolder, cluster: int) -> Path:
    """Return where the sheet of a cluster lies."""
    return folder.clusters.parent / (f"cluster_{cluster:02d}.png" if cluster >= 0 else "cluster_none.png")


def _members(defects: pl.DataFrame, cluster: int) -> pl.DataFrame:
    if "cluster_label" not in defects.columns:
        return defects.clear()
    return defects.filter(pl.col("cluster_label").cast(pl.String) == str(cluster))


def _pixels(patch: Image.Image) -> NDArray[Any]:
    if patch.mode.startswith("I") or patch.mode in {"L", "F"}:
        return np.asarray(patch)
    return np.asarray(patch.convert("RGB"))
