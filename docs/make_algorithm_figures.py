"""Draw the figures of docs/algorithms/zones.md and detection.md from rendered end faces.

    python docs/make_algorithm_figures.py docs/images

Every picture shown is rendered by `endface.synthesis`, so that none carries a licence of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from endface.annotation import Zones, instance_map
from endface.detection import detect_defects
from endface.detection.structure import remove_structure
from endface.imaging.acontrario import score_threshold
from endface.imaging.background import concentric_background
from endface.imaging.lines import ANGLE_STEPS, line_evidence
from endface.imaging.noise import fit_tail, near_strong, robust_sigma
from endface.imaging.photon_transfer import photon_transfer
from endface.imaging.tracing import confirm_line, contrast_noise, profile_contrast, trace_lines
from endface.synthesis import render_of_set
from endface.zones import iec_map, segment_zones

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

Image = NDArray[np.float32]
ANATOMY = ListedColormap(["black", "#f4a259", "#5b8e7d", "#d9d9d9", "#bc4b51"])
IEC = ListedColormap(["#333333", "#d1495b", "#edae49", "#66a182", "#8fb8de"])


def face(index: int) -> tuple[NDArray[np.uint8], Zones]:
    made = render_of_set(seed=5, index=index, preset="grabber")
    return made.image, segment_zones(made.image)


def show(axis: Axes, image: NDArray[np.generic], title: str, *, limit: float | None = None) -> None:
    if limit is None:
        axis.imshow(image, cmap="gray")
    else:
        axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_axis_off()


def outline(axis: Axes, mask: NDArray[np.bool_], *, color: str = "#ff3030", width: float = 0.9) -> None:
    if mask.any():
        axis.contour(mask, levels=[0.5], colors=color, linewidths=width)


def panels(columns: int, *, rows: int = 1, height: float = 3.0) -> tuple[plt.Figure, list[Axes]]:
    size = (3.75 * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    return figure, list(axes.flat)


def draw_zones(out: Path) -> None:
    image, zones = face(5)
    figure, axes = panels(3)
    show(axes[0], image, "rim and core, fitted to sub-pixels")
    angles = np.linspace(0, 2 * np.pi, 721)
    for ellipse, color in ((zones.cladding, "#ffd000"), (zones.core, "#40c4ff")):
        if ellipse is not None:
            axes[0].plot(*ellipse.points(angles).T, color=color, lw=1)
    show(axes[1], zones.anatomy, "anatomy: what a pixel shows")
    axes[1].imshow(zones.anatomy, cmap=ANATOMY, vmin=0, vmax=4, interpolation="nearest")
    axes[2].imshow(
        iec_map(zones, {"A": (0, 25), "B": (25, 120), "C": (120, 130), "D": (130, 250)}),
        cmap=IEC, vmin=0, vmax=4, interpolation="nearest",
    )  # fmt: skip
    axes[2].set_title("zones of the standard (0-25-120-130-250 um)", fontsize=9, loc="left")
    axes[2].set_axis_off()
    save(figure, out / "detection_zones.png")


def draw_rim(out: Path) -> None:
    image, zones = face(5)
    assert zones.cladding is not None
    grid = remove_structure(image, zones).grid
    assert grid is not None
    figure, axes = panels(2)
    show(
        axes[0], grid.unroll(image.astype(np.float32)), "the fibre unrolled: angle to the right, radius down"
    )
    axes[0].axhline(grid.rim_row, color="#ffd000", lw=0.8)
    axes[0].axhline(grid.core_row, color="#40c4ff", lw=0.8)
    axes[0].set_aspect("auto")
    axes[1].plot(np.rad2deg(zones.rim_angles_rad), zones.rim_deviation_px, ".", ms=2)
    axes[1].axhline(0, color="0.6", lw=0.8)
    axes[1].set_title("edge along each ray minus the ellipse [px]", fontsize=9, loc="left")
    axes[1].set_xlabel("angle [deg]", fontsize=8)
    save(figure, out / "detection_rim.png")


def draw_structure(out: Path) -> None:
    image, zones = face(5)
    residual = remove_structure(image, zones)
    assert residual.grid is not None
    chart = residual.grid.unroll(image.astype(np.float32))
    model = concentric_background(chart)
    figure, axes = panels(3, rows=2)
    show(axes[0], image, "1  picture")
    show(axes[1], np.where(residual.mask, image - residual.gray, np.nan), "2  what a clean face would show")
    show(axes[2], residual.gray, "3  difference [gray]", limit=15)
    for axis, values, title in (
        (axes[3], chart, "4  fibre unrolled"),
        (axes[4], model, "5  its rings and crescent"),
    ):
        show(axis, values, title)
        axis.set_aspect("auto")
    show(axes[5], chart - model, "6  difference [gray]", limit=15)
    axes[5].set_aspect("auto")
    save(figure, out / "detection_structure.png")


def draw_noise(out: Path) -> None:
    image, zones = face(5)
    residual = remove_structure(image, zones)
    smooth = cv2.GaussianBlur(residual.gray, (0, 0), 0.8)
    sigma, _ = residual.noise(smooth)
    scores = smooth / sigma
    scores /= robust_sigma(scores[residual.mask])
    clean = residual.mask & ~near_strong(scores, limit=4.5)
    figure, axes = panels(3)
    parts = ListedColormap(["black", "#d9d9d9", "#5b8e7d", "#bc4b51", "#f4a259"])
    axes[0].imshow(residual.zones, cmap=parts, interpolation="nearest")
    show_title(axes[0], "1  zones of like noise; red: the rim's band")
    drawn = axes[1].imshow(np.where(residual.mask, sigma, np.nan), vmin=0, vmax=3 * np.median(sigma))
    show_title(axes[1], "2  noise [gray]")
    figure.colorbar(drawn, ax=axes[1], shrink=0.75)
    values = np.abs(scores[clean])
    tail = fit_tail(scores[clean])
    grid = np.linspace(0, 6, 61)
    for numbers, label in ((values, "as measured"), (tail.normal_score(values), "after the tail correction")):
        axes[2].semilogy(grid, [max(np.mean(numbers > u), 1e-7) for u in grid], label=label)
    axes[2].semilogy(grid, 2 * norm.sf(grid), "k--", lw=0.8, label="normal")
    axes[2].set(ylim=(1e-6, 1.5), xlabel="standard deviations")
    axes[2].set_title("3  share of pixels beyond", fontsize=9, loc="left")
    axes[2].legend(fontsize=7)
    save(figure, out / "detection_noise.png")


def draw_photon_transfer(out: Path) -> None:
    """Photons and read noise in a vignetted picture with a gamma curve or without: before and after."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:600, :800].astype(np.float32)
    radius = np.hypot(x - 400, y - 300)
    light = 180 - 85 * (radius / 500) ** 2
    zones = np.ones(light.shape, np.uint8)
    light[radius < 150], zones[radius < 150] = 70 + 0.15 * radius[radius < 150], 2
    light[radius < 60], zones[radius < 60] = 215 - 0.5 * radius[radius < 60], 4
    figure, axes = panels(3)
    show(axes[0], light, "1  a vignetted face, 68 to 215 gray levels")
    cameras = ((1.0, "2  a linear camera"), (0.5, "3  a gamma of 0.5"))
    for axis, (gamma, title) in zip(axes[1:], cameras, strict=True):
        linear = 255 * (light / 255) ** (1 / gamma)
        taken = 0.05 * rng.poisson(linear / 0.05) + rng.normal(0, 1, light.shape)
        noise = np.asarray(255 * np.clip(taken / 255, 0, None) ** gamma - light, np.float32)
        loudness = photon_transfer(noise, light, zones).loudness(light)
        for zone, color, name in (
            (1, "#777777", "surface"),
            (2, "#5b8e7d", "cladding"),
            (4, "#f4a259", "core"),
        ):
            inside = zones == zone
            order = np.argsort(light[inside])
            classes = np.array_split(order, 10)
            level = [float(np.median(light[inside][part])) for part in classes]
            sigma = np.array([robust_sigma(noise[inside][part]) for part in classes])
            curve = np.array([float(np.median(loudness[inside][part])) for part in classes])
            axis.plot(level, sigma, "o", color=color, ms=3, label=name)
            axis.plot(level, curve * np.median(sigma / curve), color=color, lw=1)
        axis.set(xlabel="gray level", ylabel="noise [gray]")
        axis.set_ylim(0)
        axis.set_title(title, fontsize=9, loc="left")
    axes[1].legend(fontsize=7)
    save(figure, out / "detection_photon_transfer.png")


