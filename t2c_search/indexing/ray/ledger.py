"""Which part of the images each call of Ray's workers has, and what the workers' deaths say of the images.

Ray Data starts a worker that died anew and repeats its call, for ever if need be. Here its part goes to whoever asks next,
to be worked on image by image, and before each it is told which one. An image that was being worked on in two deaths is
given out no more.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from t2c_search.errors import EncoderError
from t2c_search.sources import ImageInput

_DEATHS_OF_AN_IMAGE = 2  # the first may have had another reason: what is large is killed where memory runs out


@dataclass(frozen=True, slots=True)
class Assignment:
    """A part's number, the images to work on, whether one by one, and the images that killed their workers."""

    number: int
    inputs: list[ImageInput]
    singly: bool = False
    deadly: list[ImageInput] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Part:
    """A part, how often it was given, the image that it is at, and how many deaths each image saw."""

    number: int
    inputs: list[ImageInput]
    times: int = 0
    at: str | None = None
    deaths: Counter[str] = field(default_factory=Counter)

    def give(self) -> Assignment:
        """Return it to be worked on, less the images that kill, those first that may be such."""
        self.times += 1
        deaths = [self.deaths[item.id] for item in self.inputs]
        deadly = [item for item, seen in zip(self.inputs, deaths, strict=True) if seen >= _DEATHS_OF_AN_IMAGE]
        accused = [item for item, seen in zip(self.inputs, deaths, strict=True) if 0 < seen < _DEATHS_OF_AN_IMAGE]
        others = [item for item, seen in zip(self.inputs, deaths, strict=True) if not seen]
        return Assignment(self.number, accused + others, self.times > 1, deadly)


class Ledger:
    """Parts in the order that they were put, each given to a call until its outcome has arrived; an actor, on asyncio."""

    def __init__(self, most_deaths: int) -> None:
        self._most_deaths = most_deaths
        self._deaths = 0  # in a row
        self._parts: deque[_Part] = deque()
        self._given: dict[int, _Part] = {}  # by the call's ticket
        self._asked: Counter[int] = Counter()  # how often, by the ticket
        self._workers: set[Any] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    async def put(self, number: int, inputs: list[ImageInput]) -> None:
        """Add a part."""
        async with self._changed:
            self._parts.append(_Part(number, inputs))
            self._changed.notify_all()

    async def take(self, ticket: int, worker: Any) -> Assignment | None:
        """Return the next part, when there is one, for the call with this ticket of this worker, an actor.

        None when the same call asks again meanwhile: the process that asked first has died. Raises EncoderError when the
        workers die and nothing comes of it.
        """
        async with self._changed:
            self._workers.add(worker)
            self._asked[ticket] += 1
            asked = self._asked[ticket]
            self._lose(ticket)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._parts or self._asked[ticket] != asked)
            if self._asked[ticket] != asked:
                return None
            if self._deaths > self._most_deaths:
                raise EncoderError(
                    f"the worker processes die, {self._deaths} in a row, for lack of memory perhaps: try a smaller "
                    "--batch-size, or fewer processes with more threads each (--workers)"
                )
            part = self._given[ticket] = self._parts.popleft()
            assignment = part.give()
            watch = asyncio.create_task(self._watch(ticket, part, worker))
            self._watches.add(watch)  # the loop itself would forget it
            watch.add_done_callback(self._watches.discard)
            return assignment

    async def enter(self, ticket: int, image: str | None) -> None:
        """Note which image the call works on now, by its id; None: on none any more."""
        if ticket in self._given:
            self._given[ticket].at = image

    async def finish(self, ticket: int, number: int) -> None:
        """Forget a part whose outcome has arrived, whoever else may have it, and the call."""
        async with self._changed:
            self._parts = deque(part for part in self._parts if part.number != number)
            self._given = {held: part for held, part in self._given.items() if part.number != number}
            del self._asked[ticket]
            self._deaths = 0

    async def check(self) -> None:
        """Answer, which is all that a worker wants to know: whether anybody waits for what it does."""

    async def workers(self) -> list[Any]:
        """Return the workers that have asked so far."""
        return list(self._workers)

    async def _watch(self, ticket: int, part: _Part, worker: Any) -> None:
        """Wait for the worker's call to end, or its process.

        A process that died may not be replaced before there is room for it, and its part must not wait as long.
        """
        from ray.exceptions import RayActorError

        times = part.times
        try:
            await worker.__ray_ready__.options(max_task_retries=0).remote()
        except RayActorError:
            async with self._changed:
                if self._given.get(ticket) is part and part.times == times:
                    self._lose(ticket)
                    self._changed.notify_all()

    def _lose(self, ticket: int) -> None:
        """Take back the part of a call whose worker has died, if it had one."""
        if (part := self._given.pop(ticket, None)) is None:
            return
        self._deaths += 1
        if part.at is not None:
            part.deaths[part.at] += 1
            if part.deaths[part.at] == _DEATHS_OF_AN_IMAGE:
                self._deaths = 0  # something came of it
        part.at = None
        self._parts.appendleft(part)
