"""Payloads that change field by field, and what is derived in them."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.filters import Equals
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.points import make_id, make_points
from t2c_search.testing.stores.fixtures import StorePlaces
from t2c_search.types import CLIP, DERIVED, Points

_LABELS = f"{DERIVED}.labels"


class PayloadContract(StorePlaces):
    """What merges, what is replaced, and what stays."""

    def test_fields_merge_and_all_others_stay(self, store: VectorStore) -> None:
        old = make_points().payloads
        ids = [make_id(5), make_id(10**6), make_id(6), make_id(7)]
        store.update_payload(
            ids, [{"camera": "M3"}, {"camera": "M3"}, {"gps": {"lat": 1, "lon": 2}, "new": [1, 2]}, {}]
        )
        found = store.fetch([make_id(5), make_id(6), make_id(7)], vectors=(CLIP,))
        assert found.payloads == [
            {**old[5], "camera": "M3"},
            {**old[6], "gps": {"lat": 1, "lon": 2}, "new": [1, 2]},
            old[7],
        ]
        np.testing.assert_array_equal(found.vectors[CLIP], make_points().vectors[CLIP][5:8])
        assert store.count(Equals(field="camera", value="M3")) == 1
        assert store.fetch([make_id(10**6)]).ids == []

    def test_dotted_names_lead_into_objects(self, store: VectorStore) -> None:
        point = make_id(5)
        store.update_payload([point], [{_LABELS: ["dog"], "derived.share": 0.5, "gps.lat": 7, "a.b c.d": 1}])
        store.update_payload([point], [{"derived.share": 0.75}])
        old = make_points().payloads[5]
        expected = {
            **old,
            DERIVED: {"labels": ["dog"], "share": 0.75},
            "gps": {**old["gps"], "lat": 7},
            "a": {"b c": {"d": 1}},
        }
        assert store.fetch([point]).payloads == [expected]
        assert store.count(Equals(field=_LABELS, value="dog")) == 1

    def test_none_removes_a_field(self, store: VectorStore) -> None:
        store.update_payload([make_id(5)], [{"camera": None, "gps.lat": None, "absent": None, "flash": True}])
        old = make_points().payloads[5]
        kept = {name: value for name, value in old.items() if name != "camera"}
        assert store.fetch([make_id(5)]).payloads == [{**kept, "gps": {"lon": old["gps"]["lon"]}, "flash": True}]

    @pytest.mark.parametrize("name", ["", "a..b", 'a"b', ".a"])
    def test_names_that_no_query_could_have_are_refused(self, store: VectorStore, name: str) -> None:
        with pytest.raises(UsageError):
            store.update_payload([make_id(5)], [{name: 1}])
        with pytest.raises(UsageError, match="JSON"):
            store.update_payload([make_id(5)], [{"a": float("nan")}])
        assert store.fetch([make_id(5)]).payloads == [make_points().payloads[5]]

    def test_writers_of_different_fields_lose_nothing(self, store: VectorStore) -> None:
        ids = [make_id(number) for number in range(3)]
        rounds = 12

        def write(name: str) -> None:
            for number in range(rounds):
                store.update_payload(ids, [{f"{DERIVED}.{name}{number}": number, name: number} for _ in ids])

        def rewrite(_: str) -> None:
            for number in range(rounds):
                store.set_payload(ids, [{"path": point_id, "round": number} for point_id in ids])

        with ThreadPoolExecutor(4) as pool:
            for task in [pool.submit(work, name) for work, name in ((write, "a"), (write, "b"), (rewrite, ""))]:
                task.result()
        derived = {f"{name}{number}": number for name in "ab" for number in range(rounds)}
        for point_id, payload in zip(ids, store.fetch(ids).payloads, strict=True):
            assert payload[DERIVED] == derived
            assert payload["path"] == point_id

    def test_what_is_derived_survives_another_payload(self, store: VectorStore) -> None:
        ids = [make_id(5), make_id(6)]
        store.update_payload(ids, [{_LABELS: ["dog"]}, {_LABELS: ["cat"]}])
        stale = {"path": "x", 'a"b': 1, DERIVED: {"labels": ["wolf"]}}  # as it was read before
        store.set_payload(ids, [stale, {}])
        assert store.fetch(ids).payloads == [
            {"path": "x", 'a"b': 1, DERIVED: {"labels": ["dog"]}},
            {DERIVED: {"labels": ["cat"]}},
        ]
        store.set_payload(ids[:1], [{"path": "y"}])
        assert store.fetch(ids[:1]).payloads == [{"path": "y", DERIVED: {"labels": ["dog"]}}]

    def test_whole_points_bring_what_is_derived_with_them(self, store: VectorStore) -> None:
        points = make_points(1)
        store.upsert(Points(points.ids, [{"path": "x", DERIVED: {"labels": ["dog"]}}], points.vectors))
        assert store.fetch(points.ids).payloads == [{"path": "x", DERIVED: {"labels": ["dog"]}}]
