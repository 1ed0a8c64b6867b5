"""Where the contract's tests find their collections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.points import SPEC, make_points


def openings(store: VectorStore) -> Iterator[VectorStore]:
    """Yield the store as it is, and as the next process opens it, where there can be one."""
    yield store
    if store.capabilities.persistent:
        store.close()
        again = open_store(store.location, "contract")
        yield again
        again.close()


class StorePlaces:
    """A collection per test, in the states that tests begin with. Subclasses give ``location``, an empty place."""

    @pytest.fixture
    def location(self) -> str:
        """Return an empty place's ``--store`` value."""
        raise NotImplementedError

    @pytest.fixture
    def absent(self, location: str) -> Iterator[VectorStore]:
        """Open the collection that is not there."""
        store = open_store(location, "contract")
        yield store
        store.close()

    @pytest.fixture
    def empty(self, absent: VectorStore) -> VectorStore:
        """Make the collection."""
        absent.create(SPEC)
        return absent

    @pytest.fixture
    def store(self, empty: VectorStore) -> VectorStore:
        """Fill the collection with ``make_points()``."""
        empty.upsert(make_points())
        return empty
