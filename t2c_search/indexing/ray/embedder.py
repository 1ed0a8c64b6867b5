"""Images through models in worker processes on Ray: the caller's process compares, and takes in what came of them.

Workers write to a server themselves, the same point again if need be; an embedded store belongs to the caller's
process, which then writes what they return.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.indexing.batching import LARGEST_BATCH, LARGEST_ON_CUDA, Batching
from t2c_search.indexing.pairs import PairModels, PairTask, SummedPairs
from t2c_search.indexing.ray.cluster import Cluster, Placement
from t2c_search.indexing.ray.crew import OutcomeT, Part, work_on
from t2c_search.indexing.ray.workers import Indexer, IndexJob, PairJob, PairSummer
from t2c_search.profile import WAIT_WORKERS, StageClock
from t2c_search.stores import open_store
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points

if TYPE_CHECKING:
    from t2c_search.indexing.pipeline import Run
    from t2c_search.sources import ImageInput

_BATCHES = 16  # in one call: the model waits for its first one to be decoded, and its answer carries statistics
_PAIRS = 4_096  # in one call: their moments are no larger than their rows, 44 and 42 MB at 2,048 + 512 dimensions
_SHARES = 2  # of the sample for each worker: one may be slower


@dataclass(frozen=True, slots=True)
class RayEmbedder:
    """Sends images through models in worker processes, which open a server with the ``api_key``.

    What loads the models must be picklable, and the images and the models must be found there under the same paths.
    Both methods raise UsageError, too, when Ray or the cluster cannot be used, and EncoderError when workers keep dying.
    """

    cluster: Cluster
    batching: Batching
    api_key: str | None = None

    @property
    def is_here(self) -> bool:
        """It is not."""
        return False

    def embed(self, inputs: Iterator[ImageInput], run: Run) -> None:
        """Embed, align and write images."""
        if (first := next(inputs, None)) is None:
            return
        run.writer.claim()
        store, clock = run.store, run.monitor.clock
        opened = partial(_open_pinned, store.header(), store.location, store.collection, self.api_key)

        def plan(placement: Placement) -> tuple[IndexJob, Iterator[Part]]:
            clock.use_workers(placement.workers, placement.cpus)
            job = IndexJob(
                run.load_models,
                opened if store.capabilities.concurrent else None,
                self._batching_on(placement),
                store.spec().dims[CLIP],
                run.keep_native,
            )
            return job, _parts(chain((first,), inputs), self._sizes(placement), run)

        with closing(work_on(plan, Indexer, self.cluster, self.batching.workers)) as outcomes:
            while answer := _timed(outcomes, clock):
                part, outcome = answer
                for points in outcome.unwritten:
                    run.write(points)
                run.writer.merge(outcome.statistics, _among(part.former, outcome.written))
                clock.add_of_worker(outcome.seconds)
                run.record(outcome.written, outcome.failures)

    def sum_pairs(
        self, sample: Sequence[ImageInput], models: PairModels, *, keep: bool, clock: StageClock
    ) -> Generator[SummedPairs, None, None]:
        """Embed a sample in parts, each of which is summed up by its worker."""

        def plan(placement: Placement) -> tuple[PairJob, Iterator[Part]]:
            clock.use_workers(placement.workers, placement.cpus)
            share = -(-len(sample) // (_SHARES * placement.workers))
            size = min(max(share, self.batching.batch_size or LARGEST_BATCH), _PAIRS)
            parts = (Part(list(sample[start : start + size])) for start in range(0, len(sample), size))
            return PairJob(models.load, PairTask.of(models, len(sample), keep), self._batching_on(placement)), parts

        with closing(work_on(plan, PairSummer, self.cluster, self.batching.workers)) as outcomes:
            while answer := _timed(outcomes, clock):
                yield answer[1]

    def _batching_on(self, placement: Placement) -> Batching:
        """Return the batching of one worker."""
        return replace(self.batching, workers=placement.cpus)

    def _sizes(self, placement: Placement) -> Iterator[int]:
        """Yield the sizes of parts, growing, so that few images are spread over all workers too."""
        batch = self.batching.batch_size or (LARGEST_ON_CUDA if placement.gpus else LARGEST_BATCH)
        return (batch * min(1 + number // placement.workers, _BATCHES) for number in count())


def _open_pinned(header: Header, location: str, collection: str, api_key: str | None) -> VectorStore:
    """Open the collection in a worker, as it is to the run: another one that takes its place is not written to."""
    return open_store(location, collection, api_key=api_key).pinned(header)


def _parts(inputs: Iterator[ImageInput], sizes: Iterator[int], run: Run) -> Iterator[Part]:
    while chunk := list(islice(inputs, next(sizes))):
        replaced = list(run.replaced(item.id for item in chunk))
        yield Part(chunk, run.store.fetch(replaced, vectors=(CLIP,), payload=False))


def _timed(outcomes: Iterator[tuple[Part, OutcomeT]], clock: StageClock) -> tuple[Part, OutcomeT] | None:
    with clock.measure(WAIT_WORKERS):
        return next(outcomes, None)


def _among(points: Points, ids: Sequence[str]) -> Points:
    """Return those of the points that have one of the ids."""
    rows = np.flatnonzero(np.isin(points.ids, ids))
    return Points([points.ids[row] for row in rows], [], {CLIP: points.vectors[CLIP][rows]})
