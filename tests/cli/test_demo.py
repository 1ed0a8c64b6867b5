"""The demo keeps its promise: the whole job, offline, with answers that the drawn world's truth confirms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.cli.conftest import Outcome


def test_demo_answers_are_right(t2c: Callable[..., Outcome], tmp_path: Path) -> None:
    done = t2c("demo", "--store", tmp_path / "demo", "--json")
    assert done.code == 0, done.err
    assert done.json["images"] == 2000
    for answer in done.json["queries"]:
        assert answer["precision_at_10"] >= 0.9, answer
        with Image.open(answer["sheet"]) as sheet:
            assert sheet.width > 900
    store = Path(done.json["store"])
    assert (
        t2c("count", "-c", done.json["collection"], "--store", store, '"a star" AND NOT "a star"', "--json").json[
            "count"
        ]
        == 0
    )
