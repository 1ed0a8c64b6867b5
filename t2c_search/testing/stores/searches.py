"""What searches, counts and facets find."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.filters import Equals, Not, OneOf, Range
from t2c_search.stores.protocol import CollectionSpec, Quantization, VectorStore
from t2c_search.testing.points import CLIP_DIM, COUNT, SPEC, make_id, make_points, unit
from t2c_search.testing.stores.fixtures import StorePlaces
from t2c_search.types import CLIP, NATIVE, Points, VectorQuery


class SearchContract(StorePlaces):
    """Searching, counting and grouping points."""

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

    def test_large_whole_numbers_equal_themselves_alone(self, empty: VectorStore) -> None:
        numbers = [2**53, 2**53 + 1, 1234567890123456789, 1234567890123456790, -(2**63), 2**63 - 1]
        points = make_points(len(numbers))
        for field in ("width", "tweet"):  # with an index, and without one
            empty.upsert(replace(points, payloads=[{field: number} for number in numbers]))
            for number in numbers:
                (found,) = empty.scan(where=Equals(field=field, value=number))
                assert found.payloads == [{field: number}]
            assert empty.count(OneOf(field=field, values=(7, numbers[1], numbers[2]))) == 2

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

    def test_a_search_among_what_another_finds_obeys_both(self, store: VectorStore) -> None:
        rows = make_points().vectors[CLIP].astype(np.float64)
        first, second, last = np.random.default_rng(3).normal(size=(3, CLIP_DIM)).astype(np.float32)
        where, level = Range(field="width", gte=103), float(np.median(rows @ second))
        widest = VectorQuery(first, COUNT // 2, where=where, exact=True)
        middle = VectorQuery(second, COUNT, min_score=level, exact=True, among=widest)
        found, rest = store.search(
            [VectorQuery(last, COUNT, exact=True, among=middle, offset=skipped) for skipped in (0, 3)]
        )
        kept = [at for at, payload in enumerate(make_points().payloads) if payload["width"] >= 103]
        kept = sorted(kept, key=lambda at: -float(rows[at] @ first))[: COUNT // 2]
        kept = sorted((at for at in kept if rows[at] @ second >= level), key=lambda at: -float(rows[at] @ last))
        assert len(kept) > 3
        assert found.ids == [make_id(at) for at in kept]
        assert rest.ids == found.ids[3:]

    def test_search_refuses_what_it_cannot_answer(self, store: VectorStore) -> None:
        assert store.search([]) == []
        for query in (
            VectorQuery(unit(1)[:-1], 5),
            VectorQuery(unit(1), 5, using="other"),
            VectorQuery(unit(1), 5, with_vectors=("other",)),
            VectorQuery(unit(1), 0),
            VectorQuery(unit(1), 5, among=VectorQuery(unit(1)[:-1], 5)),
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

    def test_indexes_are_added_for_the_points_there_and_those_to_come(self, store: VectorStore) -> None:
        half = Equals(field="tags", value="b")
        before = store.count(half)
        for _ in range(2):  # as after a process that was killed half way
            store.add_indexes({"tags": "keyword", "exposure.seconds": "float"})
        assert store.spec() == replace(SPEC, indexes={**SPEC.indexes, "tags": "keyword", "exposure.seconds": "float"})
        assert (store.count(half), store.facet("tags")) == (before, [("a", 200), ("b", 100)])
        store.set_payload([make_id(0)], [{"path": "x", "tags": ["c"], "exposure": {"seconds": 0.5}}])
        assert store.facet("tags", limit=3)[-1] == ("c", 1)
        assert store.count(Range(field="exposure.seconds", gte=0.25)) == 1

    @pytest.mark.parametrize("quantization", ["int8", "tq4"])
    def test_quantised_collections_give_whole_scores_and_near_native_vectors(
        self, absent: VectorStore, quantization: Quantization
    ) -> None:
        points = make_points()
        spec = CollectionSpec.of(SPEC.dims, SPEC.indexes, quantization)
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