def show_title(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_axis_off()


def draw_thresholds(out: Path) -> None:
    tests = np.logspace(2, 8, 60)
    figure, axes = panels(1, height=3.2)
    for epsilon in (10.0, 1.0, 0.1, 0.001):
        axes[0].semilogx(
            tests, [score_threshold(n_tests=n, epsilon=epsilon) for n in tests], label=f"epsilon {epsilon:g}"
        )
    axes[0].set(xlabel="number of tests", ylabel="threshold [standard deviations]")
    axes[0].legend(fontsize=7)
    figure.set_size_inches(5, 3.2)
    save(figure, out / "detection_thresholds.png")


def in_units_of_noise(index: int) -> tuple[Image, Zones]:
    """Image without structure over its noise, clipped and blurred a little as line evidence wants it."""
    image, zones = face(index)
    residual = remove_structure(image, zones)
    z = np.where(residual.mask, residual.gray / residual.noise(residual.gray)[0], 0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(np.clip(z, -4, 4), (0, 0), 0.8)), zones


def draw_lines(out: Path) -> None:
    z, zones = in_units_of_noise(1)
    box = fibre_box(zones)
    evidence = line_evidence(z)
    high = score_threshold(n_tests=evidence.n_tests, epsilon=0.05)
    traced = trace_lines(evidence.dark, evidence.dark_angle, high=high, low=0.55 * high)
    noise = contrast_noise(z, np.ones(z.shape, np.uint8), side_px=3.0)
    figure, axes = panels(4, height=3.6)
    show(axes[0], z[box], "1  difference in units of noise", limit=5)
    axes[1].imshow(np.minimum(evidence.dark, 12)[box], cmap="magma")
    show_title(axes[1], "2  best dark line through each pixel")
    on = evidence.dark >= 0.55 * high
    angle = np.where(on, evidence.dark_angle * (180 / ANGLE_STEPS), np.nan)
    axes[2].imshow(angle[box], cmap="twilight", vmin=0, vmax=180, interpolation="nearest")
    show_title(axes[2], "3  its direction")
    show(axes[3], z[box], "4  traced (yellow), confirmed (black)", limit=8)
    offset = np.array([box[1].start, box[0].start])
    height, width = z[box].shape
    for line in traced:
        axes[3].plot(*(line.points - offset).T, color="#ffc400", lw=3, alpha=0.8)
        kept = confirm_line(line, z, polarity=-1, noise=noise, side_px=3.0, high=high)
        if kept is not None:
            axes[3].plot(*(kept.points - offset).T, color="black", lw=1)
    axes[3].set(xlim=(0, width), ylim=(height, 0))
    save(figure, out / "detection_lines.png")


def draw_profile(out: Path) -> None:
    z, _ = in_units_of_noise(1)
    evidence = line_evidence(z)
    high = score_threshold(n_tests=evidence.n_tests, epsilon=0.05)
    line = trace_lines(evidence.dark, evidence.dark_angle, high=high, low=0.55 * high)[0]
    noise = contrast_noise(z, np.ones(z.shape, np.uint8), side_px=3.0)
    kept = confirm_line(line, z, polarity=-1, noise=noise, side_px=3.0, high=high)
    contrast = -profile_contrast(z, line.points, side_px=3.0)
    figure, axes = panels(1, height=2.6)
    axes[0].plot(contrast, lw=0.8)
    axes[0].axhline(0, color="0.6", lw=0.8)
    if kept is not None:
        gap = np.hypot(*(line.points - kept.points[0]).T), np.hypot(*(line.points - kept.points[-1]).T)
        axes[0].axvspan(gap[0].argmin(), gap[1].argmin(), color="C2", alpha=0.2, label="kept")
    axes[0].set(xlabel="along the traced line [px]", ylabel="contrast [noise]")
    axes[0].legend(fontsize=7)
    figure.set_size_inches(7, 2.6)
    save(figure, out / "detection_profile.png")


def draw_result(out: Path) -> None:
    figure, axes = panels(2, rows=2, height=3.6)
    for row, index in enumerate((1, 5)):
        image, zones = face(index)
        finds = detect_defects(image, zones)
        box = fibre_box(zones)
        show(axes[2 * row], image[box], "picture")
        show(axes[2 * row + 1], image[box], "finds: lines yellow, spots red")
        for detector, color in (("line", "#ffd000"), ("region", "#ff3030")):
            for defect in finds:
                if ("line" in defect.detector) == (detector == "line"):
                    mask = instance_map((defect,), zones.shape) > 0
                    outline(axes[2 * row + 1], mask[box], color=color)
    save(figure, out / "detection_result.png")


def fibre_box(zones: Zones) -> tuple[slice, slice]:
    """Rows and columns round the fibre, 1.9 radii to each side as far as the picture goes."""
    c = zones.cladding
    assert c is not None
    rows = slice(max(0, int(c.cy_px - 1.9 * c.ry_px)), int(c.cy_px + 1.9 * c.ry_px))
    return rows, slice(max(0, int(c.cx_px - 1.9 * c.rx_px)), int(c.cx_px + 1.9 * c.rx_px))


def save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for draw in (
        draw_zones, draw_rim, draw_structure, draw_noise, draw_photon_transfer, draw_thresholds, draw_lines,
        draw_profile, draw_result,
    ):  # fmt: skip
        draw(arguments.out)


if __name__ == "__main__":
    main()
