"""A collection replaced as a whole."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2c_search.errors import CollectionReplacedError, StoreError
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.points import CLIP_DIM, COUNT, NATIVE_DIM, SPEC, make_id, make_points
from t2c_search.testing.stores.fixtures import StorePlaces, openings
from t2c_search.types import CLIP, NATIVE, Points, VectorQuery

RENEWED = CollectionSpec.of({CLIP: CLIP_DIM - 4, NATIVE: NATIVE_DIM}, SPEC.indexes)
"""What the tests replace a collection of SPEC by: another space."""


def _renewed_points() -> Points:
    """Return half the points, with ``clip`` rows of the other space."""
    points = make_points(COUNT // 2, seed=5)
    return replace(points, vectors={**points.vectors, CLIP: points.vectors[CLIP][:, : CLIP_DIM - 4]})


class ReplacementContract(StorePlaces):
    """Another space takes over in one step, or not at all."""

    def test_a_replacement_takes_over_in_one_step(self, store: VectorStore) -> None:
        old, new = make_points(), _renewed_points()
        store.write_blob("card", b"old")
        store.write_blob("kept", b"kept")
        with store.replacement(RENEWED) as aside:
            assert aside.count() == 0
            aside.upsert(new)
            aside.write_blob("card", b"new")
            assert (aside.read_blob("card"), aside.read_blob("kept")) == (b"new", b"kept")
            assert (store.read_blob("card"), store.count(), store.spec()) == (b"old", COUNT, SPEC)
            (found,) = store.search([VectorQuery(old.vectors[CLIP][7], 1)])
            assert found.ids == [old.ids[7]]
        for opened in openings(store):
            assert (opened.read_blob("card"), opened.read_blob("kept")) == (b"new", b"kept")
            assert (opened.exists(), opened.spec()) == (True, RENEWED)
            (found,) = opened.search([VectorQuery(new.vectors[CLIP][7], 1, with_vectors=(CLIP,), with_payload=True)])
            assert (found.ids, found.payloads) == ([new.ids[7]], [new.payloads[7]])
            np.testing.assert_array_equal(found.vectors[CLIP][0], new.vectors[CLIP][7])
            assert opened.count() == len(new)

    def test_a_replaced_collection_may_be_replaced_again_and_dropped(self, store: VectorStore) -> None:
        for number in range(3):
            with store.replacement(RENEWED) as aside:
                aside.upsert(_renewed_points())
                aside.write_blob("card", bytes([number]))
        assert store.read_blob("card") == b"\x02"
        if store.capabilities.persistent:
            assert list_collections(store.location) == ["contract"]
        store.drop()
        assert not store.exists()
        assert list_collections(store.location) == []
        store.create(SPEC)
        assert (store.count(), store.read_blob("card")) == (0, None)

    def test_a_failed_replacement_changes_nothing(self, store: VectorStore) -> None:
        store.write_blob("card", b"old")
        with pytest.raises(KeyError), store.replacement(RENEWED) as aside:
            aside.upsert(_renewed_points())
            aside.write_blob("card", b"new")
            raise KeyError
        for opened in openings(store):
            assert (opened.read_blob("card"), opened.count(), opened.spec()) == (b"old", COUNT, SPEC)
            np.testing.assert_array_equal(
                opened.fetch([make_id(3)], vectors=(CLIP,)).vectors[CLIP], make_points().vectors[CLIP][3:4]
            )

    def test_who_has_the_old_collection_open_follows(self, store: VectorStore) -> None:
        if not store.capabilities.persistent:
            pytest.skip("not persistent: nobody else can have it open")
        store.write_blob("card", b"old")
        reader = open_store(store.location, "contract")
        before = reader.header()
        assert reader.read_blob("card") == b"old"
        new = _renewed_points()
        with store.replacement(RENEWED) as aside:
            aside.upsert(new)
            aside.write_blob("card", b"new")
        store.close()
        assert reader.header().generation != before.generation
        assert (reader.read_blob("card"), reader.count(), reader.spec()) == (b"new", COUNT // 2, RENEWED)
        (found,) = reader.search([VectorQuery(new.vectors[CLIP][7], 1)])
        assert found.ids == [new.ids[7]]
        reader.write_blob("card", b"late")
        reader.close()

    def test_a_pinned_view_stays_with_its_points_or_says_that_they_are_gone(self, store: VectorStore) -> None:
        old, query = make_points(), VectorQuery(make_points().vectors[CLIP][7], 1)
        store.write_blob("card", b"old")
        view = store.pinned()
        with store.replacement(RENEWED) as aside:
            aside.upsert(_renewed_points())
            aside.write_blob("card", b"new")
        assert view.search([query])[0].ids == [old.ids[7]]
        assert (view.count(), view.spec(), view.read_blob("card")) == (COUNT, SPEC, b"old")
        with pytest.raises(CollectionReplacedError):
            view.update_blob("card", lambda _: b"of the former space")
        assert store.read_blob("card") == b"new"
        view.close()
        assert store.count() == COUNT // 2
        if not store.capabilities.concurrent and store.capabilities.persistent:
            store.release()  # now another process may remove what was replaced
            with pytest.raises(CollectionReplacedError):
                view.count()

    def test_updates_during_a_replacement_are_carried_over_or_refuse_it(self, store: VectorStore) -> None:
        store.write_blob("card", b"old")
        with store.replacement(RENEWED) as aside:
            aside.write_blob("card", b"new")
            store.update_blob("kept", lambda former: (former or b"") + b"+")
        assert (store.read_blob("card"), store.read_blob("kept")) == (b"new", b"+")
        with pytest.raises(StoreError, match="its card was changed"), store.replacement(SPEC) as aside:
            aside.write_blob("card", b"newer")
            store.write_blob("card", b"meanwhile")
        assert (store.read_blob("card"), store.spec()) == (b"meanwhile", RENEWED)
        with pytest.raises(StoreError, match="it was changed"), store.replacement(SPEC) as aside:
            store.add_indexes({"tags": "keyword"})
        assert "tags" in store.spec().indexes
