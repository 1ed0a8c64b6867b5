"""Every engine gives a filter the meaning of ``t2c_search.testing.filters``, on random payloads and filters."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2c_search.errors import UsageError
from t2c_search.filters import (
    AllOf,
    AnyOf,
    Contains,
    Equals,
    Exists,
    Filter,
    GeoRadius,
    Glob,
    Not,
    OneOf,
    Range,
    StartsWith,
    TextMatch,
)
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.filters import matches
from t2c_search.testing.points import make_id
from t2c_search.types import Payload, Points

WORDS = ("dog", "Dog", "dogs", "a dog", "snow-dog!", "A CAT", "été", "", "7")
NUMBERS = (-1, 0, 1, 2, 2.0, 2.5, 1e6)
DATES = (
    "2023-01-01T00:00:00+00:00",
    "2023-01-01T00:00:00.500000+00:00",
    "2023-01-01T01:00:00+01:00",
    "2023-06-30T23:59:59",
    "2024-02-29T12:00:00Z",
)
MOMENTS = (
    datetime(2023, 1, 1, tzinfo=UTC),
    datetime(2023, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(2023, 7, 1),  # no zone: UTC
    datetime(2024, 2, 29, 12, tzinfo=UTC),
)
HUGE = (2**53, 2**53 + 1, 1234567890123456789, 1234567890123456790, -(2**63), 2**63 - 1)  # some share a float
PLACES = ({"lat": 45.0, "lon": 7.0}, {"lat": 45.1, "lon": 7.0}, {"lat": -89.9, "lon": 179.9})
VALUES: dict[str, tuple[Any, ...]] = {  # the indexed fields hold their type, as the indexer writes them
    "word": WORDS,
    "whole": (-1, 0, 1, 2, 10**6, *HUGE),
    "number": NUMBERS,
    "flag": (True, False),
    "date": DATES,
    "text": WORDS,
    "place": PLACES,
}
SPEC = CollectionSpec.of(
    {"clip": 2},
    {
        "word": "keyword",
        "whole": "integer",
        "number": "float",
        "flag": "bool",
        "date": "datetime",
        "text": "text",
        "place": "geo",
    },
)
ANY = "any"  # a field without an index: every type, mixed
FIELDS = (*VALUES, ANY, "nested.any", "größe in m", "absent")


def _value(rng: random.Random, choices: tuple[Any, ...]) -> Any:
    form = rng.randrange(8)
    if form == 0:
        return None
    if form <= 2:
        return rng.choices(choices, k=rng.randrange(4))
    return rng.choice(choices)


def _payloads(count: int) -> list[Payload]:
    rng = random.Random(7)
    mixed = tuple(value for choices in VALUES.values() for value in choices)
    fields: dict[str, tuple[Any, ...]] = {**VALUES, ANY: mixed, "größe in m": NUMBERS}
    payloads = []
    for _ in range(count):
        payload: Payload = {field: _value(rng, choices) for field, choices in fields.items() if rng.random() < 0.8}
        if rng.random() < 0.7:
            inner: list[Payload] = [{ANY: _value(rng, mixed)} for _ in range(rng.randrange(4))]
            payload["nested"] = inner if rng.random() < 0.5 else {ANY: _value(rng, mixed)}
        payloads.append(payload)
    return payloads


PAYLOADS = _payloads(150)


@pytest.fixture(scope="module")
def stores(module_disk: Path) -> Iterator[list[VectorStore]]:
    ids = [make_id(number) for number in range(len(PAYLOADS))]
    with ExitStack() as stack:
        opened = []
        for location in (str(module_disk), ":memory:"):
            store = open_store(location, "filters")
            stack.callback(store.close)
            store.create(SPEC)
            store.upsert(Points(ids, PAYLOADS, {"clip": np.zeros((len(ids), 2), np.float32)}))
            opened.append(store)
        yield opened


_field = st.sampled_from(FIELDS)
_not_dates = st.sampled_from([field for field in FIELDS if field != "date"])
_not_numbers = st.sampled_from([field for field in FIELDS if field not in ("whole", "number")])
_number = st.sampled_from(NUMBERS)
_whole = st.integers(-1, 3) | st.sampled_from(HUGE)
_moment = st.sampled_from(MOMENTS)
_leaf: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Equals, field=_field, value=st.sampled_from((*WORDS, True, False, *DATES))),
    st.builds(Equals, field=_not_dates, value=st.sampled_from((*NUMBERS, *HUGE))),
    st.builds(OneOf, field=_field, values=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, field=_not_dates, values=st.lists(_whole, min_size=1, max_size=3).map(tuple)),
    st.builds(Range, field=_not_dates, gt=_number, lte=st.none() | _number),
    st.builds(Range, field=_not_dates, gte=st.none() | _number, lt=_number),
    st.builds(Range, field=_not_numbers, gte=st.none() | _moment, lt=_moment),
    st.builds(Range, field=_not_numbers, gt=_moment, lte=st.none() | _moment),
    st.builds(Exists, field=_field),
    st.builds(TextMatch, field=_field, text=st.sampled_from((*WORDS, "cat a", "dog snow", "do", "!"))),
    st.builds(StartsWith, field=_field, text=st.sampled_from((*WORDS, "D", "2023-"))),
    st.builds(Contains, field=_field, text=st.sampled_from((*WORDS, "OG", "e\u0301"))),
    st.builds(Glob, field=_field, pattern=st.sampled_from(("*", "dog*", "?", "a dog", "20*"))),
    st.builds(
        GeoRadius,
        field=_field,
        lat=st.sampled_from((45.0, -90.0)),
        lon=st.sampled_from((7.0, -180.0)),
        metres=st.sampled_from((1.0, 11_000.0, 12_000.0, 1e7)),
    ),
)
_filters = st.recursive(
    _leaf,
    lambda parts: st.one_of(
        st.builds(AllOf, parts=st.lists(parts, max_size=3).map(tuple)),
        st.builds(AnyOf, parts=st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, part=parts),
    ),
    max_leaves=5,
)


@given(where=_filters)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_engines_agree_with_the_plain_evaluator(stores: list[VectorStore], where: Filter) -> None:
    expected = {make_id(number) for number, payload in enumerate(PAYLOADS) if matches(where, payload)}
    for store in stores:
        found = {point_id for batch in store.scan(where=where, payload=False) for point_id in batch.ids}
        assert found == expected, store.location
        assert store.count(where) == len(expected), store.location


def test_unusable_filters_are_refused(stores: list[VectorStore]) -> None:
    unusable = [
        Range(field="number", gte=1, lt=datetime(2023, 1, 1)),
        Range(field="number", gte=datetime(2023, 1, 1)),
        Range(field="date", gte=1),
        Equals(field="date", value=1),
        OneOf(field="date", values=(1, 2)),
        Equals(field="date", value=1),
        OneOf(field="date", values=(2023, 2024)),
        Equals(field='a"b', value=1),
        Equals(field="", value=1),
        Equals(field="gps..lat", value=1),
    ]
    for store in stores:
        for where in unusable:
            with pytest.raises(UsageError):
                store.count(where)
