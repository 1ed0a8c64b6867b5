"""What every kind of state has in common: a key, a format, and one way each to read and to change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from t2c_search.stores.protocol import VectorStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """One thing that collections keep beside their points: the blob's key, and how a value becomes bytes and comes back.

    ``empty`` is the value where there is no blob. ``load`` raises CollectionFormatError for what ``dump`` did not write.
    """

    key: str
    empty: T
    dump: Callable[[T], bytes]
    load: Callable[[bytes], T]

    def read(self, store: VectorStore) -> T:
        """Return the collection's value; of a pinned store, the value that it was pinned with."""
        return self.among(store.read_blobs([self.key])[1])

    def among(self, blobs: Mapping[str, bytes]) -> T:
        """Return the value among blobs that were read together."""
        return self._of(blobs.get(self.key))

    def write(self, store: VectorStore, value: T) -> None:
        """Store a value whatever was there: for what one run makes and nobody else changes."""
        store.write_blob(self.key, self.dump(value))

    def update(self, store: VectorStore, change: Callable[[T], T]) -> T:
        """Change the value, and return the new one; no other change that returned is lost.

        ``change`` must be pure, as it runs again when the collection has changed meanwhile. Nothing is written when it
        returns what it was given, or raises, which is passed on.
        """

        def changed(content: bytes | None) -> bytes | None:
            value = self._of(content)
            new = change(value)
            return content if new == value else self.dump(new)

        return self._of(store.update_blob(self.key, changed))

    def now(self, store: VectorStore) -> T:
        """Return the value as it is at this moment, of a pinned store too."""
        return self.update(store, lambda value: value)

    def _of(self, content: bytes | None) -> T:
        return self.empty if content is None else self.load(content)
