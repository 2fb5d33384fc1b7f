"""The page: what the tables say, chosen and put into words, then rendered to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl
from markupsafe import Markup

from endface.config import flatten
from endface.engines import Engine, SerialEngine, WorkerLost
from endface.report.charts import class_colours, defect_charts
from endface.report.sheets import (
    PagePicture,
    PictureTask,
    data_uri,
    open_picture,
    page_picture,
    sheet_path,
    small_copy,
    spread,
    write_cluster_sheets,
)
from endface.report.tables import RunTables, read_tables
from endface.store import RunFolder, write_bytes

if TYPE_CHECKING:
    import jinja2

VERDICTS = ("PASS", "MARGINAL", "FAIL", "INDETERMINATE")
GALLERY_LIMIT = 200
FAIL_LIMIT = 150
ROW_LIMIT = 2000
ROW_FAIL_LIMIT = 1500
_LARGE_PX, _MEDIUM_PX = 800, 640


@dataclass(frozen=True, slots=True)
class Row:
    """One image on the page."""

    values: Mapping[str, Any]
    href: str
    thumb: str
    picture: str

    @property
    def flags(self) -> str:
        """Doubts and remarks in one line."""
        parts = (str(self.values.get(name) or "") for name in ("quality_flags", "notes"))
        return "; ".join(part.replace(";", "; ").replace("  ", " ") for part in parts if part)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the run; `origin` is empty for a default."""

    name: str
    value: str
    origin: str


def write_report(run_folder: Path, *, engine: Engine | None = None) -> Path:
    """Write `report.html` into a run folder: one file without outside references that opens offline.

    The sheets of the clusters are written first (`write_cluster_sheets`). The same tables give the same
    bytes; timings are left out.

    Parameters
    ----------
    run_folder : Path
        Output of a finished `endface run`.
    engine : Engine, optional
        Makes the pictures of the page; without it this process does.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the folder holds no run.
    FormatError
        If a table is not as the contract says.

    Notes
    -----
    Up to 200 images are shown as pictures. Of more, up to 150 rejected ones and an even sample of the others
    are; the table lists up to 2000 images in the same way. The page says so where it leaves something out.
    """
    write_cluster_sheets(run_folder)
    tables = read_tables(run_folder)
    path = run_folder / "report.html"
    write_bytes(path, render(tables, engine or SerialEngine()).encode("utf-8"))
    return path


def render(tables: RunTables, engine: Engine) -> str:
    """Return the page as HTML."""
    images = tables.images
    listed = chosen_rows(images, ROW_LIMIT, ROW_FAIL_LIMIT)
    pictured = {listed[place] for place in chosen_rows(images[listed], GALLERY_LIMIT, FAIL_LIMIT)}
    shown = {index: _shown(tables.folder, images["image_id"][index]) for index in listed}
    pictures = _pictures([shown[index] for index in listed if index in pictured], engine)
    nothing = PagePicture()
    rows = [
        _row(tables.folder, values, shown[index], pictures.get(shown[index], nothing))
        for index, values in zip(listed, images[listed].iter_rows(named=True), strict=True)
    ]
    return template_environment().get_template("report.html.j2").render(
        css=_asset("report.css"),
        js=_asset("report.js"),
        n_images=images.height,
        n_defects=tables.defects.height,
        verdicts=_verdict_counts(images),
        rows=rows,
        gallery=[row for row in rows if row.picture],
        charts=defect_charts(tables.defects),
        classes=class_colours(),
        zones=_zone_rows(tables.zones),
        clusters=_cluster_rows(tables),
        same_faces=_same_faces(images),
        failures=tables.failures.to_dicts(),
        facts=_facts(tables),
        settings=settings_table(
            tables.manifest.get("settings", {}), tables.manifest.get("settings_from", {})
        ),
    )  # fmt: skip


def chosen_rows(images: pl.DataFrame, limit: int, fail_limit: int) -> list[int]:
    """Return the row numbers of at most `limit` images, in table order.

    All where they fit; else rejected ones, up to `fail_limit` where there are others, and an even sample of
    the others.

    Examples
    --------
    >>> chosen_rows(pl.DataFrame({"pass_fail": ["PASS", "PASS", "FAIL", "PASS"]}), 3, 2)
    [0, 2, 3]
    """
    if images.height <= limit:
        return list(range(images.height))
    verdicts = images["pass_fail"].to_list()
    rejected = [index for index, verdict in enumerate(verdicts) if verdict == "FAIL"]
    others = [index for index, verdict in enumerate(verdicts) if verdict != "FAIL"]
    first = [rejected[place] for place in spread(len(rejected), max(fail_limit, limit - len(others)))]
    return sorted(first + [others[place] for place in spread(len(others), limit - len(first))])


def settings_table(settings: Mapping[str, Any], origins: Mapping[str, str]) -> list[Setting]:
    """Return all settings as dotted names and text, those that were given before the defaults."""
    rows = [Setting(name, _text(value), origins.get(name, "")) for name, value in flatten(settings).items()]
    return sorted(rows, key=lambda row: not row.origin)


