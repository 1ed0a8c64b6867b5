"""The sink: points go to the store from one thread while the next ones are being embedded."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from t2c_search.indexing.statistics_state import load_statistics, mark_dirty, save_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points

UPSERT_POINTS = 256
"""Points in one request at most: what is not yet acknowledged is lost when the process is killed."""
UPSERT_BYTES = 4 << 20
"""Vectors and payload of one request at most: servers reject bodies of 32 MiB, and JSON triples vectors."""
_OPEN_REQUESTS = 2  # sent and not yet acknowledged; embedding waits before the next


class Writer:
    """Writes batches in order and keeps the collection's statistics; a context manager for one caller's thread.

    Batches wait together while the store is busy: a fast store gets each at once, a slow one gets them in larger
    requests. ``put`` and a regular exit raise the StoreError of an earlier write; an exit by an exception drops what
    was not sent.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="t2c-write")
        self._sent: deque[Future[None]] = deque()
        self._waiting: list[tuple[Points, set[str]]] = []
        self._statistics: VectorStatistics | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._send()
                self._collect(0)
                if self._statistics is not None:
                    save_statistics(self._store, self._statistics)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def put(self, points: Points, replaced: set[str]) -> None:
        """Write points, of which those ``replaced`` are in the store already; wait while too many requests are open."""
        self._waiting.append((points, replaced))
        full = sum(len(waiting) for waiting, _ in self._waiting) >= UPSERT_POINTS
        self._collect(_OPEN_REQUESTS - full)
        if full or not self._sent:
            self._send()

    def _collect(self, left: int) -> None:
        """Take the answers that came, and wait for more until at most so many are left to come."""
        while self._sent and (len(self._sent) > left or self._sent[0].done()):
            self._sent.popleft().result()

    def _send(self) -> None:
        if self._waiting:
            batches, self._waiting = self._waiting, []
            self._sent.append(self._pool.submit(self._write, batches))

    def _write(self, batches: list[tuple[Points, set[str]]]) -> None:
        points = _join([points for points, _ in batches])
        replaced = set[str]().union(*(ids for _, ids in batches))
        for part in _split(points):
            self._write_part(part, [i for i in part.ids if i in replaced])

    def _write_part(self, points: Points, replaced: list[str]) -> None:
        if self._statistics is None:
            self._statistics = load_statistics(self._store) or VectorStatistics(points.vectors[CLIP].shape[1])
            mark_dirty(self._store)
        if replaced:
            former = self._store.fetch(replaced, vectors=(CLIP,), payload=False)
            self._statistics.remove(former.ids, former.vectors[CLIP])
        self._store.upsert(points)
        self._statistics.add(points.ids, points.vectors[CLIP])


def _join(batches: list[Points]) -> Points:
    return Points(
        [i for batch in batches for i in batch.ids],
        [payload for batch in batches for payload in batch.payloads],
        {name: np.concatenate([batch.vectors[name] for batch in batches]) for name in batches[0].vectors},
    )


def _split(points: Points) -> Iterator[Points]:
    """Yield the points in order, in parts within both limits (a single point may exceed the second)."""
    vector_bytes = sum(rows.itemsize * rows.shape[1] for rows in points.vectors.values())
    start, size = 0, 0
    for index, payload in enumerate(points.payloads):
        point_bytes = vector_bytes + len(json.dumps(payload))
        if index - start == UPSERT_POINTS or (index > start and size + point_bytes > UPSERT_BYTES):
            yield _slice(points, start, index)
            start, size = index, 0
        size += point_bytes
    yield _slice(points, start, len(points))


def _slice(points: Points, start: int, stop: int) -> Points:
    return Points(
        points.ids[start:stop],
        points.payloads[start:stop],
        {name: rows[start:stop] for name, rows in points.vectors.items()},
    )
