"""What a first-time user types: words without quotes, a filter alone, a store that is left out, a name that is wrong."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from t2c_search.alignment.report import FitReport
from t2c_search.collection import open_collection
from t2c_search.collection.models import Models
from t2c_search.demo.world import draw
from t2c_search.errors import CollectionNotFoundError
from t2c_search.query.execution.searcher import Wanted
from t2c_search.stores import open_store
from tests.cli.conftest import run
from tests.query.worlds import clustered

SEARCHES = ["search", "mine", "count"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one store in it."""
    root = tmp_path_factory.mktemp("desk")
    (root / "pictures").mkdir()
    for scene in draw(7, 30):
        Image.fromarray(scene.image).resize((90 + scene.index, 96)).save(root / "pictures" / f"{scene.index:02d}.png")
    with open_collection("photos", str(root / "photos.t2c"), clip="mini", backbone="mini") as images:
        images.index([root / "pictures"])
    return root


@pytest.fixture(autouse=True)
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)


def test_the_one_store_that_lies_here_need_not_be_named(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("count", "-c", "photos", "--where", "width > 0").out == "30 images\n"
    monkeypatch.chdir(tmp_path)
    for name in ("a.t2c", "b.t2c"):
        (tmp_path / name).mkdir()
    assert run("settings", "get", "store").out == "./images.t2c\n"


@pytest.mark.parametrize(
    "command",
    [
        ["search", "x", "-c", "pictures"], ["mine", "x", "-c", "pictures"], ["count", "x"], ["info"],
        ["delete", "pictures", "--yes"], ["rename", "pictures", "x"], ["copy", "pictures", "--as", "x"], ["duplicates"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_where_a_collection_is_not_found_those_that_lie_here_are_named(command: list[str]) -> None:
    for store in ([], ["--store", "./other.t2c"]):
        outcome = run(*command, *store)
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
        assert "here are: photos in ./photos.t2c" in outcome.err
    with pytest.raises(CollectionNotFoundError, match="photos in ./photos.t2c"):
        open_collection("pictures").search("x")


@pytest.mark.parametrize("command", SEARCHES)
def test_a_text_needs_no_quotes(command: str) -> None:
    words = run(command, "-c", "photos", "a", "red", "heart", "on", "grass", "--json").json
    quoted = run(command, "-c", "photos", "a red heart on grass", "--json").json
    for answer in (words, quoted):
        answer.pop("plan"), answer.pop("seconds")
    assert words == quoted


@pytest.mark.parametrize("command", SEARCHES)
@pytest.mark.parametrize(
    "words",
    [["a", "AND", "b"], ["width", "between", "3", "and", "5"], ["@x", "y"], ["a", "top", "5%"], ["a b", "-c d"]],
)
def test_an_expression_is_one_word_of_the_shell(command: str, words: list[str]) -> None:
    outcome = run(command, "-c", "photos", "--", *words)
    assert (outcome.code, outcome.out) == (2, "") and "one word of the shell" in outcome.err


def test_a_filter_alone_lists_by_id_without_a_score_and_tells_the_total(desk: Path) -> None:
    where = ["-c", "photos", "--where", "width >= 100"]
    told = run("search", *where, "-n", 5, "--json").json
    assert (told["count"], told["total"], told["certificate"]["kind"]) == (5, 20, "exact")
    ids = [hit["id"] for hit in told["hits"]]
    assert ids == sorted(ids) and all(hit["score"] is None and hit["cosine"] is None for hit in told["hits"])
    assert told == told | {"expression": "width >= 100"}
    assert run("search", "-c", "photos", "width >= 100", "-n", 5, "--json").json["hits"] == told["hits"]
    mined = run("mine", *where, "--json").json
    assert mined["count"] == 20 and [hit["id"] for hit in mined["hits"]][:5] == ids
    assert run("count", *where, "--json").json["count"] == 20
    assert "5 hits of 20 that match" in run("search", *where, "-n", 5).out
    for form in ("csv", "jsonl", "coco", "fiftyone"):
        assert run("search", *where, "--format", form).code == 0
    assert run("search", *where, "--sheet", desk / "sheet.png").code == 0
    assert run("search", "-c", "photos", '"a star" OR width > 0', "--json").json["hits"][0]["score"] is not None
    nothing = run("search", "-c", "photos")
    assert (nothing.code, "or a filter" in nothing.err) == (2, True)


def test_nothing_found_says_so_and_whether_it_was_for_the_conditions() -> None:
    here = ["-c", "photos"]
    assert "no image matches; width >= 115 alone leaves 5" in run("search", '"a" >= 99sd AND width >= 115', *here).out
    assert "width >= 9999 alone leaves 0" in run("search", "a star", "--where", "width >= 9999", *here, "--paths").err
    assert "no image matches" in run("mine", '"a" >= 99sd', *here).err
    assert "width < 3 alone leaves 0" in run("count", '"a star" AND width < 3', *here).err
    assert "no image that matches has camera" in run("facets", "camera", *here).err


def test_short_help_and_a_slip_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ([], ["search"], ["concept", "add"]):
        assert run(*command, "-h").out == run(*command, "--help").out != ""
    monkeypatch.setenv("T2C_COLECTION", "photos")
    outcome = run("count", "--where", "width > 0", "-c", "photos")
    assert (outcome.code, outcome.out) == (0, "30 images\n")
    assert outcome.err == "note variable T2C_COLECTION is no setting: did you mean T2C_COLLECTION?\n"


def test_few_marked_examples_earn_a_warning(desk: Path) -> None:
    files = sorted((desk / "pictures").iterdir())
    few = run("concept", "add", "few", "-c", "photos", "--yes", files[0], files[1], "--no", files[2])
    assert few.code == 0 and "3 marked examples leave its threshold a guess" in few.err
    enough = run("concept", "add", "enough", "-c", "photos", "--yes", *files[:5], "--no", *files[5:10])
    worded = run("concept", "add", "worded", "-c", "photos", "--phrase", "a star")
    assert (enough.code, enough.err, worded.code, worded.err) == (0, "", 0, "")


def test_an_aligner_is_good_fair_or_poor_in_words() -> None:
    def verdict(fidelity: float | None, recall: float, pairs: int) -> str:
        return FitReport("", "", 0, 0, pairs, 100, 0, 0, fidelity, 0, 0, recall, 0, 0, 0).verdict

    assert verdict(0.7, 0, 5000).startswith("good") and verdict(0.4, 0, 5000).startswith("fair")
    assert verdict(0.1, 1, 5000).startswith("poor") and "stronger backbone" in verdict(0.1, 1, 5000)
    assert verdict(None, 0.7, 5000).startswith("good") and verdict(None, 0.1, 5000).startswith("poor")
    assert "fitted on 300 images only" in verdict(0.7, 0, 300)


def test_info_says_it(desk: Path, tmp_path: Path) -> None:
    at = ["-c", "two", "--store", tmp_path / "two.t2c"]
    assert run("index", desk / "pictures", *at, "--clip", "mini", "--backbone", "mini:cnn").code == 0
    assert any(f"images: {word}: " in run("info", *at).out for word in ("good", "fair", "poor"))


def test_the_store_is_free_while_models_load(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one opens it meanwhile, without waiting, even if an image of the collection was asked for first."""
    text = Models.text.func  # type: ignore[attr-defined]
    counted = []

    def load_slowly(models: Models) -> Any:
        with open_collection("photos", "./photos.t2c") as other:
            counted.append(other.count(where="width > 0").count)
        return text(models)

    slow = cached_property(load_slowly)
    slow.__set_name__(Models, "text")
    monkeypatch.setattr(Models, "text", slow)
    with open_collection("photos", "./photos.t2c") as images:
        [first] = images.search(where="width > 0", limit=1)
        images.release()
        assert len(images.search(f'like("{first.id}") AND "a star"', limit=3)) == 3
    assert counted == [30]


class SlowStore:
    """A store each of whose searches takes a while."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: list[float] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("search", "fetch", "scan", "count"):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(time.perf_counter())
            answer = found(*arguments, **options)
            threading.Event().wait(0.05)
            return answer

        return call


@pytest.mark.parametrize("expression", ['"dog" >= 1sd AND "snow" >= 0.5sd', "width > 0", '"dog" OR "cat" OR width > 5'])
def test_no_call_of_the_store_begins_when_the_seconds_are_over(tmp_path: Path, expression: str) -> None:
    store = open_store(":memory:", "slow")
    searcher = clustered(store, 300).searcher
    slow = SlowStore(searcher.store)
    searcher.store = slow  # type: ignore[assignment]
    began = time.perf_counter()
    result = searcher.search(expression, Wanted(limit=40, max_seconds=0.02))
    assert slow.calls and all(call <= began + 0.02 or call == slow.calls[0] for call in slow.calls)
    assert len(result) > 0
