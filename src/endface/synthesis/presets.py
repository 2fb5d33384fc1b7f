"""Ranges from which instruments, fibres and defects are drawn, under names: `sample`, `clinic`, ...

A preset holds ranges only. `(low, high)` is drawn uniformly, sizes, pitches and contrasts logarithmically.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from endface.errors import SettingsError

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DefectMix:
    """How many defects a dirty image has and of which kinds.

    Attributes
    ----------
    events : tuple of int
        Fewest and most events; an event is one defect, or a bundle, crossing or cluster.
    weights : dict
        Relative frequency by kind of event.
    scratch_snr, spot_snr : Range
        Range of the signal-to-noise ratio (see `endface.synthesis.truth.DefectTruth`).
    scratch_width_um, spot_um : Range
    fine_specks : float
        Share of dirty images that also carry 5 to 40 small specks.
    """

    events: tuple[int, int] = (1, 7)
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "scratch": 5.0, "bundle": 0.8, "crossing": 0.6, "pit": 3.0, "chip": 1.2, "ragged": 0.4,
            "crack": 0.3, "dust": 3.0, "lint": 0.5, "oil": 0.5, "droplet": 1.0, "residue": 0.4, "trail": 0.4,
        }
    )  # fmt: skip
    scratch_snr: Range = (0.8, 20.0)
    scratch_width_um: Range = (0.4, 4.0)
    scratch_length_um: Range = (12.0, 260.0)
    spot_snr: Range = (1.5, 40.0)
    spot_um: Range = (0.8, 14.0)
    fine_specks: float = 0.12


@dataclass(frozen=True, slots=True)
class Preset:
    """Ranges of instruments, fibres and defects; see the attributes of `Instrument` and `FibreLook`.

    Attributes
    ----------
    instruments : int
        How many different microscopes a set of this preset comes from.
    frames_px : tuple
        Frame sizes (width, height) to choose from.
    aspects : tuple of float
        um per px along x divided by that along y.
    fibres_um : tuple
        (core, cladding, weight) to choose from.
    inverted : float
        Share of images with a bright fibre in a dark ferrule.
    core_states : dict
        Weights of 'unlit' (nearly invisible), 'dim' (clear), 'lit' (bright, graded), 'rings'.
    off_centre : float
        How far the fibre may lie from the middle, as a share of the free way to the frame's edge.
    """

    instruments: int = 4
    frames_px: tuple[tuple[int, int], ...] = ((640, 480), (1024, 768), (1280, 960), (1280, 1024))
    um_per_px: Range = (0.25, 0.9)
    aspects: tuple[float, ...] = (1.0, 1.0, 1.0, 1.09)
    fibres_um: tuple[tuple[float, float, float], ...] = (
        (9.0, 125.0, 3.0),
        (50.0, 125.0, 2.0),
        (62.5, 125.0, 1.5),
        (91.0, 125.0, 0.3),
    )
    inverted: float = 0.08
    core_states: dict[str, float] = field(
        default_factory=lambda: {"unlit": 1.0, "dim": 2.0, "lit": 2.0, "rings": 1.0}
    )
    ferrule_gray: Range = (130.0, 210.0)
    cladding_share: Range = (0.35, 0.72)
    textured: float = 0.0
    grain_gray: Range = (0.1, 0.5)
    texture_gray: Range = (3.0, 10.0)
    adhesive: float = 0.12
    coating: float = 0.05
    rim_line: float = 0.6
    rim_line_um: Range = (0.8, 2.0)
    rim_line_depth: Range = (0.15, 0.6)
    crescent: float = 0.4
    crescent_height: Range = (0.04, 0.18)
    crescent_angle_rad: Range = (-3.14, 3.14)
    off_centre: float = 0.35
    blur_px: Range = (0.6, 1.1)
    resolution_um: Range = (0.22, 0.45)
    defocus_px: Range = (0.0, 0.6)
    sharpen: Range = (0.0, 0.0)
    vignetting: Range = (0.0, 0.3)
    vignetting_power: Range = (2.0, 4.0)
    tilt: Range = (0.0, 0.12)
    read_noise_gray: Range = (0.6, 1.6)
    shot_noise_gray: Range = (0.0, 0.012)
    noise_lift: Range = (0.0, 0.8)
    interlaced: float = 0.1
    border: float = 0.1
    jpeg: float = 0.5
    jpeg_quality: tuple[int, int] = (85, 98)
    sixteen_bit: float = 0.05
    optics_spots: tuple[int, int] = (0, 0)
    defects: DefectMix = field(default_factory=DefectMix)


_CLINIC = Preset()

PRESETS: dict[str, Preset] = {
    "clinic": _CLINIC,
    "sample": replace(
        _CLINIC,
        frames_px=((640, 480), (720, 576), (800, 600), (960, 720)),
        um_per_px=(0.3, 0.5),
        inverted=0.0,
        off_centre=0.15,
        sixteen_bit=0.0,
        defects=DefectMix(events=(2, 7), scratch_snr=(4.0, 20.0), spot_snr=(6.0, 40.0), spot_um=(1.5, 14.0)),
    ),
    "grabber": replace(
        _CLINIC,
        instruments=1,
        frames_px=((720, 576),),
        um_per_px=(0.606, 0.606),
        aspects=(1.09,),
        # core over cladding as in 91/140, in the usual cladding
        fibres_um=((82.0, 125.0, 1.0),),
        inverted=0.04,
        core_states={"lit": 5.0, "unlit": 1.0, "rings": 1.0},
        ferrule_gray=(170.0, 185.0),
        cladding_share=(0.6, 0.65),
        grain_gray=(0.6, 1.0),
        adhesive=0.0,
        coating=0.0,
        rim_line=1.0,
        rim_line_um=(1.0, 2.2),
        rim_line_depth=(0.04, 0.2),
        crescent=1.0,
        crescent_height=(0.2, 0.42),
        # lit from the upper right
        crescent_angle_rad=(-0.9, 0.1),
        off_centre=0.2,
        blur_px=(1.0, 1.15),
        defocus_px=(0.0, 0.3),
        sharpen=(0.75, 0.95),
        vignetting=(0.53, 0.56),
        vignetting_power=(2.0, 2.2),
        tilt=(0.0, 0.06),
        read_noise_gray=(1.05, 1.3),
        shot_noise_gray=(0.0, 0.001),
        noise_lift=(0.1, 0.4),
        interlaced=1.0,
        border=1.0,
        jpeg=1.0,
        jpeg_quality=(93, 96),
        sixteen_bit=0.0,
        defects=DefectMix(events=(1, 10), fine_specks=0.4),
    ),
    "scope": replace(
        _CLINIC,
        instruments=1,
        frames_px=((1152, 864),),
        um_per_px=(0.431, 0.431),
        aspects=(1.0,),
        fibres_um=((50.0, 125.0, 9.0), (91.0, 140.0, 1.0)),
        inverted=0.0,
        core_states={"unlit": 2.0, "dim": 2.0, "lit": 1.0},
        ferrule_gray=(192.0, 197.0),
        cladding_share=(0.38, 0.44),
        grain_gray=(0.8, 1.3),
        adhesive=0.0,
        coating=0.15,
        rim_line=0.9,
        rim_line_um=(0.6, 1.4),
        rim_line_depth=(0.1, 0.5),
        crescent=0.6,
        crescent_height=(0.08, 0.2),
        off_centre=0.3,
        blur_px=(0.9, 1.05),
        defocus_px=(0.0, 0.3),
        sharpen=(1.2, 1.6),
        vignetting=(0.07, 0.1),
        vignetting_power=(6.0, 6.0),
        tilt=(0.0, 0.02),
        read_noise_gray=(0.42, 0.5),
        shot_noise_gray=(0.0, 0.0004),
        noise_lift=(0.5, 0.8),
        interlaced=0.0,
        border=0.0,
        jpeg=1.0,
        jpeg_quality=(93, 96),
        sixteen_bit=0.0,
    ),
    "singlemode": replace(
        _CLINIC,
        fibres_um=((9.0, 125.0, 1.0),),
        um_per_px=(0.15, 0.45),
        frames_px=((1280, 960), (1600, 1200), (2592, 1944)),
    ),
    "multimode": replace(_CLINIC, fibres_um=((50.0, 125.0, 1.0), (62.5, 125.0, 1.0), (91.0, 125.0, 0.5))),
    "hard": replace(
        _CLINIC,
        instruments=8,
        um_per_px=(0.15, 1.2),
        inverted=0.3,
        textured=0.25,
        adhesive=0.4,
        coating=0.15,
        off_centre=0.8,
        defocus_px=(0.0, 2.0),
        vignetting=(0.0, 0.55),
        tilt=(0.0, 0.35),
        read_noise_gray=(0.8, 3.5),
        interlaced=0.3,
        border=0.25,
        jpeg_quality=(65, 95),
    ),
    "textured": replace(_CLINIC, textured=1.0),
    "dirty_optics": replace(_CLINIC, instruments=1, optics_spots=(6, 20)),
}


def preset_named(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    SettingsError
        If there is none of this name.
    """
    if name not in PRESETS:
        raise SettingsError(f"unknown preset {name!r}", hint=f"Presets are: {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]
