"""Vectors of several rows a point, of fewer bits, and added to a collection that is there."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.stores.protocol import CollectionSpec, VectorSpec, VectorStore
from t2c_search.testing.points import CLIP_DIM, COUNT, SPEC, make_id, make_points, unit
from t2c_search.testing.stores.fixtures import StorePlaces, openings
from t2c_search.types import CLIP, NATIVE, FloatArray, Points, VectorQuery

PATCHES, TAGS = "patches", "tags"
PATCH = VectorSpec(4, multi=True)
TAG = VectorSpec(3)
MULTI = CollectionSpec({**SPEC.vectors, PATCHES: PATCH}, SPEC.indexes)


def make_patches(count: int, fewest: int = 1) -> list[FloatArray]:
    """Return up to three rows for each point, as many as its number says."""
    rng = np.random.default_rng(7)
    return [rng.normal(size=(fewest + number % 3, PATCH.dim)).astype(np.float32) for number in range(count)]


def with_patches(points: Points) -> Points:
    """Return the same points with patches."""
    return replace(points, multivectors={PATCHES: make_patches(len(points))})


def max_sim(query: FloatArray, rows: FloatArray) -> float:
    """Return the sum, over the query's rows, of the highest dot product with any row."""
    return float((query.astype(np.float64) @ rows.T).max(1).sum())


