"""How often a question asks the store: on a server every request is a wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from t2c_search.query.execution.searcher import Searcher
from t2c_search.stores import open_store
from tests.stubs.rest import QdrantStub

from .worlds import World, clustered


@pytest.fixture(scope="module")
def stub() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def world(stub) -> Iterator[World]:
    store = open_store(stub.url, "asked")
    yield clustered(store, 1500)
    store.close()


@pytest.mark.parametrize(
    "expression",
    ['"dog"', '"dog" AND "snow" AND NOT "crowd"', '"dog" >= 1sd OR "cat" AND width > 120', "width > 120", "@taught"],
)
def test_a_warm_search_asks_a_server_once(stub, world, expression):
    warm = world.searcher
    warm.search(expression)
    searcher = Searcher(warm.store.pinned(), warm.known, warm.directions.texts, lambda path: None)
    stub.requests.clear()
    found = searcher.search(expression)
    assert len(stub.requests) - (found.total is not None) == found.plan.rounds == 1, stub.requests  # a total is counted
    payloads = dict(zip(world.oracle.ids, world.oracle.payloads, strict=True))
    assert len(found) == 10 and all(hit.payload == payloads[hit.id] for hit in found)
