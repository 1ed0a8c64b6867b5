"""The contract of every vector store, as tests: subclass ``StoreContract`` and give it a ``location`` fixture."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from t2c_search.errors import CollectionNotFoundError, StoreError, StoreLockedError, UsageError
from t2c_search.filters import Equals, Not, Range
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.protocol import CollectionSpec, Quantization, VectorStore
from t2c_search.testing.points import CLIP_DIM, COUNT, NATIVE_DIM, SPEC, make_id, make_points, unit
from t2c_search.types import CLIP, NATIVE, Points, VectorQuery

RENEWED = CollectionSpec({CLIP: CLIP_DIM - 4, NATIVE: NATIVE_DIM}, SPEC.indexes)
"""What the tests replace a collection of SPEC by: another space."""


def _renewed_points() -> Points:
    """Return half the points, with ``clip`` rows of the other space."""
    points = make_points(COUNT // 2, seed=5)
    return replace(points, vectors={**points.vectors, CLIP: points.vectors[CLIP][:, : CLIP_DIM - 4]})


def _openings(store: VectorStore) -> Iterator[VectorStore]:
    """Yield the store as it is, and as the next process opens it, where there can be one."""
    yield store
    if store.capabilities.persistent:
        store.close()
        again = open_store(store.location, "contract")
        yield again
        again.close()


class StoreContract:
    """What a store must do. Subclasses give ``location``, a place that is empty at first, per test."""

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

    def test_absent_collection_is_told_by_every_method(self, absent: VectorStore) -> None:
        assert not absent.exists()
        calls: list[Any] = [
            absent.drop,
            absent.spec,
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

    def test_fetch_returns_what_was_stored_in_the_order_asked_for(self, store: VectorStore) -> None:
        points = make_points()
        wanted = [17, 3, 250, 3]
        ids = [make_id(number) for number in wanted]
        found = store.fetch([ids[0], make_id(10**6), *ids[1:]], vectors=(CLIP, NATIVE))
        assert found.ids == ids
        assert found.payloads == [points.payloads[number] for number in wanted]
        for name in (CLIP, NATIVE):
            assert found.vectors[name].dtype == np.float32
            np.testing.assert_array_equal(found.vectors[name], points.vectors[name][wanted])

    def test_fetch_leaves_out_what_was_not_asked_for(self, store: VectorStore) -> None:
        found = store.fetch([make_id(1), make_id(2)], payload=False)
        assert found.payloads == [{}, {}]
        assert not found.vectors
        nothing = store.fetch([], vectors=(CLIP,))
        assert nothing.ids == []
        assert nothing.vectors[CLIP].shape == (0, CLIP_DIM)

    def test_upsert_replaces_whole_points(self, store: VectorStore) -> None:
        new = make_points(2, seed=9)
        store.upsert(Points(new.ids, [{"only": 1}, {}], new.vectors))
        assert store.count() == COUNT
        found = store.fetch(new.ids, vectors=(CLIP,))
        assert found.payloads == [{"only": 1}, {}]
        np.testing.assert_array_equal(found.vectors[CLIP], new.vectors[CLIP])

    def test_upsert_takes_any_float_array(self, empty: VectorStore) -> None:
        points = make_points(4)
        strided = {name: np.asfortranarray(rows.astype(np.float64)) for name, rows in points.vectors.items()}
        empty.upsert(Points(points.ids, points.payloads, strided))  # type: ignore[arg-type]  # the point of the test
        np.testing.assert_array_equal(empty.fetch(points.ids, vectors=(CLIP,)).vectors[CLIP], points.vectors[CLIP])

    def test_unusable_points_are_refused_whole(self, empty: VectorStore) -> None:
        good = make_points(2)
        clip, native = good.vectors[CLIP], good.vectors[NATIVE]
        broken = clip.copy()
        broken[1, 3] = np.nan
        unusable = [
            Points(["1", good.ids[1]], good.payloads, good.vectors),
            Points(good.ids, good.payloads[:1], good.vectors),
            Points(good.ids, good.payloads, {CLIP: clip}),
            Points(good.ids, good.payloads, {CLIP: clip, NATIVE: native, "other": clip}),
            Points(good.ids, good.payloads, {CLIP: clip[:, :-1], NATIVE: native}),
            Points(good.ids, good.payloads, {CLIP: broken, NATIVE: native}),
            *(
                Points(good.ids, [{}, {"field": value}], good.vectors)
                for value in (object(), float("nan"), "caf\udce9.jpg", b"bytes", np.int64(3))
            ),
        ]
        for points in unusable:
            with pytest.raises(UsageError):
                empty.upsert(points)
        assert empty.count() == 0
        empty.upsert(good)
        with pytest.raises(UsageError, match="JSON"):
            empty.set_payload(good.ids, [{"a": 1}, {"a": float("inf")}])
        assert empty.fetch(good.ids).payloads == good.payloads

    def test_set_payload_replaces_payloads_only(self, store: VectorStore) -> None:
        points = make_points()
        store.set_payload([make_id(5), make_id(10**6), make_id(6)], [{"a": 1}, {"b": 2}, {"camera": "M3"}])
        found = store.fetch([make_id(5), make_id(6), make_id(7)], vectors=(CLIP,))
        assert found.payloads == [{"a": 1}, {"camera": "M3"}, points.payloads[7]]
        np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP][5:8])
        assert store.count(Equals(field="camera", value="M3")) == 1
        assert store.count() == COUNT

    def test_delete_passes_over_unknown_ids(self, store: VectorStore) -> None:
        store.delete([make_id(number) for number in (0, 1, 10**6)])
        store.delete([])
        assert store.count() == COUNT - 2
        assert store.fetch([make_id(0), make_id(2)]).ids == [make_id(2)]

    def test_scan_yields_every_point_once_in_order_of_id(self, store: VectorStore) -> None:
        points = make_points()
        batches = list(store.scan(vectors=(NATIVE,), batch_size=64))
        assert max(len(batch) for batch in batches) <= 64
        ids = [point_id for batch in batches for point_id in batch.ids]
        assert ids == sorted(points.ids)
        rows = np.concatenate([batch.vectors[NATIVE] for batch in batches])
        order = [points.ids.index(point_id) for point_id in ids]
        np.testing.assert_array_equal(rows, points.vectors[NATIVE][order])
        assert [payload for batch in batches for payload in batch.payloads] == [points.payloads[at] for at in order]

    def test_scan_takes_a_filter_and_field_names(self, store: VectorStore) -> None:
        points = make_points()
        where = Equals(field="camera", value="A7")
        found = [
            (point_id, payload)
            for batch in store.scan(where=where, payload=("width", "gps.lat"), batch_size=7)
            for point_id, payload in zip(batch.ids, batch.payloads, strict=True)
        ]
        expected = [
            (point_id, {"width": payload["width"], "gps": {"lat": payload["gps"]["lat"]}})
            for point_id, payload in sorted(zip(points.ids, points.payloads, strict=True))
            if payload["camera"] == "A7"
        ]
        assert found == expected
        assert list(store.scan(where=Equals(field="camera", value="none"))) == []
        assert next(store.scan(payload=False)).payloads[0] == {}

    @pytest.mark.parametrize("name", [CLIP, NATIVE])
    def test_exact_search_equals_sorting_every_dot_product(self, store: VectorStore, name: str) -> None:
        points = make_points()
        rows = np.asarray(points.vectors[name], np.float64)
        rng = np.random.default_rng(1)
        queries = [
            VectorQuery(rng.standard_normal(rows.shape[1:], np.float32), limit, using=name, exact=True)
            for limit in (1, 10, COUNT + 5)
        ]
        for query, found in zip(queries, store.search(queries), strict=True):
            scores = rows @ query.vector
            best = np.argsort(-scores)[: query.limit]
            assert found.ids == [points.ids[at] for at in best]
            np.testing.assert_allclose(found.scores, scores[best], atol=1e-4)
            assert found.scores.dtype == np.float32
            assert found.payloads == [{}] * len(best)

    def test_search_brings_vectors_payloads_and_obeys_the_filter(self, store: VectorStore) -> None:
        points = make_points()
        where = Range(field="width", gte=103)
        query = VectorQuery(
            unit(1, 1), 8, where=where, exact=True, with_vectors=(NATIVE, CLIP), with_payload=True, hnsw_ef=64
        )
        (found,) = store.search([query])
        kept = [at for at, payload in enumerate(points.payloads) if payload["width"] >= 103]
        best = sorted(kept, key=lambda at: -float(points.vectors[CLIP][at] @ query.vector))[:8]
        assert found.ids == [points.ids[at] for at in best]
        assert found.payloads == [points.payloads[at] for at in best]
        np.testing.assert_array_equal(found.vectors[NATIVE], points.vectors[NATIVE][best])
        np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP][best])

    def test_indexed_search_finds_what_the_exact_one_does(self, store: VectorStore) -> None:
        if not store.capabilities.ann:
            pytest.skip("no approximate index")
        exact, indexed = store.search([VectorQuery(unit(1, 2), 10, exact=exact) for exact in (True, False)])
        assert len(set(exact.ids) & set(indexed.ids)) >= 8

    def test_min_score_loses_no_point_that_reaches_it(self, store: VectorStore) -> None:
        rows = make_points().vectors[CLIP]
        for number, query in enumerate(np.random.default_rng(2).normal(size=(20, CLIP_DIM)).astype(np.float32)):
            scores = rows.astype(np.float64) @ query
            threshold = float(np.sort(scores)[-1 - number])  # one point lies exactly on it
            (found,) = store.search([VectorQuery(query, COUNT, min_score=threshold, exact=True)])
            reached = {make_id(int(at)) for at in np.flatnonzero(scores >= threshold)}
            assert reached <= set(found.ids)
            assert len(found.ids) <= len(reached) + 1
        (none,) = store.search([VectorQuery(query, 5, min_score=1e3, exact=True, with_vectors=(CLIP,))])
        assert none.ids == []
        assert none.vectors[CLIP].shape == (0, CLIP_DIM)

    def test_search_refuses_what_it_cannot_answer(self, store: VectorStore) -> None:
        assert store.search([]) == []
        for query in (
            VectorQuery(unit(1)[:-1], 5),
            VectorQuery(unit(1), 5, using="other"),
            VectorQuery(unit(1), 5, with_vectors=("other",)),
            VectorQuery(unit(1), 0),
        ):
            with pytest.raises(UsageError):
                store.search([query])

    def test_count_is_exact_under_filters(self, store: VectorStore) -> None:
        narrow = Range(field="width", lt=102)
        assert store.count() == COUNT
        assert store.count(narrow) == sum(payload["width"] < 102 for payload in make_points().payloads)
        assert store.count(narrow) + store.count(Not(part=narrow)) == COUNT

    def test_facets_count_values_ties_by_value(self, store: VectorStore) -> None:
        assert store.facet("camera") == [("A7", 100), ("X100", 100), ("Zorki-4", 100)]
        assert store.facet("camera", limit=2) == [("A7", 100), ("X100", 100)]
        assert store.facet("flash") == [(False, 150), (True, 150)]
        assert store.facet("width") == [(width, 43) for width in range(100, 106)] + [(106, 42)]
        assert store.facet("width", where=Equals(field="width", value=106)) == [(106, 42)]
        for field in ("aperture", "path", "absent"):
            with pytest.raises(UsageError, match="camera, flash, width"):
                store.facet(field)

    def test_blobs_keep_their_bytes(self, empty: VectorStore) -> None:
        assert empty.read_blob("card") is None
        large = np.random.default_rng(0).bytes(3_000_000)
        for content in (b"{}", large, b"", b"\x00\xff" * 7):
            empty.write_blob("card", content)
            empty.write_blob("aligner-2", content[::-1])
            assert empty.read_blob("card") == content
            assert empty.read_blob("aligner-2") == content[::-1]
        assert empty.count() == 0  # blobs are no points

    @pytest.mark.parametrize("key", ["", "../card", "Card", "a/b", ".hidden"])
    def test_blob_keys_are_checked(self, empty: VectorStore, key: str) -> None:
        with pytest.raises(UsageError, match="blob key"):
            empty.write_blob(key, b"x")
        with pytest.raises(UsageError, match="blob key"):
            empty.read_blob(key)

    def test_a_blob_is_never_read_half_written(self, empty: VectorStore) -> None:
        contents = [bytes([number]) * 1_500_000 for number in range(6)]
        empty.write_blob("card", contents[0])
        done = threading.Event()
        torn: list[int] = []

        def read() -> int:
            reads = 0
            while not done.is_set() or reads == 0:
                content = empty.read_blob("card")
                if content not in contents:
                    torn.append(reads)
                reads += 1
            return reads

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for content in contents:
                    empty.write_blob("card", content)
            finally:
                done.set()
            assert all(reader.result() > 0 for reader in readers)
        assert torn == []

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
        for opened in _openings(store):
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
        for opened in _openings(store):
            assert (opened.read_blob("card"), opened.count(), opened.spec()) == (b"old", COUNT, SPEC)
            np.testing.assert_array_equal(
                opened.fetch([make_id(3)], vectors=(CLIP,)).vectors[CLIP], make_points().vectors[CLIP][3:4]
            )

    def test_who_has_the_old_collection_open_is_told_to_open_it_again(self, store: VectorStore) -> None:
        if not store.capabilities.persistent:
            pytest.skip("not persistent: nobody else can have it open")
        store.write_blob("card", b"old")
        reader = open_store(store.location, "contract")
        assert reader.read_blob("card") == b"old"
        with store.replacement(RENEWED) as aside:
            aside.upsert(_renewed_points())
        store.close()
        calls: list[Any] = [
            reader.count,
            lambda: reader.search([VectorQuery(unit(1), 1)]),
            lambda: reader.upsert(make_points(1)),
            lambda: reader.read_blob("card"),
            lambda: reader.write_blob("card", b"late"),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="replaced meanwhile; open it again"):
                call()
        reader.close()

    @pytest.mark.parametrize("quantization", ["int8", "tq4"])
    def test_quantised_collections_give_whole_scores_and_near_native_vectors(
        self, absent: VectorStore, quantization: Quantization
    ) -> None:
        points = make_points()
        spec = replace(SPEC, quantization=quantization)
        absent.create(spec)
        absent.upsert(points)
        assert absent.spec() == spec
        rows = points.vectors[CLIP].astype(np.float64)
        for exact in (True, False):
            (found,) = absent.search([VectorQuery(unit(1, 2), 10, exact=exact, with_vectors=(CLIP,))])
            at = [points.ids.index(point_id) for point_id in found.ids]
            np.testing.assert_allclose(found.scores, rows[at] @ unit(1, 2), atol=1e-6)
            np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP][at])
            assert len(set(at) & set(np.argsort(-rows @ unit(1, 2))[:10])) >= (10 if exact else 8)
        native = absent.fetch(points.ids, vectors=(NATIVE,)).vectors[NATIVE]
        np.testing.assert_allclose(native, points.vectors[NATIVE], rtol=2**-11)
        with pytest.raises(UsageError, match="6.55e\\+04"):
            absent.upsert(Points(points.ids, points.payloads, {**points.vectors, NATIVE: native + np.float32(1e5)}))

    def test_a_closed_store_says_so(self, store: VectorStore) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.count()
        with pytest.raises(StoreError, match="closed"):
            store.read_blob("card")

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
