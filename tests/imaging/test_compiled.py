"""What a first image costs: compiled loops are loaded as they were left, and SciPy is not."""

import subprocess
import sys

import numpy as np

from endface.imaging.acontrario import score_threshold, significance
from endface.imaging.circles import _bessel_j1
from endface.imaging.compiled import compiled
from endface.imaging.sliding import running_mean, running_median

_FIRST_IMAGE = """
import sys, numpy as np
from endface import annotate
disc = np.hypot(*np.mgrid[-90:90, -120:120]) < 60
face = np.where(disc, 90, 160) + np.random.default_rng(1).normal(0, 3, disc.shape)
face[40:44, 100:160] -= 60
found = annotate(face.clip(0, 255).astype(np.uint8))
heavy = {"scipy.special", "scipy.ndimage", "scipy.spatial", "scipy.sparse", "numba.np.linalg"}
print(len(found.defects), sorted(heavy & set(sys.modules)))
"""


@compiled
def _total(values, weights):
    result = 0.0
    for k in range(values.size):
        result += values[k] / weights[k]
    return result


def test_loops_run_as_written_and_divide_as_numpy_does():
    assert _total(np.arange(4.0), np.ones(4)) == 6.0
    assert _total(np.ones(1), np.zeros(1)) == np.inf


def test_a_first_image_loads_neither_scipy_nor_the_tables_of_numba():
    for _ in range(2):  # what was not compiled before is so then
        run = subprocess.run([sys.executable, "-c", _FIRST_IMAGE], capture_output=True, text=True, check=True)
    n_defects, loaded = run.stdout.split(maxsplit=1)
    assert int(n_defects) >= 1
    assert loaded.strip() == "[]"


def test_running_means_and_medians_are_those_of_windows():
    values = np.random.default_rng(0).normal(size=50)
    closed = np.concatenate([values[-3:], values, values[:3]])
    windows = np.lib.stride_tricks.sliding_window_view(closed, 7)
    assert np.array_equal(running_median(values, 7, wrap=True), np.median(windows, axis=1))
    assert np.allclose(running_mean(values, 7, wrap=True), windows.mean(axis=1), atol=1e-14)
    rows = np.stack([values, -values], axis=1).astype(np.float32)
    assert running_mean(rows, 5).dtype == np.float32
    assert np.allclose(running_mean(rows, 5)[:, 0], -running_mean(rows, 5)[:, 1])
    assert np.allclose(running_mean(np.ones(2), 9), 1.0)


def test_the_normal_law_and_the_bessel_function_are_those_of_scipy():
    from scipy.special import j1, log_ndtr, ndtri_exp

    for score in (-8.0, 0.0, 4.5, 29.99, 30.0, 1e4):
        expected = -(np.log(1e6) + log_ndtr(-score)) / np.log(10)
        assert np.isclose(significance(score, n_tests=1e6), expected, rtol=1e-9)
    for n_tests in (10.0, 1e6, 1e12):
        expected = -ndtri_exp(np.log(0.01 / n_tests))
        assert np.isclose(score_threshold(n_tests=n_tests, epsilon=0.01), expected, rtol=1e-12)
    assert score_threshold(n_tests=1.0, epsilon=5.0) == 0.0
    x = np.linspace(0.0, 500.0, 20_001)
    assert np.abs(_bessel_j1(x) - j1(x)).max() < 1e-7
