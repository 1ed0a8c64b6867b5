"""Worker processes on Ray Data: images are given out in parts, and none is lost, whichever worker dies.

The dataset that Ray Data maps is of tickets. Its actors take a part of the images for each, from the ledger, which the
caller's process fills as the outcomes of earlier parts arrive: a few parts for each worker are under way, whatever the
number of images.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from t2c_search.errors import EncoderError, T2CError
from t2c_search.indexing.ray.cluster import Cluster, Placement, connected, place, quiet
from t2c_search.indexing.ray.ledger import Assignment, Ledger
from t2c_search.sources import ImageInput
from t2c_search.types import Failure, Points

_AHEAD = 2  # parts under way for each worker: one that it works on, and one that is ready
_DEATHS = 5  # of each worker without one part completed: it is not the images
_CHECKED = 64  # images after which a worker asks whether it is still wanted
_DISMISS_SECONDS = 10.0
_COLUMNS = ("ticket", "number", "outcome")


class Outcome(Protocol):
    """What became of a part: the images that failed, and whatever else the worker tells."""

    @property
    def failures(self) -> list[Failure]:
        """Images that failed."""
        ...


OutcomeT = TypeVar("OutcomeT", bound=Outcome)


class Worker(Protocol[OutcomeT]):
    """What each process holds, made from the crew's job, which must be picklable."""

    def __init__(self, job: Any) -> None: ...

    def begin(self) -> OutcomeT:
        """Return the outcome of no images."""
        ...

    def work(self, inputs: Iterable[ImageInput], outcome: OutcomeT) -> None:
        """Work on some images, and add to the outcome what became of them."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Images for one call, and the vectors that the store holds of those that changed."""

    inputs: list[ImageInput]
    former: Points = field(default_factory=lambda: Points([], [], {}))


def work_on(
    plan: Callable[[Placement], tuple[Any, Iterator[Part]]],
    worker: type[Worker[OutcomeT]],
    cluster: Cluster,
    threads: int | None,
) -> Generator[tuple[Part, OutcomeT], None, None]:
    """Yield parts with their outcomes, in the order of their completion, from as many workers as the cluster has room for.

    Each has so many ``threads``, or as ``place`` decides. The ``plan`` for that many is the workers' job and the parts, which
    are taken as they are needed. Raises UsageError when Ray or the cluster cannot be used, EncoderError when workers keep
    dying, and what a worker raised.
    """
    with quiet(), connected(cluster.address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        placement = place(nodes, threads, cluster.use_gpus)
        job, parts = plan(placement)
        ledger = _start_ledger(ray, placement)
        try:
            with closing(_outcomes(ray, (worker, job, ledger, Path.cwd()), placement)) as outcomes:
                yield from _work_on(parts, ledger, outcomes, _AHEAD * placement.workers)
        finally:
            _dismiss(ray, ledger)


def _work_on(
    parts: Iterator[Part], ledger: Any, outcomes: Iterator[tuple[int, int, OutcomeT]], most: int
) -> Iterator[tuple[Part, OutcomeT]]:
    """Yield parts with their outcomes; at most so many are under way."""
    numbered = enumerate(parts)
    under_way: dict[int, Part] = {}
    while True:
        while len(under_way) < most and (upcoming := next(numbered, None)) is not None:
            number, under_way[number] = upcoming
            ledger.put.remote(number, under_way[number].inputs)
        if not under_way:
            return
        ticket, number, outcome = next(outcomes)
        ledger.finish.remote(ticket, number)
        if (part := under_way.pop(number, None)) is not None:  # None: its first worker was taken for dead, and was not
            yield part, outcome


def _start_ledger(ray: ModuleType, placement: Placement) -> Any:
    """Start the ledger on the caller's machine, where it is safe as long as the run is."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    calls = 1000 + _AHEAD * placement.workers  # at once; those of the workers may have to wait
    actor = ray.remote(num_cpus=0, max_concurrency=calls, scheduling_strategy=here)(Ledger)
    return actor.remote(_DEATHS * placement.workers)


def _dismiss(ray: ModuleType, ledger: Any) -> None:
    """End the workers and the ledger: Ray Data lets go of its actors, but those that it started anew lived on."""
    try:
        for actor in ray.get(ledger.workers.remote(), timeout=_DISMISS_SECONDS):
            ray.kill(actor)
    except ray.exceptions.RayError:  # the ledger is gone, and who asks it next will fail
        pass
    ray.kill(ledger)


def _outcomes(
    ray: ModuleType, arguments: tuple[Any, ...], placement: Placement
) -> Generator[tuple[int, int, Any], None, None]:
    """Yield the ticket, the part's number and the outcome of each call that had one; there is no end."""
    from t2c_search.indexing.ray.tickets import endless_tickets

    called = endless_tickets().map_batches(
        Caller,
        fn_constructor_args=arguments,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=placement.workers, max_tasks_in_flight_per_actor=2),
        num_cpus=placement.cpus,
        num_gpus=placement.gpus,
    )
    settings = called.context  # the dataset's own, a copy of the user's
    settings.enable_progress_bars = False
    settings.target_max_block_size = 1  # byte: so each ticket is a block of its own, and so a call
    settings.max_errored_blocks = 0
    settings.execution_options.preserve_order = False
    settings.execution_no_progress_timeout_s = -1  # a part takes as long as it takes, and so does finding the next one
    try:
        for bundle in called.iter_internal_ref_bundles():
            for block in ray.get(bundle.block_refs):
                yield from _read(block)
    except ray.exceptions.UserCodeException:  # a fault of ours
        raise
    except ray.exceptions.RayError as exc:
        raise EncoderError(f"Ray cannot keep the worker processes running: {exc}") from exc


