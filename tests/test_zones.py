"""Zones: laws (shift, turn, contrast, gain), rendered truth, pictures without a fibre, labelled images."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from scipy.special import erf

from endface.annotation import AnatomyZone, IecZone
from endface.errors import InputError
from endface.imaging.ellipse import Ellipse
from endface.zones import boundary_points, iec_map, plain_zones, segment_zones, zone_geometry

RIM = Ellipse(210.4, 170.7, 101.3, 101.3)
CORE_SHARE = 0.4


def face(
    rim=RIM,
    *,
    shape=(360, 480),
    ferrule=180.0,
    cladding=70.0,
    core=130.0,
    core_share=CORE_SHARE,
    core_shift=(1.0, -0.5),
    blur=1.2,
    noise=2.0,
    seed=0,
):
    """Render a fibre end face, float32."""

    def cover(ellipse):
        inside = (1 - ellipse.radius_map(shape).astype(np.float64)) * ellipse.radius_px
        return 0.5 * (1 + erf(inside / (blur * np.sqrt(2))))

    middle = Ellipse(
        rim.cx_px + core_shift[0], rim.cy_px + core_shift[1], core_share * rim.rx_px, core_share * rim.ry_px
    )
    image = ferrule + (cladding - ferrule) * cover(rim) + (core - cladding) * cover(middle)
    return (image + np.random.default_rng(seed).normal(0, noise, shape)).astype(np.float32)


def as_array(ellipse):
    return np.array([ellipse.cx_px, ellipse.cy_px, ellipse.rx_px, ellipse.ry_px])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_rendered_face_comes_back(dtype):
    image = face()
    image = (image * 200).astype(dtype) if dtype == np.uint16 else image.astype(dtype)
    image.flags.writeable = False
    before = image.copy()
    zones = segment_zones(image)
    assert zones.found
    assert (image == before).all()
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 0.1
    assert zones.core_source == "measured"
    assert zones.core.radius_px == pytest.approx(CORE_SHARE * RIM.radius_px, rel=0.01)
    assert zones.core.cx_px - zones.cladding.cx_px == pytest.approx(1.0, abs=0.15)
    assert zones.calibration.source == "cladding"
    assert zones.calibration.um_per_px_x == pytest.approx(125 / (2 * RIM.rx_px), rel=2e-3)
    assert zones.confidence > 0.9
    assert zones.flags == ()


@pytest.mark.parametrize(
    ("ferrule", "cladding", "core"),
    [(60, 110, 190), (180, 70, 30), (190, 160, 240), (40, 90, 60), (150, 60, 220)],
)
def test_any_polarity(ferrule, cladding, core):
    zones = segment_zones(face(ferrule=ferrule, cladding=cladding, core=core))
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 0.15
    assert zones.core.radius_px == pytest.approx(CORE_SHARE * RIM.radius_px, rel=0.015)


@pytest.mark.parametrize(("radius", "shape"), [(50, (480, 640)), (170, (480, 640)), (415, (1024, 1280))])
@pytest.mark.parametrize("aspect", [0.92, 1.0, 1.09])
def test_any_size_and_pixel_aspect(radius, shape, aspect):
    rim = Ellipse(shape[1] * 0.47, shape[0] * 0.51, radius / np.sqrt(aspect), radius * np.sqrt(aspect))
    zones = segment_zones(face(rim, shape=shape, core_share=9 / 125, core_shift=(0, 0)))
    um_per_px = 62.5 / radius
    assert np.hypot(zones.cladding.cx_px - rim.cx_px, zones.cladding.cy_px - rim.cy_px) * um_per_px < 0.1
    assert zones.cladding.rx_px == pytest.approx(rim.rx_px, rel=0.003)
    assert zones.cladding.ry_px == pytest.approx(rim.ry_px, rel=0.003)
    assert zones.core_source == "measured"
    assert zones.core.radius_px == pytest.approx(9 / 125 * radius, abs=max(0.4, 0.02 * radius * 9 / 125))


def test_shift_moves_the_zones():
    image = face(noise=3)
    here, there = segment_zones(image), segment_zones(np.roll(image, (31, 44), (0, 1)))
    assert np.abs(as_array(there.cladding) - as_array(here.cladding) - [44, 31, 0, 0]).max() < 0.05
    assert np.abs(as_array(there.core) - as_array(here.core) - [44, 31, 0, 0]).max() < 0.1


def test_a_quarter_turn_turns_the_zones():
    rim = Ellipse(210.4, 170.7, 97.0, 105.0)
    image = face(rim)
    plain, turned = segment_zones(image), segment_zones(np.ascontiguousarray(np.rot90(image)))
    assert turned.cladding.rx_px == pytest.approx(plain.cladding.ry_px, abs=0.05)
    assert turned.cladding.cx_px == pytest.approx(plain.cladding.cy_px, abs=0.05)
    assert turned.cladding.cy_px == pytest.approx(image.shape[1] - 1 - plain.cladding.cx_px, abs=0.05)


def test_inversion_gain_and_offset_change_nothing():
    image = face()
    plain = segment_zones(image)
    for other in (255 - image, image * 0.1 + 3, image * 150 + 9000):
        zones = segment_zones(other)
        assert np.abs(as_array(zones.cladding) - as_array(plain.cladding)).max() < 0.03
        assert np.abs(as_array(zones.core) - as_array(plain.core)).max() < 0.05
        assert (zones.anatomy != plain.anatomy).mean() < 1e-3


def test_the_same_picture_gives_the_same_zones():
    one, two = segment_zones(face()), segment_zones(face())
    assert one.cladding == two.cladding
    assert (one.anatomy == two.anatomy).all()


def test_chips_are_seen_along_the_rim_and_do_not_move_it():
    image = face(noise=1)
    for angle in (0.5, 2.0, 4.4):
        x, y = RIM.scaled(0.98).points(angle)
        cv2.circle(image, (round(float(x)), round(float(y))), 7, 180.0, -1)
    zones = segment_zones(image)
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 0.2
    for angle in (0.5, 2.0, 4.4):
        near = np.abs(zones.rim_angles_rad - angle) < 0.02
        assert np.nanmin(zones.rim_deviation_px[near]) < -4
    away = np.abs(zones.rim_angles_rad - 3.2) < 0.5
    assert np.nanmax(np.abs(zones.rim_deviation_px[away])) < 1.5
    geometry = zone_geometry(zones)
    assert geometry.rim_max_deviation_px < -4
    assert 0.02 < geometry.chipped_share < 0.2


def test_dirt_over_a_third_of_the_rim_does_no_harm():
    image = face(noise=1)
    rng = np.random.default_rng(4)
    for _ in range(60):
        x, y = RIM.points(rng.uniform(0, 2.2)) + rng.normal(0, 6, 2)
        cv2.circle(
            image,
            (round(float(x)), round(float(y))),
            int(rng.integers(2, 8)),
            float(rng.uniform(20, 220)),
            -1,
        )
    zones = segment_zones(image)
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 1.0


def test_an_invisible_core_is_nominal_and_says_so():
    zones = segment_zones(face(core=70.0))
    assert zones.core_source == "nominal"
    assert "core not visible" in zones.flags
    assert zones.core.radius_px / zones.cladding.radius_px == pytest.approx(9 / 125, rel=1e-6)
    assert segment_zones(face(core=70.0), core_um=50).core.radius_px == pytest.approx(
        0.4 * RIM.radius_px, rel=0.01
    )
    assert zone_geometry(zones).concentricity_error_pct is None


def test_a_thin_ring_inside_is_not_the_core():
    image = face(core=70.0, noise=1)
    ring = np.abs(RIM.radius_map(image.shape) - 0.57) < 0.012
    zones = segment_zones(image + 8 * ring.astype(np.float32))
    assert zones.core_source == "nominal"


def test_a_bright_core_in_a_faint_cladding_is_not_the_cladding():
    zones = segment_zones(face(ferrule=120, cladding=105, core=240, noise=1.5))
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 0.4
    assert zones.core.radius_px == pytest.approx(CORE_SHARE * RIM.radius_px, rel=0.02)


def test_settings_fix_the_pitch_and_the_aspect():
    rim = Ellipse(210.4, 170.7, 97.0, 106.0)
    pitch = (125 / (2 * 97.0), 125 / (2 * 106.0))
    zones = segment_zones(face(rim), um_per_px=pitch)
    assert zones.calibration.source == "settings"
    assert (zones.calibration.um_per_px_x, zones.calibration.um_per_px_y) == pitch
    assert zones.cladding.ry_px / zones.cladding.rx_px == pytest.approx(106 / 97, rel=1e-6)
    wrong = segment_zones(face(rim), um_per_px=(pitch[0] * 4, pitch[1] * 4))
    assert not wrong.found
    assert "size" in wrong.reason


def test_the_anatomy_map_holds_the_areas():
    zones = segment_zones(face(noise=0.5))
    geometry = zone_geometry(zones)
    assert geometry.area_px["core"] == pytest.approx(zones.core.area_px, rel=0.005)
    assert geometry.area_px["core"] + geometry.area_px["cladding"] == pytest.approx(
        zones.cladding.area_px, rel=0.002
    )
    assert sum(geometry.area_px.values()) == zones.anatomy.size
    assert geometry.area_um2["cladding"] + geometry.area_um2["core"] == pytest.approx(
        np.pi * 62.5**2, rel=0.005
    )
    assert geometry.cladding_diameter_um == pytest.approx(125, rel=1e-6)
    assert geometry.core_diameter_um == pytest.approx(50, rel=0.01)
    assert geometry.core_offset_um == pytest.approx(np.hypot(1, 0.5) * 62.5 / 101.3, abs=0.1)
    assert zones.mask(AnatomyZone.CORE)[round(zones.core.cy_px), round(zones.core.cx_px)]


def test_a_gap_round_the_fibre_is_adhesive():
    image = face(noise=1, ferrule=90, cladding=60, core=130)
    outer = RIM.scaled(1.07)
    rho = outer.radius_map(image.shape)
    soft = np.clip((rho - 1) * outer.radius_px + 0.5, 0, 1)
    zones = segment_zones(image + 90 * soft)
    fits = [abs(zones.cladding.radius_px / rim.radius_px - 1) < 0.01 for rim in (RIM, outer)]
    assert any(fits)


def test_iec_zones_are_circles_in_micrometres():
    rim = Ellipse(210.4, 170.7, 97.0, 106.0)
    zones = segment_zones(face(rim))
    codes = iec_map(zones, {"A": (0, 25), "B": (25, 115), "C": (115, 135), "D": (135, 250)})
    area = 125**2 / (4 * rim.rx_px * rim.ry_px)
    assert np.count_nonzero(codes == IecZone.A) * area == pytest.approx(np.pi * 12.5**2, rel=0.02)
    assert np.count_nonzero(codes == IecZone.B) * area == pytest.approx(np.pi * (57.5**2 - 12.5**2), rel=0.01)
    assert codes.dtype == np.uint8
    assert not iec_map(plain_zones(face()), {"A": (0, 25)}).any()


def test_boundary_points_lie_on_the_ellipse():
    points = boundary_points(RIM)
    assert points.shape == (360, 2)
    assert np.allclose(RIM.normalized_radius(points[:, 0], points[:, 1]), 1)


def mesh():
    return np.mgrid[:480, :640].astype(np.float32)


def disc_radius():
    return np.hypot(mesh()[1] - 320, mesh()[0] - 240)


FOREIGN = {
    "black": lambda: np.zeros((480, 640), np.uint8),
    "white": lambda: np.full((480, 640), 255, np.uint8),
    "noise": lambda: np.random.default_rng(0).normal(100, 10, (480, 640)).astype(np.float32),
    "cloudy noise": lambda: cv2.GaussianBlur(np.random.default_rng(1).normal(100, 90, (480, 640)), (0, 0), 9),
    "gradient": lambda: mesh().sum(axis=0),
    "vignette": lambda: (200 - 0.0008 * ((mesh()[0] - 240) ** 2 + (mesh()[1] - 320) ** 2)).astype(np.uint8),
    "cone": lambda: np.hypot(mesh()[0] - 240, mesh()[1] - 320),
    "checkerboard": lambda: ((mesh()[0] // 40 + mesh()[1] // 40) % 2 * 200).astype(np.uint8),
    "square": lambda: np.where((abs(mesh()[0] - 240) < 100) & (abs(mesh()[1] - 320) < 100), 50, 200).astype(
        np.uint8
    ),
    "edge": lambda: np.where(mesh()[1] < 300, 50, 200).astype(np.uint8),
    "bright disc": lambda: np.where(disc_radius() < 100, 230, 20).astype(np.uint8),
    "bright disc in noise": lambda: (
        np.where(disc_radius() < 100, 200, 40) + np.random.default_rng(0).normal(0, 2, (480, 640))
    ),
    "disc in a halo": lambda: (
        np.where(disc_radius() < 80, 190, 70 - 60 * np.exp(-disc_radius() / 40 + 2)) + 0.02 * mesh()[1]
    ),
    "zone plate": lambda: (127 + 100 * np.cos(disc_radius() ** 2 / 800)).astype(np.uint8),
    "rings": lambda: (127 + 100 * np.cos(disc_radius() / 12)).astype(np.uint8),
    "oval": lambda: np.where(np.hypot(mesh()[1] - 320, 1.25 * (mesh()[0] - 240)) < 130, 60, 180).astype(
        np.uint8
    ),
    "tiny": lambda: np.zeros((20, 20), np.uint8),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_pictures_without_a_fibre(name):
    image = FOREIGN[name]()
    zones = segment_zones(image)
    assert not zones.found
    assert zones.reason
    assert zones.cladding is None
    assert zones.core is None
    assert zones.calibration.source == "unknown"
    assert zones.anatomy.shape == image.shape
    assert set(np.unique(zones.anatomy)) <= {AnatomyZone.OUTSIDE, AnatomyZone.FERRULE}
    geometry = zone_geometry(zones)
    assert geometry.cladding_diameter_px is None
    assert geometry.area_um2 == {}


@pytest.mark.parametrize(
    "name", ["camera", "coins", "brick", "text", "page", "grass", "gravel", "clock", "cell"]
)
def test_photographs_of_something_else(name):
    data = pytest.importorskip("skimage.data")
    assert not segment_zones(getattr(data, name)()).found


@pytest.mark.parametrize("cx", [-20.0, 25.0, 450.0])
def test_a_fibre_cut_off_by_the_picture_is_not_found(cx):
    zones = segment_zones(face(Ellipse(cx, 170.7, 101.3, 101.3)))
    assert not zones.found
    if cx > 0:
        assert "cut off" in zones.reason


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_a_fibre_of_which_most_is_in_the_picture_is_found_and_flagged(share):
    rim = Ellipse(101.3 * np.cos(np.pi * share) - 0.5, 170.7, 101.3, 101.3)
    zones = segment_zones(face(rim))
    assert np.abs(as_array(zones.cladding) - as_array(rim)).max() < 0.3
    assert "fibre cut off by the picture's border" in zones.flags
    assert segment_zones(face()).flags == ()


def test_a_fibre_close_to_the_border_is_found():
    rim = Ellipse(105.0, 170.7, 101.3, 101.3)
    assert np.abs(as_array(segment_zones(face(rim)).cladding) - as_array(rim)).max() < 0.2


def test_colour_is_refused():
    with pytest.raises(InputError, match="shape"):
        segment_zones(np.zeros((90, 90, 3), np.uint8))


def test_missing_pixels_are_outside():
    image = face()
    image[:, :30] = np.nan
    zones = segment_zones(image)
    assert np.abs(as_array(zones.cladding) - as_array(RIM)).max() < 0.1
    assert not zones.valid[:, :30].any()
    assert (zones.anatomy[:, :30] == AnatomyZone.OUTSIDE).all()


@pytest.mark.real
def test_labelled_end_faces(real_data):
    centres, radii, cores = [], [], []
    folder = real_data / "endface"
    for path in sorted((folder / "labels").glob("*.json"))[::3]:
        label = json.loads(path.read_text())
        picture = next(p for p in folder.glob(f"*_*/{path.stem}.*"))
        zones = segment_zones(cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE))
        assert zones.found, path.stem
        rims = [
            np.array([label[key][k] for k in ("cx", "cy", "rx", "ry")])
            for key in ("cladding", "cladding_inner_alt")
            if key in label
        ]
        truth = min(rims, key=lambda rim: abs(rim[2] - zones.cladding.rx_px))
        off = as_array(zones.cladding) - truth
        centres.append(np.hypot(*off[:2]))
        radii.append(np.abs(off[2:] / truth[2:]).max())
        if label["core"]["visible"] == "clear":
            cores.append(abs(zones.core.radius_px / np.sqrt(label["core"]["rx"] * label["core"]["ry"]) - 1))
    assert max(centres) < 1.0
    assert np.median(centres) < 0.3
    assert max(radii) < 0.01
    assert max(cores) < 0.01
