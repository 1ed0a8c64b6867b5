from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from t2c_search.collection import Collection
from t2c_search.collection.models import ModelSelection
from t2c_search.stores import open_store
from tests.collection.support import Aligners, fill, fit_aligners, opened
from tests.stubs.rest import QdrantStub

Open = Callable[[], Collection]
"""Opens the collection, each time by another handle."""


@pytest.fixture(scope="session")
def aligners(tmp_path_factory: pytest.TempPathFactory) -> Aligners:
    return fit_aligners(tmp_path_factory.mktemp("aligners"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def server(photos: Path, aligners: Aligners) -> Iterator[QdrantStub]:
    """A server with the collection."""
    with QdrantStub() as stub:
        fill(opened(stub.url), photos, aligners.own).close()
        yield stub


@pytest.fixture
def folder(tmp_path: Path, photos: Path, aligners: Aligners) -> str:
    """An embedded store with the collection."""
    fill(opened(str(tmp_path / "s.t2c")), photos, aligners.own).close()
    return str(tmp_path / "s.t2c")


@pytest.fixture(params=["embedded", "memory", "server"])
def handle(request: pytest.FixtureRequest, tmp_path: Path, photos: Path, aligners: Aligners) -> Iterator[Open]:
    """The collection on each store."""
    handles: list[Collection] = []
    shared = open_store(":memory:", "photos")
    location = str(tmp_path / "s.t2c")
    with QdrantStub() as stub:

        def open_it() -> Collection:
            if request.param == "memory":
                made = Collection(shared, ModelSelection("mini", "mini:cnn", device="cpu"))
            else:
                made = opened(stub.url if request.param == "server" else location)
            handles.append(made)
            return made

        fill(open_it(), photos, aligners.own).release()
        yield open_it
        for each in handles:
            each.close()
