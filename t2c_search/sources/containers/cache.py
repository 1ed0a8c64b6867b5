"""A few values that take long to make, shared by threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """The ``size`` values used last, each made by one thread while others that want it wait."""

    def __init__(self, make: Callable[[Key], Value], size: int) -> None:
        self._make = make
        self._size = size
        self._lock = Lock()
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()

    def __getitem__(self, key: Key) -> Value:
        with self._lock:
            known = self._values.get(key)
            value = self._values.setdefault(key, known or Future())
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        if known is None:
            try:
                value.set_result(self._make(key))
            except BaseException as exc:
                self.forget(key)  # it may succeed later
                value.set_exception(exc)
        return value.result()

    def forget(self, key: Key) -> None:
        """Make the value anew when it is next asked for."""
        with self._lock:
            self._values.pop(key, None)
