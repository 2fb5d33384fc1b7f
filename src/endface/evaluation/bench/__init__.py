"""Detector bench: one table of methods x data sets x (accuracy, milliseconds)."""

from endface.evaluation.bench.data import BenchImage, DataSet
from endface.evaluation.bench.figures import BenchRow, OperatingPoint
from endface.evaluation.bench.methods import Method, bench_methods
from endface.evaluation.bench.table import DetectorBench, bench_detectors, markdown, measure_methods

__all__ = [
    "BenchImage",
    "BenchRow",
    "DataSet",
    "DetectorBench",
    "Method",
    "OperatingPoint",
    "bench_detectors",
    "bench_methods",
    "markdown",
    "measure_methods",
]
