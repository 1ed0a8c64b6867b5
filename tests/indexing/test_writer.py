import threading
import uuid
from typing import Any

import numpy as np
import pytest

from t2c_search.errors import StoreError
from t2c_search.indexing.writer import UPSERT_POINTS, Writer
from t2c_search.state.statistics import CLAIMS
from t2c_search.stores import open_store
from t2c_search.stores.columns import REQUEST_BYTES
from t2c_search.types import CLIP, Points

from .support import DIM, create


class Watched:
    """A real store in memory that notes the size of every request, and may keep its writer waiting."""

    def __init__(self) -> None:
        self.store = create(open_store(":memory:", "photos"))
        self.requests: list[Points] = []
        self.answering = threading.Event()
        self.answering.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def upsert(self, points: Points) -> None:
        self.requests.append(points)
        self.answering.wait()
        self.store.upsert(points)


def points(count: int, payload: str = "x") -> Points:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    vectors = np.random.default_rng(count).normal(size=(count, DIM)).astype(np.float32)
    return Points(ids, [{"path": i, "text": payload} for i in ids], {CLIP: vectors})


def test_requests_stay_within_both_limits_and_in_order() -> None:
    store = Watched()
    many, heavy = points(600), points(20, "x" * (1 << 20))
    with Writer(store) as writer:
        writer.put(many, set())
        writer.put(heavy, set())
    assert [i for request in store.requests for i in request.ids] == many.ids + heavy.ids
    for request in store.requests:
        assert len(request) <= UPSERT_POINTS
        assert sum(len(payload["text"]) for payload in request.payloads) <= REQUEST_BYTES
    assert len(store.requests) <= 3 + 7
    stored = store.fetch(many.ids, vectors=(CLIP,))
    np.testing.assert_array_equal(stored.vectors[CLIP], many.vectors[CLIP])


def test_batches_wait_together_while_the_store_is_busy() -> None:
    store = Watched()
    store.answering.clear()
    with Writer(store) as writer:
        for _ in range(6):
            writer.put(points(10), set())
        store.answering.set()
    assert [len(request) for request in store.requests] == [10, 50]


def test_embedding_waits_for_a_store_that_is_behind() -> None:
    store = Watched()
    store.answering.clear()
    put, finished = 0, threading.Event()

    def embed() -> None:
        nonlocal put
        with Writer(store) as writer:
            for _ in range(20):
                writer.put(points(UPSERT_POINTS), set())
                put += 1
        finished.set()

    thread = threading.Thread(target=embed)
    thread.start()
    try:
        assert not finished.wait(0.3)  # a moment in which nobody would hold it back
        assert put <= 3
    finally:
        store.answering.set()
        thread.join()
    assert store.count() == 20 * UPSERT_POINTS


def test_failed_request_is_raised_and_nothing_is_sent_after_it() -> None:
    class Full(Watched):
        def upsert(self, points: Points) -> None:
            super().upsert(points)
            if len(self.requests) == 2:
                raise StoreError("no room left")

    store = Full()
    with pytest.raises(StoreError, match="no room left"), Writer(store) as writer:
        for _ in range(20):
            writer.put(points(UPSERT_POINTS), set())
    assert len(store.requests) <= 4
    assert CLAIMS.read(store).open
