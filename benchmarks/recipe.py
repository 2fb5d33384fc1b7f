"""The published recipe as a competent user writes it with OpenCV: Hough, DO2MR, line kernels, one CSV.

python benchmarks/recipe.py IMAGES... -o OUT

Reading, circles, zones, DO2MR and LEI of Mei et al. 2018 (doi:10.3390/s18051408), connected components,
measures of every blob, a verdict, masks and an overlay. Nothing here is slowed down on purpose: uint8 where
OpenCV takes it, no Python loop over pixels, blobs measured in their boxes.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CLADDING_UM = 125.0
# zones A, B, C, D: outer diameters in um of the common single-mode table
ZONES_UM = ((25.0, "A"), (120.0, "B"), (130.0, "C"), (250.0, "D"))
N_ORIENTATIONS = 12
MIN_AREA_PX = 5
COLOURS = {1: (34, 201, 242), 2: (233, 180, 86)}
COLUMNS = (
    "image", "instance", "type", "zone", "x_px", "y_px", "width_px", "height_px", "centroid_x_px",
    "centroid_y_px",
    "area_px", "area_um2", "diameter_um", "length_um", "width_um", "orientation_deg", "perimeter_px",
    "circularity", "solidity", "aspect_ratio", "mean_gray", "contrast",
)  # fmt: skip

Gray = NDArray[np.uint8]


def find_cladding(gray: Gray) -> tuple[float, float, float] | None:
    """Return centre and radius of the strongest circle of a plausible size."""
    shortest = min(gray.shape)
    circles = cv2.HoughCircles(
        cv2.medianBlur(gray, 5),
        cv2.HOUGH_GRADIENT,
        dp=1,
        minDist=shortest / 4,
        param1=100,
        param2=50,
        minRadius=shortest // 10,
        maxRadius=shortest // 2,
    )
    if circles is None:
        return None
    x, y, radius = (float(value) for value in circles.reshape(-1, 3)[0])
    return x, y, radius


def zone_map(shape: tuple[int, int], circle: tuple[float, float, float]) -> Gray:
    """Draw the zones as filled circles, the outermost first; 0 outside, 1 A, 2 B, 3 C, 4 D."""
    x, y, radius = circle
    codes = np.zeros(shape, np.uint8)
    for code in (4, 3, 2, 1):
        outer = round(ZONES_UM[code - 1][0] / CLADDING_UM * radius)
        cv2.circle(codes, (round(x), round(y)), outer, code, -1)
    return codes


def do2mr(gray: Gray, zones: Gray) -> Gray:
    """Region defects: min-max difference, threshold at mean + 3 sigma of each zone, median, opening."""
    smooth = cv2.GaussianBlur(gray, (3, 3), 0)
    window = np.ones((5, 5), np.uint8)
    residual = cv2.subtract(cv2.dilate(smooth, window), cv2.erode(smooth, window))
    found = np.zeros_like(gray)
    for code in range(1, 5):
        zone = cv2.compare(zones, code, cv2.CMP_EQ)
        # the steps between zones would fill the windows beside them
        zone = cv2.erode(zone, np.ones((9, 9), np.uint8))
        mean, sigma = (float(value[0, 0]) for value in cv2.meanStdDev(residual, mask=zone))
        found |= cv2.threshold(residual, mean + 3 * sigma, 255, cv2.THRESH_BINARY)[1] & zone
    found = cv2.medianBlur(found, 3)
    return cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


def line_kernels(length: int = 15, offset: int = 2) -> list[NDArray[np.float32]]:
    """Kernels of the linear detector: a middle line minus two beside it, every 15 degrees."""
    size = length + 2 * offset + 2
    base = np.zeros((size | 1, size | 1), np.float32)
    middle = base.shape[0] // 2
    columns = slice(middle - length // 2, middle + length // 2 + 1)
    base[middle, columns] = 2
    base[middle - offset, columns] = base[middle + offset, columns] = -1
    kernels = []
    for k in range(N_ORIENTATIONS):
        turn = cv2.getRotationMatrix2D((middle, middle), 180.0 * k / N_ORIENTATIONS, 1.0)
        kernel = cv2.warpAffine(base, turn, base.shape[::-1])
        kernels.append((kernel - kernel.mean()) / length)
    return kernels


def lei(gray: Gray, zones: Gray, kernels: list[NDArray[np.float32]]) -> Gray:
    """Scratches: 12 line kernels on the equalised image, each thresholded at mean +- 2 sigma, joined."""
    image = cv2.equalizeHist(gray).astype(np.float32)
    inside = cv2.compare(zones, 0, cv2.CMP_GT)
    found = np.zeros_like(gray)
    for kernel in kernels:
        response = cv2.filter2D(image, cv2.CV_32F, kernel)
        mean, sigma = (float(value[0, 0]) for value in cv2.meanStdDev(response, mask=inside))
        # inRange is 255 between the limits: what lies beyond on either side is found
        found |= cv2.bitwise_not(cv2.inRange(response, mean - 2 * sigma, mean + 2 * sigma))
    found &= inside
    return cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))


def measure(
    name: str, gray: Gray, zones: Gray, found: Gray, kind: str, um_per_px: float, first: int
) -> tuple[list[dict[str, object]], NDArray[np.int32], list[int]]:
    """Measure every blob in its box; returns rows, the labels and which of them were kept."""
    n, labels, stats, centroids = cv2.connectedComponentsWithStats(found, connectivity=8)
    rows: list[dict[str, object]] = []
    kept = []
    for label in range(1, n):
        x, y, width, height, area = (int(value) for value in stats[label])
        if area < MIN_AREA_PX:
            continue
        part = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
        outline = max(cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
        (_, sides, angle), (_, radius) = cv2.minAreaRect(outline), cv2.minEnclosingCircle(outline)
        long, short = max(sides) + 1, min(sides) + 1
        if kind == "scratch" and long < 3 * short:
            continue
        perimeter = max(cv2.arcLength(outline, closed=True), 1.0)
        hull = max(cv2.contourArea(cv2.convexHull(outline)), 1.0)
        around = (slice(max(y - 5, 0), y + height + 5), slice(max(x - 5, 0), x + width + 5))
        inner = cv2.mean(gray[y : y + height, x : x + width], mask=part)[0]
        outer = float(gray[around].mean())
        codes = zones[y : y + height, x : x + width][part > 0]
        kept.append(label)
        rows.append({
            "image": name, "instance": first + len(rows), "type": kind, "zone": "ABCD"[int(codes.min()) - 1],
            "x_px": x, "y_px": y, "width_px": width, "height_px": height,
            "centroid_x_px": centroids[label][0], "centroid_y_px": centroids[label][1],
            "area_px": area, "area_um2": area * um_per_px**2, "diameter_um": 2 * radius * um_per_px,
            "length_um": long * um_per_px, "width_um": short * um_per_px, "orientation_deg": angle % 180.0,
            "perimeter_px": perimeter, "circularity": 4 * math.pi * area / perimeter**2,
            "solidity": min(1.0, area / hull), "aspect_ratio": long / short, "mean_gray": inner,
            "contrast": (inner - outer) / max(outer, 1.0),
        })  # fmt: skip
    return rows, labels, kept


def verdict(rows: list[dict[str, object]]) -> str:
    """Judge by the two rules everybody starts with: nothing in A, nothing over 5 um in B."""
    for row in rows:
        size = float(str(row["width_um" if row["type"] == "scratch" else "diameter_um"]))
        if row["zone"] == "A" or (row["zone"] == "B" and size > 5.0):
            return "FAIL"
    return "PASS"


def inspect(path: Path, out: Path, kernels: list[NDArray[np.float32]]) -> tuple[list[dict[str, object]], str]:
    """Inspect one image and write its pictures."""
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    circle = find_cladding(gray)
    if circle is None:
        return [], "no fibre"
    um_per_px = CLADDING_UM / (2 * circle[2])
    zones = zone_map(gray.shape, circle)
    classes, instances = np.zeros_like(gray), np.zeros(gray.shape, np.uint16)
    rows: list[dict[str, object]] = []
    for code, kind, found in ((2, "region", do2mr(gray, zones)), (1, "scratch", lei(gray, zones, kernels))):
        new, labels, kept = measure(path.name, gray, zones, found, kind, um_per_px, len(rows) + 1)
        lookup = np.zeros(int(labels.max()) + 1, np.uint16)
        lookup[kept] = np.arange(len(rows) + 1, len(rows) + 1 + len(kept))
        numbers = lookup[labels]
        np.copyto(instances, numbers, where=numbers > 0)
        classes[numbers > 0] = code
        rows += new
    overlay = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    cv2.circle(
        overlay, (round(circle[0]), round(circle[1])), round(circle[2]), (155, 205, 60), 1, cv2.LINE_AA
    )
    for code, colour in COLOURS.items():
        outlines = cv2.findContours(
            (classes == code).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(overlay, outlines[0], -1, colour, 1)
    pictures = {"image": gray, "mask": classes, "zones": zones, "instances": instances, "overlay": overlay}
    for kind, picture in pictures.items():
        cv2.imwrite(str(out / f"{path.stem}_{kind}.png"), picture)
    return rows, verdict(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0, help="OpenCV's threads; 0: its own choice")
    given = parser.parse_args()
    if given.threads:
        cv2.setNumThreads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    kernels = line_kernels()
    rows: list[dict[str, object]] = []
    verdicts = []
    for path in given.images:
        found, decision = inspect(path, given.out, kernels)
        rows += found
        verdicts.append({"image": path.name, "verdict": decision, "n_defects": len(found)})
    for name, content, columns in (
        ("defects.csv", rows, COLUMNS),
        ("images.csv", verdicts, ("image", "verdict", "n_defects")),
    ):
        with (given.out / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(content)


if __name__ == "__main__":
    main()
