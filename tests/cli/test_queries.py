"""Expressions through the command line: every way to write one, every way to show what it finds, and every mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from t2c_search.cli import app, concept, search
from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.results import Certificate, SearchResult
from t2c_search.state.statistics import claim_statistics, save_statistics
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
    assert told["expression"] == '"a star" AND NOT "at night" >= 1sd'
    assert told["count"] == len(told["hits"]) == 4
    assert told["certificate"] == {"kind": "exact", "gap": 0.0, "recall": None, "reason": None}
    assert told["plan"].keys() == {"branches", "candidates", "rounds", "seconds", "reason"}
    assert told["plan"]["candidates"] >= 4 and told["plan"]["rounds"] >= 1
    for hit in told["hits"]:
        star, night = hit["contributions"]
        assert star.keys() == {"constraint", "cosine", "z", "satisfied"}
        assert (star["constraint"], night["constraint"]) == ('"a star"', 'NOT "at night" >= 1sd')
        assert night["satisfied"] and night["z"] < 1


def test_an_infinite_gap_is_null() -> None:
    told = SearchResult((), 0.1, Certificate("none", inf)).to_json()
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
    for part in ("2 branches", "where   width > 96", "rank by z(", "candidates"):
        assert part in shown
    assert "1 branch" not in t2c("search", *scenes, "a star").out
    counted = t2c("count", *scenes, '"a star" AND width > 96', "--explain-plan").out
    assert "where   width > 96" in counted and counted.rstrip().endswith("images")
    piped = t2c("search", *scenes, "a star", "--paths", "--explain-plan")
    assert "1 branch" in piped.err and "1 branch" not in piped.out
    mined = t2c("mine", *scenes, '"a star" top 5%', "--explain-plan")
    assert '"a star" top 5%: cosine 0.' in mined.err and 'toward  +1.000 z("a star")' in mined.err
    assert all(Path(line).exists() for line in mined.out.splitlines())
    told = t2c("mine", *scenes, '"a star" AND NOT "a ring"', "--json").json
    assert told["plan"]["candidates"] >= told["count"] > 0 and told["plan"]["seconds"].keys() > {"plan", "search"}
    nothing = t2c("mine", *scenes, '"a star" >= 2sd AND NOT "a star" >= 1sd', "--explain-plan")
    assert (nothing.code, nothing.out) == (0, "") and "exclude each other" in nothing.err


def test_counts_exact_and_estimated(t2c: T2C, scenes: list[object]) -> None:
    exact = t2c("count", *scenes, '"a star" >= 0.5sd', "--json").json
    estimate = t2c("count", *scenes, '"a star" >= 0.5sd', "--approx", "--json").json
    assert {"count", "exact", "seconds"} <= exact.keys() and exact["exact"] and exact["seconds"] > 0
    assert estimate["low"] <= exact["count"] <= estimate["high"]


def test_answers_say_of_how_many_images_their_thresholds_are_while_an_indexer_is_at_work(
    t2c: T2C, scenes: list[object]
) -> None:
    def told(*command: object) -> tuple[str, object]:
        shown = t2c(*command)
        return shown.out + shown.err, t2c(*command, "--json").json

    with open_collection("scenes", str(scenes[-1])) as images:
        statistics, claim = claim_statistics(images.store)
    try:
        for command in ("search", "mine", "count"):
            shown, answer = told(command, *scenes, '"a star" >= 0.5sd')
            assert "as of 40 images" in shown and answer["as_of"] == 40
            assert (answer["statistics"]["images"], answer["statistics"]["current"]) == (40, False)
            shown, answer = told(command, *scenes, '"a star" >= 0.1')
            assert "as of" not in shown and answer["as_of"] is None
    finally:
        with open_collection("scenes", str(scenes[-1])) as images:
            save_statistics(images.store, statistics, claim)
    shown, answer = told("count", *scenes, '"a star" >= 0.5sd')
    assert "as of" not in shown and answer["statistics"]["current"] and answer["as_of"] is None


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


def test_mined_hits_as_one_json_object(t2c: T2C, scenes: list[object]) -> None:
    told = t2c("mine", *scenes, '"a star" >= 0.5sd', "--where", "width > 96", "--json").json
    assert list(told) == ["expression", "hits", "count", "certificate", "plan", "seconds", "statistics", "as_of"]
    assert told["expression"] == '"a star" >= 0.5sd AND width > 96'
    assert told["count"] == len(told["hits"]) == t2c("count", *scenes, told["expression"], "--json").json["count"] > 0
    assert told["certificate"]["kind"] == "exact" and told["seconds"] > 0
    searched = t2c("search", *scenes, told["expression"], "-n", 40, "--json").json["hits"]
    assert [hit.keys() for hit in told["hits"]] == [hit.keys() for hit in searched]
    assert {hit["id"]: hit["contributions"] for hit in told["hits"]} == {
        hit["id"]: hit["contributions"] for hit in searched
    }
    nothing = t2c("mine", *scenes, '"a star" AND width > 9999', "--json").json
    assert (nothing["hits"], nothing["count"]) == ([], 0)


@pytest.mark.parametrize("written", ["--json", "--format=csv", "--format=coco"])
def test_what_is_wrong_with_an_expression_shows_before_anything_is_written(
    t2c: T2C, scenes: list[object], written: str
) -> None:
    for expression in ('"a star" AND', "@nobody", 'image("nofile.png")'):
        outcome = t2c("mine", *scenes, expression, written)
        assert outcome.code in (1, 2) and outcome.out == ""


@pytest.mark.parametrize("command", ["search", "mine"])
def test_exported_hits_can_be_found_again_by_their_expression(
    t2c: T2C, scenes: list[object], tmp_path: Path, command: str
) -> None:
    asked = [command, *scenes, '"a star" >= 0.5sd OR "a ring" >= 1sd', "--where", 'folders = "nowhere" OR width > 96']
    assert t2c(*asked, "--format", "csv", "-o", tmp_path / "hits.csv").code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "hits.csv").read_text(encoding="utf-8"))))
    [expression] = {row["expression"] for row in rows}
    again = t2c(command, *scenes, expression, "--format", "jsonl").out
    assert [json.loads(line)["path"] for line in again.splitlines()] == [row["path"] for row in rows]
    assert {row["width"] for row in rows} <= {"97", "98"}
    chosen = t2c(*asked, "--format", "csv", "--columns", "width,rank").out.splitlines()
    assert chosen == ["width,rank", *(f"{row['width']},{row['rank']}" for row in rows)]
    misspelt = t2c(*asked, "--format", "csv", "--columns", "rank,widht")
    assert (misspelt.code, misspelt.out) == (2, "") and "did you mean width" in misspelt.err


def test_a_search_writes_every_format(t2c: T2C, scenes: list[object], tmp_path: Path) -> None:
    paths = t2c("search", *scenes, "a star", "-n", 3, "--paths").out
    assert t2c("search", *scenes, "a star", "-n", 3, "--format", "paths").out == paths
    assert t2c("search", *scenes, "a star", "-n", 3, "-o", tmp_path / "hits.txt").out == ""
    assert (tmp_path / "hits.txt").read_text() == paths
    done = t2c("search", *scenes, "a star", "-n", 3, "--format", "links", "-o", tmp_path / "links")
    assert "3 images written" in done.err and len(list((tmp_path / "links").glob("*.png"))) == 3
    first = paths.split()[0]
    [line] = t2c("search", *scenes, "a star", "--image", first, "-n", 1, "--format", "jsonl").out.splitlines()
    assert json.loads(line)["expression"] == f'"a star" AND image("{first}")'


@pytest.mark.parametrize(
    "options",
    [
        ["--json", "--format", "csv"],
        ["--json", "-o", "hits.json"],
        ["--format", "jsonl", "--columns", "path"],
        ["--columns", "path"],
        ["--format", "csv", "--columns", "path,,"],
        ["--format", "links"],
        ["--format", "csv", "-o", "{file}/hits.csv"],
        ["--format", "csv", "-o", "{folder}"],
        ["--format", "copies", "-o", "{file}"],
    ],
)
@pytest.mark.parametrize("command", ["search", "mine"])
def test_hits_that_cannot_be_written_are_a_mistake(
    t2c: T2C, scenes: list[object], tmp_path: Path, command: str, options: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    names = {"folder": tmp_path / "folder", "file": tmp_path / "file"}
    outcome = t2c(command, *scenes, "a star", *(option.format(**names) for option in options))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "folder"]


def test_a_sheet_that_cannot_be_written_is_a_mistake(t2c: T2C, scenes: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = t2c("search", *scenes, "a star", "--sheet", tmp_path / "file" / "sheet.png")
    assert (outcome.code, "cannot be written" in outcome.err) == (2, True)


@pytest.mark.parametrize("limit", ["--max-candidates=1", "--max-seconds=1e-9"])
def test_limits_leave_an_honest_answer(t2c: T2C, scenes: list[object], limit: str) -> None:
    expression = '"a star" >= 1sd AND "at night" >= 0.5sd'
    whole = t2c("search", *scenes, expression, "-n", 5, "--json").json
    told = t2c("search", *scenes, expression, "-n", 5, limit, "--json").json
    assert (whole["certificate"]["kind"], told["certificate"]["kind"]) == ("exact", "none")
    assert told["plan"]["candidates"] < whole["plan"]["candidates"]
    assert "not certified" in t2c("search", *scenes, expression, "-n", 5, limit).out


def test_facets_say_the_same_with_and_without_an_expression(t2c: T2C, scenes: list[object]) -> None:
    everything = "width > 0"
    for field in ("width", "bytes", "mtime_ns", "folders", "taken"):  # with an index that counts, and without
        alone = t2c("facets", *scenes, field, "-n", 50, "--json")
        assert alone.code == 0 and alone.json == t2c("facets", *scenes, field, everything, "-n", 50, "--json").json
    assert sum(value["count"] for value in t2c("facets", *scenes, "mtime_ns", "-n", 50, "--json").json["values"]) == 40
    for arguments in ([], [everything]):
        outcome = t2c("facets", *scenes, "widht", *arguments)
        assert (outcome.code, outcome.out, "width" in outcome.err) == (2, "", True)
    assert "width" in t2c("search", *scenes, "a star", "--group-by", "widht").err


def test_several_examples_after_one_option(t2c: T2C, scenes: list[object]) -> None:
    files = t2c("search", *scenes, "a star", "-n", 4, "--paths").out.split()
    once = ["--yes", files[0], files[1], "--no", files[2], files[3]]
    repeated = ["--yes", files[0], "--yes", files[1], "--no", files[2], "--no", files[3]]
    mixed = [f"--yes={files[0]}", files[1], "--no", files[2], "--no", files[3]]
    for examples in (once, repeated, mixed):
        added = t2c("concept", "add", "star", *examples, *scenes)
        assert added.code == 0, added.err
    learnt = []
    for name, arguments in {"a": ["a", *once], "b": ["b", *repeated], "c": [*once, "--", "c"]}.items():
        assert t2c("concept", "add", *scenes, *arguments).code == 0
        found = t2c("search", *scenes, f"@{name}", "-n", 9, "--json").json["hits"]
        learnt.append([(hit["path"], hit["score"]) for hit in found])
    assert learnt[0] == learnt[1] == learnt[2]


def test_an_example_that_cannot_be_read_is_named(t2c: T2C, scenes: list[object], tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    for arguments in (
        ["concept", "add", "x", "--yes", gone],
        ["search", f'image("{gone}")'],
        ["search", "--image", gone],
    ):
        outcome = t2c(*arguments, *scenes)
        assert (outcome.code, str(gone) in outcome.err) == (1, True)


@pytest.mark.parametrize("arguments", [["search"], ["mine", "--json"]])
def test_a_reader_that_goes_away_ends_the_command_quietly(t2c: T2C, scenes: list[object], arguments: list[str]) -> None:
    """By an expression that needs no model, which a process of its own would have to load."""
    like = t2c("search", *scenes, "a star", "-n", 1, "--json").json["hits"][0]["id"]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "t2c_search", *arguments, f'like("{like}")', *map(str, scenes)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_examples_in_the_help_are_right() -> None:
    commands = [search.search, search.mine, search.count, search.facets, concept.add]
    lines = [line for each in commands for line in (each.__doc__ or "").splitlines() if line.startswith("      t2c ")]
    assert len(lines) >= 12
    for line in lines:
        arguments = shlex.split(line.split(" | ")[0])[1:]
        group = typer.main.get_command(app)
        while arguments[0] in getattr(group, "commands", {}):
            group = group.commands[arguments.pop(0)]
        asked = group.make_context("t2c", arguments).params
        if asked.get("query"):
            parse(asked["query"], fields={"width", "camera", "taken"})
        if asked.get("where"):
            parse_filter(asked["where"], fields={"width", "camera", "taken"})


def test_a_malformed_expression_is_one_message_and_exit_code_2(t2c: T2C, scenes: list[object]) -> None:
    """Of each way to begin, which is what a command line may take for something else; the parser's tests know them all."""
    beginnings = {expression[0]: expression for expression in MALFORMED}
    assert len(beginnings) >= 20
    for expression in beginnings.values():
        outcome = t2c("search", *scenes, "--", expression)
        assert (outcome.code, outcome.out) == (2, ""), expression
        assert outcome.err.startswith("t2c: ") and outcome.err.count("\n") in (1, 3), expression  # the line, the caret


def test_a_concept_may_be_several_texts_for_one_thing(t2c: T2C, scenes: list[object]) -> None:
    phrases = ["a star", "a starry shape", "something with five points"]
    added = t2c("concept", "add", *scenes, "pointed", *(f"--phrase={phrase}" for phrase in phrases))
    assert (added.code, added.out.strip()) == (0, "saved @pointed with the default threshold")
    with open_collection("scenes", str(scenes[-1])) as images:
        worded = images.searcher.directions.texts.worded(phrases)
        np.testing.assert_allclose(images.concepts["pointed"].direction, worded, atol=1e-6)
    assert t2c("search", *scenes, "@pointed", "-n", 5, "--json").json["count"] == 5
    nothing = t2c("concept", "add", *scenes, "x")
    assert (nothing.code, "needs an example that shows it, or its text" in nothing.err) == (2, True)
