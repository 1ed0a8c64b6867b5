"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never reach for a hub

import hypothesis
import pytest

# The same examples in every run, and as long as a busy machine needs for one.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs and models; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("T2C_REAL_DATA", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set T2C_REAL_DATA")
    return folder
