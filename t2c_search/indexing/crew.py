"""Worker processes on Ray: images are given out in parts, and none is lost, whichever worker dies.

A worker that dies is replaced, and its images go to others in halves: one that kills its workers ends up alone, and is
reported.
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
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from t2c_search.errors import EncoderError, UsageError
from t2c_search.indexing.sources import ImageInput
from t2c_search.types import Failure, Points

_CALLS = 2  # of one worker at once: it decodes for one while the other one's images are in the model
_CONNECT_SECONDS = 5.0
_DEATHS = 5  # of each worker without one call completed: it is not the images

Outcome = TypeVar("Outcome")
Outcome_co = TypeVar("Outcome_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster, this machine's processors when ``address`` is None, and what each worker takes of it.

    That is a GPU with its share of the processors, or ``threads`` processors (one when None) where there are no GPUs or
    ``use_gpus`` is not set.
    """

    address: str | None = None
    threads: int | None = None
    use_gpus: bool = False


class Worker(Protocol[Outcome_co]):
    """What is held by each process of a crew, made from the crew's job, which must be picklable."""

    def __init__(self, job: Any) -> None: ...

    def start(self) -> None:
        """Get ready, before anything else; not in ``__init__``, whose errors Ray hides."""
        ...

    def work(self, inputs: list[ImageInput]) -> Outcome_co:
        """Do the crew's work on some images; may run in several threads at once."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Images for one call, the vectors that the store holds of those that changed, and whether a worker died of it."""

    inputs: list[ImageInput]
    former: Points = field(default_factory=lambda: Points([], [], {}))
    suspect: bool = False


def import_ray() -> ModuleType:
    """Return Ray, told to report nothing to its makers. Raises UsageError when it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as exc:
        raise UsageError("engine 'ray' needs Ray, which is not installed: pip install t2c-search[ray]") from exc
    return ray


@contextmanager
def hired(worker: type[Worker[Outcome]], job: Callable[[int], Any], cluster: Cluster) -> Iterator[Crew[Outcome]]:
    """Hire as many workers as the cluster has room for; ``job`` makes theirs from the processors that each has.

    Raises UsageError when Ray or the cluster cannot be used.
    """
    with redirect_stdout(sys.stderr), connected(cluster.address) as ray:  # Ray tells there of workers that died
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        placement = place(nodes, cluster.threads, cluster.use_gpus)
        with closing(Crew(ray, worker, job(placement.cpus), placement)) as crew:
            yield crew


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Connect to a cluster, or start Ray on this machine; a connection that is there already is used and kept.

    Raises UsageError when no cluster answers.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        check_address(address)
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


def check_address(address: str) -> None:
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
class Placement:
    """How many workers there is room for, and the processors and GPUs that each takes."""

    workers: int
    cpus: int
    gpus: int


def place(nodes: Sequence[Mapping[str, float]], threads: int | None, use_gpus: bool) -> Placement:
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
    return Placement(workers, each, min(gpus, 1))


class Crew(Generic[Outcome]):
    """The workers, each with at most ``_CALLS`` parts in hand; one that dies is replaced, and its parts are halved."""

    def __init__(self, ray: ModuleType, worker: type[Worker[Outcome]], job: Any, placement: Placement) -> None:
        self._ray = ray
        actor = ray.remote(num_cpus=placement.cpus, num_gpus=placement.gpus, max_concurrency=_CALLS)(worker)
        self._hire = partial(actor.remote, ray.put(job))
        self._size = placement.workers
        self._calls: dict[Any, tuple[Any, Part | None]] = {}  # answer to come -> worker and part; None: it starts
        self._workers: set[Any] = set()
        self._free: deque[Any] = deque()  # a worker once for every further call that it may get
        self._lost: deque[Part] = deque()
        self._suspects: deque[Part] = deque()  # single images whose worker died, of them or of what it had beside them
        self._deaths = 0
        for _ in range(self._size):
            self._start_one()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker)

    def run(self, parts: Iterator[Part], on_failure: Callable[[Failure], None]) -> Iterator[tuple[Part, Outcome]]:
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

    def _give(self, part: Part) -> None:
        worker = self._free.popleft()
        self._calls[worker.work.remote(part.inputs)] = worker, part

    def _wait(self, on_failure: Callable[[Failure], None]) -> tuple[Part, Outcome] | None:
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

    def _halve(self, part: Part, on_failure: Callable[[Failure], None]) -> None:
        """Give a part out anew in two pieces, a single image once more at the end; then it is a failure."""
        middle = len(part.inputs) // 2
        if middle:
            self._lost += (replace(part, inputs=part.inputs[:middle]), replace(part, inputs=part.inputs[middle:]))
        elif not part.suspect:
            self._suspects.append(replace(part, suspect=True))
        else:
            on_failure(Failure(part.inputs[0].path, "the process that worked on it died, twice"))
