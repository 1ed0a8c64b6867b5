"""One indexing run: compare the inputs with the store, embed and align what it lacks, write, and report.

Each stage waits when the next is behind, so that memory stays constant, whatever the collection's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self

from t2c_search.indexing.aligning import align
from t2c_search.indexing.changes import Comparison, compare
from t2c_search.indexing.embedding import EmbeddedBatch, map_in_order
from t2c_search.indexing.removal import gone_points, is_at_or_below
from t2c_search.indexing.report import IndexReport
from t2c_search.indexing.reuse import find_twins, read_and_hash, to_points
from t2c_search.indexing.writer import Writer
from t2c_search.profile import COMPARE, LOAD
from t2c_search.progress import Monitor
from t2c_search.sources import ImageInput
from t2c_search.sources.presence import is_gone
from t2c_search.sources.remarks import Remark
from t2c_search.state.failures import change_failures, read_failures
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import NATIVE, Failure, Points

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.aligning import Projection
    from t2c_search.indexing.embedder import Embedder

_LOOKED_UP_AT_ONCE = 64  # new inputs asked for by their hash in one request: no more than the models take at once


def index_images(
    inputs: Iterable[ImageInput],
    run: Run,
    embedder: Embedder,
    *,
    sync: Sequence[str] = (),
    embedded: Sequence[EmbeddedBatch] = (),
) -> IndexReport:
    """Bring an existing collection in line with the inputs: embed what is new or changed, skip the rest.

    Points at or below the absolute paths in ``sync`` are deleted when their files are gone. Inputs that ``embedded`` holds
    already are taken from there; the others go to the ``embedder``. Where that is elsewhere, this process reads images only
    for their hashes, those on its disks that are new to a collection that is not empty.

    A run that is killed loses only what the store had not acknowledged; the next one goes on from there and ends with
    the same collection. Raises StoreError when the store fails. Images that fail are in the report and, with the
    collection, in ``failures``.
    """
    run.monitor.progress.start(len(inputs) if isinstance(inputs, Sized) else None, "indexing")
    with ThreadPoolExecutor(embedder.batching.threads, thread_name_prefix="t2c-hash") as pool, run:
        lacking = run.lacking(run.without(embedded, inputs), pool)
        if run.store.count():
            lacking = run.without_twins(lacking, pool, hold=embedder.is_here)
        if embedded:
            with run.monitor.clock.measure(LOAD):
                _, projection = run.load_models()
            run.align(embedded, projection)
        embedder.embed(lacking, run)
        run.delete_gone(sync)
    return run.finish()


class Run:
    """One run that indexes into a collection: what it needs, what is done with each kind of input, and its counts.

    ``load_models`` returns the collection's backbone and the projection of its rows (n, d) to unit rows (n, d_clip); it is
    called only when something must be embedded, and pickled where that is in other processes. A context manager, while
    points are written.
    """

    def __init__(
        self,
        store: VectorStore,
        load_models: Callable[[], tuple[ImageEncoder, Projection]],
        monitor: Monitor | None = None,
    ) -> None:
        self.store = store
        self.load_models = load_models
        self.monitor = monitor or Monitor()
        self.keep_native = NATIVE in store.spec().vectors
        self.writer = Writer(store, self.monitor.clock)
        self._seen = self._indexed = self._updated = self._unchanged = 0
        self._renamed = self._copied = self._deleted = self._unexplained = 0
        self._replaced: set[str] = set()
        self._failures: list[Failure] = []
        self._known_failures = {failure.path for failure in read_failures(store)}
        self._settled: set[str] = set()  # of these: seen again, or gone

    def __enter__(self) -> Self:
        self.writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.__exit__(kind, error, trace)

    def without(self, embedded: Sequence[EmbeddedBatch], inputs: Iterable[ImageInput]) -> Iterator[ImageInput]:
        """Yield the inputs that are not embedded yet."""
        ids = {image for batch in embedded for image in batch.ids}
        self._seen += len(ids)
        return (item for item in inputs if item.id not in ids)

    def lacking(self, inputs: Iterable[ImageInput], pool: Executor) -> Iterator[ImageInput]:
        """Yield the inputs that are new or changed; bring the payloads of the others up to date."""
        comparisons = compare(inputs, self.store, pool)
        while found := self._measured(comparisons):
            self._seen += len(found.paths)
            self._settled.update(self._known_failures.intersection(found.paths))
            self._replaced |= found.changed
            self._unexplained += found.unexplained
            if found.payloads:
                self.writer.claim()  # so that nobody realigns meanwhile, which would lose them
                self.store.set_payload(list(found.payloads), list(found.payloads.values()))
            self._updated += found.updated
            self._unchanged += found.unchanged
            self.monitor.progress.advance(found.updated + found.unchanged)
            yield from found.lacking

    def without_twins(self, inputs: Iterator[ImageInput], pool: Executor, *, hold: bool) -> Iterator[ImageInput]:
        """Yield the inputs whose bytes the store does not hold; write the others, with the vectors that it has.

        Files are read and hashed ahead, while the models work; ``hold`` keeps the bytes of those that are yielded.
        """
        hashed = map_in_order(pool, partial(read_and_hash, hold=hold), inputs, ahead=lambda: 2 * _LOOKED_UP_AT_ONCE)
        while chunk := self._take(hashed):
            with self.monitor.clock.measure(COMPARE):
                twins = find_twins(chunk, self.store)
            if twins:
                points = to_points(twins)
                self.writer.put(points, self.replaced(points.ids))
                if moved := [twin.id for twin in twins if twin.moved]:
                    self.writer.delete(moved)
                    self.writer.drain()  # before the next ones look for their twins
                self._replaced.difference_update(points.ids)
                self._renamed += len(moved)
                self._copied += len(twins) - len(moved)
                self.monitor.progress.advance(len(twins))
            found = {twin.input.id for twin in twins}
            yield from (item for item in chunk if item.id not in found)

    def align(self, batches: Iterable[EmbeddedBatch], projection: Projection) -> None:
        """Project batches of the backbone's rows, and pass the points on to the store."""
        for points, failures in align(batches, projection, self.keep_native, self.monitor.clock):
            self.write(points, failures)

    def write(self, points: Points, failures: Iterable[Failure] = ()) -> None:
        """Pass points on to the store, and count them and the images that failed beside them."""
        if points.ids:
            self.writer.put(points, self.replaced(points.ids))
        self.record(points.ids, failures)

    def replaced(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids whose former vectors the store holds."""
        return self._replaced.intersection(ids)

    def record(self, ids: Sequence[str], failures: Iterable[Failure]) -> None:
        """Count points that were written, and images that failed."""
        for failure in failures:
            self.fail(failure)
        self._replaced.difference_update(ids)
        self._indexed += len(ids)
        self.monitor.progress.advance(len(ids))

    def fail(self, failure: Failure) -> None:
        """Note an image that cannot be indexed."""
        self._failures.append(failure)
        self.monitor.progress.fail(failure)
        self.monitor.progress.advance(1)

    def delete_gone(self, paths: Sequence[str]) -> None:
        """Delete the points at or below the paths whose files are gone, and forget the failures of such files."""
        self.writer.drain()
        for ids in gone_points(self.store, paths):
            if ids:
                self.writer.delete(ids)
                self._deleted += len(ids)
        left = self._known_failures - self._settled
        self._settled.update(path for path in left if is_at_or_below(path, paths) and is_gone(path))

    def finish(self) -> IndexReport:
        """Store the failures, those of other inputs in earlier runs included, and report."""
        change_failures(self.store, settled=self._settled, new=self._failures)
        return IndexReport(
            seen=self._seen,
            indexed=self._indexed,
            renamed=self._renamed,
            copied=self._copied,
            updated=self._updated,
            unchanged=self._unchanged,
            deleted=self._deleted,
            failures=tuple(self._failures),
            remarks=self._remarks(),
            seconds=self.monitor.clock.elapsed,
            profile=self.monitor.clock.profile(),
        )

    def _remarks(self) -> tuple[Remark, ...]:
        if not self._unexplained:
            return ()
        kind = "images that were there without their factors were embedded again"
        return (Remark(kind, self._unexplained, "t2c index --explainable"),)

    def _take(self, hashed: Iterator[ImageInput]) -> list[ImageInput]:
        with self.monitor.clock.measure(COMPARE):
            return list(islice(hashed, _LOOKED_UP_AT_ONCE))

    def _measured(self, comparisons: Iterator[Comparison]) -> Comparison | None:
        with self.monitor.clock.measure(COMPARE):
            return next(comparisons, None)
