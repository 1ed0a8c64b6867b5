"""What was computed and may be asked for again."""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """At most ``most`` entries, which threads share; the oldest make room for new ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[Key, Value] = {}
        self._turn = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return what is remembered under a key, or None."""
        with self._turn:
            return self._entries.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Remember a value, and forget the oldest where there are too many."""
        with self._turn:
            self._entries[key] = value
            while len(self._entries) > self._most:
                del self._entries[next(iter(self._entries))]
