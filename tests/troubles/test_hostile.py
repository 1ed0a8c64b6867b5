"""Five hundred hostile inputs: no traceback, no file outside, and each is accounted for, by path, exactly once."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from t2c_search.stores import open_store
from tests.cli.conftest import Outcome, run

from .hostile import OF_ITS_OWN, World, good, make

SEED = 20261130


def index(world: World, store: Path) -> Outcome:
    outcome = run(
        "index",
        *world.sources,
        "-c",
        "hostile",
        "--store",
        store,
        "--clip",
        "mini",
        "--exclude",
        "*_thumb.jpg",
        "--json",
    )
    assert "Traceback" not in outcome.out
    return outcome


def indexed(store: Path) -> set[str]:
    opened = open_store(str(store), "hostile")
    try:
        return {payload["path"] for points in opened.scan(payload=("path",)) for payload in points.payloads}
    finally:
        opened.close()


def check_account(world: World, report: dict[str, Any], there: set[str]) -> None:
    """Check that the report tells of each entry, and of nothing else."""
    failed = {failure["path"] for failure in report["failures"]}
    images = {path for path, kind in world.entries.items() if kind is None}
    assert there.isdisjoint(failed)
    assert there | failed == images
    assert report["seen"] == len(images)
    ways = ("indexed", "renamed", "copied", "updated", "unchanged", "failed")
    assert sum(report[way] for way in ways) == len(images)
    remarked = {path for path, kind in world.entries.items() if kind == OF_ITS_OWN}
    counted = Counter(kind for kind in world.entries.values() if kind not in (None, OF_ITS_OWN))
    for remark in report["remarks"]:
        if remark["kind"] in counted:
            assert remark["count"] == counted.pop(remark["kind"]), remark
            assert world.entries[remark["example"]] == remark["kind"]
        else:
            (path,) = [path for path in remarked if path in remark["kind"] or path == remark["example"]]
            assert remark["count"] == 1
            remarked.remove(path)
    assert not counted
    assert not remarked
    assert report["seen"] + sum(remark["count"] for remark in report["remarks"]) == len(world.entries)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata in many ways
@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_each_of_500_hostile_inputs_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, store = tmp_path / "a" / "b" / "inside", tmp_path / "photos.t2c"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    world = make(inside, SEED)
    assert len(world.entries) >= 500
    before = {path for path in tmp_path.rglob("*") if store not in (path, *path.parents)}
    made = index(world, store)
    assert made.code == 0, made.err
    check_account(world, made.json, indexed(store))
    assert {path for path in tmp_path.rglob("*") if store not in (path, *path.parents)} == before
    assert not Path("/tmp/outside.jpg").exists()

    photos = inside / "photos"
    (photos / "late.jpg").rename(photos / "renamed.jpg")
    world.entries[str(photos / "renamed.jpg")] = world.entries.pop(str(photos / "late.jpg"))
    shutil.copy(photos / "~root.jpg", photos / "copied.jpg")
    world.add(photos / "copied.jpg")
    (photos / "described-a.json").write_text('{"rating": 4}')
    del world.entries[str(photos / "described-a.json")]  # it is read, and its image is updated
    (photos / "new.jpg").write_bytes(good(2000))
    world.add(photos / "new.jpg")
    again = index(world, store).json
    assert [again[way] for way in ("indexed", "renamed", "copied", "updated")] == [1, 1, 1, 1]
    assert again["failed"] == made.json["failed"]
    check_account(world, again, indexed(store) - {str(photos / "late.jpg")})
