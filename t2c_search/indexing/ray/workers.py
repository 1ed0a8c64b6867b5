"""What each worker process on Ray does with its part of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from t2c_search.indexing.aligning import align
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedding import embed
from t2c_search.indexing.pairs import PairTask, SummedPairs, sum_pairs
from t2c_search.profile import LOAD, WAIT_WRITE, StageClock
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Failure, Points

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.aligning import Projection
    from t2c_search.indexing.pairs import Pair
    from t2c_search.sources import ImageInput


@dataclass(frozen=True, slots=True)
class IndexJob:
    """What an Indexer needs; ``open_store`` is None where only the caller's process may write."""

    load_models: Callable[[], tuple[ImageEncoder, Projection]]
    open_store: Callable[[], VectorStore] | None
    batching: Batching
    dim: int
    keep_native: bool


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of a part: ids written and the statistics of their vectors, failures, points left to be written."""

    statistics: VectorStatistics
    failures: list[Failure] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    unwritten: list[Points] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)


class Indexer:
    """Embeds and aligns images, and writes them where that is allowed."""

    def __init__(self, job: IndexJob) -> None:
        self._job, self._clock = job, StageClock()
        with self._clock.measure(LOAD):
            self._encoder, self._projection = job.load_models()
        self._store = job.open_store() if job.open_store else None

    def begin(self) -> Indexed:
        """Return the outcome of no images."""
        return Indexed(VectorStatistics(self._job.dim))

    def work(self, inputs: Iterable[ImageInput], outcome: Indexed) -> None:
        """Index some images."""
        job, clock = self._job, self._clock
        self._clock = StageClock()
        fail = outcome.failures.append
        with closing(embed(inputs, (self._encoder,), on_failure=fail, batching=job.batching, clock=clock)) as batches:
            for points, failures in align(batches, self._projection, job.keep_native, clock):
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
class PairJob:
    """What a PairSummer needs."""

    load_models: Callable[[], Pair]
    task: PairTask
    batching: Batching


class PairSummer:
    """Embeds images with two models, and sums the pairs up."""

    def __init__(self, job: PairJob) -> None:
        self._job, self._clock = job, StageClock()
        with self._clock.measure(LOAD):
            self._models = job.load_models()

    def begin(self) -> SummedPairs:
        """Return the outcome of no images, on the CPU: the caller's process may have no GPU."""
        import torch

        from t2c_search.alignment.held_out import PairSplit

        return SummedPairs(PairSplit(self._job.task.among, torch.device("cpu")))

    def work(self, inputs: Iterable[ImageInput], outcome: SummedPairs) -> None:
        """Embed some images."""
        import torch

        job, clock = self._job, self._clock
        self._clock = StageClock()
        with closing(sum_pairs(inputs, self._models, job.task, job.batching, clock)) as summed:
            for part in summed:
                outcome.merge(part, torch.device("cpu"))
        outcome.seconds.update(clock.seconds)
