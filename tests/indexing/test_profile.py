"""The clock: own time by stage, whatever is nested, and the stage that the caller's thread waits for."""

from __future__ import annotations

import threading

import pytest

from t2c_search import profile
from t2c_search.profile import (
    COMPARE,
    DECODE,
    EMBED,
    READ,
    WAIT_DECODE,
    WAIT_WORKERS,
    WAIT_WRITE,
    WRITE,
    Profile,
    StageClock,
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    time = [0.0]
    monkeypatch.setattr(profile.time, "perf_counter", lambda: time[0])
    return time


def seconds(told: Profile) -> dict[str, float]:
    return {stage.name: stage.seconds for stage in told.stages}


def test_a_stage_within_another_is_counted_once(now: list[float]) -> None:
    clock = StageClock()
    with clock.measure(WAIT_DECODE):
        now[0] = 1
        with clock.measure(COMPARE):
            now[0] = 3
            with clock.measure(EMBED):
                now[0] = 7
        now[0] = 8
    assert seconds(clock.profile()) == {COMPARE: 2, WAIT_DECODE: 2, EMBED: 4}


def test_what_one_thread_measures_is_not_within_anothers(now: list[float]) -> None:
    clock = StageClock()

    def read() -> None:
        with clock.measure(READ):
            now[0] = 2

    with clock.measure(WAIT_DECODE):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        now[0] = 5
    assert seconds(clock.profile()) == {WAIT_DECODE: 5, READ: 2}


def test_busy_is_the_share_of_the_threads_time(now: list[float]) -> None:
    clock = StageClock()
    clock.use_threads(4, READ)
    for stage in (READ, EMBED):
        with clock.measure(stage):
            now[0] += 4
    now[0] = 10
    told = {stage.name: (stage.threads, stage.busy) for stage in clock.profile().stages}
    assert told == {READ: (4, 0.1), EMBED: (1, 0.4)}


def test_what_workers_measured_stands_beside_and_tells_their_limit(now: list[float]) -> None:
    clock = StageClock()
    clock.use_workers(2, threads=3)
    with clock.measure(WAIT_WORKERS):
        now[0] = 10
    for _ in range(2):
        clock.add_of_worker({WAIT_DECODE: 4.0, EMBED: 1.0, DECODE: 7.5})
    told = clock.profile()
    assert told.limit == f"workers: {DECODE}"
    assert {stage.name: (stage.threads, stage.seconds, stage.busy) for stage in told.stages} == {
        WAIT_WORKERS: (1, 10, 1),
        f"workers: {WAIT_DECODE}": (2, 8, 0.4),
        f"workers: {EMBED}": (2, 2, 0.1),
        f"workers: {DECODE}": (6, 15, 0.25),
    }


@pytest.mark.parametrize(
    ("spent", "limit"),
    [
        ({EMBED: 5, WAIT_DECODE: 1, WAIT_WRITE: 1, DECODE: 9}, EMBED),
        ({EMBED: 1, WAIT_DECODE: 5, READ: 3, DECODE: 9}, DECODE),
        ({EMBED: 1, WAIT_DECODE: 5, READ: 9, DECODE: 3}, READ),
        ({EMBED: 1, WAIT_WRITE: 5, WRITE: 6}, WRITE),
        ({COMPARE: 5, EMBED: 1}, COMPARE),
    ],
)
def test_the_limit_is_what_the_callers_thread_waits_for(now: list[float], spent: dict[str, float], limit: str) -> None:
    clock = StageClock()
    for stage, length in spent.items():
        with clock.measure(stage):
            now[0] += length
    assert clock.profile().limit == limit
    assert clock.profile().to_json()["limit"] == limit
