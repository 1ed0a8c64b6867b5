"""Threads that share what can only be read forwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """One thread at a time; of those that wait, the one that wants the earliest place goes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._wanted: list[float] = []
        self._taken = False

    @contextmanager
    def at(self, place: float) -> Iterator[None]:
        """Wait for the turn to read at a place, and give it back at the end."""
        with self._changed:
            self._wanted.append(place)
            try:
                self._changed.wait_for(lambda: not self._taken and place <= min(self._wanted))
            finally:
                self._wanted.remove(place)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
