"""Puts defects onto a face one by one and keeps the books: what each adds, where it can be seen, how well.

Everything a defect adds is followed through the linear part of the instrument on its own. That gives its
noise-free contribution to the final image, and from it the visible support, the contrast and the
signal-to-noise ratio.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from endface.annotation import AnatomyZone
from endface.imaging.ellipse import Ellipse
from endface.synthesis.draws import PlannedDefect
from endface.synthesis.fibre import FibreLook
from endface.synthesis.sensor import Instrument, electronics, optics
from endface.synthesis.shapes import Box, FloatMap, Frame
from endface.synthesis.truth import DefectTruth, SceneTruth

#: a pixel belongs to the visible support where the blurred shape of the defect exceeds this share of its peak
#: (lines: of the median along the crest), dark parts of dark defects and bright parts of bright ones only ...
SUPPORT_SHARE = 0.4
#: ... and its contribution this multiple of the noise
SUPPORT_NOISE = 0.5
#: matched signal-to-noise ratio that counts as an SNR of one (see `DefectTruth.snr`)
MATCHED_PER_SNR = 2.5
#: contributions whose peak stays below this many grey levels are not part of the truth
_MIN_PEAK_GRAY = 0.3


class Stage:
    """Collects what defects add to the final image of one rendering; the only place with state."""

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
        # pixels at the border of what the image shows
        self.margin = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) == 0
        self.difference = np.zeros(scene.shape, np.float32)
        self.strongest = np.zeros(scene.shape, np.float32)
        self.instances = np.zeros(scene.shape, np.uint16)
        self.truths: list[DefectTruth] = []

    def add(self, planned: PlannedDefect) -> None:
        """Render one defect at the signal-to-noise ratio it shall have, as far as its contrast allows."""
        drawing = planned.drawing
        if 0 in drawing.box[2:]:
            return
        box, unit, shape = self._through_optics(drawing.box, drawing.dark, drawing.bright)
        window = _window(box)
        visible = self.valid[window]
        sign = drawing.polarity
        crest, matched = self._strength(unit * visible, box, drawing.crest_um, sign)
        if crest <= 0.0:
            return
        noise = self._noise(unit * visible, window)
        snr_per_contrast = min(crest, matched / MATCHED_PER_SNR) / noise
        contrast = np.float32(min(planned.snr / snr_per_contrast, planned.max_contrast))
        final = _clipped(self.background[window], unit * contrast) * visible
        crest, matched = self._strength(final, box, drawing.crest_um, sign)
        if crest < _MIN_PEAK_GRAY:
            return
        height, _ = self._strength(shape * visible, box, drawing.crest_um, sign)
        support = _sided(shape, sign) >= SUPPORT_SHARE * height
        support &= _sided(final, sign) >= SUPPORT_NOISE * noise
        if drawing.polarity == 0 and drawing.crest_um is not None:
            # the two flanks of a relief are one scratch
            across = max(round(drawing.width_um / self.frame.pitch_um + self.instrument.blur_x_px), 1)
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * across + 1, 2 * across + 1))
            support = cv2.morphologyEx(support.astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0
        if drawing.envelope is not None:
            support = (_placed(drawing.envelope, drawing.box, box) & visible) | support
        if not support.any():
            return
        self.difference[window] += unit * contrast
        self._record(planned, box, support, np.abs(final), crest, matched, noise)

    def _through_optics(self, box: Box, dark: FloatMap, bright: FloatMap) -> tuple[Box, FloatMap, FloatMap]:
        """Follow a defect of contrast one to the final image.

        Returns its box grown by the halo, its contribution in grey levels, and its shape: the same for a face
        of brightness one, so that the darker half of a speck on the rim is not taken for its faint margin.
        """
        window = _window(box)
        change = bright - dark
        grown = _grown(box, self.instrument.halo_px, self.scene.shape)
        signal = (
            optics(_padded(change * self.scene[window], box, grown), self.instrument)
            * self.light[_window(grown)]
        )
        shape = optics(_padded(change, box, grown), self.instrument)
        contribution = electronics(signal, self.instrument, first_row=grown[0])
        return grown, contribution, electronics(shape, self.instrument, first_row=grown[0])

    def _strength(
        self, change: FloatMap, box: Box, crest_um: NDArray[np.float64] | None, sign: int
    ) -> tuple[float, float]:
        """Peak (for lines the median along the crest) and root of the sum of squares."""
        size = _sided(change, sign)
        energy = float(np.sqrt(np.sum(change.astype(np.float64) ** 2)))
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
                cut=bool((support & self.margin[window]).any()),
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


def _sided(change: FloatMap, sign: int) -> FloatMap:
    """Return the part of a change that is brighter (+1), darker (-1) or either (0), as a positive map."""
    return np.asarray(np.abs(change) if sign == 0 else np.maximum(sign * change, 0.0), np.float32)


def _window(box: Box) -> tuple[slice, slice]:
    return (slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3]))


def _grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    y0, x0 = max(box[0] - margin, 0), max(box[1] - margin, 0)
    y1 = min(box[0] + box[2] + margin, shape[0])
    x1 = min(box[1] + box[3] + margin, shape[1])
    return (y0, x0, y1 - y0, x1 - x0)


def _padded(patch: FloatMap, inner: Box, outer: Box) -> FloatMap:
    canvas = np.zeros((outer[2], outer[3]), np.float32)
    y0, x0 = inner[0] - outer[0], inner[1] - outer[1]
    canvas[y0 : y0 + inner[2], x0 : x0 + inner[3]] = patch
    return canvas


def _placed(mask: NDArray[np.bool_], inner: Box, outer: Box) -> NDArray[np.bool_]:
    return _padded(mask.astype(np.float32), inner, outer) > 0


def _clipped(background: FloatMap, change: FloatMap) -> FloatMap:
    """Return the part of a change that survives saturation."""
    return np.asarray(np.clip(background + change, 0.0, 255.0) - np.clip(background, 0.0, 255.0), np.float32)
