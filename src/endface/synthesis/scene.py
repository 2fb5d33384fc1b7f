"""One end face from nothing: the clean face, its defects, the instrument, and the exact truth about all of them.

Everything a defect adds is followed through the linear part of the instrument on its own. That gives its noise-free
contribution to the final image, and from it the visible support, the contrast and the signal-to-noise ratio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone, DefectClass, Zones
from endface.imaging.ellipse import Ellipse
from endface.synthesis.draws import PlannedDefect, draw_defects, draw_frame, draw_instrument, draw_look
from endface.synthesis.fibre import FibreLook, anatomy_map, cladding_ellipse, core_ellipse, face_image
from endface.synthesis.presets import Preset, preset_named
from endface.synthesis.sensor import Instrument, electronics, expose, noise_map, optics, shading
from endface.synthesis.shapes import Box, FloatMap, Frame

#: a pixel belongs to the visible support where the contribution exceeds this share of its peak ...
SUPPORT_SHARE = 0.4
#: ... and this multiple of the noise
SUPPORT_NOISE = 0.5
#: matched signal-to-noise ratio that counts as an SNR of one (see `DefectTruth.snr`)
MATCHED_PER_SNR = 2.5
#: contributions whose peak stays below this many grey levels are not part of the truth
_MIN_PEAK_GRAY = 0.3


@dataclass(frozen=True, slots=True)
class DefectTruth:
    """What is known about one rendered defect.

    Attributes
    ----------
    instance : int
        Its number in the instance map.
    x_um, y_um : float
        Position (middle of a line) from the fibre's centre; `x_px, y_px` the same in pixels.
    diameter_um, length_um, width_um, area_um2 : float
        Sizes as drawn, before the optics (see `endface.synthesis.defects.Drawing`).
    visible_area_px, visible_area_um2 : float
        Size of the visible support, overlaps included.
    zone : AnatomyZone
        Zone of its position; `inner_zone` is the innermost one its support touches.
    nearest_um, farthest_um : float
        Smallest and largest distance of its support from the fibre's centre.
    contrast_gray : float
        Peak of the noise-free contribution (lines: median along the crest), signed by polarity.
    snr : float
        The smaller of two ratios: `|contrast_gray| / noise_gray`, and `sqrt(sum c**2) / noise_gray / 2.5` with `c`
        the contribution. The second is the matched-filter ratio and limits spots of few pixels: a value of 2.2
        there is a matched ratio of 5.5, which is about one false alarm per megapixel.
    noise_gray : float
        Standard deviation of sensor noise, rounding and ferrule grain at its place.
    group : int
        Defects of one bundle, crossing or scatter share it.
    """

    instance: int
    kind: str
    defect_class: DefectClass
    x_px: float
    y_px: float
    x_um: float
    y_um: float
    diameter_um: float
    length_um: float
    width_um: float
    area_um2: float
    visible_area_px: int
    visible_area_um2: float
    zone: AnatomyZone
    inner_zone: AnatomyZone
    nearest_um: float
    farthest_um: float
    polarity: int
    contrast_gray: float
    snr: float
    noise_gray: float
    group: int


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """Everything known about a rendered image.

    Attributes
    ----------
    cladding, core : Ellipse
        Exact edges in pixels; `core_state` says whether the core shines.
    outer_um : float
        Radius at which the ferrule begins (larger than the cladding's where there is glue or a coating).
    anatomy, classes : (H, W) uint8 ndarray
        Codes of `AnatomyZone` and `DefectClass`.
    instances : (H, W) uint16 ndarray
        Number of the defect whose contribution is strongest there; 0 none.
    valid : (H, W) bool ndarray
        False on the dead border of the frame.
    """

    cladding: Ellipse
    core: Ellipse
    core_state: str
    outer_um: float
    um_per_px_x: float
    um_per_px_y: float
    anatomy: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    valid: NDArray[np.bool_]
    defects: tuple[DefectTruth, ...]
    look: FibreLook
    instrument: Instrument

    @property
    def clean(self) -> bool:
        """Whether there is nothing to find."""
        return not self.defects


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """A rendered image with its truth.

    Attributes
    ----------
    image : (H, W) uint8 or uint16 ndarray
    clean : (H, W) uint8 or uint16 ndarray
        The same exposure without defects: same face, same noise, same compression.
    difference : (H, W) float32 ndarray
        What the defects add, free of noise, in grey levels of an 8-bit image, before clipping.
    jpeg : bytes or None
        The file whose decoded pixels `image` holds, where the instrument compresses.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    clean: NDArray[np.uint8] | NDArray[np.uint16]
    difference: FloatMap
    truth: SceneTruth
    jpeg: bytes | None = None


def render_endface(
    *,
    rng: np.random.Generator,
    preset: str | Preset = "clinic",
    clean: bool | None = None,
    instrument: Instrument | None = None,
    look: FibreLook | None = None,
    frame: Frame | None = None,
    defects: Iterable[PlannedDefect] | None = None,
) -> RenderedImage:
    """Render one end face.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance.
    preset : str or Preset
        What is drawn where nothing is given.
    clean : bool, optional
        With or without defects; None tosses a coin.
    instrument, look, frame, defects : optional
        Given parts instead of drawn ones.

    Returns
    -------
    RenderedImage

    Examples
    --------
    >>> import numpy as np
    >>> rendered = render_endface(rng=np.random.default_rng(1), preset="sample", clean=True)
    >>> rendered.truth.clean, rendered.image.dtype.name
    (True, 'uint8')
    """
    ranges = preset_named(preset) if isinstance(preset, str) else preset
    instrument = instrument or draw_instrument(ranges, rng=rng, name="scope 0")
    look = look or draw_look(ranges, rng=rng, um_per_px=instrument.um_per_px_x)
    frame = frame or draw_frame(ranges, instrument, look, rng=rng)
    tilt = (_signed(rng, ranges.tilt), _signed(rng, ranges.tilt))
    defocus = float(rng.uniform(*ranges.defocus_px))
    seen = _defocused(instrument, defocus)
    scene, texture = face_image(look, frame, rng=rng)
    light = shading(seen, tilt=tilt)
    background = electronics(optics(scene, seen) * light, seen)
    dirty = rng.random() >= 0.5 if clean is None else not clean
    planned: Iterable[PlannedDefect] = ()
    if dirty:
        planned = draw_defects(ranges, frame, look, seen, rng=rng) if defects is None else defects
    valid = seen.valid()
    stage = _Stage(
        frame,
        look,
        seen,
        scene,
        light,
        background,
        _grain(texture, seen),
        valid,
        anatomy_map(look, frame, valid),
    )
    for item in planned:
        stage.add(item)
    noise = noise_map(background, seen, rng=rng)
    with_defects = expose(background + stage.difference, noise, seen)
    without = expose(background, noise, seen) if stage.truths else with_defects
    truth = stage.truth(instrument, cladding_ellipse(look, frame), core_ellipse(look, frame))
    return RenderedImage(with_defects.pixels, without.pixels, stage.difference, truth, with_defects.jpeg)


def render_onto(
    gray: FloatMap,
    *,
    planned: Iterable[PlannedDefect],
    frame: Frame,
    look: FibreLook,
    instrument: Instrument,
    zones: Zones,
) -> RenderedImage:
    """Render planned defects onto a real image (H, W) of 8-bit grey levels, which already holds its own noise.

    `instrument` says what the real one does to a defect (blur) and how much noise the image holds; `zones`
    must have found a fibre. A real image is rounded again and not compressed again.
    """
    assert zones.cladding is not None
    # light lost is a share of the light that is there; the noise in it is not seen twice
    scene = cv2.medianBlur(gray, 5)
    light = np.ones_like(gray)
    stage = _Stage(frame, look, instrument, scene, light, scene, 0.0, zones.valid, zones.anatomy)
    for item in planned:
        stage.add(item)
    original = np.round(np.clip(gray, 0.0, 255.0)).astype(np.uint8)
    changed = np.round(np.clip(gray + stage.difference, 0.0, 255.0)).astype(np.uint8)
    core = zones.core or zones.cladding.scaled(0.1)
    truth = stage.truth(instrument, zones.cladding, core)
    return RenderedImage(changed, original, stage.difference, truth)


def _signed(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds) * rng.choice([-1.0, 1.0]))


