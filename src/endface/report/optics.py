"""The map of the optics: where marks stay in place, in how many images, and what they probably are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from endface.errors import InputError
from endface.report.page import template_environment
from endface.report.sheets import data_uri
from endface.store import RunFolder, read_png, write_bytes, write_colour, write_table

_COLOURS = {
    "dust on the optics": (60, 130, 246),
    "hot or dead pixel": (242, 120, 34),
    "seam of the sensor": (214, 60, 140),
}
ROW_LIMIT = 200
_ADVICE = {
    "dust on the optics": "Clean lens, window and camera: it stays while the faces change.",
    "hot or dead pixel": "A fault of single pixels: let the camera's own correction learn it anew.",
    "seam of the sensor": "A fault of a whole row or column of the camera or the frame grabber.",
}


def write_optics(run_folder: Path, out: Path | None = None) -> Path:
    """Write the map of the optics of a finished run: a PNG per scope, `optics_marks.csv` and `optics.html`.

    Parameters
    ----------
    run_folder : Path
        Output of `endface run`.
    out : Path, optional
        Folder to write to; `optics/` of the run where not given.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the folder holds no run that looked for marks.
    """
    folder = RunFolder(run_folder)
    if not folder.optics_marks.is_file():
        raise InputError(
            f"{run_folder}: expected a finished run, found no {folder.optics_marks.name}",
            hint="Give the -o of `endface run`, and complete that run first.",
        )
    out = out or folder.optics_marks.parent
    marks = pl.read_csv(folder.optics_marks, schema_overrides={"scope": pl.String})
    scopes = []
    for pattern in sorted((folder.root / "journal" / "optics").glob("*.png")):
        own = marks.filter(pl.col("scope") == pattern.stem)
        drawn = draw_marks(read_png(pattern), own)
        write_colour(out / f"optics_{pattern.stem}.png", drawn)
        rows = own.sort("n_seen_in", "mark", descending=[True, False])
        scopes.append(
            {
                "name": pattern.stem,
                "map": data_uri(np.ascontiguousarray(drawn[:, :, ::-1]), quality=88),
                "rows": rows.head(ROW_LIMIT).to_dicts(),
                "n": rows.height,
                "causes": rows.group_by("cause").len().sort("len", descending=True).rows(),
            }
        )
    write_table(out / "optics_marks.csv", marks)
    page = template_environment().get_template("optics.html.j2").render(scopes=scopes, advice=_ADVICE)
    write_bytes(out / "optics.html", page.encode())
    return out / "optics.html"


def draw_marks(pattern: NDArray[np.uint8], marks: pl.DataFrame) -> NDArray[np.uint8]:
    """Draw a ring in the colour of its cause round every mark, and its number beside it.

    Parameters
    ----------
    pattern : (H, W) uint8 ndarray
        Fixed pattern, 128 where there is none.
    marks : polars.DataFrame
        Columns of `OPTICS_MARK_COLUMNS`.

    Returns
    -------
    (H, W, 3) uint8 ndarray
        RGB.
    """
    canvas = np.ascontiguousarray(np.repeat(pattern[:, :, None], 3, axis=2))
    size = max(canvas.shape[:2]) / 2400
    for row in marks.iter_rows(named=True):
        colour = _COLOURS[row["cause"]]
        x, y, width, height = (int(row[name]) for name in ("x_px", "y_px", "width_px", "height_px"))
        if row["cause"] == "seam of the sensor":
            cv2.rectangle(canvas, (x - 2, y - 2), (x + width + 1, y + height + 1), colour, 1)
            continue
        radius = round(max(width, height) / 2 + 5)
        centre = (x + width // 2, y + height // 2)
        cv2.circle(canvas, centre, radius, colour, 1 if row["n_seen_in"] == 0 else 2, cv2.LINE_AA)
        if marks.height <= 99:
            place = (centre[0] + radius, centre[1] - radius)
            cv2.putText(canvas, str(row["mark"]), place, 0, max(size, 0.5), colour, 1, cv2.LINE_AA)
    return canvas
