"""One indexing run: compare the inputs with the store, embed and align what it lacks, write, and report.

Each stage waits when the next is behind, so that memory stays constant, whatever the collection's size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from t2c_search.indexing.changes import Change, State, compare
from t2c_search.indexing.embedding import EmbeddedBatch, align_all, count_threads, embed, map_in_order
from t2c_search.indexing.removal import gone_points, is_at_or_below
from t2c_search.indexing.report import IndexReport
from t2c_search.indexing.reuse import Hashed, find_twins, read_and_hash, to_points
from t2c_search.indexing.writer import Writer
from t2c_search.profile import COMPARE, LOAD, StageClock
from t2c_search.progress import NoProgress, Progress
from t2c_search.sources import ImageInput
from t2c_search.sources.presence import is_gone
from t2c_search.state.failures import change_failures, read_failures
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Failure, Points

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.embedding import Projection

_LOOKED_UP_AT_ONCE = 64  # new inputs asked for by their hash in one request: no more than the models take at once


def index_images(
    inputs: Iterable[ImageInput],
    *,
    store: VectorStore,
    load_encoder: Callable[[], ImageEncoder],
    load_projection: Callable[[], Projection],
    batch_size: int | None = None,
    keep_native: bool = False,
    workers: int | None = None,
    sync: Sequence[str] = (),
    embedded: Sequence[EmbeddedBatch] = (),
    elsewhere: Callable[[Iterator[ImageInput], Run, Writer], None] | None = None,
    progress: Progress | None = None,
    clock: StageClock | None = None,
) -> IndexReport:
    """Bring an existing collection in line with the inputs: embed what is new or changed, skip the rest.

    The projection maps the encoder's rows (n, d) to unit rows (n, d_clip); both are loaded only when something must be
    embedded. ``keep_native`` stores the encoder's own rows too. Points at or below the absolute paths in ``sync`` are
    deleted when their files are gone. Inputs that ``embedded`` holds already are taken from there.
    ``elsewhere``, where given, embeds and writes the others; this process reads images only for their hashes, those on
    its disks that are new to a collection that is not empty.

    A run that is killed loses only what the store had not acknowledged; the next one goes on from there and ends with
    the same collection. Raises StoreError when the store fails. Images that fail are in the report and, with the
    collection, in ``failures``.
    """
    run = Run(store, progress or NoProgress(), clock or StageClock())
    run.progress.start(len(inputs) if isinstance(inputs, Sized) else None, "indexing")
    with (
        ThreadPoolExecutor(count_threads(workers), thread_name_prefix="t2c-hash") as pool,
        Writer(store, run.clock) as writer,
    ):
        new = run.changed(run.without(embedded, inputs), pool)
        if store.count():
            new = run.without_twins(new, pool, writer, hold=elsewhere is None)
        batches = _embed(new if elsewhere is None else iter(()), load_encoder, batch_size, workers, run)
        with closing(batches):
            for points, failures in align_all(chain(embedded, batches), load_projection, keep_native, run.clock):
                run.write(points, failures, writer)
        if elsewhere is not None:
            elsewhere(new, run, writer)
        run.delete_gone(sync, writer)
    return run.finish()


def _embed(
    inputs: Iterator[ImageInput],
    load_encoder: Callable[[], ImageEncoder],
    batch_size: int | None,
    workers: int | None,
    run: Run,
) -> Generator[EmbeddedBatch, None, None]:
    """Embed the inputs; a model is loaded when there is one."""
    if (first := next(inputs, None)) is None:
        return
    with run.clock.measure(LOAD):
        encoder = load_encoder()
    yield from embed(
        chain((first,), inputs),
        (encoder,),
        batch_size=batch_size,
        on_failure=run.fail,
        workers=workers,
        clock=run.clock,
    )


class Run:
    """The counts of one indexing run, and what is done with each kind of input."""

    def __init__(self, store: VectorStore, progress: Progress, clock: StageClock | None = None) -> None:
        self.progress = progress
        self.clock = clock or StageClock()
        self._store = store
        self._seen = self._indexed = self._updated = self._unchanged = 0
        self._renamed = self._copied = self._deleted = 0
        self._replaced: set[str] = set()
        self._failures: list[Failure] = []
        self._known_failures = {failure.path for failure in read_failures(store)}
        self._settled: set[str] = set()  # of these: seen again, or gone

    def without(self, embedded: Sequence[EmbeddedBatch], inputs: Iterable[ImageInput]) -> Iterator[ImageInput]:
        """Yield the inputs that are not embedded yet."""
        ids = {record.id for batch in embedded for record in batch.records}
        self._seen += len(ids)
        return (item for item in inputs if item.id not in ids)

    def changed(self, inputs: Iterable[ImageInput], pool: Executor) -> Iterator[ImageInput]:
        """Yield the inputs that are new or changed; bring the payloads of the others up to date."""
        compared = compare(inputs, self._store, pool)
        while changes := self._measured(compared):
            self._seen += len(changes)
            self._settled.update(self._known_failures.intersection(change.input.path for change in changes))
            self._refresh([change for change in changes if change.state in (State.UNCHANGED, State.DESCRIBED)])
            for change in changes:
                if change.state is State.CHANGED:
                    self._replaced.add(change.input.id)
                if change.state in (State.NEW, State.CHANGED):
                    yield change.input

    def without_twins(
        self, inputs: Iterator[ImageInput], pool: Executor, writer: Writer, *, hold: bool
    ) -> Iterator[ImageInput]:
        """Yield the inputs whose bytes the store does not hold; write the others, with the vectors that it has.

        Files are read and hashed ahead, while the models work; ``hold`` keeps the bytes of those that are yielded.
        """
        read = partial(read_and_hash, hold=hold)
        hashed = map_in_order(pool, read, inputs, ahead=lambda: 2 * _LOOKED_UP_AT_ONCE)
        while chunk := self._take(hashed):
            with self.clock.measure(COMPARE):
                twins = find_twins(chunk, self._store)
            if twins:
                points = to_points(twins)
                writer.put(points, self.replaced(points.ids))
                if moved := [twin.id for twin in twins if twin.moved]:
                    writer.delete(moved)
                    writer.drain()  # before the next ones look for their twins
                self._replaced.difference_update(points.ids)
                self._renamed += len(moved)
                self._copied += len(twins) - len(moved)
                self.progress.advance(len(twins))
            found = {twin.input.id for twin in twins}
            yield from (item.input for item in chunk if item.input.id not in found)

    def write(self, points: Points, failures: Iterable[Failure], writer: Writer) -> None:
        """Pass aligned points on to the store."""
        if points.ids:
            writer.put(points, self.replaced(points.ids))
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
        self.progress.advance(len(ids))

    def fail(self, failure: Failure) -> None:
        """Note an image that cannot be indexed."""
        self._failures.append(failure)
        self.progress.fail(failure)
        self.progress.advance(1)

    def delete_gone(self, paths: Sequence[str], writer: Writer) -> None:
        """Delete the points at or below the paths whose files are gone, and forget the failures of such files."""
        writer.drain()
        for ids in gone_points(self._store, paths):
            if ids:
                writer.delete(ids)
                self._deleted += len(ids)
        left = self._known_failures - self._settled
        self._settled.update(path for path in left if is_at_or_below(path, paths) and is_gone(path))

    def finish(self) -> IndexReport:
        """Store the failures, those of other inputs in earlier runs included, and report."""
        change_failures(self._store, settled=self._settled, new=self._failures)
        return IndexReport(
            seen=self._seen,
            indexed=self._indexed,
            renamed=self._renamed,
            copied=self._copied,
            updated=self._updated,
            unchanged=self._unchanged,
            deleted=self._deleted,
            failures=tuple(self._failures),
            seconds=self.clock.elapsed,
            profile=self.clock.profile(),
        )

    def _take(self, hashed: Iterator[Hashed]) -> list[Hashed]:
        with self.clock.measure(COMPARE):
            return list(islice(hashed, _LOOKED_UP_AT_ONCE))

    def _measured(self, compared: Iterator[list[Change]]) -> list[Change]:
        with self.clock.measure(COMPARE):
            return next(compared, [])

    def _refresh(self, changes: list[Change]) -> None:
        stale = {change.input.id: change.payload for change in changes if change.payload is not None}
        if stale:
            self._store.set_payload(list(stale), list(stale.values()))
        described = sum(change.state is State.DESCRIBED for change in changes)
        self._updated += described
        self._unchanged += len(changes) - described
        self.progress.advance(len(changes))
