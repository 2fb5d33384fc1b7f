"""One self-contained page to read, and picture sheets of the clusters, from the tables of a finished run.

Reads the run folder only; does not measure, grade or group anything.
"""

from __future__ import annotations

from endface.report.page import write_report
from endface.report.sheets import write_cluster_sheets

__all__ = ["write_cluster_sheets", "write_report"]