def _shown(folder: RunFolder, image_id: str) -> Path | None:
    """Return the file that shows an image: its overlay, else the image itself."""
    candidates = (folder.overlay(image_id), folder.image(image_id))
    return next((path for path in candidates if path.is_file()), None)


def _pictures(paths: Sequence[Path | None], engine: Engine) -> dict[Path | None, PagePicture]:
    longest_px = _LARGE_PX if len(paths) <= 60 else _MEDIUM_PX
    tasks = [PictureTask(path, longest_px) for path in paths if path is not None]
    made = engine.map(page_picture, tasks)
    return {task.path: result for task, result in made if not isinstance(result, WorkerLost)}


def _row(folder: RunFolder, values: Mapping[str, Any], path: Path | None, picture: PagePicture) -> Row:
    return Row(values, _href(folder, path) if path else "", thumb=picture.thumb, picture=picture.large)


def _href(folder: RunFolder, path: Path) -> str:
    return quote(path.relative_to(folder.root).as_posix())


def _verdict_counts(images: pl.DataFrame) -> list[tuple[str, int, float]]:
    counts = dict(images.group_by("pass_fail").len().iter_rows())
    total = max(1, images.height)
    return [(name, counts.get(name, 0), round(100 * counts.get(name, 0) / total, 3)) for name in VERDICTS]


def _zone_rows(zones: pl.DataFrame) -> list[dict[str, Any]]:
    if not {"zone", "label", "n_defects", "defect_area_frac"} <= set(zones.columns):
        return []
    return (
        zones.group_by(pl.col("zone").cast(pl.String), maintain_order=True)
        .agg(
            pl.len().alias("n"),
            (pl.col("label") == "defective").sum().alias("n_defective"),
            pl.col("n_defects").sum(),
            (100 * pl.col("defect_area_frac").cast(pl.Float64)).mean().alias("area_pct"),
        )
        .to_dicts()
    )


def _cluster_rows(tables: RunTables) -> list[dict[str, Any]]:
    rows = []
    for row in tables.clusters.iter_rows(named=True):
        path = sheet_path(tables.folder, row["cluster"])
        sheet = open_picture(path)
        uri = data_uri(small_copy(sheet, longest_px=1040), quality=75) if sheet is not None else ""
        rows.append({"rule": "", **row, "sheet": uri, "href": _href(tables.folder, path)})
    return rows


def _same_faces(images: pl.DataFrame) -> list[str]:
    """Return the names of the images of each face that several show, at most as many as rows are listed."""
    if "same_face_group" not in images.columns:
        return []
    shown = images.filter(pl.col("same_face_group").is_not_null())
    groups = shown.group_by("same_face_group", maintain_order=True).agg(pl.col("image"))
    return [", ".join(names) for names in groups.sort("same_face_group")["image"].head(ROW_LIMIT).to_list()]


def _facts(tables: RunTables) -> list[tuple[str, str]]:
    images = tables.images
    facts = [("Profile", _tally(images, "profile")), ("Micrometres from", _tally(images, "calibration"))]
    pitch = images["um_per_px_x"].drop_nulls() if "um_per_px_x" in images.columns else pl.Series()
    if len(pitch) and pitch.dtype.is_numeric():
        low, high = (float(str(value)) for value in (pitch.min(), pitch.max()))
        facts.append(
            ("Pixel pitch", f"{low:.4g} µm" if high - low < 5e-4 * high else f"{low:.4g} to {high:.4g} µm")
        )
    if "found" in images.columns:
        facts.append(
            ("Fibre found", f"in {int(images['found'].cast(pl.Boolean).sum()):,} of {images.height:,}")
        )
    left_out = int(images["n_optics_finds"].sum() or 0) if "n_optics_finds" in images.columns else 0
    if left_out:
        facts.append(("Dirt on the optics", f"{left_out:,} finds not counted (endface optics)"))
    versions = tables.manifest.get("versions", {})
    if isinstance(versions, Mapping):
        facts.append(
            (
                "Made with",
                ", ".join(f"{name} {versions[name]}" for name in ("endface", "python") if name in versions),
            )
        )
    return [(name, text) for name, text in facts if text]


def _tally(images: pl.DataFrame, column: str) -> str:
    counts = images.group_by(pl.col(column).cast(pl.String).fill_null("none").alias("key")).len()
    pairs = list(counts.sort(["len", "key"], descending=[True, False]).iter_rows())
    return pairs[0][0] if len(pairs) == 1 else ", ".join(f"{name} ({count:,})" for name, count in pairs)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "none"  # flatten leaves only empty ones
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: Any, digits: int = 3) -> str:
    """Format a number for reading: at most `digits` significant digits, an en dash where unknown."""
    if value is None or value == "":
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):.{digits}g}"


def _asset(name: str) -> Markup:
    # our own files, the only text that is not escaped
    return Markup(resources.files("endface.report").joinpath("templates", name).read_text(encoding="utf-8"))


def template_environment() -> jinja2.Environment:
    """Return what renders the pages of this package: everything from outside is escaped."""
    # workers, which make pictures only, go without
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("endface.report", "templates"),
        autoescape=True,  # file names and notes come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = _number
    return environment
