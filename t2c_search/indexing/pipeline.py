"""The stages of indexing, each bounded so that memory stays constant: read and decode | embed and align | write.

Threads read and decode (Pillow releases the interpreter's lock); the caller's thread runs the models; one more thread
writes. Each stage waits when the next is behind, and what it holds is bounded by the batch size and the threads,
never by the collection. A file is read once: its hash, its payload and its pixels come from the same bytes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from t2c_search.errors import T2CError
from t2c_search.indexing.changes import Change, State, compare
from t2c_search.indexing.decode import decode
from t2c_search.indexing.failures import read_failures, write_failures
from t2c_search.indexing.metadata import measured_payload
from t2c_search.indexing.report import IndexReport, NoProgress, Progress
from t2c_search.indexing.sources import ImageInput
from t2c_search.indexing.statistics_state import repair_statistics
from t2c_search.indexing.writer import Writer
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, NATIVE, Failure, Payload, Points

if TYPE_CHECKING:
    import torch

    from t2c_search.encoders.protocols import ImageEncoder

    Projection = Callable[[torch.Tensor], torch.Tensor]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as it is indexed: the point's id and its payload."""

    id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """n records, and for each encoder their vectors (n, d) float32 on its device, as the model gives them."""

    records: list[ImageRecord]
    vectors: tuple[torch.Tensor, ...]


def embed(
    inputs: Iterable[ImageInput],
    encoders: Sequence[ImageEncoder],
    *,
    batch_size: int,
    on_failure: Callable[[Failure], None],
    workers: int | None = None,
) -> Generator[EmbeddedBatch, None, None]:
    """Embed images with one or several encoders, decoding each once, in order, ``batch_size`` at a time.

    ``workers`` threads decode (as many as processors when None); ``inputs`` is read at most a batch and two images per
    thread ahead. An image that cannot be read, decoded or embedded goes to ``on_failure``, in the caller's thread, and
    stops nothing. A batch that the model fails on, for lack of memory above all, is tried again in halves.
    """
    workers = _threads(workers)
    prepare = partial(_prepare, encoders=encoders, decode_size=_decode_size(encoders))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="t2c-decode")
    try:
        prepared = _map_in_order(pool, prepare, inputs, ahead=batch_size + 2 * workers)
        ready = _without_failures(prepared, on_failure)
        while batch := list(islice(ready, batch_size)):
            yield from _encode(batch, encoders, on_failure)
    finally:
        pool.shutdown(cancel_futures=True)


def _threads(workers: int | None) -> int:
    return workers or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One decoded image: its record and, for each encoder, the model's input without the batch axis."""

    record: ImageRecord
    tensors: tuple[torch.Tensor, ...]


def _decode_size(encoders: Sequence[ImageEncoder]) -> int | None:
    """Return the size that suits the most demanding encoder; None, the whole image, beats every number."""
    sizes = [encoder.decode_size for encoder in encoders if encoder.decode_size is not None]
    return max(sizes) if len(sizes) == len(encoders) else None


def _prepare(item: ImageInput, encoders: Sequence[ImageEncoder], decode_size: int | None) -> _Prepared | Failure:
    try:
        content = item.read()
        decoded = decode(content, decode_size)
        payload = {**item.fields, **measured_payload(item.path, item.mtime_ns, content, decoded)}
        tensors = tuple(encoder.prepare(decoded.pixels, item.path) for encoder in encoders)
    except T2CError as exc:
        return Failure(item.path, str(exc))
    except Exception as exc:  # one odd image must not stop a run of millions, whatever a model's preprocessing raises
        return Failure(item.path, f"cannot be prepared for the model: {type(exc).__name__}: {exc}")
    return _Prepared(ImageRecord(item.id, payload), tensors)


