"""Who gets which part of the images, as the workers die: the ledger by itself, without Ray's processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from t2c_search.errors import EncoderError
from t2c_search.indexing.ray.ledger import Assignment, Ledger
from t2c_search.sources import ImageInput

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install t2c-search[ray]")

IMAGES = [ImageInput(f"/photos/{name}.jpg", 1, 1, {}) for name in "abc"]
A, B, C = IMAGES


class Process:
    """Stands for a worker's actor, whose answer to a call comes when what it is working on ends, or it dies."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def __ray_ready__(self) -> Process:
        return self

    def options(self, max_task_retries: int) -> Process:
        assert max_task_retries == 0
        return self

    def remote(self) -> asyncio.Future[None]:
        return self.ended

    def die(self) -> None:
        self.ended.set_exception(ray.exceptions.RayActorError())


async def take(ledger: Ledger, ticket: int, worker: Process | None = None) -> Assignment:
    part = await asyncio.wait_for(ledger.take(ticket, worker or Process()), 10)
    assert part is not None
    return part


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_parts_go_out_in_order_to_whoever_asks() -> None:
    async def test() -> None:
        ledger = Ledger(5)
        early = asyncio.create_task(ledger.take(7, Process()))
        await asyncio.sleep(0)
        await ledger.put(0, [A])
        await ledger.put(1, [B])
        assert await early == Assignment(0, [A])
        assert await take(ledger, 3) == Assignment(1, [B])

    run(test())


def test_part_of_a_dead_worker_goes_to_the_next_that_asks() -> None:
    async def test() -> None:
        ledger, worker = Ledger(5), Process()
        await ledger.put(0, IMAGES)
        assert not (await take(ledger, 0, worker)).singly
        other = asyncio.create_task(ledger.take(1, Process()))
        await asyncio.sleep(0)
        worker.die()
        assert await asyncio.wait_for(other, 10) == Assignment(0, IMAGES, singly=True)
        waiting = asyncio.create_task(ledger.take(0, Process()))  # started anew, it has nothing to do
        await asyncio.sleep(0)
        await ledger.put(1, [B])
        assert await asyncio.wait_for(waiting, 10) == Assignment(1, [B])

    run(test())


def test_death_is_counted_once_however_it_is_told() -> None:
    async def test() -> None:
        ledger, worker = Ledger(1), Process()
        await ledger.put(0, IMAGES)
        await take(ledger, 0, worker)
        assert (await take(ledger, 0)).singly  # asks again before the news is here
        worker.die()
        await asyncio.sleep(0.01)
        await ledger.put(1, [B])
        assert await take(ledger, 1) == Assignment(1, [B])

    run(test())


def test_image_at_hand_in_two_deaths_is_given_out_no_more() -> None:
    async def test() -> None:
        ledger = Ledger(1)
        await ledger.put(0, IMAGES)
        await take(ledger, 0)
        for image in (A, B):
            await ledger.enter(0, image.id)
        ledger._deaths = 0
        assert await take(ledger, 0) == Assignment(0, [B, A, C], singly=True)  # the suspect first
        await ledger.enter(0, B.id)
        assert await take(ledger, 0) == Assignment(0, [A, C], singly=True, deadly=[B])
        for image in (A.id, C.id, None):
            await ledger.enter(0, image)
        assert await take(ledger, 0) == Assignment(0, [A, C], singly=True, deadly=[B])  # died of none of them

    run(test())


def test_call_that_is_repeated_while_it_waits_does_not_take_two_parts() -> None:
    async def test() -> None:
        ledger = Ledger(5)
        dead = asyncio.create_task(ledger.take(0, Process()))
        await asyncio.sleep(0)
        alive = asyncio.create_task(ledger.take(0, Process()))
        await asyncio.sleep(0)
        await ledger.put(0, [A])
        assert await asyncio.wait_for(alive, 10) == Assignment(0, [A])
        assert await dead is None

    run(test())


def test_part_that_is_finished_is_nobodys() -> None:
    async def test() -> None:
        ledger, slow = Ledger(5), Process()
        await ledger.put(0, [A])
        await take(ledger, 0, slow)
        slow.die()  # as it seems: it was out of reach
        assert (await take(ledger, 1)).number == 0
        await ledger.finish(0, 0)
        await ledger.enter(0, A.id)
        await ledger.put(1, [B])
        assert await take(ledger, 1) == Assignment(1, [B])

    run(test())


def test_deaths_without_any_part_completed_end_the_run() -> None:
    async def test() -> None:
        ledger = Ledger(2)
        await ledger.put(0, [A])
        await ledger.put(1, [B])
        await take(ledger, 0)
        await take(ledger, 0)
        await take(ledger, 1)
        await ledger.finish(1, 1)
        for _ in range(2):
            await take(ledger, 0)
        with pytest.raises(EncoderError, match="^the worker processes die, 3 in a row"):
            await take(ledger, 0)

    run(test())
