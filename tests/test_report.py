"""The page must say what the tables say, open offline, and never trust a file name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from endface.config import Settings
from endface.errors import FormatError, InputError
from endface.imaging.draw import draw_overlay
from endface.imaging.ellipse import Ellipse
from endface.report import write_cluster_sheets, write_report
from endface.report.charts import defect_charts
from endface.report.page import chosen_rows, settings_table
from endface.report.sheets import small_copy

CLASSES = ("scratch", "contamination", "pit_chip", "other")
VERDICTS = ("PASS", "FAIL", "MARGINAL", "INDETERMINATE")
SHAPE = (180, 240)
EVIL = '<script>alert("x")</script>&ü'


def make_run(folder: Path, *, n_images: int = 6, first_name: str = "a b") -> Path:
    """Write a small run folder as the contract describes it, with pictures of one fibre."""
    rng = np.random.default_rng(1)
    labels, defects, zones = [], [], []
    for number in range(n_images):
        image_id = first_name if number == 0 else f"part__{number:04d}"
        image = f"{image_id}.png".replace("__", "/")
        mask = np.zeros(SHAPE, np.uint8)
        verdict = VERDICTS[number % 4]
        for instance in range(1, 2 + number % 3 if verdict != "PASS" else 1):
            kind = (number + instance) % 4
            cv2.circle(mask, tuple(map(int, rng.integers(30, 150, 2))), 4 + kind, kind + 1, -1)
            defects.append(
                {
                    "defect_id": f"{image_id}_{instance:03d}",
                    "image": image,
                    "image_id": image_id,
                    "instance": instance,
                    "type": CLASSES[kind],
                    "cluster_label": kind if kind < 3 else -1,
                    "anatomy_zone": ("core", "cladding", "ferrule")[number % 3],
                    "iec_zone": "ABCD"[number % 4],
                    "severity_score": 12.0 * kind,
                    "severity_level": ("low", "medium", "high")[kind % 3],
                    "diameter_um": None if instance == 3 else 0.7 + 3.1 * kind,
                }
            )
        _write_pictures(folder, image_id, mask, rng)
        known = verdict != "INDETERMINATE"
        labels.append(
            {
                "image": image,
                "image_id": image_id,
                "pass_fail": verdict,
                "fail_reason": "zone A: 1 defect over 3 um, none allowed" if verdict == "FAIL" else "",
                "profile": "sm_upc",
                "primary_defect": "pit_chip" if verdict == "FAIL" else None,
                "n_defects": int(np.count_nonzero(mask) > 0),
                "found": known,
                "um_per_px_x": 0.431 if known else None,
                "calibration": "cladding" if known else "unknown",
                "core_offset_um": 0.4321 if known else None,
                "concentricity_error_pct": 0.7 if known else None,
                "focus_score": 0.5,
                "quality_flags": "core not visible" if number == 2 else None,
                "notes": None,
            }
        )
        zones.append(
            {"image_id": image_id, "zone": "core", "label": "clean", "n_defects": 0, "defect_area_frac": 0.0}
        )
    _write_tables(folder, labels, defects, zones)
    return folder


def _write_pictures(folder: Path, image_id: str, mask: np.ndarray, rng: np.random.Generator) -> None:
    rim = Ellipse(119.5, 90.2, 70.0, 70.0)
    radius = rim.radius_map(SHAPE)
    ground = np.where(radius < 1, 120, 190) - 40 * (radius < 0.35)
    image = np.clip(ground + rng.normal(0, 3, SHAPE) - 50 * (mask > 0), 0, 255).astype(np.uint8)
    overlay = draw_overlay(image, cladding=rim, core=rim.scaled(0.35), class_mask=mask)
    path = folder / "segmentation_masks" / f"{image_id}_overlay.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", overlay[..., ::-1])[1].tobytes())


def _write_tables(folder: Path, labels: list[dict], defects: list[dict], zones: list[dict]) -> None:
    for name in ("image_level", "defect_library", "region_level", "clusters"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "failures.csv").write_text(
        "image,stage,error,hint\nbroken.png,read,the file is empty,Copy it again.\n", encoding="utf-8"
    )
    settings = Settings().model_dump(mode="json")
    settings["detection"]["epsilon"] = 0.5
    manifest = {
        "settings": settings,
        "settings_from": {"detection.epsilon": "file my.yaml"},
        "versions": {"endface": "0.1.0"},
        "seed": 0,
        "timings": {"total_s": 1.25},
    }
    (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    pl.DataFrame(labels, infer_schema_length=None).write_csv(folder / "image_level" / "image_labels.csv")
    pl.DataFrame(zones).write_parquet(folder / "region_level" / "zone_defect_features.parquet")
    if defects:
        _write_defects(folder, defects)


def _write_defects(folder: Path, defects: list[dict]) -> None:
    table = pl.DataFrame(defects, infer_schema_length=None)
    table.write_parquet(folder / "defect_library" / "defect_library_index.parquet")
    table.write_csv(folder / "defect_library" / "defect_library_index.csv")
    sizes = table["cluster_label"].value_counts().sort("cluster_label")
    clusters = sizes.rename({"cluster_label": "cluster", "count": "size"}).with_columns(
        name=pl.Series([(*CLASSES[:3], "other")[number] for number in sizes["cluster_label"]]),
        rule=pl.lit("aspect ratio above 4"),
    )
    clusters.write_csv(folder / "clusters" / "clusters.csv")
    for row in table.iter_rows(named=True):
        patch = np.full((20, 30), 40 * row["instance"], np.uint8)
        patch[5:9, 5:25] = 200
        path = folder / "defect_library" / row["type"] / row["severity_level"] / f"{row['defect_id']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", patch)[1].tobytes())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("run"), n_images=9)
    write_report(folder)
    return folder


class _Page(HTMLParser):
    """Tags with their attributes, and whether every one that opens also closes."""

    VOID = frozenset({"meta", "img", "input", "rect", "line"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.stack.pop() == tag


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_is_well_formed_and_loads_nothing_from_outside(run_folder: Path) -> None:
    page = _Page(page_of(run_folder))
    assert page.stack == []
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        if tag == "img" and "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
        assert not (tag == "script" and attributes)
    assert not re.search(r"https?://|url\(", page_of(run_folder))


def test_every_link_leads_to_a_file_of_the_run_or_a_section(run_folder: Path) -> None:
    tags = _Page(page_of(run_folder)).tags
    ids = {attributes.get("id") for _, attributes in tags}
    links = [attributes["href"] for tag, attributes in tags if tag == "a" and attributes.get("href")]
    assert links
    for link in links:
        assert link is not None
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (run_folder / link.replace("%20", " ")).is_file()


def test_page_says_what_the_tables_say(run_folder: Path) -> None:
    text = page_of(run_folder)
    tags = _Page(text).tags
    labels = pl.read_csv(run_folder / "image_level" / "image_labels.csv")
    for verdict in VERDICTS:
        rows = [a for tag, a in tags if tag == "tr" and a.get("data-verdict") == verdict]
        assert len(rows) == labels.filter(pl.col("pass_fail") == verdict).height
    assert sum(tag == "figure" and "data-verdict" in a for tag, a in tags) == labels.height
    for expected in (
        "zone A: 1 defect over 3 um",
        "Copy it again.",
        "detection.epsilon",
        "core not visible",
        "0.431 µm",
    ):
        assert expected in text
    assert "1 given" in text
    assert "1.25" not in re.sub(r"data:image[^\"]*", "", text)


def test_same_tables_give_the_same_bytes(run_folder: Path) -> None:
    before = (run_folder / "report.html").read_bytes()
    assert write_report(run_folder) == run_folder / "report.html"
    assert (run_folder / "report.html").read_bytes() == before
    assert not list(run_folder.rglob(".*.tmp"))


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    folder = make_run(tmp_path, n_images=2)
    labels = folder / "image_level" / "image_labels.csv"
    table = pl.read_csv(labels).with_columns(
        image=pl.lit(EVIL), fail_reason=pl.lit('"><img src=x onerror=y>')
    )
    table.write_csv(labels)
    (folder / "failures.csv").write_text(f"image,stage,error,hint\n'{EVIL}',read,<b>,\n", encoding="utf-8")
    text = write_report(folder).read_text(encoding="utf-8")
    page = _Page(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "&lt;script&gt;" in text


def test_a_sheet_for_every_cluster(run_folder: Path) -> None:
    paths = write_cluster_sheets(run_folder)
    assert [path.name for path in paths] == [
        "cluster_none.png",
        "cluster_00.png",
        "cluster_01.png",
        "cluster_02.png",
    ]
    assert all(cv2.imread(str(path)).shape[2] == 3 for path in paths)


def test_empty_run_still_gives_a_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path, n_images=1)
    for path in [
        *folder.glob("segmentation_masks/*"),
        *folder.glob("defect_library/*.*"),
        *folder.glob("clusters/*"),
    ]:
        path.unlink()
    labels = folder / "image_level" / "image_labels.csv"
    labels.write_text(labels.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    for name in ("run.json", "region_level/zone_defect_features.parquet", "failures.csv"):
        (folder / name).unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    assert "0 images, 0 defects" in text
    assert write_cluster_sheets(folder) == []


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image_level"):
        write_report(tmp_path)
    folder = make_run(tmp_path / "run", n_images=1)
    (folder / "image_level" / "image_labels.csv").write_text("image,image_id\na.png,a\n", encoding="utf-8")
    with pytest.raises(FormatError, match="found no pass_fail"):
        write_report(folder)


@pytest.mark.parametrize("n_fail", [0, 40, 400, 1000])
def test_large_runs_show_rejected_images_first_and_a_sample_of_all(n_fail: int) -> None:
    verdicts = ["FAIL"] * n_fail + ["PASS"] * (960 - n_fail) + ["MARGINAL"] * 20 + ["INDETERMINATE"] * 20
    images = pl.DataFrame({"pass_fail": verdicts[:1000]})
    chosen = chosen_rows(images, 200, 150)
    kinds = images[chosen]["pass_fail"].to_list()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 200
    assert kinds.count("FAIL") == min(n_fail, 200 if n_fail == 1000 else 150)


def test_charts_count_every_defect(run_folder: Path) -> None:
    defects = pl.read_parquet(run_folder / "defect_library" / "defect_library_index.parquet")
    charts = {chart.title: chart for chart in defect_charts(defects)}
    assert set(charts) == {"Class", "Zone", "IEC zone", "Severity", "Diameter in µm"}
    unknown = defects["diameter_um"].null_count()
    for title, chart in charts.items():
        missing = unknown if title.startswith("Diameter") else 0
        assert sum(bar.total for bar in chart.bars) == defects.height - missing
        assert max(
            segment.x + segment.width for bar in chart.bars for segment in bar.segments
        ) == pytest.approx(100)
    assert defect_charts(defects.clear()) == []


def test_settings_that_were_given_come_first() -> None:
    rows = settings_table(Settings(seed=7).model_dump(mode="json"), {"seed": "command line"})
    assert (rows[0].name, rows[0].value, rows[0].origin) == ("seed", "7", "command line")
    assert not any(row.origin for row in rows[1:])


def test_pictures_of_16_bit_are_stretched_not_clipped() -> None:
    deep = np.tile(np.linspace(1000, 4000, 64), (64, 1)).astype(np.uint16)
    pixels = small_copy(deep, longest_px=32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.min() < 20
    assert pixels.max() > 235


EXERCISE = """<script>
const shown = (query) => [...document.querySelectorAll(query)].filter((e) => !e.hidden).length;
const press = (query, index) => document.querySelectorAll(query)[index].click();
const box = document.getElementById("box"), find = document.getElementById("find");
const key = (name) => box.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
const first = () => document.querySelector("#table tbody tr").dataset.name;
const said = [shown("#table tbody tr")];
press(".tile", 2); said.push(shown("#table tbody tr"), shown(".gallery figure"));
press(".gallery button", 1); key("ArrowRight");
said.push(document.getElementById("box-name").textContent, box.open);
document.getElementById("box-close").click();
press(".tile", 2); press("th button", 0); press("th button", 0); said.push(first());
find.value = "a b"; find.dispatchEvent(new Event("input"));
said.push(shown("#table tbody tr"));
document.body.dataset.said = said.join("|");
</script></body>"""


def test_page_works_in_a_browser(run_folder: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    page = tmp_path / "page.html"
    page.write_text(page_of(run_folder).replace("</body>", EXERCISE), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=True)
    said = re.search(r'data-said="([^"]*)"', done.stdout)
    assert said is not None
    assert said.group(1).split("|") == ["9", "2", "2", "part/0005.png", "true", "part/0008.png", "1"]
