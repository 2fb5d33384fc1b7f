"""Running means, medians and maxima along a series; SciPy would take 0.3 s of a first image to import."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def running_median(
    values: NDArray[np.floating[Any]], width: int, *, wrap: bool = False
) -> NDArray[np.floating[Any]]:
    """Return the median (N,) of the `width` values (odd) round each; beyond the ends the last one goes on.

    With `wrap` the series is closed.

    Examples
    --------
    >>> running_median(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    windows = sliding_window_view(_continued(values, width // 2, wrap=wrap), width)
    return np.asarray(np.partition(windows, width // 2, axis=1)[:, width // 2])


def running_mean(
    values: NDArray[np.floating[Any]], width: int, *, wrap: bool = False
) -> NDArray[np.floating[Any]]:
    """Return the mean along the first axis of the `width` values (odd) round each, ends as for the median.

    Parameters
    ----------
    values : (N,) or (N, M) float32 or float64 ndarray

    Examples
    --------
    >>> running_mean(np.array([0.0, 3.0, 6.0]), 3, wrap=True).tolist()
    [3.0, 3.0, 3.0]
    """
    half = width // 2
    padded = _continued(values, half, wrap=wrap)
    rows = padded.reshape(len(padded), -1)
    means = cv2.blur(rows, (1, width))[half : half + len(values)].reshape(values.shape)
    return np.asarray(means, values.dtype)


def running_maximum(values: NDArray[np.floating[Any]], width: int) -> NDArray[np.float32]:
    """Return the largest (N,) of the `width` values (odd) round each, as far as there are so many.

    Examples
    --------
    >>> running_maximum(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist()
    [9.0, 9.0, 9.0, 3.0]
    """
    widest = cv2.dilate(values[:, None], np.ones((width, 1), np.uint8))
    return np.asarray(widest[:, 0], np.float32)


def _continued(values: NDArray[np.floating[Any]], half: int, *, wrap: bool) -> NDArray[np.floating[Any]]:
    place = np.arange(-half, len(values) + half)
    return np.ascontiguousarray(values[place % len(values) if wrap else np.clip(place, 0, len(values) - 1)])
