"""Pictures of the page: bounded thumbnails as data URIs, and one picture sheet per cluster."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.imaging.draw import contact_sheet, gray_base
from endface.places import read_bytes
from endface.report.tables import read_clusters, read_defects
from endface.store import RunFolder, write_colour

PATCHES_PER_SHEET = 48
THUMB_PX = 72


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


def small_copy(picture: NDArray[Any], *, longest_px: int) -> NDArray[np.uint8]:
    """Return a picture as BGR of at most `longest_px` by `longest_px`, gray ones contrast-stretched."""
    pixels = np.asarray(
        cv2.cvtColor(gray_base(picture), cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture
    )
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return pixels
    # means of whole blocks first, which come cheap, so that no pixel is left out
    step = int(1 / scale)
    if step > 1:
        blocks = (max(1, width // step), max(1, height // step))
        pixels = pixels[: blocks[1] * step, : blocks[0] * step]
        pixels = np.asarray(cv2.resize(pixels, blocks, interpolation=cv2.INTER_AREA))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def data_uri(picture: NDArray[np.uint8], *, quality: int) -> str:
    """Return a picture (BGR) as a JPEG data URI: WebP would take half the bytes and eight times as long."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


@dataclass(frozen=True, slots=True)
class PictureTask:
    """Make the pictures of one image for the page."""

    path: Path
    longest_px: int


@dataclass(frozen=True, slots=True)
class PagePicture:
    """One image on the page, large and as a thumbnail, as data URIs; empty where it cannot be read."""

    large: str = ""
    thumb: str = ""


def page_picture(task: PictureTask) -> PagePicture:
    """Make the pictures of one image."""
    picture = open_picture(task.path)
    if picture is None:
        return PagePicture()
    large = small_copy(picture, longest_px=task.longest_px)
    thumb = small_copy(large, longest_px=THUMB_PX)
    return PagePicture(data_uri(large, quality=72), data_uri(thumb, quality=60))


def open_picture(path: Path) -> NDArray[Any] | None:
    """Return a picture of the run folder, gray or BGR, None where it is not there."""
    if not path.is_file():
        return None
    return cv2.imdecode(np.frombuffer(read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)


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
                patches.append(patch if patch.ndim == 2 else patch[:, :, ::-1])
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