class VectorContract(StorePlaces):
    """Multivectors, types of numbers, and vectors that come later or change alone."""

    @pytest.fixture
    def multi(self, absent: VectorStore) -> VectorStore:
        """Fill a collection whose points have patches."""
        absent.create(MULTI)
        absent.upsert(with_patches(make_points()))
        return absent

    def test_multivectors_come_out_as_they_went_in(self, multi: VectorStore) -> None:
        patches = make_patches(COUNT)
        wanted = [17, 3, 250]
        found = multi.fetch([make_id(number) for number in wanted], vectors=(PATCHES, CLIP))
        for rows, number in zip(found.multivectors[PATCHES], wanted, strict=True):
            assert rows.dtype == np.float32
            np.testing.assert_array_equal(rows, patches[number])
        assert set(found.vectors) == {CLIP}
        batches = list(multi.scan(vectors=(PATCHES,), batch_size=100))
        scanned = {point_id: rows for each in batches for point_id, rows in zip(each.ids, each.multivectors[PATCHES])}  # noqa: B905
        assert len(scanned) == COUNT
        for number in range(COUNT):
            np.testing.assert_array_equal(scanned[make_id(number)], patches[number])
        assert multi.fetch([], vectors=(PATCHES,)).multivectors == {PATCHES: []}

    def test_searches_by_several_rows_add_up_the_best_of_each(self, multi: VectorStore) -> None:
        patches = make_patches(COUNT)
        query = np.random.default_rng(1).normal(size=(2, PATCH.dim)).astype(np.float32)
        (found,) = multi.search([VectorQuery(query, 10, using=PATCHES, exact=True, with_vectors=(PATCHES,))])
        scores = np.array([max_sim(query, rows) for rows in patches])
        best = np.argsort(-scores)[:10]
        assert found.ids == [make_id(int(at)) for at in best]
        np.testing.assert_allclose(found.scores, scores[best], atol=1e-4)
        for rows, at in zip(found.multivectors[PATCHES], best, strict=True):
            np.testing.assert_array_equal(rows, patches[at])
        first = VectorQuery(query, 20, using=PATCHES, exact=True)
        (among,) = multi.search([VectorQuery(unit(1), 5, exact=True, among=first)])
        assert set(among.ids) <= {make_id(int(at)) for at in np.argsort(-scores)[:20]}

    def test_halved_numbers_are_near(self, absent: VectorStore) -> None:
        vectors = {CLIP: SPEC.vectors[CLIP], NATIVE: replace(SPEC.vectors[NATIVE], dtype="float16")}
        absent.create(CollectionSpec(vectors, {}))
        points = make_points(20)
        absent.upsert(points)
        found = absent.fetch(points.ids, vectors=(CLIP, NATIVE))
        np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP])
        np.testing.assert_allclose(found.vectors[NATIVE], points.vectors[NATIVE], rtol=2**-11)
        with pytest.raises(UsageError, match=r"6.55e\+04"):
            absent.update_vectors(Points(points.ids, vectors={NATIVE: points.vectors[NATIVE] + np.float32(1e5)}))

    def test_bytes_come_out_as_they_went_in(self, absent: VectorStore) -> None:
        absent.create(CollectionSpec({**SPEC.vectors, PATCHES: replace(PATCH, dtype="uint8", added=True)}, {}))
        rows = np.random.default_rng(3).integers(0, 256, (20, 3, PATCH.dim)).astype(np.float32)
        points = replace(make_points(20), multivectors={PATCHES: [*rows[:-1], rows[0, :0]]})
        absent.upsert(points)
        found = absent.fetch(points.ids, vectors=(PATCHES,)).multivectors[PATCHES]
        np.testing.assert_array_equal(found[:-1], rows[:-1])
        assert found[-1].shape == (0, PATCH.dim)
        for wrong in (0.5, -1.0, 256.0, np.nan):
            with pytest.raises(UsageError, match="whole numbers from 0 to 255"):
                absent.update_vectors(
                    Points(points.ids[:1], multivectors={PATCHES: [np.full((1, PATCH.dim), wrong, np.float32)]})
                )

    def test_one_vector_changes_and_all_else_stays(self, multi: VectorStore) -> None:
        old, new = make_points(), make_points(seed=4)
        numbers = [2, 5, 9]
        ids = [make_id(number) for number in numbers]
        rows = np.concatenate([new.vectors[NATIVE][numbers], np.ones((1, 5), np.float32)])
        multi.update_vectors(Points([*ids, make_id(10**6)], vectors={NATIVE: rows}))
        found = multi.fetch(ids, vectors=(CLIP, NATIVE, PATCHES))
        np.testing.assert_array_equal(found.vectors[NATIVE], new.vectors[NATIVE][numbers])
        np.testing.assert_array_equal(found.vectors[CLIP], old.vectors[CLIP][numbers])
        np.testing.assert_array_equal(found.multivectors[PATCHES][1], make_patches(COUNT)[5])
        assert found.payloads == [old.payloads[number] for number in numbers]
        others = multi.fetch([make_id(3)], vectors=(NATIVE,))
        np.testing.assert_array_equal(others.vectors[NATIVE][0], old.vectors[NATIVE][3])
        assert multi.count() == COUNT  # what is not there is not made
        multi.update_vectors(Points([make_id(10**6)], vectors={NATIVE: np.ones((1, 5), np.float32)}))
        multi.update_vectors(Points([], vectors={NATIVE: np.ones((0, 5), np.float32)}))

    def test_a_vector_is_added_and_points_lack_it_until_they_are_given_it(self, store: VectorStore) -> None:
        store.add_vector(PATCHES, PATCH)
        store.add_vector(TAGS, TAG)
        added = {PATCHES: replace(PATCH, added=True), TAGS: replace(TAG, added=True)}
        assert store.spec() == replace(SPEC, vectors={**SPEC.vectors, **added})
        ids = [make_id(number) for number in range(4)]
        found = store.fetch(ids, vectors=(CLIP, PATCHES, TAGS))
        assert [rows.shape for rows in found.multivectors[PATCHES]] == [(0, PATCH.dim)] * 4
        assert np.isnan(found.vectors[TAGS]).all()
        np.testing.assert_array_equal(found.vectors[CLIP], make_points().vectors[CLIP][:4])
        patches, tags = make_patches(2), np.arange(6, dtype=np.float32).reshape(2, 3)
        store.update_vectors(Points(ids[:2], vectors={TAGS: tags}, multivectors={PATCHES: patches}))
        for opened in openings(store):
            found = opened.fetch(ids, vectors=(PATCHES, TAGS))
            np.testing.assert_array_equal(found.vectors[TAGS][:2], tags)
            assert np.isnan(found.vectors[TAGS][2:]).all()
            np.testing.assert_array_equal(found.multivectors[PATCHES][1], patches[1])
            assert found.payloads == make_points().payloads[:4]
            by_tag, by_patch = opened.search(
                [
                    VectorQuery(np.ones(3, np.float32), COUNT, using=TAGS, exact=True),
                    VectorQuery(np.ones((1, 4), np.float32), COUNT, using=PATCHES, exact=True),
                ]
            )
            assert by_tag.ids == [ids[1], ids[0]]  # and none that lacks it
            assert set(by_patch.ids) == set(ids[:2])

    def test_points_that_lack_a_vector_go_in_as_they_came_out(self, store: VectorStore) -> None:
        store.add_vector(PATCHES, PATCH)
        store.add_vector(TAGS, TAG)
        store.upsert(make_points(2))  # without them
        points = make_points(4)
        tags = np.array([[1, 2, 3], [np.nan] * 3, [4, 5, 6], [np.nan] * 3], np.float32)
        patches = make_patches(4, fewest=0)
        whole = replace(points, vectors={**points.vectors, TAGS: tags}, multivectors={PATCHES: patches})
        for _ in range(2):
            store.upsert(whole)
            whole = store.fetch(points.ids, vectors=(CLIP, NATIVE, TAGS, PATCHES))
            np.testing.assert_array_equal(whole.vectors[TAGS], tags)
            for rows, came in zip(whole.multivectors[PATCHES], patches, strict=True):
                np.testing.assert_array_equal(rows, came)
        gone = Points(points.ids[:1], vectors={TAGS: tags[1:2]}, multivectors={PATCHES: patches[:1]})
        store.update_vectors(gone)
        found = store.fetch(points.ids, vectors=(TAGS, CLIP))
        assert np.isnan(found.vectors[TAGS][0]).all()
        np.testing.assert_array_equal(found.vectors[TAGS][2], tags[2])
        np.testing.assert_array_equal(found.vectors[CLIP], points.vectors[CLIP])
        store.upsert(points)  # replaces whole points
        assert np.isnan(store.fetch(points.ids, vectors=(TAGS,)).vectors[TAGS]).all()

    def test_adding_a_vector_again_does_nothing_and_another_one_is_refused(self, store: VectorStore) -> None:
        for _ in range(2):
            store.add_vector(TAGS, TAG)
        store.add_vector(NATIVE, SPEC.vectors[NATIVE])
        assert store.spec().vectors == {**SPEC.vectors, TAGS: replace(TAG, added=True)}
        for name, other in ((TAGS, PATCH), (TAGS, replace(TAG, dtype="float16")), (CLIP, TAG), ("", TAG), ("a.b", TAG)):
            with pytest.raises(UsageError):
                store.add_vector(name, other)
        assert store.count() == COUNT

    def test_a_replacement_has_added_vectors_too(self, store: VectorStore) -> None:
        store.add_vector(TAGS, TAG)
        tags = np.ones((1, 3), np.float32)
        with store.replacement(store.spec()) as aside:
            points = make_points(2)
            aside.upsert(points)
            aside.update_vectors(Points(points.ids[:1], vectors={TAGS: tags}))
        for opened in openings(store):
            found = opened.fetch(points.ids, vectors=(TAGS,)).vectors[TAGS]
            np.testing.assert_array_equal(found[0], tags[0])
            assert np.isnan(found[1]).all()

    def test_unusable_vectors_are_refused(self, multi: VectorStore) -> None:
        ids, patches = [make_id(0), make_id(1)], make_patches(2)
        native = np.ones((2, 5), np.float32)
        for points in (
            Points(ids, vectors={"other": native}),
            Points(ids, vectors={NATIVE: native[:, :4]}),
            Points(ids, vectors={NATIVE: native[:1]}),
            Points(ids, vectors={NATIVE: np.full((2, 5), np.nan, np.float32)}),  # not one that was added
            Points(ids, vectors={PATCHES: np.ones((2, 4), np.float32)}),
            Points(["1", ids[1]], vectors={NATIVE: native}),
            Points(ids, multivectors={NATIVE: [native, native]}),
            Points(ids, multivectors={PATCHES: patches[:1]}),
            Points(ids, multivectors={PATCHES: [patches[0], patches[1][:, :3]]}),
            Points(ids, multivectors={PATCHES: [patches[0], patches[1][:0]]}),
            Points(ids, multivectors={PATCHES: [patches[0], patches[1] * np.inf]}),
        ):
            with pytest.raises(UsageError):
                multi.update_vectors(points)
        with pytest.raises(UsageError, match="patches"):
            multi.upsert(make_points(2))
        for query in (unit(1)[:4], np.ones((0, 4), np.float32), np.ones((1, 5), np.float32)):
            with pytest.raises(UsageError, match="patches"):
                multi.search([VectorQuery(query, 5, using=PATCHES)])
        with pytest.raises(UsageError, match=f"{CLIP_DIM}"):
            multi.search([VectorQuery(np.ones((1, CLIP_DIM), np.float32), 5)])
        found = multi.fetch(ids, vectors=(PATCHES,))
        np.testing.assert_array_equal(found.multivectors[PATCHES][1], patches[1])