def _read(rows: Any) -> Iterator[tuple[int, int, Any]]:
    """Yield what calls returned, an Arrow table. Raises the error that a worker raised."""
    for ticket, number, packed in zip(*(rows[name] for name in _COLUMNS), strict=True):
        if packed.is_valid:
            outcome = pickle.loads(packed.as_buffer())
            if isinstance(outcome, T2CError):
                raise outcome
            yield ticket.as_py(), number.as_py(), outcome


class Caller:
    """What each of Ray Data's actors holds: a worker, which is made when the first part is here."""

    def __init__(self, worker: type[Worker[Any]], job: Any, ledger: Any, folder: Path) -> None:
        self._make = worker, job
        self._folder = folder
        self._worker: Worker[Any] | None = None
        self._ledger = ledger

    def __call__(self, tickets: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Take the ticket's part and work on it; errors that the caller is to know come back as an outcome."""
        (ticket,) = tickets["ticket"].tolist()
        number, packed = -1, None
        try:
            if (part := self._ask("take", ticket, self._me())) is not None:
                number, packed = part.number, pickle.dumps(self._work_on(part, ticket))
        except T2CError as exc:
            packed = pickle.dumps(exc)
        return dict(zip(_COLUMNS, ([ticket], [number], [packed]), strict=True))

    def _work_on(self, part: Assignment, ticket: int) -> Outcome:
        if self._worker is None:  # not before there is a part, so that the ledger counts processes that die of it
            worker, job = self._make
            with suppress(OSError):  # the caller's folder, where modules of torch: ids lie, may not be on this machine
                os.chdir(self._folder)
            self._worker = worker(job)
        outcome: Outcome = self._worker.begin()
        for item in part.deadly:
            outcome.failures.append(Failure(item.path, "the process that worked on it died, twice"))
        if not part.singly:
            self._worker.work(self._while_wanted(part.inputs), outcome)
            return outcome
        for item in part.inputs:
            self._ask("enter", ticket, item.id)
            self._worker.work([item], outcome)
        self._ask("enter", ticket, None)
        return outcome

    def _while_wanted(self, inputs: list[ImageInput]) -> Iterator[ImageInput]:
        """Yield the inputs; raise when the caller's run has ended meanwhile."""
        for number, item in enumerate(inputs):
            if number % _CHECKED == 0:
                self._ask("check")
            yield item

    def _me(self) -> Any:
        import ray

        return ray.get_runtime_context().current_actor

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self._ledger, method).remote(*arguments))
        except ray.exceptions.RayTaskError as exc:
            raise exc.cause from None
