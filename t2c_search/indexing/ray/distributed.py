"""The same stages on Ray: the caller's process compares inputs with the store, workers embed, align and write.

Workers write to a server themselves, the same point again if need be; an embedded store belongs to the caller's
process, which then writes what they return.

A new collection's sample goes through both models on Ray as well. Each call sums up its pairs for the fit, and the caller's
process merges the sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.indexing.batch_size import LARGEST_BATCH, LARGEST_ON_CUDA
from t2c_search.indexing.embedding import align, embed
from t2c_search.indexing.pairs import PairModels, SummedPairs, sum_pairs
from t2c_search.indexing.pipeline import Run
from t2c_search.indexing.ray.cluster import Cluster, Placement
from t2c_search.indexing.ray.crew import OutcomeT, Part, work_on
from t2c_search.indexing.writer import Writer
from t2c_search.profile import EMBED, LOAD, WAIT_WORKERS, WAIT_WRITE, StageClock
from t2c_search.sources import ImageInput
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, EncoderRef, Failure, Points

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.embedding import Projection

_BATCHES = 16  # in one call: the model waits for its first one to be decoded, and its answer carries statistics
_PAIRS = 4_096  # in one call: their moments are no larger than their rows, 44 and 42 MB at 2,048 + 512 dimensions
_SHARES = 2  # of the sample for each worker: one may be slower


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
    dim = store.spec().dims[CLIP]

    def plan(placement: Placement) -> tuple[_IndexJob, Iterator[Part]]:
        run.clock.use_workers(placement.workers, placement.cpus)
        job = _IndexJob(load_model, opens, dim, batch_size, placement.cpus, keep_native)
        return job, _parts(chain((first,), inputs), _sizes(placement, batch_size), store, run)

    with closing(work_on(plan, _Indexer, cluster)) as outcomes:
        while answer := _timed(outcomes, run.clock):
            part, outcome = answer
            for points in outcome.unwritten:
                run.write(points, (), writer)
            writer.merge(outcome.statistics, _among(part.former, outcome.written))
            run.clock.add_of_worker(outcome.seconds)
            run.record(outcome.written, outcome.failures)


def embed_pairs_on_ray(
    inputs: Sequence[ImageInput],
    keep: bool,
    *,
    load_models: Callable[[], tuple[ImageEncoder, ImageEncoder]],
    refs: tuple[EncoderRef, EncoderRef],
    cluster: Cluster,
    clock: StageClock,
    batch_size: int | None = None,
) -> Generator[SummedPairs, None, None]:
    """Embed images with two models on Ray, decoding each once, and sum the pairs up for a fit, in any order.

    ``keep`` asks for the first model's rows too. ``load_models`` is called in the worker processes; ``refs`` are the two.
    Raises as ``embed_on_ray`` does, and AlignmentError on rows that are not what the models should give.
    """

    def plan(placement: Placement) -> tuple[_PairJob, Iterator[Part]]:
        clock.use_workers(placement.workers, placement.cpus)
        share = -(-len(inputs) // (_SHARES * placement.workers))
        size = min(max(share, batch_size or LARGEST_BATCH), _PAIRS)
        parts = (Part(list(inputs[start : start + size])) for start in range(0, len(inputs), size))
        return _PairJob(load_models, refs, len(inputs), keep, batch_size, placement.cpus), parts

    with closing(work_on(plan, _PairEmbedder, cluster)) as outcomes:
        while answer := _timed(outcomes, clock):
            yield answer[1]


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
    failures: list[Failure] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    unwritten: list[Points] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)


class _Indexer:
    """Embeds and aligns images, and writes them where that is allowed."""

    def __init__(self, job: _IndexJob) -> None:
        self._job, self._clock = job, StageClock()
        with self._clock.measure(LOAD):
            self._encoder, self._projection = job.load_model()
        self._store = job.open_store() if job.open_store else None

    def begin(self) -> _Indexed:
        """Return the outcome of no images."""
        return _Indexed(VectorStatistics(self._job.dim))

    def work(self, inputs: Iterable[ImageInput], outcome: _Indexed) -> None:
        """Index some images."""
        clock, self._clock = self._clock, StageClock()
        batches = embed(
            inputs,
            (self._encoder,),
            batch_size=self._job.batch_size,
            on_failure=outcome.failures.append,
            workers=self._job.threads,
            clock=clock,
        )
        with closing(batches):
            for batch in batches:
                with clock.measure(EMBED):
                    points, failures = align(batch, self._projection, self._job.keep_native)
                outcome.failures.extend(failures)
                if self._store is None:
                    outcome.unwritten.append(points)
                elif points.ids:
                    with clock.measure(WAIT_WRITE):
                        self._store.upsert(points)
                    outcome.written.extend(points.ids)
                    outcome.statistics.add(points.ids, points.vectors[CLIP])
        outcome.seconds.update(clock.seconds)


@dataclass(frozen=True, slots=True)
class _PairJob:
    """What an embedder of pairs needs; ``among`` is how many images there are in all."""

    load_models: Callable[[], tuple[ImageEncoder, ImageEncoder]]
    refs: tuple[EncoderRef, EncoderRef]
    among: int
    keep: bool
    batch_size: int | None
    threads: int


class _PairEmbedder:
    """Embeds images with two models, and sums the pairs up."""

    def __init__(self, job: _PairJob) -> None:
        self._job, self._clock = job, StageClock()
        with self._clock.measure(LOAD):
            self._models = PairModels(job.load_models(), job.refs)

    def begin(self) -> SummedPairs:
        """Return the outcome of no images, on the CPU: the caller's process may have no GPU."""
        import torch

        from t2c_search.alignment.held_out import PairSplit

        return SummedPairs(PairSplit(self._job.among, torch.device("cpu")))

    def work(self, inputs: Iterable[ImageInput], outcome: SummedPairs) -> None:
        """Embed some images."""
        import torch

        job, clock = self._job, self._clock
        self._clock = StageClock()
        summed = sum_pairs(
            inputs,
            self._models,
            among=job.among,
            keep=job.keep,
            batch_size=job.batch_size,
            workers=job.threads,
            clock=clock,
        )
        with closing(summed):
            for part in summed:
                outcome.merge(part, torch.device("cpu"))
        outcome.seconds.update(clock.seconds)


def _sizes(placement: Placement, batch_size: int | None) -> Iterator[int]:
    """Yield the sizes of parts, growing, so that few images are spread over all workers too."""
    batch = batch_size or (LARGEST_ON_CUDA if placement.gpus else LARGEST_BATCH)
    return (batch * min(1 + number // placement.workers, _BATCHES) for number in count())


def _parts(inputs: Iterator[ImageInput], sizes: Iterator[int], store: VectorStore, run: Run) -> Iterator[Part]:
    while chunk := list(islice(inputs, next(sizes))):
        replaced = list(run.replaced(item.id for item in chunk))
        yield Part(chunk, store.fetch(replaced, vectors=(CLIP,), payload=False))


def _timed(outcomes: Iterator[tuple[Part, OutcomeT]], clock: StageClock) -> tuple[Part, OutcomeT] | None:
    with clock.measure(WAIT_WORKERS):
        return next(outcomes, None)


def _among(points: Points, ids: Sequence[str]) -> Points:
    """Return those of the points that have one of the ids."""
    rows = np.flatnonzero(np.isin(points.ids, ids))
    return Points([points.ids[row] for row in rows], [], {CLIP: points.vectors[CLIP][rows]})
