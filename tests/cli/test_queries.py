"""Expressions through the command line: every way to write one, every way to show what it finds, and every mistake."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from math import inf
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2c_search.cli.search import _result_json
from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from t2c_search.types import Certificate, SearchResult
from tests.cli.conftest import Outcome

T2C = Callable[..., Outcome]
MALFORMED = (Path(__file__).parents[1] / "query" / "malformed.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Drawn scenes, indexed with the CLIP model inside the package; the options that name the collection."""
    root = tmp_path_factory.mktemp("scenes")
    for scene in draw(11, 40):
        side = 96 + scene.index % 3  # three widths, to group by
        Image.fromarray(scene.image).resize((side, 96)).save(root / f"{scene.index}.png")
    with open_collection("scenes", str(root / "s.t2c"), clip="mini", backbone="mini") as images:
        assert images.index([root]).indexed == 40
    return ["-c", "scenes", "--store", root / "s.t2c"]


def test_a_search_tells_all_that_it_knows(t2c: T2C, scenes: list[object]) -> None:
    told = t2c("search", *scenes, '"a star" AND NOT "at night" >= 1sd', "-n", 4, "--json").json
    assert told["count"] == len(told["hits"]) == 4
    assert told["certificate"] == {"kind": "exact", "gap": 0.0, "recall": None}
    assert told["plan"].keys() == {"branches", "candidates", "rounds", "seconds"}
    assert told["plan"]["candidates"] >= 4 and told["plan"]["rounds"] >= 1
    for hit in told["hits"]:
        star, night = hit["contributions"]
        assert star.keys() == {"constraint", "cosine", "z", "satisfied"}
        assert (star["constraint"], night["constraint"]) == ('"a star"', 'NOT "at night" >= 1sd')
        assert night["satisfied"] and night["z"] < 1


def test_an_infinite_gap_is_null() -> None:
    told = _result_json(SearchResult((), 0.1, Certificate("none", inf)))
    assert told["certificate"]["gap"] is None
    assert json.loads(json.dumps(told, allow_nan=False))["count"] == 0


def test_every_spelling_of_a_tree_finds_the_same(t2c: T2C, scenes: list[object]) -> None:
    phrase = [{"kind": "phrase", "text": text} for text in ("a star", "a ring")]
    tree = {"kind": "all", "parts": [phrase[0], {"kind": "not", "part": phrase[1]}]}

    def found(expression: str) -> list[str]:
        return t2c("search", *scenes, expression, "--paths").out.split()

    assert len(found('"a star" AND NOT "a ring"')) == 10
    assert found(json.dumps(tree)) == found('"a star" AND NOT "a ring"')
    assert found('{"a star": 1, "a ring": -0.5}') == found('"a star" - 0.5 * "a ring"')


def test_diverse_and_grouped_hits(t2c: T2C, scenes: list[object]) -> None:
    plain = t2c("search", *scenes, "a star", "-n", 5, "--paths").out.split()
    diverse = t2c("search", *scenes, "a star", "-n", 5, "--diverse", "--paths").out.split()
    assert diverse[0] == plain[0] and len(set(diverse)) == 5 and diverse != plain
    grouped = t2c("search", *scenes, "a star", "-n", 9, "--group-by", "width", "--json").json["hits"]
    assert sorted(hit["payload"]["width"] for hit in grouped) == [96, 97, 98]
    both = t2c("search", *scenes, "a star", "--diverse", "--group-by", "width")
    assert (both.code, "one of them" in both.err) == (2, True)


def test_the_plan_is_shown(t2c: T2C, scenes: list[object]) -> None:
    shown = t2c("search", *scenes, '"a star" OR "a ring" AND width > 96', "--explain-plan").out
    for part in ("2 branch(es)", "where   width > 96", "rank by z(", "candidates"):
        assert part in shown
    assert "branch(es)" not in t2c("search", *scenes, "a star").out


def test_counts_exact_and_estimated(t2c: T2C, scenes: list[object]) -> None:
    exact = t2c("count", *scenes, '"a star" >= 0.5sd', "--json").json
    estimate = t2c("count", *scenes, '"a star" >= 0.5sd', "--approx", "--json").json
    assert {"count", "exact", "seconds"} <= exact.keys() and exact["exact"] and exact["seconds"] > 0
    assert estimate["low"] <= exact["count"] <= estimate["high"]


def test_every_format_holds_every_match(t2c: T2C, scenes: list[object], tmp_path: Path) -> None:
    def mined(form: str) -> str:
        return t2c("mine", *scenes, "a star", "--format", form).out

    paths = t2c("mine", *scenes, "a star").out.split()
    assert len(paths) == t2c("count", *scenes, "a star", "--json").json["count"] > 0
    assert [json.loads(line)["path"] for line in mined("jsonl").splitlines()] == paths
    assert [row["path"] for row in csv.DictReader(io.StringIO(mined("csv")))] == paths
    assert len(json.loads(mined("coco"))["images"]) == len(paths)
    assert t2c("mine", *scenes, "a star", "--format", "parquet", "-o", tmp_path / "m.parquet").code == 0
    assert pq.read_table(tmp_path / "m.parquet")["path"].to_pylist() == paths


def test_every_malformed_expression_is_one_message_and_exit_code_2(t2c: T2C, scenes: list[object]) -> None:
    assert len(MALFORMED) >= 100
    for expression in MALFORMED:
        outcome = t2c("search", *scenes, "--", expression)
        assert (outcome.code, outcome.out) == (2, ""), expression
        assert outcome.err.startswith("t2c: ") and outcome.err.count("\n") in (1, 3), expression  # the line, the caret
