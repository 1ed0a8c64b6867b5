from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from tests.stores.conftest import disk

from .support import COUNT, create, save_pictures

__all__ = ["disk"]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """COUNT pictures in a folder of their own."""
    return save_pictures(tmp_path / "photos", COUNT)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    """An empty collection in memory."""
    opened = create(open_store(":memory:", "photos"))
    yield opened
    opened.close()
