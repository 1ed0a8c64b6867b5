"""Fixtures that every test may use."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never reach for a hub
# Ray would write a token into the home folder, which tests change, and a process keeps the first one it reads.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as processors: threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

_MEMORY_DISK = Path("/dev/shm")
if _MEMORY_DISK.is_dir() and shutil.disk_usage(_MEMORY_DISK).free > 2 << 30:  # containers may have 64 MiB
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))  # stores sync at every step: a disk is far slower

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


@pytest.fixture(autouse=True)
def nothing_is_trusted_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the user trusts out of the tests, and what they trust out of the user's folder."""
    monkeypatch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", str(tmp_path / ".configuration"))


@pytest.fixture(scope="session")
def present() -> set[Path]:
    """What lies at the root of the disk and in the checkout, but for what tools keep there, whose names have a dot."""
    return _present()


@pytest.fixture(autouse=True)
def nothing_is_made_elsewhere(present: set[Path]) -> Iterator[None]:
    """Name the test that makes a file or folder where it was given none."""
    yield
    made = _present() - present
    present |= made
    assert not made, f"made outside of tmp_path: {', '.join(map(str, sorted(made)))}"


def _present() -> set[Path]:
    return {path for folder in (Path(ROOT.anchor), ROOT) for path in folder.iterdir() if path.name[0] != "."}
