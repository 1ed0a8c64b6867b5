"""When the search index is built: once enough was written since the last time, however small the steps were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from t2c_search.collection import open_collection, search_index, updating
from t2c_search.collection.search_index import build_search_index, forget_build
from t2c_search.collection.updating import bring_in_line
from t2c_search.errors import StoreError, StoreLockedError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pipeline import Run
from t2c_search.indexing.report import IndexReport
from t2c_search.indexing.writer import Writer
from t2c_search.sources import list_images
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.points import make_id
from t2c_search.types import CLIP, Points
from tests.encoders.tiny import save_open_clip
from tests.indexing.support import DIM, TinyEncoder, create, save_pictures

SCANNED = 100


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was built, by collection; the engine itself has nothing to build for so few."""
    built: list[str] = []
    monkeypatch.setattr(search_index, "_SCANNED", SCANNED)
    monkeypatch.setattr(search_index, "_REBUILT_AT", 0.1)
    monkeypatch.setattr(search_index, "build_index", lambda location, name, told: built.append(name))
    return built


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    store = create(open_store(str(tmp_path / "s.t2c"), "photos"), indexes={})
    yield store
    store.close()


def fail(*_: Any) -> None:
    raise StoreLockedError("somebody has it open")


def write(store: VectorStore, start: int, stop: int) -> int:
    ids = [make_id(number) for number in range(start, stop)]
    rows = np.random.default_rng(start).normal(size=(len(ids), DIM)).astype(np.float32)
    with Writer(store) as writer:
        writer.put(Points(ids, [{} for _ in ids], {CLIP: rows}), set())
    return len(ids)


def update(store: VectorStore, folder: Path) -> IndexReport:
    run = Run(store, lambda: (TinyEncoder(), torch.nn.functional.normalize))
    return bring_in_line(list_images([folder]), run, LocalEmbedder(Batching(8, 2)), sync=[folder.as_posix()])


def test_small_steps_add_up(store: VectorStore, builds: list[str]) -> None:
    build_search_index(store, write(store, 0, SCANNED))
    assert builds == []  # searches scan so few
    build_search_index(store, write(store, SCANNED, 200))
    assert builds == ["photos"]
    for start in range(200, 218, 6):  # 3 % each
        build_search_index(store, write(store, start, start + 6))
    assert builds == ["photos"]
    build_search_index(store, write(store, 218, 224))
    assert builds == ["photos"] * 2
    build_search_index(store, write(store, 0, 15))  # written anew
    assert builds == ["photos"] * 2
    build_search_index(store, write(store, 15, 23))
    assert builds == ["photos"] * 3


def test_a_build_that_failed_is_made_up_for(
    store: VectorStore, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(store, 0, 200)
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(search_index, "build_index", fail)
        build_search_index(store, written)
    build_search_index(store, 0)
    assert builds == ["photos"]
    build_search_index(store, 0)
    assert builds == ["photos"]


def test_what_a_killed_run_wrote_counts(store: VectorStore, builds: list[str]) -> None:
    build_search_index(store, write(store, 0, 200))
    write(store, 200, 240)  # and was killed before it came to the index
    build_search_index(store, 0)
    assert builds == ["photos"] * 2


def test_renamed_and_copied_images_count(store: VectorStore, builds: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save_pictures(folder / "a", 105)
    save_pictures(folder / "b", 15, first=105)
    assert update(store, folder).indexed == 120
    assert builds == ["photos"]
    (folder / "b").rename(folder / "c")
    assert update(store, folder).renamed == 15
    assert builds == ["photos"] * 2


def test_a_build_that_fails_is_a_warning(
    store: VectorStore, builds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "photos", 101)
    with monkeypatch.context() as patch:
        patch.setattr(search_index, "build_index", fail)
        report = update(store, tmp_path / "photos")
    assert report.indexed == 101
    (warning,) = report.warnings
    assert "the next t2c index tries again (somebody has it open)" in warning
    report = update(store, tmp_path / "photos")
    assert (report.unchanged, report.warnings) == (101, ())
    assert builds == ["photos"]


def test_the_facade_tells_the_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pictures(tmp_path / "photos", 3)
    save_open_clip(tmp_path / "clip", seed=1)
    monkeypatch.setattr(updating, "build_search_index", fail)
    with open_collection("photos", str(tmp_path / "s.t2c"), clip=f"open_clip:local-dir:{tmp_path}/clip") as collection:
        report = collection.index([tmp_path / "photos"])
        assert report.indexed == 3
        assert any("somebody has it open" in warning for warning in report.warnings)


def test_a_replacement_is_built_whatever_the_former_vectors_had(store: VectorStore, builds: list[str]) -> None:
    build_search_index(store, write(store, 0, SCANNED + 10))
    with store.replacement(store.spec()) as new:
        write(new, 0, SCANNED + 10)
        forget_build(new)
    build_search_index(store, 0)  # by the next run, as the process that replaced them was killed
    assert builds == ["photos", "photos"]
