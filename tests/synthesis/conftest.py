from __future__ import annotations

import pytest

from endface.synthesis.fibre import FibreLook
from endface.synthesis.sensor import Instrument
from endface.synthesis.shapes import Frame


@pytest.fixture
def plain_instrument() -> Instrument:
    """Square pixels of 0.25 um, little blur and noise, no compression."""
    return Instrument("plain", 700, 640, 0.25, 0.25, blur_x_px=1.2, blur_y_px=1.2, read_noise_gray=1.0)


@pytest.fixture
def plain_look() -> FibreLook:
    """A single-mode fibre without rim line, glue or grain."""
    return FibreLook(core_um=9.0, cladding_um=125.0, ferrule_gray=180.0, cladding_gray=90.0, core_gray=150.0)


@pytest.fixture
def plain_frame(plain_instrument: Instrument) -> Frame:
    """The fibre a little off the middle, between pixels."""
    return Frame(640, 700, 341.37, 322.81, plain_instrument.um_per_px_x, plain_instrument.um_per_px_y)
