"""Errors tell what they know in attributes too, and cross between processes."""

from __future__ import annotations

import pickle

import pytest

from t2c_search import errors
from t2c_search.query.language.syntax import parse, parse_filter

KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.T2CError)]
FIELDS = {kind.__name__: set(getattr(kind.__init__, "__kwdefaults__", None) or ()) for kind in KINDS}
PHRASE = {"kind": "phrase", "text": "a dog"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_pickled_with_what_it_knows(kind):
    fields = FIELDS[kind.__name__]
    error = kind("what came: what to do", **{name: name.upper() for name in fields})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) == "what came: what to do"
    assert again.args == error.args == ("what came: what to do",)
    assert [getattr(again, name) for name in fields] == [name.upper() for name in fields]
    assert all(getattr(kind("alone"), name) is None for name in fields)


def test_errors_know_what_they_are_about():
    assert (
        FIELDS["StoreError"] == FIELDS["StoreTimeoutError"] == FIELDS["StoreAccessError"] == {"location", "collection"}
    )
    assert FIELDS["UnknownEncoderError"] == {"id", "known"} and FIELDS["ImageError"] == {"path"}
    assert FIELDS["AlignerMismatchError"] == {"expected", "got"}


def test_an_expression_error_says_where():
    expression = '"dog" AND\n  "cat" AND AND "snow"'
    with pytest.raises(errors.ExpressionError) as caught:
        parse(expression)
    error = caught.value
    assert (error.expression, error.position, error.line, error.column) == (expression, 22, 2, 13)
    assert expression[error.position :] == 'AND "snow"' and error.pointer is None
    for read, asked in ((parse, " "), (parse_filter, ""), (parse_filter, '{"kind": "phrase", "text": "a dog"}')):
        with pytest.raises(errors.ExpressionError) as caught:
            read(asked)
        assert (caught.value.expression, caught.value.line) == (asked, None)


@pytest.mark.parametrize(
    ("tree", "pointer"),
    [
        ({"kind": "sentence"}, ""),
        ({"kind": "all", "parts": [PHRASE, {"kind": "phrase", "text": ""}]}, "/parts/1/text"),
        ({"kind": "all", "parts": [PHRASE, {"kind": "not", "part": {"kind": "image"}}]}, "/parts/1/part/path"),
        ({"kind": "any", "parts": [PHRASE]}, "/parts"),
        ({"kind": "text", "field": "caption", "text": 3}, "/text"),  # a field that bears the name of its kind
        ({"kind": "equals", "field": "width", "value": {}}, "/value"),
        ({"kind": "sum", "terms": [{"weight": 0, "concept": PHRASE}]}, "/terms/0"),
        ({"kind": "threshold", "concept": {"kind": "exists"}, "value": 1, "unit": "sd"}, "/concept"),
    ],
)
def test_an_error_in_a_tree_points_into_it(tree, pointer):
    with pytest.raises(errors.ExpressionError) as caught:
        parse(tree)
    assert caught.value.pointer == pointer and caught.value.position is None