def _map_in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Yield ``function`` of every item, in order, with at most ``ahead`` items taken and not yet yielded."""
    window: deque[Future[Result]] = deque()
    for item in items:
        window.append(pool.submit(function, item))
        if len(window) == ahead:
            yield window.popleft().result()
    while window:
        yield window.popleft().result()


def _without_failures(
    prepared: Iterator[_Prepared | Failure], on_failure: Callable[[Failure], None]
) -> Iterator[_Prepared]:
    for item in prepared:
        if isinstance(item, Failure):
            on_failure(item)
        else:
            yield item


def _encode(
    batch: list[_Prepared], encoders: Sequence[ImageEncoder], on_failure: Callable[[Failure], None]
) -> Iterator[EmbeddedBatch]:
    import torch  # here, so that a run that finds nothing to embed never loads it

    try:
        vectors = tuple(
            encoder.encode_images(torch.stack([item.tensors[index] for item in batch]))
            for index, encoder in enumerate(encoders)
        )
    except RuntimeError as exc:  # what torch raises when memory runs out, and most other times
        reason = f"the model failed on it: {exc}"
    else:
        yield EmbeddedBatch([item.record for item in batch], vectors)
        return
    if len(batch) == 1:
        on_failure(Failure(batch[0].record.payload["path"], reason))
        return
    middle = len(batch) // 2
    yield from _encode(batch[:middle], encoders, on_failure)
    yield from _encode(batch[middle:], encoders, on_failure)


def index_images(
    inputs: Iterable[ImageInput],
    *,
    store: VectorStore,
    load_encoder: Callable[[], ImageEncoder],
    load_projection: Callable[[], Projection],
    batch_size: int,
    keep_native: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring an existing collection in line with the inputs: embed what is new or changed, skip the rest.

    The projection maps the encoder's rows (n, d) to unit rows (n, d_clip); both are loaded only when something must be
    embedded. ``keep_native`` stores the encoder's own rows too. A run that is killed loses only what the store had not
    acknowledged; the next one goes on from there and ends with the same collection.

    Raises StoreError when the store fails. Images that fail are in the report and, with the collection, in
    ``failures``.
    """
    run = _Run(store, progress or NoProgress())
    run.progress.start(len(inputs) if isinstance(inputs, Sized) else None, "indexing")
    with ThreadPoolExecutor(_threads(workers), thread_name_prefix="t2c-hash") as pool:
        changed = run.changed(inputs, pool)
        if (first := next(changed, None)) is None:
            repair_statistics(store)
        else:
            encoder, projection = load_encoder(), load_projection()
            batches = embed(
                chain((first,), changed), (encoder,), batch_size=batch_size, on_failure=run.fail, workers=workers
            )
            with Writer(store) as writer, closing(batches):
                for batch in batches:
                    run.write(batch, projection, keep_native, writer)
    return run.finish()


class _Run:
    """The counts of one indexing run, and what is done with each kind of input."""

    def __init__(self, store: VectorStore, progress: Progress) -> None:
        self.progress = progress
        self._store = store
        self._started = time.perf_counter()
        self._seen = self._indexed = self._updated = self._unchanged = 0
        self._replaced: set[str] = set()
        self._failures: list[Failure] = []
        self._known_failures = read_failures(store)
        self._other_failures = {failure.path: failure for failure in self._known_failures}

    def changed(self, inputs: Iterable[ImageInput], pool: Executor) -> Iterator[ImageInput]:
        """Yield the inputs to embed; bring the payloads of the others up to date."""
        for changes in compare(inputs, self._store, pool):
            self._seen += len(changes)
            for change in changes:
                self._other_failures.pop(change.input.path, None)
            self._refresh([change for change in changes if change.state in (State.UNCHANGED, State.DESCRIBED)])
            for change in changes:
                if change.state is State.CHANGED:
                    self._replaced.add(change.input.id)
                if change.state in (State.NEW, State.CHANGED):
                    yield change.input

    def write(self, batch: EmbeddedBatch, projection: Projection, keep_native: bool, writer: Writer) -> None:
        """Align one batch and pass it on to the store."""
        tensors = {CLIP: projection(batch.vectors[0])} | ({NATIVE: batch.vectors[0]} if keep_native else {})
        vectors = {name: rows.float().cpu().numpy() for name, rows in tensors.items()}
        finite = np.isfinite(vectors[CLIP]).all(axis=1)
        for index in np.flatnonzero(~finite):  # half precision overflows on some images
            path = batch.records[index].payload["path"]
            self.fail(Failure(path, "the model gave it a vector that is not finite: try --dtype float32"))
        records = [record for record, good in zip(batch.records, finite, strict=True) if good]
        if records:
            ids = [record.id for record in records]
            vectors = {name: rows[finite] for name, rows in vectors.items()}
            writer.put(Points(ids, [record.payload for record in records], vectors), self._replaced.intersection(ids))
            self._replaced.difference_update(ids)
        self._indexed += len(records)
        self.progress.advance(len(records))

    def fail(self, failure: Failure) -> None:
        """Note an image that cannot be indexed."""
        self._failures.append(failure)
        self.progress.fail(failure)
        self.progress.advance(1)

    def finish(self) -> IndexReport:
        """Store the failures, those of other inputs in earlier runs included, and report."""
        failures = sorted((*self._other_failures.values(), *self._failures), key=lambda failure: failure.path)
        if failures != self._known_failures:
            write_failures(self._store, failures)
        return IndexReport(
            seen=self._seen,
            indexed=self._indexed,
            updated=self._updated,
            unchanged=self._unchanged,
            failures=tuple(self._failures),
            seconds=time.perf_counter() - self._started,
        )

    def _refresh(self, changes: list[Change]) -> None:
        stale = {change.input.id: change.payload for change in changes if change.payload is not None}
        if stale:
            self._store.set_payload(list(stale), list(stale.values()))
        described = sum(change.state is State.DESCRIBED for change in changes)
        self._updated += described
        self._unchanged += len(changes) - described
        self.progress.advance(len(changes))
