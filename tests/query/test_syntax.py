"""The query language: what expressions mean, that printing them loses nothing, and what errors say."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given

from t2c_search.errors import ExpressionError
from t2c_search.filters import (
    AllOf,
    AnyOf,
    Contains,
    Equals,
    Exists,
    GeoRadius,
    Glob,
    OneOf,
    Range,
    StartsWith,
    TextMatch,
)
from t2c_search.filters import Not as NotFilter
from t2c_search.query.language.concepts import Contrast, Difference, Image, Like, Phrase, Saved, Sum, Term
from t2c_search.query.language.constraints import MAX_DEPTH, And, Not, Or, Threshold, as_filter, read_tree, write_tree
from t2c_search.query.language.printer import unparse
from t2c_search.query.language.syntax import joined, parse, parse_filter
from t2c_search.query.planning.normal_form import branches

from .strategies import concepts, conditions, thresholds, trees, written_atoms

DOG, CAT, SNOW = Phrase(text="dog"), Phrase(text="cat"), Phrase(text="snow")
FIELDS = ("width", "height", "camera", "taken", "tags", "gps", "caption", "shot type", "shot")
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
        "a man between 2 cars",
        "man between 2 cars",
        "santa exists",
        "a box that contains apples",
        "a film that starts with a glob of paint",
        "people within 5 meters of the sea",
        "people in (old) cars",
        "top 10% of students",
        "students in the top 10%",
        "an image (of a dog)",
        "rock`n roll",
    ],
)
def test_a_query_without_syntax_is_one_text(text):
    assert parse(text) == parse(text, fields=FIELDS) == Phrase(text=text)


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("width >= 1024", Range(field="width", gte=1024)),
        ("width > 3 <= 10.5", Range(field="width", gt=3, lte=10.5)),
        ("`width` > 3", Range(field="width", gt=3)),
        ("`shot type` = wide", Equals(field="shot type", value="wide")),
        ("`shot type` exists", Exists(field="shot type")),
        ("width between -3 and 10", Range(field="width", gte=-3, lte=10)),
        ("camera = X100", Equals(field="camera", value="X100")),
        ('camera != "A 7"', NotFilter(part=Equals(field="camera", value="A 7"))),
        ("width = 3", Equals(field="width", value=3)),
        ("width = " + "0" * 5000 + "7", Equals(field="width", value=7)),
        ("width IN (9223372036854775807, -9223372036854775808)", OneOf(field="width", values=(2**63 - 1, -(2**63)))),
        ("tags = true", Equals(field="tags", value=True)),
        ("camera IN (X100, 'A7')", OneOf(field="camera", values=("X100", "A7"))),
        ("width NOT IN (1, 2)", NotFilter(part=OneOf(field="width", values=(1, 2)))),
        ("tags EXISTS", Exists(field="tags")),
        ('caption ~ "red dog"', TextMatch(field="caption", text="red dog")),
        ('caption STARTS WITH "A dog"', StartsWith(field="caption", text="A dog")),
        ("caption contains 'og'", Contains(field="caption", text="og")),
        ('caption  glob "2023/*"', Glob(field="caption", pattern="2023/*")),
        ("`shot type` Starts  With “w”", StartsWith(field="shot type", text="w")),
        ("gps WITHIN 5 km OF (48.1, -11.6)", GeoRadius(field="gps", lat=48.1, lon=-11.6, metres=5000)),
        ("gps WITHIN 5km OF (48.1, -11.6)", GeoRadius(field="gps", lat=48.1, lon=-11.6, metres=5000)),
        ("gps within .5MI of (48.1,-11.6)", GeoRadius(field="gps", lat=48.1, lon=-11.6, metres=804.672)),
        ('taken >= "2023-05-02T10:00:00"', Range(field="taken", gte=datetime(2023, 5, 2, 10))),
        ("taken <= 2023-05", Range(field="taken", lt=datetime(2023, 6, 1))),
        ("taken > 2023-12-31", Range(field="taken", gte=datetime(2024, 1, 1))),
        ("taken <= 2024", Range(field="taken", lt=datetime(2025, 1, 1))),
        ("taken = 2023", Range(field="taken", gte=datetime(2023, 1, 1), lt=datetime(2024, 1, 1))),
        ("taken between 2020 and 2023-05", Range(field="taken", gte=datetime(2020, 1, 1), lt=datetime(2023, 6, 1))),
        ('shot >= "2023"', Range(field="shot", gte=datetime(2023, 1, 1))),
        ("width <= 2023", Range(field="width", lte=2023)),
        ("taken <= 9999-12-31", Range(field="taken", lt=datetime.max)),
        ("taken = 9999-12", Range(field="taken", gte=datetime(9999, 12, 1), lt=datetime.max)),
        ("taken > 9999", Range(field="taken", gte=datetime.max)),
        ("taken = 2023-05-02", Range(field="taken", gte=datetime(2023, 5, 2), lt=datetime(2023, 5, 3))),
        ('taken = "2023-05-02"', Range(field="taken", gte=datetime(2023, 5, 2), lt=datetime(2023, 5, 3))),
        (
            "taken = 2023-05-02T10:20",
            Range(field="taken", gte=datetime(2023, 5, 2, 10, 20), lt=datetime(2023, 5, 2, 10, 21)),
        ),
        ("taken IN (2023-05-02)", Range(field="taken", gte=datetime(2023, 5, 2), lt=datetime(2023, 5, 3))),
        (
            "taken NOT IN (2022, 2023-05)",
            NotFilter(
                part=AnyOf(
                    parts=(
                        Range(field="taken", gte=datetime(2022, 1, 1), lt=datetime(2023, 1, 1)),
                        Range(field="taken", gte=datetime(2023, 5, 1), lt=datetime(2023, 6, 1)),
                    )
                )
            ),
        ),
        (
            "camera = C#/1 AND width > 3",
            AllOf(parts=(Equals(field="camera", value="C#/1"), Range(field="width", gt=3))),
        ),
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
    assert as_filter(parse(expression, fields=FIELDS)) == condition


@pytest.mark.parametrize("expression", ["width exists", "(width in (3, 4))", "tags exists and gps exists"])
def test_words_in_lower_case_compare_a_known_field_only(expression):
    assert as_filter(parse(expression, fields=FIELDS)) == parse_filter(expression)
    assert isinstance(parse(expression, fields=["size"]), Phrase)


def test_weights_in_every_spelling_make_the_same_tree():
    tree = parse('2 * "red car" - "people"')
    assert parse({"red car": 2, "people": -1}) == tree
    assert parse('{"red car": 2, "people": -1}') == tree
    assert parse(write_tree(tree)) == tree


@pytest.mark.parametrize("weight", [1, 2, -2])
def test_a_sum_of_one_term_within_another_sum_stays_one(weight):
    tree = Sum(
        terms=(Term(weight=1, concept=CAT), Term(weight=-3, concept=Sum(terms=(Term(weight=weight, concept=DOG),))))
    )
    assert parse(unparse(tree)) == tree
    flat = Sum(terms=(Term(weight=1, concept=CAT), Term(weight=2, concept=DOG)))
    assert parse('"cat" + (2 * "dog")') == flat


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


def test_a_field_with_a_space_in_its_name_is_shown_in_backticks():
    with pytest.raises(ExpressionError, match="no payload field `shot tipe`; did you mean `shot type`"):
        parse("`shot tipe` = wide", fields=FIELDS)
    for expression in ("shot type = wide", "shot type > 0.3"):
        with pytest.raises(ExpressionError, match="`shot type`"):
            parse(expression, fields=FIELDS)


@pytest.mark.parametrize(
    "expression", ['width >= 1024 AND "a dog"', '{"kind": "phrase", "text": "a dog"}', '{"a dog": 2}']
)
def test_a_filter_refuses_meanings(expression):
    with pytest.raises(ExpressionError, match="texts belong in the query"):
        parse_filter(expression)


@pytest.mark.parametrize("operator", ["STARTS WITH", "CONTAINS", "GLOB", "~"])
def test_what_is_looked_for_in_a_text_stands_in_quotes(operator):
    with pytest.raises(ExpressionError, match="^expected a text in quotes"):
        parse(f"caption {operator} dog", fields=FIELDS)
    with pytest.raises(ExpressionError, match="no payload field captoin; did you mean caption"):
        parse(f'captoin {operator} "dog"', fields=FIELDS)


def test_spellings_of_one_name_are_one():
    assert parse("`gro\u0308\u00dfe` = 3", fields=["gr\u00f6\u00dfe"]) == Equals(field="gr\u00f6\u00dfe", value=3)
    assert parse("cafe\u0301") == Phrase(text="caf\u00e9")


@pytest.mark.parametrize("expression", ["width > 3 AND", "(", "NOT"])
def test_a_filter_is_not_told_to_take_texts(expression):
    with pytest.raises(ExpressionError, match="expected a payload comparison") as caught:
        parse_filter(expression)
    assert "quotes" not in str(caught.value)
    with pytest.raises(ExpressionError, match="expected a text in quotes"):
        parse_filter("camera =")


def test_a_filter_may_be_a_json_tree():
    condition = parse_filter("(width > 3 OR NOT tags EXISTS) AND camera = X100")
    assert parse_filter(condition.model_dump_json(), fields=FIELDS) == condition
    with pytest.raises(ExpressionError, match="no payload field widht; did you mean width"):
        parse_filter(Range(field="widht", gte=3).model_dump_json(exclude_none=True), fields=FIELDS)


@pytest.mark.parametrize(
    ("where", "written"),
    [
        (None, '"dog" OR "cat"'),
        ("width > 3 OR tags EXISTS", '("dog" OR "cat") AND (width > 3 OR tags EXISTS)'),
        (AllOf(parts=(Exists(field="tags"),)), '("dog" OR "cat") AND tags EXISTS'),
        (NotFilter(part=AnyOf(parts=(Exists(field="a b"),))), '("dog" OR "cat") AND NOT `a b` EXISTS'),
        (AllOf(parts=()), '("dog" OR "cat") AND (path EXISTS OR NOT path EXISTS)'),
    ],
)
def test_an_expression_and_its_filter_join_into_one(where, written):
    tree = joined('"dog" OR "cat"', where, fields=FIELDS)
    assert unparse(tree) == written and parse(written) == tree == joined(parse('"dog" OR "cat"'), where)
    assert read_tree(write_tree(tree)) == tree


def test_both_parts_of_a_joined_expression_know_their_fields():
    for expression, where in (("widht > 3", None), ("dog", "widht > 3")):
        with pytest.raises(ExpressionError, match="did you mean width"):
            joined(expression, where, fields=FIELDS)


@pytest.mark.parametrize("expression", ["", "  ", "# nothing"])
def test_an_empty_expression_says_so(expression):
    with pytest.raises(ExpressionError, match="empty"):
        parse(expression)


def nested(depth: int) -> str:
    """Conditions within one another."""
    return "(width > 1 AND " * (depth - 1) + "width > 2" + ")" * (depth - 1)


def test_what_may_be_written_may_be_searched_however_deep():
    tree = parse(nested(MAX_DEPTH))
    assert parse(unparse(tree)) == read_tree(write_tree(tree)) == tree
    (alone,) = branches(Not(part=And(parts=(tree, DOG))), None)[:1]
    assert alone.where is not None and as_filter(tree) == parse_filter(nested(MAX_DEPTH))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 250, 300, 5000])
def test_what_is_nested_too_deeply_is_refused(depth):
    tree = {"kind": "exists", "field": "width"}
    for _ in range(depth - 1):
        tree = {"kind": "not", "part": tree}
    within_json = '{"kind":"not","part":' * (depth - 1) + '{"kind":"exists","field":"width"}' + "}" * (depth - 1)
    sums = '("a" + ' * depth + '"b"' + ")" * depth
    for expression in (nested(depth), "NOT " * (depth - 1) + '"a"', tree, within_json, sums):
        with pytest.raises(ExpressionError, match=f"at most {MAX_DEPTH} deep"):
            parse(expression)


def test_parentheses_alone_are_no_depth():
    assert parse("(" * 10_000 + '"dog"' + ")" * 10_000) == DOG


def test_a_comment_begins_with_a_word():
    assert parse('C# AND "a dog"  # of code') == And(parts=(Phrase(text="C#"), Phrase(text="a dog")))
    with pytest.raises(ExpressionError, match="expected AND"):
        parse('"a dog"#of code')


@pytest.mark.parametrize("expression", ["taken = 5", "taken >= 20.5", "taken IN (2023, yesterday)"])
def test_taken_takes_dates_only(expression):
    with pytest.raises(ExpressionError, match="^a date such as 2023-05-31 is needed here"):
        parse(expression, fields=FIELDS)


def test_a_filter_is_read_from_its_own_json():
    for where in (AllOf(parts=(Equals(field="width", value=3),)), NotFilter(part=Exists(field="tags"))):
        assert parse_filter(where.model_dump_json(), fields=FIELDS) == where
    with pytest.raises(ExpressionError, match="no payload field colour"):
        parse_filter(AllOf(parts=(Exists(field="colour"),)).model_dump_json(), fields=FIELDS)


def test_an_unquoted_text_with_a_threshold_is_told_to_stand_in_quotes():
    with pytest.raises(ExpressionError, match='no payload field dog; .*; a text stands in quotes: "dog"'):
        parse("dog >= 0.27", fields=FIELDS)
