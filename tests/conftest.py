"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images; tests that ask for it skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ENDFACE_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip("the real images are not part of the repository; set ENDFACE_REAL_DATA to their folder")
    return folder
