"""Where the time of an indexing run went, stage by stage, and which stage is the limit."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LIST, FIT, LOAD, COMPARE = "list", "fit aligner", "load models", "compare"
READ, DECODE, WAIT_DECODE = "read", "decode and prepare", "wait for decode"
EMBED, WRITE, WAIT_WRITE = "embed and align", "write", "wait for write"
WAIT_WORKERS = "wait for workers"

_CALLER = (LIST, FIT, LOAD, COMPARE, WAIT_DECODE, EMBED, WAIT_WRITE, WAIT_WORKERS)
"""Stages of the caller's thread, through which everything passes: together they are the run."""
_BESIDE = (READ, DECODE, WRITE)
"""Stages of other threads, which overlap with those and with each other."""
_OF_WORKERS = "workers: "


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its seconds, added up over its ``threads``; ``busy``, in [0, 1], is its share of their time."""

    name: str
    threads: int
    seconds: float
    busy: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The stages of a run that took any time, those of the caller's thread first, and the one that limits the run.

    Making another stage faster would not make the run faster.
    """

    stages: tuple[Stage, ...]
    limit: str

    def to_json(self) -> dict[str, Any]:
        """Return the profile as ``t2c index --json`` prints it."""
        stages = [
            {"stage": s.name, "threads": s.threads, "seconds": round(s.seconds, 3), "busy": round(s.busy, 3)}
            for s in self.stages
        ]
        return {"limit": self.limit, "stages": stages}


NO_PROFILE = Profile((), "")


class StageClock:
    """Adds up the seconds that stages take, in any thread; measuring one costs about a microsecond."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._threads: dict[str, int] = {}
        self._seconds_of_workers: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inner = threading.local()  # for each block that a thread is in, the seconds of the blocks within it

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._began

    def use_threads(self, count: int, *stages: str) -> None:
        """Say that so many threads share these stages; one, where nobody says."""
        self._threads.update(dict.fromkeys(stages, count))

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far."""
        with self._lock:
            return dict(self._seconds)

    def use_workers(self, count: int, threads: int) -> None:
        """Say that so many other processes work, each with so many threads that read and decode."""
        for name in _CALLER:
            self._threads[_OF_WORKERS + name] = count
        for name in _BESIDE:
            self._threads[_OF_WORKERS + name] = count * threads

    def add_of_worker(self, seconds: Mapping[str, float]) -> None:
        """Add what another process measured."""
        for name, spent in seconds.items():
            self._seconds_of_workers[name] += spent

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of the ``with`` block as the stage's, less that of the stages measured within it."""
        stack: list[float] = self._inner.__dict__.setdefault("seconds", [])
        stack.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            own = spent - stack.pop()
            if stack:
                stack[-1] += spent
            with self._lock:
                self._seconds[stage] += own

    def profile(self) -> Profile:
        """Return the profile of the run so far."""
        elapsed, seconds, of_workers = self.elapsed, self.seconds, self._seconds_of_workers
        limit = _limit(seconds)
        if limit == WAIT_WORKERS and of_workers:
            limit = _OF_WORKERS + _limit(of_workers)
        seconds |= {_OF_WORKERS + name: spent for name, spent in of_workers.items()}
        known = (*_CALLER, *_BESIDE)
        stages = [
            Stage(name, threads := self._threads.get(name, 1), seconds[name], min(1, seconds[name] / elapsed / threads))
            for name in (*known, *(_OF_WORKERS + name for name in known))
            if name in seconds
        ]
        return Profile(tuple(stages), limit)


def _limit(seconds: Mapping[str, float]) -> str:
    """Name the stage that the caller's thread spent most time on, or waiting for."""
    longest = max(_CALLER, key=lambda stage: seconds.get(stage, 0))
    if longest == WAIT_DECODE:
        return max((READ, DECODE), key=lambda stage: seconds.get(stage, 0))
    return WRITE if longest == WAIT_WRITE else longest
