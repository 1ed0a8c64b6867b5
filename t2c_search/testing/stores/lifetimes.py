"""Collections made, shared, closed, opened again and dropped."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from t2c_search.errors import CollectionNotFoundError, StoreError, StoreLockedError
from t2c_search.filters import Equals
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.points import COUNT, SPEC, make_id, make_points, unit
from t2c_search.testing.stores.fixtures import StorePlaces
from t2c_search.types import CLIP, NATIVE, Points, VectorQuery


class LifetimeContract(StorePlaces):
    """What a collection is from its making to its end, to one process and to several."""

    def test_absent_collection_is_told_by_every_method(self, absent: VectorStore) -> None:
        assert not absent.exists()
        calls: list[Any] = [
            absent.drop,
            absent.spec,
            lambda: absent.add_indexes({"tags": "keyword"}),
            absent.count,
            absent.flush,
            lambda: absent.upsert(make_points(2)),
            lambda: absent.set_payload([make_id(0)], [{}]),
            lambda: absent.delete([make_id(0)]),
            lambda: absent.fetch([make_id(0)]),
            lambda: list(absent.scan()),
            lambda: absent.search([VectorQuery(unit(1), 1)]),
            lambda: absent.facet("camera"),
            lambda: absent.read_blob("card"),
            lambda: absent.write_blob("card", b""),
        ]
        for call in calls:
            with pytest.raises(CollectionNotFoundError, match="contract"):
                call()
        assert not absent.exists()

    def test_creating_twice_is_an_error_and_harms_nothing(self, store: VectorStore) -> None:
        with pytest.raises(StoreError, match="already"):
            store.create(SPEC)
        assert store.count() == COUNT

    def test_spec_is_what_the_collection_was_created_with(self, empty: VectorStore) -> None:
        assert empty.spec() == SPEC

    def test_dropped_collection_is_gone_with_its_blobs(self, store: VectorStore) -> None:
        store.write_blob("card", b"x")
        store.drop()
        assert not store.exists()
        store.create(SPEC)
        assert store.count() == 0
        assert store.read_blob("card") is None

    def test_collections_are_listed_by_name(self, empty: VectorStore) -> None:
        if not empty.capabilities.persistent:
            pytest.skip("not persistent: each opening is a store of its own")
        other = open_store(empty.location, "another")
        other.create(SPEC)
        other.close()
        assert list_collections(empty.location) == ["another", "contract"]

    def test_threads_may_write_and_read_at_once(self, empty: VectorStore) -> None:
        points = make_points()

        def write(start: int) -> None:
            part = slice(start, start + 25)
            vectors = {name: rows[part] for name, rows in points.vectors.items()}
            empty.upsert(Points(points.ids[part], points.payloads[part], vectors))

        def read(_: int) -> None:
            (found,) = empty.search([VectorQuery(unit(1), 5, with_vectors=(CLIP,), with_payload=True)])
            assert list(found.scores) == sorted(found.scores, reverse=True)
            empty.count(Equals(field="camera", value="A7"))
            sum(len(batch) for batch in empty.scan(batch_size=50))

        with ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(work, start) for start in range(0, COUNT, 25) for work in (write, read)]
            for task in tasks:
                task.result()
        assert empty.count() == COUNT

    def test_a_closed_store_says_so(self, store: VectorStore) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.count()
        with pytest.raises(StoreError, match="closed"):
            store.read_blob("card")

    def test_a_released_store_lets_others_in_and_goes_on(self, store: VectorStore) -> None:
        store.release()
        store.release()
        if store.capabilities.persistent:
            other = open_store(store.location, "contract")
            other.delete([make_id(0)])
            other.add_indexes({"tags": "keyword"})
            other.release()
        else:
            store.delete([make_id(0)])
        assert store.count() == COUNT - 1
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.count()

    def test_indexes_that_another_process_added_are_kept(self, store: VectorStore) -> None:
        if not store.capabilities.persistent:
            pytest.skip("not persistent: a second opening is another store")
        assert "tags" not in store.spec().indexes
        store.release()
        late = open_store(store.location, "contract")
        assert "tags" not in late.spec().indexes
        other = open_store(store.location, "contract")
        other.add_indexes({"tags": "keyword"})
        other.close()
        late.add_indexes({"lens": "keyword"})
        late.close()
        store.add_indexes({"iso": "integer"})
        added = {"tags": "keyword", "lens": "keyword", "iso": "integer"}
        assert store.spec().indexes == {**SPEC.indexes, **added}
        store.close()
        again = open_store(store.location, "contract")
        assert again.spec().indexes == {**SPEC.indexes, **added}
        again.close()

    def test_everything_persists(self, store: VectorStore) -> None:
        if not store.capabilities.persistent:
            pytest.skip("not persistent")
        store.write_blob("card", b"kept")
        store.close()
        again = open_store(store.location, "contract")
        try:
            points = make_points()
            assert again.exists()
            assert again.count() == COUNT
            assert again.read_blob("card") == b"kept"
            found = again.fetch(points.ids, vectors=(CLIP, NATIVE))
            assert found.payloads == points.payloads
            np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP])
            assert again.facet("camera", limit=1) == [("A7", 100)]
            again.upsert(make_points(COUNT + 1))
            assert again.count() == COUNT + 1
        finally:
            again.close()

    def test_a_second_opener_shares_or_is_told(self, store: VectorStore) -> None:
        if not store.capabilities.persistent:
            pytest.skip("not persistent: a second opening is another store")
        second = open_store(store.location, "contract")
        try:
            if store.capabilities.concurrent:
                assert second.count() == COUNT
            else:
                with pytest.raises(StoreLockedError, match="contract"):
                    second.count()
        finally:
            second.close()
