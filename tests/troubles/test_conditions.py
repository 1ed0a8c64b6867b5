"""Conditions on texts and within lists: what each matches, in every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from t2c_search.query.language.syntax import parse_filter
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.filters import matches
from t2c_search.testing.points import SPEC, make_points
from t2c_search.types import Payload, Points
from tests.stubs.rest import QdrantStub

CASES: list[tuple[str, Payload, bool]] = [
    ('name ~ "1313"', {"name": "IMG_1313.jpg"}, True),
    ('name ~ "1313"', {"name": "IMG_13131.jpg"}, False),
    ('format ~ "jpeg"', {"format": "JPEG"}, True),
    ('format ~ "peg"', {"format": "JPEG"}, False),
    ('tags ~ "RED car"', {"tags": ["a car, red", "boat"]}, True),
    ('tags ~ "red boat"', {"tags": ["a car, red", "boat"]}, False),
    ('captions ~ "red boat"', {"captions": ["a car, red", "boat"]}, False),
    ('captions ~ "boat"', {"captions": ["a car, red", "BOAT!"]}, True),
    ('captions ~ "\u516c\u5712"', {"captions": ["\u72ac\u304c\u516c\u5712\u3092\u8d70\u308b"]}, True),
    ('captions ~ "\u732b"', {"captions": ["\u72ac\u304c\u516c\u5712\u3092\u8d70\u308b"]}, False),
    ('captions ~ "\u0e2b\u0e21\u0e32"', {"captions": ["\u0e2b\u0e21\u0e32\u0e27\u0e34\u0e48\u0e07"]}, True),
    ('captions ~ "cafe\u0301"', {"captions": ["le CAF\u00c9"]}, True),
    ('captions ~ "caf\u00e9"', {"captions": ["le cafe\u0301"]}, True),
    ('captions ~ "cafe"', {"captions": ["le caf\u00e9"]}, False),
    ('name = "caf\u00e9.jpg"', {"name": "cafe\u0301.jpg"}, True),
    ('name IN ("cafe\u0301.jpg", "b")', {"name": "caf\u00e9.jpg"}, True),
    ('camera STARTS WITH "fuji"', {"camera": "FUJIFILM X100V"}, True),
    ('camera STARTS WITH "x100"', {"camera": "FUJIFILM X100V"}, False),
    ('note STARTS WITH "CAFE\u0301"', {"note": "caf\u00e9 noir"}, True),
    ('note CONTAINS "D C"', {"note": ["the red car"]}, True),
    ('note CONTAINS "%"', {"note": "100 percent"}, False),
    ('path GLOB "2023/*"', {"path": "/photos/2023/a.jpg"}, True),
    ('path GLOB "2023/*"', {"path": "/photos/2023/05/a.jpg"}, False),
    ('path GLOB "2023/**"', {"path": "/photos/2023/05/a.jpg"}, True),
    ('path GLOB "2023/*"', {"path": "/photos/12023/a.jpg"}, False),
    ('path GLOB "2023/*.JPG"', {"path": "/photos/2023/a.jpg"}, False),
    ('path GLOB "left/*.png"', {"path": "/data/a.tar::left/0001.png"}, True),
    ('path GLOB "*.tar::left/*"', {"path": "/data/a.tar::left/0001.png"}, True),
    ('path GLOB "/photos/**/a.jpg"', {"path": "/photos/a.jpg"}, True),
    ('path GLOB "/2023/*"', {"path": "/photos/2023/a.jpg"}, False),
    ('path GLOB "[!a]?/c.jpg"', {"path": "/b1/c.jpg"}, True),
    ('people.name = "Ann"', {"people": [{"name": "Bob"}, {"name": "Ann"}]}, True),
    ('people.name = "Ann"', {"people": {"name": "Ann"}}, True),
    ('people.name != "Ann"', {"people": [{"name": "Bob"}, {"name": "Ann"}]}, False),
    ("people.box.width > 3", {"people": [{"box": [{"width": 1}, {"width": 7}]}]}, True),
    ("people.age EXISTS", {"people": [{"name": "Bob"}]}, False),
    ('people.name CONTAINS "nn"', {"people": [{"name": ["Ann", "Anna"]}]}, True),
]


@pytest.mark.parametrize(("expression", "payload", "expected"), CASES)
def test_the_definition(expression: str, payload: Payload, expected: bool) -> None:
    assert matches(parse_filter(expression), payload) is expected


@pytest.fixture(scope="module", params=["embedded", "memory", "server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    """A collection whose points are the cases' payloads."""
    with QdrantStub() as stub:
        folder: Path = tmp_path_factory.mktemp("stores")
        place = {"embedded": str(folder / "a.t2c"), "memory": ":memory:", "server": stub.url}[request.param]
        opened = open_store(place, "cases")
        opened.create(CollectionSpec(SPEC.vectors, {"name": "keyword", "format": "keyword", "captions": "text"}))
        points = make_points(len(CASES))
        opened.upsert(Points(points.ids, [payload for _, payload, _ in CASES], points.vectors))
        yield opened
        opened.close()


@pytest.mark.parametrize(("expression", "payload", "expected"), CASES)
def test_every_store_finds_what_the_definition_says(
    store: VectorStore, expression: str, payload: Payload, expected: bool
) -> None:
    where = parse_filter(expression)
    found = [each for batch in store.scan(where=where) for each in batch.payloads]
    assert sorted(map(str, found)) == sorted(str(each) for _, each, _ in CASES if matches(where, each))
    assert store.count(where) == len(found)
    assert (payload in found) is expected
