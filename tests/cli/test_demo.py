"""The demo keeps its promise: the whole job, offline, with answers that the drawn world's truth confirms."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from t2c_search.demo.tour import SCENES, SEED
from t2c_search.demo.truth import Truth
from t2c_search.demo.world import draw
from t2c_search.query.language.syntax import parse
from tests.cli.conftest import Outcome


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first") / "anna's [new] demo"


@pytest.fixture(scope="module")
def first(t2c: Callable[..., Outcome], place: Path) -> dict[str, Any]:
    """What a first demo prints for scripts."""
    made = t2c("demo", "--store", place, "--json")
    assert made.code == 0, made.err
    found: dict[str, Any] = made.json
    return found


@pytest.fixture(scope="module")
def truths() -> list[Truth]:
    return [scene.truth for scene in draw(SEED, SCENES)]


def test_demo_answers_are_right(first: dict[str, Any]) -> None:
    assert first["images"] == first["drawn"] == first["indexed"] == 2000
    for answer in first["queries"]:
        assert answer["precision_at_10"] >= 0.9, answer
        assert answer["recall"] >= 0.6, answer
        with Image.open(answer["sheet"]) as sheet:
            assert sheet.width > 900


def test_a_second_demo_uses_the_first_and_says_what_to_type(
    first: dict[str, Any], place: Path, t2c: Callable[..., Outcome], truths: list[Truth]
) -> None:
    Image.new("RGB", (50, 50)).save(place / "images" / "mine.png")
    again = t2c("demo", "--store", place)
    assert again.code == 0, again.err
    said = " ".join(again.out.split())
    assert "2000 scenes, all there from an earlier demo, searched in" in said
    assert "right of the first 10" in said
    assert all(answer["query"].split()[0] in said for answer in first["queries"])
    commands = [shlex.split(line) for line in again.out.splitlines() if line.startswith("  t2c ")]
    assert [command[1] for command in commands] == ["search", "count", "count", "index"]
    for command in commands[1:3]:
        assert command[4:6] == ["--store", str(place / "demo.t2c")]
        counted = t2c(*command[1:], "--json").json["count"]
        true = sum(truth.matches(parse(command[-1])) for truth in truths)
        assert 0.7 * true <= counted <= 1.3 * true, (command[-1], counted, true)
    summary = t2c("info", "-c", first["collection"], "--store", first["store"], "--json").json
    assert summary["images"] == 2000


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("{here}/afile", "afile: "),
        ("{here}/afile/below", "below: "),
        ("/proc/nowhere", "/proc/nowhere"),
        ("http://localhost:6333", "'http://localhost:6333' cannot be used here"),
        (":memory:", "':memory:' cannot be used here"),
        ("", "'' cannot be used here"),
    ],
)
def test_what_is_no_folder_is_refused(t2c: Callable[..., Outcome], tmp_path: Path, store: str, reason: str) -> None:
    (tmp_path / "afile").write_text("mine")
    refused = t2c("demo", "--store", store.format(here=tmp_path))
    assert refused.code == 2
    assert reason in refused.err
    assert "name " in refused.err
    assert len(refused.err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["afile"]


def test_a_folder_of_somebody_else_is_left_as_it_is(t2c: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("mine")
    refused = t2c("demo", "--store", tmp_path)
    assert refused.code == 2
    assert "is not empty and holds no earlier demo" in refused.err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("1.png", "mine")]