def _defocused(instrument: Instrument, defocus_px: float) -> Instrument:
    return replace(
        instrument,
        blur_x_px=math.hypot(instrument.blur_x_px, defocus_px),
        blur_y_px=math.hypot(instrument.blur_y_px, defocus_px),
    )


def _grain(texture: FloatMap, instrument: Instrument) -> float:
    """Return the standard deviation of the ferrule's grain in the final image, seen in a small window."""
    part = electronics(optics(texture[:200, :200], instrument), instrument)
    local = part - cv2.GaussianBlur(part, (0, 0), 4.0)
    return float(local.std())


class _Stage:
    """Collects what defects add to the final image; the only place with state, and private to one rendering."""

    def __init__(
        self,
        frame: Frame,
        look: FibreLook,
        instrument: Instrument,
        scene: FloatMap,
        light: FloatMap,
        background: FloatMap,
        grain_gray: float,
        valid: NDArray[np.bool_],
        anatomy: NDArray[np.uint8],
    ) -> None:
        self.frame, self.look, self.instrument = frame, look, instrument
        self.scene, self.light, self.background = scene, light, background
        self.grain_gray = grain_gray
        self.valid, self.anatomy = valid, anatomy
        self.difference = np.zeros(scene.shape, np.float32)
        self.strongest = np.zeros(scene.shape, np.float32)
        self.instances = np.zeros(scene.shape, np.uint16)
        self.truths: list[DefectTruth] = []

    def add(self, planned: PlannedDefect) -> None:
        """Render one defect at the signal-to-noise ratio it shall have, as far as its contrast allows."""
        drawing = planned.drawing
        if 0 in drawing.box[2:]:
            return
        box, unit = self._through_optics(drawing.box, drawing.dark, drawing.bright)
        window = _window(box)
        visible = self.valid[window]
        crest, matched = self._strength(unit * visible, box, drawing.crest_um)
        if crest <= 0.0:
            return
        noise = self._noise(unit * visible, window)
        snr_per_contrast = min(crest, matched / MATCHED_PER_SNR) / noise
        contrast = min(planned.snr / snr_per_contrast, planned.max_contrast)
        final = _clipped(self.background[window], unit * np.float32(contrast)) * visible
        crest, matched = self._strength(final, box, drawing.crest_um)
        if crest < _MIN_PEAK_GRAY:
            return
        support = np.abs(final) >= max(SUPPORT_SHARE * crest, SUPPORT_NOISE * noise)
        if drawing.envelope is not None:
            support = (_placed(drawing.envelope, drawing.box, box) & visible) | support
        if not support.any():
            return
        self.difference[window] += unit * np.float32(contrast)
        self._record(planned, box, support, np.abs(final), crest, matched, noise)

    def _through_optics(self, box: Box, dark: FloatMap, bright: FloatMap) -> tuple[Box, FloatMap]:
        """Contribution to the final image of a defect of contrast one, in its box grown by the halo."""
        window = _window(box)
        reference = np.float32(max(self.look.ferrule_gray, 0.6 * self.look.cladding_gray))
        delta = bright * reference - dark * self.scene[window]
        grown = _grown(box, self.instrument.halo_px, self.scene.shape)
        padded = np.zeros((grown[2], grown[3]), np.float32)
        y0, x0 = box[0] - grown[0], box[1] - grown[1]
        padded[y0 : y0 + box[2], x0 : x0 + box[3]] = delta
        signal = optics(padded, self.instrument) * self.light[_window(grown)]
        return grown, electronics(signal, self.instrument, first_row=grown[0])

    def _strength(
        self, change: FloatMap, box: Box, crest_um: NDArray[np.float64] | None
    ) -> tuple[float, float]:
        """Peak (for lines the median along the crest) and root of the sum of squares."""
        size = np.abs(change)
        energy = float(np.sqrt(np.sum(size.astype(np.float64) ** 2)))
        if crest_um is None or len(crest_um) == 0:
            return float(size.max()), energy
        cols = np.rint(self.frame.cx_px + crest_um[:, 0] / self.frame.um_per_px_x).astype(int) - box[1]
        rows = np.rint(self.frame.cy_px + crest_um[:, 1] / self.frame.um_per_px_y).astype(int) - box[0]
        inside = (cols >= 0) & (cols < box[3]) & (rows >= 0) & (rows < box[2])
        if not inside.any():
            return 0.0, energy
        # the flanks of a relief lie beside its centre line
        reach = 3 if self.instrument.blur_x_px < 1.5 else 5
        ridge = cv2.dilate(size, np.ones((reach, reach), np.uint8))
        return float(np.median(ridge[rows[inside], cols[inside]])), energy

    def _noise(self, change: FloatMap, window: tuple[slice, slice]) -> float:
        strong = np.abs(change) >= 0.5 * np.abs(change).max()
        level = np.asarray(self.background[window][strong].mean(), np.float32)
        on_ferrule = float(np.mean(self.anatomy[window][strong] == AnatomyZone.FERRULE))
        return float(math.hypot(float(self.instrument.noise_gray(level)), self.grain_gray * on_ferrule))

    def _record(
        self,
        planned: PlannedDefect,
        box: Box,
        support: NDArray[np.bool_],
        size: FloatMap,
        crest: float,
        matched: float,
        noise: float,
    ) -> None:
        drawing, frame, window = planned.drawing, self.frame, _window(box)
        number = len(self.truths) + 1
        # envelopes win only where nothing else is
        wins = support & (size + 1e-3 > self.strongest[window])
        self.instances[window][wins] = number
        self.strongest[window][wins] = size[wins] + 1e-3
        x_px, y_px = frame.to_px(drawing.x_um, drawing.y_um)
        x, y = frame.grid(box)
        distance = np.hypot(x, y)[support]
        touched = set(np.unique(self.anatomy[window][support]).tolist())
        inner = next(zone for zone in _INWARDS if zone in touched)
        area = int(np.count_nonzero(support))
        col = min(max(round(x_px), 0), frame.width_px - 1)
        row = min(max(round(y_px), 0), frame.height_px - 1)
        self.truths.append(
            DefectTruth(
                instance=number,
                kind=drawing.kind,
                defect_class=drawing.defect_class,
                x_px=x_px,
                y_px=y_px,
                x_um=drawing.x_um,
                y_um=drawing.y_um,
                diameter_um=drawing.diameter_um,
                length_um=drawing.length_um,
                width_um=drawing.width_um,
                area_um2=drawing.area_um2,
                visible_area_px=area,
                visible_area_um2=area * frame.um_per_px_x * frame.um_per_px_y,
                zone=AnatomyZone(int(self.anatomy[row, col])),
                inner_zone=inner,
                nearest_um=float(distance.min()),
                farthest_um=float(distance.max()),
                polarity=drawing.polarity,
                contrast_gray=crest * (drawing.polarity or 1),
                snr=min(crest, matched / MATCHED_PER_SNR) / noise,
                noise_gray=noise,
                group=planned.group,
            )
        )

    def truth(self, instrument: Instrument, cladding: Ellipse, core: Ellipse) -> SceneTruth:
        """Return everything that is known now."""
        by_number = np.zeros(len(self.truths) + 1, np.uint8)
        for item in self.truths:
            by_number[item.instance] = item.defect_class
        return SceneTruth(
            cladding=cladding,
            core=core,
            core_state=self.look.core_state,
            outer_um=self.look.outer_um,
            um_per_px_x=self.frame.um_per_px_x,
            um_per_px_y=self.frame.um_per_px_y,
            anatomy=self.anatomy,
            classes=by_number[self.instances],
            instances=self.instances,
            valid=self.valid,
            defects=tuple(self.truths),
            look=self.look,
            instrument=instrument,
        )


_INWARDS = (
    AnatomyZone.CORE,
    AnatomyZone.CLADDING,
    AnatomyZone.ADHESIVE,
    AnatomyZone.FERRULE,
    AnatomyZone.OUTSIDE,
)


def _window(box: Box) -> tuple[slice, slice]:
    return (slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3]))


def _grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    y0, x0 = max(box[0] - margin, 0), max(box[1] - margin, 0)
    y1 = min(box[0] + box[2] + margin, shape[0])
    x1 = min(box[1] + box[3] + margin, shape[1])
    return (y0, x0, y1 - y0, x1 - x0)


def _placed(mask: NDArray[np.bool_], inner: Box, outer: Box) -> NDArray[np.bool_]:
    canvas = np.zeros((outer[2], outer[3]), np.bool_)
    y0, x0 = inner[0] - outer[0], inner[1] - outer[1]
    canvas[y0 : y0 + inner[2], x0 : x0 + inner[3]] = mask
    return canvas


def _clipped(background: FloatMap, change: FloatMap) -> FloatMap:
    """The part of a change that survives saturation."""
    return np.asarray(np.clip(background + change, 0.0, 255.0) - np.clip(background, 0.0, 255.0), np.float32)
