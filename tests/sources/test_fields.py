"""Fields get the types that the user gives them; a value that has not that type costs nothing but itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.errors import UsageError
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.field_types import parse_types
from t2c_search.sources.tables.fields import convert, nested, typed
from t2c_search.stores.protocol import FieldType


@pytest.mark.parametrize(
    ("kind", "value", "converted"),
    [
        ("integer", " 7 ", 7),
        ("integer", 7.0, 7),
        ("integer", ["1", 2], [1, 2]),
        ("float", "1e-3", 0.001),
        ("float", 2, 2.0),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("bool", False, False),
        ("datetime", "2024-05-01", "2024-05-01T00:00:00"),
        ("datetime", "2024-05-01 10:11:12Z", "2024-05-01T10:11:12+00:00"),
        ("keyword", 12, "12"),
        ("text", "words", "words"),
        ("geo", "48.2, 16.4", {"lat": 48.2, "lon": 16.4}),
        ("geo", {"lat": "-1", "lon": 2}, {"lat": -1.0, "lon": 2.0}),
    ],
)
def test_values_are_converted(kind: FieldType, value: Any, converted: Any) -> None:
    result = convert(value, kind)
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "7.5"), ("integer", 7.5), ("integer", True), ("integer", 2**63), ("integer", float("nan")),
        ("float", "inf"), ("float", "x"), ("float", True), ("bool", "maybe"), ("bool", 2),
        ("datetime", "May"), ("datetime", 20240501), ("text", {"a": 1}),
        ("geo", "91,0"), ("geo", "1"), ("geo", {"lat": 1}), ("geo", 5),
    ],
)  # fmt: skip
def test_values_of_another_type_are_remarked_and_left_out(kind: FieldType, value: Any) -> None:
    remarks = Remarks()
    fields = {"x": value, "y": "kept"}
    assert typed(fields, {"x": kind}, "/a.jpg", remarks) == {"y": "kept"}
    (line,) = remarks.lines()
    assert line == f"field 'x' left out where its value is not of type {kind} ({value!r} of /a.jpg)"


@pytest.mark.parametrize(
    ("fields", "result", "remark"),
    [
        ({"meta.rating": 1, "meta.by.who": "x", "y": 2}, {"meta": {"rating": 1, "by": {"who": "x"}}, "y": 2}, ""),
        ({"meta.rating": 1, "meta": {"rating": 0, "x": 2}}, {"meta": {"rating": 1, "x": 2}}, ""),
        ({"meta": {"a.b": 1, "a": {"c": 2}}}, {"meta": {"a": {"b": 1, "c": 2}}}, ""),
        ({"meta.rating": 1, "meta": "x"}, {"meta": "x"}, "field 'meta.rating' passed over: what it lies in is there"),
        ({"a.b.c.d": 1, "a.b": [2]}, {"a": {"b": [2]}}, "field 'a.b.c.d' passed over"),
        ({"a..b": 1, 'c".d': 2}, {"a..b": 1, 'c".d': 2}, "field 'c\".d' can be shown but not searched by: no query"),
    ],
)
def test_a_dot_in_a_name_means_a_field_in_an_object(
    fields: dict[str, Any], result: dict[str, Any], remark: str
) -> None:
    given, remarks = copy.deepcopy(fields), Remarks()
    assert nested(fields, "/a.jpg", remarks) == result
    assert fields == given
    assert remark in (remarks.lines() or ("",))[0]
    assert bool(remark) == bool(remarks.lines())


def test_a_type_holds_for_a_field_in_an_object() -> None:
    fields = {"meta": {"rating": "4.5", "by": {"year": "x"}}, "other": "1"}
    types: dict[str, FieldType] = {
        "meta.rating": "float",
        "meta.by.year": "integer",
        "other.x": "bool",
        "none.x": "bool",
    }
    remarks = Remarks()
    assert typed(fields, types, "/a.jpg", remarks) == {"meta": {"rating": 4.5, "by": {}}, "other": "1"}
    assert remarks.lines() == ("field 'meta.by.year' left out where its value is not of type integer ('x' of /a.jpg)",)
    assert fields["meta"] == {"rating": "4.5", "by": {"year": "x"}}


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.datetimes())
def test_what_was_written_as_text_comes_back(number: int, real: float, moment: Any) -> None:
    assert convert(str(number), "integer") == number
    assert convert(repr(real), "float") == real
    assert convert(str(moment), "datetime") == moment.isoformat()


def test_types_come_from_options_and_files_and_the_last_has_its_way(tmp_path: Path) -> None:
    (tmp_path / "types.toml").write_text(
        'price = "float"\nsold = "datetime"\nmeta.rating = "float"\n"meta.x.y" = "bool"\n'
    )
    given = parse_types(["price=integer", str(tmp_path / "types.toml"), "sold = keyword", "a.b=text"])
    assert given == {"price": "float", "sold": "keyword", "meta.rating": "float", "meta.x.y": "bool", "a.b": "text"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price=money", "'price' has the type 'money'; types are keyword, integer"),
        ("width=integer", "'width' is fixed"),
        ("captions=keyword", "'captions' is fixed"),
        ("=integer", "fixed"),
        ("gps.lat=float", "'gps.lat' is fixed"),
        ("captions.en=text", "'captions.en' is fixed"),
        ("a..b=text", "field 'a..b' cannot have a type: no query can name it"),
        ('a"b=text', "cannot have a type: no query can name it"),
        ("nowhere.toml", "neither NAME=TYPE nor a file"),
    ],
)
def test_types_that_cannot_be_used_are_usage_errors(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_types([text])


def test_a_file_of_types_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "types.toml").write_text("price: float")
    with pytest.raises(UsageError, match="not a TOML file"):
        parse_types([str(tmp_path / "types.toml")])
