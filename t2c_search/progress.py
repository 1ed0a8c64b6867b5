"""How a long run is told while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from t2c_search.profile import StageClock
from t2c_search.types import Failure


class Progress(Protocol):
    """Told, in the caller's thread, how a run goes on; drawing it is the command line's part."""

    def start(self, total: int | None, stage: str) -> None:
        """Begin a stage, such as "indexing": so many inputs will come, or None when nobody knows."""
        ...

    def advance(self, images: int) -> None:
        """So many more inputs are done with, one way or another."""
        ...

    def fail(self, failure: Failure) -> None:
        """One of them failed."""
        ...


class NoProgress:
    """A Progress that tells nobody."""

    def start(self, total: int | None, stage: str) -> None:
        """Ignore the stage."""

    def advance(self, images: int) -> None:
        """Ignore the step."""

    def fail(self, failure: Failure) -> None:
        """Ignore the failure."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """Who is told how a run goes on, and the clock of its stages."""

    progress: Progress = field(default_factory=NoProgress)
    clock: StageClock = field(default_factory=StageClock)
