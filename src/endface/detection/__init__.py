"""Find defects: `detect_defects(image, zones)` and the registry of detectors behind it.

A detector is a function from an image and its zones to defects. It knows nothing of classes, sizes in
micrometres or limits.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from endface.annotation import Defect, Zones
from endface.errors import SettingsError


class Detector(Protocol):
    """What every detector is: image (H, W) and zones in, defects out."""

    def __call__(self, image: NDArray[np.generic], zones: Zones, *, epsilon: float) -> tuple[Defect, ...]:
        """Find defects with fewer than `epsilon` expected false alarms."""


def detector_names() -> tuple[str, ...]:
    """Return the names that `detect_defects` takes: the built-in ones and those of installed packages."""
    others = {entry.name for entry in entry_points(group="endface.detectors")}
    return (*_BUILT_IN, *sorted(others - set(_BUILT_IN)))


def load_detector(name: str) -> Detector:
    """Return a detector by name.

    Raises
    ------
    SettingsError
        No detector of that name is built in or registered under the entry-point group `endface.detectors`.
    """
    if name == "default":
        from endface.detection.evidence import detect_by_evidence

        return detect_by_evidence
    if name in ("mei2018", "mei2018_literal"):
        from endface.detection import mei2018

        return mei2018.detect if name == "mei2018" else mei2018.detect_literal
    for entry in entry_points(group="endface.detectors", name=name):
        detector: Detector = entry.load()
        return detector
    raise SettingsError(
        f"detection.detector: expected one of {', '.join(detector_names())}; found {name!r}",
        hint="correct the name, or install the package that registers it",
    )


_BUILT_IN = ("default", "mei2018", "mei2018_literal")


def detect_defects(
    image: NDArray[np.generic], zones: Zones, *, epsilon: float = 0.1, detector: str = "default"
) -> tuple[Defect, ...]:
    """Find the defects of an image.

    Parameters
    ----------
    image : (H, W) ndarray
        Gray values of any real type; never changed.
    zones : Zones
        From `endface.zones.segment_zones` (or `plain_zones`) for the same image.
    epsilon : float
        Number of false alarms one is ready to expect on a clean image of this size. The one knob: it means
        the same at every magnification and illumination.
    detector : str
        'default', 'mei2018' (the published DO2MR and LEI, DC-free), 'mei2018_literal', or a registered name.

    Returns
    -------
    tuple of Defect
        Ordered by position: top to bottom, then left to right.

    Raises
    ------
    SettingsError
        Unknown detector.

    Notes
    -----
    Spots below about 3 px across and lines shorter than about 10 px are not told from noise unless strong.

    Examples
    --------
    >>> from endface.zones import plain_zones
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(120, 2, (128, 128)).astype(np.float32)
    >>> image[60:66, 40:46] -= 40
    >>> len(detect_defects(image, plain_zones(image)))
    1
    """
    found = load_detector(detector)(image, zones, epsilon=epsilon)
    return tuple(sorted(found, key=lambda d: (d.y_px, d.x_px, d.mask.shape, -d.score)))
