from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY_DISK = Path("/dev/shm")  # the engine syncs at every step: a real disk makes these tests 20 times slower


def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def disk() -> Iterator[Path]:
    """An empty folder, on a memory disk where there is one."""
    yield from _folder()


@pytest.fixture(scope="module")
def module_disk() -> Iterator[Path]:
    """The same, for all tests of a module."""
    yield from _folder()
