"""What would take minutes, or is no number, text or argument at all, is answered at once, by a sentence of bounded length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.errors import ExpressionError, T2CError, UsageError
from t2c_search.filters import Equals, OneOf
from t2c_search.query.language.bounds import MAX_CHARACTERS, MAX_CONCEPTS, MAX_TEXT, check_cost
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.language.constraints import Or
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.query.planning.normal_form import branches
from tests.cli.conftest import run

FIELDS = {"width", "a"}
MANY = 10_000
HUGE = "9" * 20
PHRASES = tuple(Phrase(text=f"text {number}") for number in range(MANY))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("bounds")
    rng = np.random.default_rng(1)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (60, 60, 3), np.uint8)).save(root / f"{number}.png")
    with open_collection("few", str(root / "few.t2c"), clip="mini", backbone="mini") as images:
        images.index([root])
    return ["-c", "few", "--store", str(root / "few.t2c")]


@pytest.mark.parametrize(
    "asked",
    [
        " AND ".join(f'"t{number}"' for number in range(MANY)),
        " OR ".join(f"width = {number}" for number in range(MANY)),
        '"x" RATHER THAN (' + ", ".join(f'"t{number}"' for number in range(MANY)) + ")",
        "width IN (" + ", ".join(map(str, range(2 * MANY))) + ")",
        {f"t{number}": 1 for number in range(MANY)},
        {"kind": "all", "parts": [phrase.model_dump() for phrase in PHRASES]},
        "a" * (MAX_TEXT + 1),
        "x " * MAX_CHARACTERS,
    ],
    ids=lambda asked: str(asked)[:20],
)
def test_what_would_cost_minutes_is_refused(asked: object) -> None:
    with pytest.raises(ExpressionError, match="at most") as caught:
        branches(parse(asked, fields=FIELDS))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 500


def test_trees_of_python_are_bounded_too() -> None:
    with pytest.raises(ExpressionError, match="10000 texts"):
        branches(Or(parts=PHRASES))
    with pytest.raises(ExpressionError, match="values in IN"):
        branches(Phrase(text="a"), OneOf(field="a", values=tuple(map(str, range(2 * MANY)))))
    check_cost(Or(parts=PHRASES[:MAX_CONCEPTS]))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "written",
    ['"a" >= ' + "1" * MANY + "x", "width > " + "1" * MANY + "x", "1" * MANY + "x * 'a'", "a)" * MANY, "(" * MANY],
    ids=lambda written: written[:10],
)
def test_no_reading_takes_more_than_linear_time(written: str) -> None:
    for read in (parse, parse_filter):
        try:
            read(written, fields=FIELDS)
        except ExpressionError as error:
            assert len(str(error)) < 500


def test_a_caret_points_into_what_is_left_of_a_long_line() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse('"a" AND ' * 100 + "AND " + '"b" AND ' * 100 + '"c"')
    _, line, caret = str(caught.value).split("\n")
    assert line[caret.index("^") :].startswith('AND "b"') and len(line) < 140


@pytest.mark.parametrize(
    "asked",
    [
        "\ud800",
        '"\udcff" AND "a"',
        '{"kind": "phrase", "text": "\\ud800"}',
        '{"kind": "like", "id": "\\ud800"}',
        'a = "\ud800"',
    ],
)
def test_half_a_character_is_pointed_out(asked: str) -> None:
    with pytest.raises(ExpressionError, match="half a character"):
        parse(asked, fields=FIELDS)
    for where in ('a = "\ud800"', '{"kind": "equals", "field": "a", "value": "\\ud800"}'):
        with pytest.raises(ExpressionError, match="half a character"):
            parse_filter(where, fields=FIELDS)
    with pytest.raises(ExpressionError, match="half a character"):
        branches(Equals(field="a", value="\ud800"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["search", "x", "-n", HUGE], 2, "limit"),
        (["search", "x", "-n", "9" * 5000], 2, "valid"),
        (["search", "x", "--max-candidates", HUGE], 2, "max_candidates"),
        (["search", "x", "--max-seconds", "nan"], 2, "max_seconds"),
        (["facets", "width", "-n", HUGE], 2, "limit"),
        (["search", "width IN (9223372036854775808)"], 2, "whole numbers only"),
        (["search", "@" + "a" * 20_000], 2, "no concept"),
        (["search", 'like("' + "a" * 20_000 + '")'], 2, "no image of that id"),
        (["search", "--image", "a" * 20_000], 1, "too long"),
        (["facets", "x" * 20_000], 2, "no payload field"),
        (["concept", "add", "x", "--phrase", "y" * 20_000], 2, "too long"),
        (["search", "x", "--" + "y" * 20_000], 2, "No such option"),
        (["y" * 20_000], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_absurd_arguments_are_answered_at_once(here: list[str], arguments: list[str], code: int, said: str) -> None:
    outcome = run(*arguments, *here)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err and len(outcome.err) < 1500


def test_absurd_numbers_that_mean_something_are_answered(here: list[str]) -> None:
    assert run("search", "x", *here, "-n", "1000000", "--json").json["count"] == 4
    assert run("count", f"width > -{HUGE}", *here, "--json").json["count"] == 4
    assert run("count", f"width = {HUGE}", *here, "--json").json["count"] == 0


def test_arguments_that_are_not_utf8_are_told_by_their_place(here: list[str]) -> None:
    command = [sys.executable, "-m", "t2c_search", "search", b"caf\xe9", *here]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "argument 2, 'caf\\udce9', is not UTF-8" in done.stderr


def test_a_store_that_no_folder_can_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder has so long a name"):
        open_collection("a", str(tmp_path / ("y" * 300)))


def test_python_is_told_the_same(here: list[str]) -> None:
    with open_collection("few", here[-1]) as few:
        for asked in (lambda: few.search("x", limit=10**5000), lambda: few.facets("width", limit=10**20)):
            with pytest.raises((T2CError, ValueError)):
                asked()
        assert json.loads(json.dumps(few.search(where="width > 0").to_json()))["total"] == 4
