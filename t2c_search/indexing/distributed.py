"""The same stages on Ray: the caller's process compares inputs with the store, workers embed, align and write.

Workers write to a server themselves, the same point again if need be; an embedded store belongs to the caller's
process, which then writes what they return.

A new collection's sample goes through both models on Ray as well. Its rows come back, and the caller's process adds them
up for the fit: the moments of a part would be larger than its rows, unless a part had more images than a row has numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.indexing.batch_size import LARGEST_BATCH
from t2c_search.indexing.crew import Cluster, Part, hired
from t2c_search.indexing.embedding import EmbeddedBatch, align, embed
from t2c_search.indexing.pipeline import Run
from t2c_search.indexing.profile import EMBED
from t2c_search.indexing.sources import ImageInput
from t2c_search.indexing.writer import Writer
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Failure, Points

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.embedding import Projection

_BATCHES = 16  # in one call, whose answer carries 8 d^2 bytes of statistics, and a sample of the vectors
_SAMPLE_BATCHES = 2  # in one call, whose answer carries the rows of both models


def embed_on_ray(
    inputs: Iterator[ImageInput],
    run: Run,
    writer: Writer,
    *,
    store: VectorStore,
    load_model: Callable[[], tuple[ImageEncoder, Projection]],
    open_store: Callable[[], VectorStore],
    cluster: Cluster,
    batch_size: int | None = None,
    keep_native: bool = False,
) -> None:
    """Embed, align and write a run's inputs on Ray.

    ``load_model`` and ``open_store`` are called in the worker processes, so they must be picklable, and the images and
    the model must be found there under the same paths.

    Raises UsageError when Ray or the cluster cannot be used, EncoderError when the model cannot be loaded or workers
    keep dying, StoreError when the store fails.
    """
    if (first := next(inputs, None)) is None:
        return
    writer.claim()
    opens = open_store if store.capabilities.concurrent else None
    dim = store.spec().vectors[CLIP]

    def job(threads: int) -> _IndexJob:
        return _IndexJob(load_model, opens, dim, batch_size, threads, keep_native)

    with hired(_Indexer, job, cluster) as crew:
        parts = _parts(chain((first,), inputs), _BATCHES * (batch_size or LARGEST_BATCH), store, run)
        outcomes = crew.run(parts, run.fail)
        while answer := _timed(outcomes, run):
            part, outcome = answer
            for points in outcome.unwritten:
                run.write(points, (), writer)
            writer.merge(outcome.statistics, _among(part.former, outcome.written))
            run.record(outcome.written, outcome.failures)


def embed_pairs_on_ray(
    inputs: Sequence[ImageInput],
    on_failure: Callable[[Failure], None],
    *,
    load_models: Callable[[], tuple[ImageEncoder, ImageEncoder]],
    cluster: Cluster,
    batch_size: int | None = None,
) -> Iterator[EmbeddedBatch]:
    """Embed images with two models on Ray, decoding each once; the batches come on the CPU, in any order.

    ``load_models`` is called in the worker processes. Raises as ``embed_on_ray`` does.
    """
    size = _SAMPLE_BATCHES * (batch_size or LARGEST_BATCH)
    parts = (Part(list(inputs[start : start + size])) for start in range(0, len(inputs), size))

    def job(threads: int) -> _PairJob:
        return _PairJob(load_models, batch_size, threads)

    with hired(_PairEmbedder, job, cluster) as crew:
        for _, outcome in crew.run(parts, on_failure):
            for failure in outcome.failures:
                on_failure(failure)
            yield from outcome.batches


@dataclass(frozen=True, slots=True)
class _IndexJob:
    """What an indexer needs; ``open_store`` is None where only the caller's process may write."""

    load_model: Callable[[], tuple[ImageEncoder, Projection]]
    open_store: Callable[[], VectorStore] | None
    dim: int
    batch_size: int | None
    threads: int
    keep_native: bool


@dataclass(frozen=True, slots=True)
class _Indexed:
    """What became of a part: ids written and the statistics of their vectors, failures, points left to be written."""

    statistics: VectorStatistics
    written: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unwritten: list[Points] = field(default_factory=list)


class _Indexer:
    """Embeds and aligns images, and writes them where that is allowed."""

    def __init__(self, job: _IndexJob) -> None:
        self._job = job

    def start(self) -> None:
        """Load the model and reach for the store."""
        self._encoder, self._projection = self._job.load_model()
        self._store = self._job.open_store() if self._job.open_store else None

    def work(self, inputs: list[ImageInput]) -> _Indexed:
        """Index some images."""
        outcome = _Indexed(VectorStatistics(self._job.dim))
        batches = embed(
            inputs,
            (self._encoder,),
            batch_size=self._job.batch_size,
            on_failure=outcome.failures.append,
            workers=self._job.threads,
        )
        with closing(batches):
            for batch in batches:
                points, failures = align(batch, self._projection, self._job.keep_native)
                outcome.failures.extend(failures)
                if self._store is None:
                    outcome.unwritten.append(points)
                elif points.ids:
                    self._store.upsert(points)
                    outcome.written.extend(points.ids)
                    outcome.statistics.add(points.ids, points.vectors[CLIP])
        return outcome


@dataclass(frozen=True, slots=True)
class _PairJob:
    """What an embedder of pairs needs."""

    load_models: Callable[[], tuple[ImageEncoder, ImageEncoder]]
    batch_size: int | None
    threads: int


@dataclass(frozen=True, slots=True)
class _Pairs:
    """What became of a part: batches of both models' rows, and failures."""

    batches: list[EmbeddedBatch] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class _PairEmbedder:
    """Embeds images with two models."""

    def __init__(self, job: _PairJob) -> None:
        self._job = job

    def start(self) -> None:
        """Load the models."""
        self._encoders = self._job.load_models()

    def work(self, inputs: list[ImageInput]) -> _Pairs:
        """Embed some images."""
        outcome = _Pairs()
        for batch in embed(
            inputs,
            self._encoders,
            batch_size=self._job.batch_size,
            on_failure=outcome.failures.append,
            workers=self._job.threads,
        ):
            outcome.batches.append(EmbeddedBatch(batch.records, tuple(rows.cpu() for rows in batch.vectors)))
        return outcome


def _parts(inputs: Iterator[ImageInput], size: int, store: VectorStore, run: Run) -> Iterator[Part]:
    while chunk := list(islice(inputs, size)):
        replaced = list(run.replaced(item.id for item in chunk))
        yield Part(chunk, store.fetch(replaced, vectors=(CLIP,), payload=False))


def _timed(outcomes: Iterator[tuple[Part, _Indexed]], run: Run) -> tuple[Part, _Indexed] | None:
    with run.clock.measure(EMBED):
        return next(outcomes, None)


def _among(points: Points, ids: Sequence[str]) -> Points:
    """Return those of the points that have one of the ids."""
    rows = np.flatnonzero(np.isin(points.ids, ids))
    return Points([points.ids[row] for row in rows], [], {CLIP: points.vectors[CLIP][rows]})
