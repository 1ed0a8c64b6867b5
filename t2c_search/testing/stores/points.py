"""Points go in, change, and come out as they were."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.filters import Equals
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.points import CLIP_DIM, COUNT, make_id, make_points
from t2c_search.testing.stores.fixtures import StorePlaces
from t2c_search.types import CLIP, NATIVE, Points


class PointsContract(StorePlaces):
    """Writing, fetching and scanning points."""

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
