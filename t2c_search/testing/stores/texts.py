"""Conditions on texts: the same on fields of every kind of index, in lists, in objects, and without an index."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

from dataclasses import replace

import pytest

from t2c_search.filters import AllOf, Contains, Equals, Exists, Filter, Glob, Not, OneOf, StartsWith, TextMatch
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.filters import matches
from t2c_search.testing.points import SPEC, make_id, make_points, unit
from t2c_search.testing.stores.fixtures import StorePlaces
from t2c_search.types import CLIP, Payload, VectorQuery

_TEXTS: tuple[str | list[str], ...] = (
    "FUJIFILM X100V",
    "x100v",
    "X100VI",
    ["Red car", "blue boat"],
    ["red", "car"],
    "un caf\u00e9 noir",
    "un cafe\u0301 noir",
    "\u72ac\u304c\u516c\u5712\u3092\u8d70\u308b",
    "IMG_1313.JPEG",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
)
_PATHS = (
    "/photos/2023/05/a.jpg",
    "/photos/2023/b.JPG",
    "/photos/12023/c.jpg",
    "/photos/2023.tar::05/d.jpg",
    "/2023/e.jpg",
)
_FIELDS = ("camera", "caption", "plain", "inner.plain", "people.name")
"""With an index of whole values, with one of words, without one, in an object, and in a list of objects."""


def _payloads() -> list[Payload]:
    return [
        {
            "path": _PATHS[number % len(_PATHS)],
            "camera": text,
            "caption": text,
            "plain": text,
            "inner": {"plain": text},
            "people": [{"name": text}, {"name": "Ann", "age": number}, {}, "nobody"],
        }
        for number, text in enumerate(_TEXTS)
    ]


def _asked(field: str) -> list[Filter]:
    return [
        *(TextMatch(field=field, text=text) for text in ("X100V", "red CAR", "car", "1313 jpeg", "x100", "!", "jpeg")),
        *(
            TextMatch(field=field, text=text)
            for text in (
                "CAF\u00c9",
                "cafe\u0301 un",
                "\u516c\u5712",
                "\u72ac \u8d70",
                "\u0939\u093f\u0928\u094d\u0926\u0940",
            )
        ),
        *(StartsWith(field=field, text=text) for text in ("x100v", "UN CAFE\u0301", "blue", "")),
        *(Contains(field=field, text=text) for text in ("131", "CAF\u00c9 N", "d c", "\u304c\u516c", "_")),
        *(Glob(field=field, pattern=pattern) for pattern in ("X100*", "*", "img_*", "IMG_????.JPEG")),
        Equals(field=field, value="un cafe\u0301 noir"),
        OneOf(field=field, values=("un caf\u00e9 noir", "red")),
        Exists(field=field),
    ]


class TextContract(StorePlaces):
    """Conditions that look into texts."""

    @pytest.fixture
    def texts(self, absent: VectorStore) -> VectorStore:
        """Fill a collection with texts."""
        absent.create(SPEC)
        points = make_points(len(_TEXTS))
        absent.upsert(replace(points, payloads=_payloads()))
        return absent

    @pytest.mark.parametrize("field", _FIELDS)
    def test_conditions_on_texts_mean_the_same_whatever_the_field(self, texts: VectorStore, field: str) -> None:
        _check(texts, _asked(field))

    def test_components_of_paths_are_matched_whole_from_the_end(self, texts: VectorStore) -> None:
        patterns = ("2023/*", "2023/**", "**/05/*", "05/?.jpg", "/photos/**", "/2023/*", "*.tar::05/*", "*.jpg", "2023")
        _check(texts, [Glob(field="path", pattern=pattern) for pattern in patterns])

    def test_text_conditions_combine_with_all_others(self, texts: VectorStore) -> None:
        by_index, by_looking = TextMatch(field="camera", text="x100v"), Contains(field="plain", text="x100")
        none, red = TextMatch(field="camera", text="nothing"), TextMatch(field="caption", text="red car")
        _check(
            texts,
            [
                AllOf(parts=(by_index, by_looking)),
                Not(part=AllOf(parts=(by_index, Not(part=by_looking)))),
                Not(part=red),
                Not(part=none),
                AllOf(parts=(Not(part=by_looking), Exists(field="inner.plain"))),
            ],
        )

    def test_values_are_counted_in_lists_of_objects(self, absent: VectorStore) -> None:
        absent.create(CollectionSpec(SPEC.vectors, {"people.name": "keyword", "people.age": "integer"}))
        payloads: list[Payload] = [
            {"people": [{"name": "Ann"}, {"name": ["Bob", "Ann"]}]},
            {"people": {"name": "Ann"}},
            {"people": [{"name": "Bob", "age": 7}]},
            {"people": []},
        ]
        absent.upsert(replace(make_points(4), payloads=payloads))
        assert absent.facet("people.name") == [("Ann", 2), ("Bob", 2)]
        assert absent.facet("people.name", where=Equals(field="people.age", value=7)) == [("Bob", 1)]
        assert absent.count(Equals(field="people.name", value="Ann")) == 2
        assert absent.count(StartsWith(field="people.name", text="b")) == 2


def _check(store: VectorStore, filters: list[Filter]) -> None:
    for where in filters:
        expected = {make_id(number) for number, payload in enumerate(_payloads()) if matches(where, payload)}
        scanned = [point_id for batch in store.scan(where=where, payload=False) for point_id in batch.ids]
        assert set(scanned) == expected, where
        assert scanned == sorted(scanned)
        assert store.count(where) == len(expected), where
        (found,) = store.search([VectorQuery(unit(1), len(_TEXTS), where=where, with_vectors=(CLIP,))])
        assert set(found.ids) == expected, where
        (again,) = store.search([VectorQuery(unit(1), len(_TEXTS), where=store.asked(where))])
        assert again.ids == found.ids
        assert sum(count for _, count in store.facet("camera", where=where)) >= len(expected), where
