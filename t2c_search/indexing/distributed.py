"""The same stages on Ray: the caller's process compares inputs with the store, workers embed, align and write.

Workers write to a server themselves, the same point again if need be; an embedded store belongs to the caller's
process, which then writes what they return. A worker that dies is replaced, and its images go to others in halves: one
that kills its workers ends up alone, and is reported.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from t2c_search.errors import EncoderError, UsageError
from t2c_search.indexing.embedding import align, embed
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
_CALLS = 2  # of one worker at once: it decodes for one while the other one's images are in the model
_CONNECT_SECONDS = 5.0
_DEATHS = 5  # of each worker without one call completed: it is not the images


def import_ray() -> ModuleType:
    """Return Ray, told to report nothing to its makers. Raises UsageError when it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as exc:
        raise UsageError("engine 'ray' needs Ray, which is not installed: pip install t2c-search[ray]") from exc
    return ray


def embed_on_ray(
    inputs: Iterator[ImageInput],
    run: Run,
    writer: Writer,
    *,
    store: VectorStore,
    load_model: Callable[[], tuple[ImageEncoder, Projection]],
    open_store: Callable[[], VectorStore],
    batch_size: int,
    keep_native: bool = False,
    workers: int | None = None,
    use_gpus: bool = False,
    address: str | None = None,
) -> None:
    """Embed, align and write a run's inputs on the Ray cluster at ``address``, or on this machine's processors when None.

    ``load_model`` and ``open_store`` are called in the worker processes, so they must be picklable, and the images and
    the model must be found there under the same paths. Each worker takes a GPU with its share of the processors, or
    ``workers`` processors (one when None) where there are no GPUs or ``use_gpus`` is not set.

    Raises UsageError when Ray or the cluster cannot be used, EncoderError when the model cannot be loaded or workers
    keep dying, StoreError when the store fails.
    """
    if (first := next(inputs, None)) is None:
        return
    writer.claim()
    with redirect_stdout(sys.stderr), _connected(address) as ray:  # Ray tells there of workers that died
        placement = _place([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, use_gpus)
        job = _Job(
            load_model,
            open_store if store.capabilities.concurrent else None,
            dim=store.spec().vectors[CLIP],
            batch_size=batch_size,
            threads=placement.cpus,
            keep_native=keep_native,
        )
        with closing(_Crew(ray, job, placement)) as crew:
            outcomes = crew.run(_parts(chain((first,), inputs), _BATCHES * batch_size, store, run), run.fail)
            while answer := _timed(outcomes, run):
                part, outcome = answer
                for points in outcome.unwritten:
                    run.write(points, (), writer)
                writer.merge(outcome.statistics, _among(part.former, outcome.written))
                run.record(outcome.written, outcome.failures)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker needs; ``open_store`` is None where only the caller's process may write."""

    load_model: Callable[[], tuple[ImageEncoder, Projection]]
    open_store: Callable[[], VectorStore] | None
    dim: int
    batch_size: int
    threads: int
    keep_native: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """Images for one call, the vectors that the store holds of those that changed, and whether a worker died of it."""

    inputs: list[ImageInput]
    former: Points
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a part: ids written and the statistics of their vectors, failures, points left to be written."""

    statistics: VectorStatistics
    written: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unwritten: list[Points] = field(default_factory=list)


class _Worker:
    """Holds the model, in a process of its own."""

    def __init__(self, job: _Job) -> None:
        self._job = job

    def start(self) -> None:
        """Load the model and reach for the store, before anything else; not in ``__init__``, whose errors Ray hides."""
        self._encoder, self._projection = self._job.load_model()
        self._store = self._job.open_store() if self._job.open_store else None

    def index(self, inputs: list[ImageInput]) -> _Outcome:
        """Embed and align images, and write them where that is allowed; may run in several threads at once."""
        outcome = _Outcome(VectorStatistics(self._job.dim))
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


@contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Connect to a cluster, or start Ray on this machine; a connection that is there already is used and kept.

    Raises UsageError when no cluster answers.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        _check_address(address)
    else:
        os.environ.setdefault("RAY_worker_niceness", "0")  # as without Ray; by default its workers yield to all
    try:
        ray.init(
            address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise UsageError(f"no Ray cluster can be used at {address or 'this machine'!r}: {exc}") from exc
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise UsageError when nothing listens there; Ray itself would try for minutes. ``auto`` names no place to look."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.port is not None:
            socket.create_connection((place.hostname or "", place.port), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({exc}): name its head as host:port, usually port 6379, or auto on a "
            "machine of the cluster"
        ) from exc


@dataclass(frozen=True, slots=True)
class _Placement:
    """How many workers there is room for, and the processors and GPUs that each takes."""

    workers: int
    cpus: int
    gpus: int


def _place(nodes: Sequence[Mapping[str, float]], threads: int | None, use_gpus: bool) -> _Placement:
    """Share out the machines' resources: a worker for each GPU, or else for each ``threads`` processors (one when None).

    Raises UsageError when there is room for none.
    """
    rooms = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    gpus = sum(gpus for _, gpus in rooms) if use_gpus else 0
    if gpus:
        rooms = [(cpus, gpus) for cpus, gpus in rooms if gpus]
        each = threads or max(1, min(cpus // gpus for cpus, gpus in rooms))
        workers = sum(min(cpus // each, gpus) for cpus, gpus in rooms)
    else:
        each = threads or 1
        workers = sum(cpus // each for cpus, _ in rooms)
    if not workers:
        raise UsageError(f"no machine of the Ray cluster has {each} processors for a worker: name fewer with --workers")
    return _Placement(workers, each, min(gpus, 1))


class _Crew:
    """The workers, each with at most ``_CALLS`` parts in hand; one that dies is replaced, and its parts are halved."""

    def __init__(self, ray: ModuleType, job: _Job, placement: _Placement) -> None:
        self._ray = ray
        actor = ray.remote(num_cpus=placement.cpus, num_gpus=placement.gpus, max_concurrency=_CALLS)(_Worker)
        self._hire = partial(actor.remote, ray.put(job))
        self._size = placement.workers
        self._calls: dict[Any, tuple[Any, _Part | None]] = {}  # answer to come -> worker and part; None: it starts
        self._workers: set[Any] = set()
        self._free: deque[Any] = deque()  # a worker once for every further call that it may get
        self._lost: deque[_Part] = deque()
        self._suspects: deque[_Part] = deque()  # single images whose worker died, of them or of what it had beside them
        self._deaths = 0
        for _ in range(self._size):
            self._start_one()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker)

    def run(self, parts: Iterator[_Part], on_failure: Callable[[Failure], None]) -> Iterator[tuple[_Part, _Outcome]]:
        """Yield every part, whole or in pieces, with its outcome, in the order of their completion.

        Raises EncoderError when workers keep dying, and what a worker raised.
        """
        upcoming = next(parts, None)
        while upcoming or self._lost or self._suspects or self._is_busy():
            if self._free and self._lost:
                self._give(self._lost.popleft())
            elif self._free and upcoming:
                self._give(upcoming)
                upcoming = next(parts, None)
            elif self._free and self._suspects and not self._is_busy():
                self._give(self._suspects.popleft())  # alone, so that its worker can die of nothing else
            elif answer := self._wait(on_failure):
                yield answer

    def _start_one(self) -> None:
        worker = self._hire()
        self._workers.add(worker)
        self._calls[worker.start.remote()] = worker, None

    def _is_busy(self) -> bool:
        return any(part for _, part in self._calls.values())

    def _give(self, part: _Part) -> None:
        worker = self._free.popleft()
        self._calls[worker.index.remote(part.inputs)] = worker, part

    def _wait(self, on_failure: Callable[[Failure], None]) -> tuple[_Part, _Outcome] | None:
        """Wait for one call to end; return its part and outcome unless it was a start, or its worker died."""
        (call,), _ = self._ray.wait(list(self._calls))
        worker, part = self._calls.pop(call)
        try:
            outcome = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as exc:
            raise exc.cause from exc
        except self._ray.exceptions.RayError as exc:
            self._replace(worker, str(exc))
            if part is not None:
                self._halve(part, on_failure)
            return None
        if part is None:
            self._free.extend([worker] * _CALLS)
            return None
        self._free.append(worker)
        self._deaths = 0
        return part, outcome

    def _replace(self, worker: Any, reason: str) -> None:
        if worker not in self._workers:
            return  # another call of its told so before
        self._ray.kill(worker)  # it may only be out of reach
        self._workers.remove(worker)
        self._free = deque(other for other in self._free if other != worker)
        self._deaths += 1
        if self._deaths > _DEATHS * self._size:
            raise EncoderError(
                f"the worker processes die, {self._deaths} in a row, for lack of memory perhaps: try a smaller "
                f"--batch-size, or fewer processes with more threads each (--workers). The last one: {reason}"
            )
        self._start_one()

    def _halve(self, part: _Part, on_failure: Callable[[Failure], None]) -> None:
        """Give a part out anew in two pieces, a single image once more at the end; then it is a failure."""
        middle = len(part.inputs) // 2
        if middle:
            self._lost += (replace(part, inputs=part.inputs[:middle]), replace(part, inputs=part.inputs[middle:]))
        elif not part.suspect:
            self._suspects.append(replace(part, suspect=True))
        else:
            on_failure(Failure(part.inputs[0].path, "the process that worked on it died, twice"))


def _parts(inputs: Iterator[ImageInput], size: int, store: VectorStore, run: Run) -> Iterator[_Part]:
    while chunk := list(islice(inputs, size)):
        replaced = list(run.replaced(item.id for item in chunk))
        yield _Part(chunk, store.fetch(replaced, vectors=(CLIP,), payload=False))


def _timed(outcomes: Iterator[tuple[_Part, _Outcome]], run: Run) -> tuple[_Part, _Outcome] | None:
    with run.clock.measure(EMBED):
        return next(outcomes, None)


def _among(points: Points, ids: Sequence[str]) -> Points:
    """Return those of the points that have one of the ids."""
    rows = np.flatnonzero(np.isin(points.ids, ids))
    return Points([points.ids[row] for row in rows], [], {CLIP: points.vectors[CLIP][rows]})
