"""The sink: points go to the store from threads of its own while the next ones are being embedded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from t2c_search.profile import WAIT_WRITE, WRITE, StageClock
from t2c_search.state.statistics import Claim, claim_statistics, renew_claim, repair_statistics, save_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.columns import REQUEST_POINTS, payload_sizes, uploads, vector_sizes
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points

UPSERT_POINTS = REQUEST_POINTS
"""Points in one request at most: what is not yet acknowledged is lost when the process is killed."""
CLAIM_SECONDS = 10.0
"""Between two looks whether another run has taken back this one's claim, as if it had been killed."""
_NUMBER_BYTES = 4  # of float32
_IN_FLIGHT = 4  # requests at once to a server, which applies them side by side; the embedded engine takes one


class Writer:
    """Writes batches and keeps the collection's statistics; a context manager for one caller's thread.

    Batches wait together while the store is busy: a fast store gets each at once, a slow one gets them in larger
    requests. ``put``, ``delete`` and a regular exit raise the StoreError of an earlier write; an exit by an exception
    drops what was not sent. After a regular exit the stored statistics are true.
    """

    def __init__(self, store: VectorStore, clock: StageClock | None = None) -> None:
        self._store = store
        self._clock = clock or StageClock()
        threads = _IN_FLIGHT if store.capabilities.concurrent else 1
        self._clock.use_threads(threads, WRITE)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="t2c-write")
        self._open_requests = threads + 1  # sent and not yet acknowledged; embedding waits before the next
        self._sent: deque[Future[None]] = deque()
        self._waiting: list[tuple[Points, set[str]]] = []
        self._lock = threading.Lock()
        self._looked = 0.0
        self._claimed: tuple[VectorStatistics, Claim] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.drain()
                if self._claimed is None:
                    repair_statistics(self._store)
                else:
                    save_statistics(self._store, *self._claimed)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def put(self, points: Points, replaced: set[str]) -> None:
        """Write points, of which those ``replaced`` are in the store already; wait while too many requests are open."""
        self._waiting.append((points, replaced))
        full = sum(len(waiting) for waiting, _ in self._waiting) >= UPSERT_POINTS
        self._collect(self._open_requests - full)
        if full or not self._sent:
            self._send()

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points, once everything that was put before is in the store."""
        self.drain()
        self._sent.append(self._pool.submit(self._delete, ids))

    def claim(self) -> None:
        """Claim the statistics; call it before points are written that do not go through this object."""
        self._statistics()

    def merge(self, written: VectorStatistics, replaced: Points) -> None:
        """Count what another process wrote, less the points, with their former vectors, that this replaced."""
        statistics = self._statistics()
        with self._lock:
            statistics.remove(replaced.ids, replaced.vectors[CLIP])
            statistics.merge(written)

    def drain(self) -> None:
        """Wait until the store has done everything so far."""
        self._send()
        self._collect(0)

    def _collect(self, left: int) -> None:
        """Take the answers that came, and wait for more until at most so many are left to come."""
        with self._clock.measure(WAIT_WRITE):
            while self._sent and (len(self._sent) > left or self._sent[0].done()):
                self._sent.popleft().result()

    def _send(self) -> None:
        if self._waiting:
            batches, self._waiting = self._waiting, []
            self._sent.append(self._pool.submit(self._write, batches))

    def _write(self, batches: list[tuple[Points, set[str]]]) -> None:
        points = Points.joined([points for points, _ in batches])
        replaced = set[str]().union(*(ids for _, ids in batches))
        for part in _split(points):
            self._write_part(part, [i for i in part.ids if i in replaced])

    def _write_part(self, points: Points, replaced: list[str]) -> None:
        with self._clock.measure(WRITE):
            statistics = self._statistics()
            former = self._store.fetch(replaced, vectors=(CLIP,), payload=False) if replaced else None
            self._store.upsert(points)
            with self._lock:
                if former is not None:
                    statistics.remove(former.ids, former.vectors[CLIP])
                statistics.add(points.ids, points.vectors[CLIP])

    def _delete(self, ids: Sequence[str]) -> None:
        with self._clock.measure(WRITE):
            statistics = self._statistics()
            former = self._store.fetch(ids, vectors=(CLIP,), payload=False)
            self._store.delete(former.ids)
            with self._lock:
                statistics.remove(former.ids, former.vectors[CLIP])

    def _statistics(self) -> VectorStatistics:
        """Return the statistics to bring up to date; the first to ask declares the stored ones stale."""
        with self._lock:
            if self._claimed is None:
                self._claimed = claim_statistics(self._store)
                self._looked = time.monotonic()
            elif time.monotonic() >= self._looked + CLAIM_SECONDS:
                statistics, claim = self._claimed
                self._claimed = statistics, renew_claim(self._store, claim)
                self._looked = time.monotonic()
            return self._claimed[0]


def _split(points: Points) -> Iterator[Points]:
    """Yield the points in order, in parts of the size of one request."""
    sizes = zip(vector_sizes(points), payload_sizes(points.ids, points.payloads), strict=True)
    for part in uploads([_NUMBER_BYTES * numbers + size for numbers, size in sizes]):
        yield points.take(range(len(points))[part])
