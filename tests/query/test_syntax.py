"""The query language: what expressions mean, that printing them loses nothing, and what errors say."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given

from t2c_search.errors import ExpressionError
from t2c_search.filters import AllOf, AnyOf, Equals, Exists, GeoRadius, OneOf, Range, TextMatch
from t2c_search.filters import Not as NotFilter
from t2c_search.query.constraints import (
    And,
    Contrast,
    Difference,
    Image,
    Like,
    Not,
    Or,
    Phrase,
    Saved,
    Sum,
    Term,
    Threshold,
    read_tree,
    write_tree,
)
from t2c_search.query.printer import unparse
from t2c_search.query.syntax import parse, parse_filter

from .strategies import concepts, conditions, thresholds, trees, written_atoms

DOG, CAT, SNOW = Phrase(text="dog"), Phrase(text="cat"), Phrase(text="snow")
FIELDS = ("width", "height", "camera", "taken", "tags", "gps", "caption")
MALFORMED = Path(__file__).with_name("malformed.txt").read_text(encoding="utf-8").splitlines()


@given(trees(conditions() | thresholds(concepts(written_atoms())) | concepts(written_atoms())))
def test_printing_and_parsing_gives_the_same_tree(tree):
    assert parse(unparse(tree)) == tree
    assert read_tree(write_tree(tree)) == tree


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ('"dog" AND "cat" OR "snow"', Or(parts=(And(parts=(DOG, CAT)), SNOW))),
        ('"dog" and ("cat" Or "snow")', And(parts=(DOG, Or(parts=(CAT, SNOW))))),
        ('NOT "dog" AND not not "cat"', And(parts=(Not(part=DOG), Not(part=Not(part=CAT))))),
        ("'dog' AND “cat”  # both", And(parts=(DOG, CAT))),
        ("dog AND cat", And(parts=(DOG, CAT))),
        ("'a man\\'s dog'", Phrase(text="a man's dog")),
        ('"dog" >= 2sd', Threshold(concept=DOG, value=2, unit="sd")),
        ("dog > -1.5 σ", Threshold(concept=DOG, value=-1.5, unit="sd", strict=True)),
        ('"dog" < 0.27', Not(part=Threshold(concept=DOG, value=0.27, unit="cosine"))),
        ('"dog" <= 1 sigma', Not(part=Threshold(concept=DOG, value=1, unit="sd", strict=True))),
        ('"dog" top 5%', Threshold(concept=DOG, value=5, unit="top")),
        ('"dog" RATHER THAN "cat"', Contrast(concept=DOG, alternatives=(CAT,))),
        ('"dog" rather than ("cat", "snow")', Contrast(concept=DOG, alternatives=(CAT, SNOW))),
        ('"dog" OVER "cat" >= 1sd', Threshold(concept=Difference(concept=DOG, over=CAT), value=1, unit="sd")),
        ('image("a b.jpg") AND like(7f-3)', And(parts=(Image(path="a b.jpg"), Like(id="7f-3")))),
        ("@beach", Saved(name="beach")),
        ('2 * "dog" - "cat"', Sum(terms=(Term(weight=2, concept=DOG), Term(weight=-1, concept=CAT)))),
        ("dog + cat - snow", Sum(terms=tuple(Term(weight=w, concept=c) for w, c in ((1, DOG), (1, CAT), (-1, SNOW))))),
    ],
)
def test_meanings(expression, tree):
    assert parse(expression) == tree


@pytest.mark.parametrize(
    "text",
    [
        "a dog and a cat, not running",
        "a man's dog",
        "dogs in the snow over there",
        "well-known C++ book",
        "top 5 dogs",
        "dog (big)",
    ],
)
def test_a_query_without_syntax_is_one_text(text):
    assert parse(text) == Phrase(text=text)


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("width >= 1024", Range(field="width", gte=1024)),
        ("width > 3 <= 10.5", Range(field="width", gt=3, lte=10.5)),
        ("width between -3 and 10", Range(field="width", gte=-3, lte=10)),
        ("camera = X100", Equals(field="camera", value="X100")),
        ('camera != "A 7"', NotFilter(part=Equals(field="camera", value="A 7"))),
        ("width = 3", Equals(field="width", value=3)),
        ("tags = true", Equals(field="tags", value=True)),
        ("camera IN (X100, 'A7')", OneOf(field="camera", values=("X100", "A7"))),
        ("width NOT IN (1, 2)", NotFilter(part=OneOf(field="width", values=(1, 2)))),
        ("tags EXISTS", Exists(field="tags")),
        ('caption ~ "red dog"', TextMatch(field="caption", text="red dog")),
        ("gps WITHIN 5 km OF (48.1, -11.6)", GeoRadius(field="gps", lat=48.1, lon=-11.6, metres=5000)),
        ('taken >= "2023-05-02T10:00:00"', Range(field="taken", gte=datetime(2023, 5, 2, 10))),
        ("taken <= 2023-05", Range(field="taken", lt=datetime(2023, 6, 1))),
        ("taken > 2023-12-31", Range(field="taken", gte=datetime(2024, 1, 1))),
        ("taken = 2023-05-02", Range(field="taken", gte=datetime(2023, 5, 2), lt=datetime(2023, 5, 3))),
        (
            'taken BETWEEN "2023-01-01" AND "2023-12-31" AND (width > 3 OR NOT tags EXISTS)',
            AllOf(
                parts=(
                    Range(field="taken", gte=datetime(2023, 1, 1), lt=datetime(2024, 1, 1)),
                    AnyOf(parts=(Range(field="width", gt=3), NotFilter(part=Exists(field="tags")))),
                )
            ),
        ),
    ],
)
def test_payload_conditions(expression, condition):
    assert parse_filter(expression, fields=FIELDS) == condition


def test_weights_in_every_spelling_make_the_same_tree():
    tree = parse('2 * "red car" - "people"')
    assert parse({"red car": 2, "people": -1}) == tree
    assert parse('{"red car": 2, "people": -1}') == tree
    assert parse(write_tree(tree)) == tree


def test_a_filter_in_json_is_a_constraint_in_json():
    condition = parse_filter("(width > 3 OR NOT tags EXISTS) AND camera = X100")
    assert write_tree(read_tree(condition.model_dump(mode="json"))) == condition.model_dump(mode="json")


def test_malformed_expressions_are_a_hundred():
    assert len(MALFORMED) >= 100


@pytest.mark.parametrize("expression", MALFORMED)
def test_malformed_expressions_give_one_clear_message(expression):
    with pytest.raises(ExpressionError) as caught:
        parse(expression, fields=FIELDS)
    message, *pointer = str(caught.value).split("\n")
    assert message and "pydantic" not in message and "Token" not in message
    if pointer:
        line, caret = pointer
        assert line == f"  {expression}"
        assert caret.strip() == "^" and caret.index("^") <= len(line)


def test_an_error_points_at_the_character_of_its_line():
    with pytest.raises(ExpressionError) as caught:
        parse('"dog" AND\n  "cat" AND AND "snow"')
    assert str(caught.value).split("\n")[1:] == ['    "cat" AND AND "snow"', "              ^"]


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(ExpressionError, match="no payload field widht; did you mean width"):
        parse('"dog" AND widht >= 1024', fields=FIELDS)
    assert parse("gps.lat > 3", fields=FIELDS) == Range(field="gps.lat", gt=3)


def test_a_filter_refuses_meanings():
    with pytest.raises(ExpressionError, match="texts belong in the query"):
        parse_filter('width >= 1024 AND "a dog"')


@pytest.mark.parametrize("expression", ["", "  ", "# nothing"])
def test_an_empty_expression_says_so(expression):
    with pytest.raises(ExpressionError, match="empty"):
        parse(expression)


@pytest.mark.parametrize("expression", ["NOT " * 5000 + '"a"', '{"kind":"not","part":' * 5000])
def test_absurd_nesting_is_an_error_and_no_crash(expression):
    with pytest.raises(ExpressionError):
        parse(expression)
