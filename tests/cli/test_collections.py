"""Collections as a whole: listed, deleted, images taken out of them; as a user does it, and as a program."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import t2c_search
from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from t2c_search.errors import CollectionNotFoundError, UsageError
from t2c_search.state.statistics import STATISTICS
from t2c_search.types import CLIP
from tests.cli.conftest import Outcome
from tests.stubs.rest import QdrantStub

T2C = Callable[..., Outcome]
IMAGES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the collection ``scenes`` of drawn scenes."""
    root = tmp_path_factory.mktemp("scenes")
    for scene in draw(11, IMAGES):
        Image.fromarray(scene.image).save(root / f"{scene.index}.png")
    with open_collection("scenes", str(root / "s.t2c"), clip="mini", backbone="mini") as images:
        assert images.index([root]).indexed == IMAGES
    return root / "s.t2c"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s.t2c"))


class Terminal(io.StringIO):
    """Standard input on which somebody types."""

    def isatty(self) -> bool:
        return True


def test_collections_are_listed(t2c: T2C, store: Path, tmp_path: Path) -> None:
    shutil.copytree(store / "scenes", store / "others")
    assert t2c("collections", "--store", store).out == "others\nscenes\n"
    listed = t2c("collections", "--store", store, "--json").json
    assert listed == {"store": str(store), "collections": t2c_search.list_collections(str(store))}
    nothing = t2c("collections", "--store", tmp_path / "new")
    assert (nothing.code, nothing.out) == (0, "")
    assert "t2c index" in nothing.err


def test_a_collection_is_deleted_when_that_was_meant(t2c: T2C, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # a pipe is nobody to ask
    refused = t2c("delete", "scenes", "--store", store)
    assert (refused.code, "--yes" in refused.err, f"{IMAGES} images" in refused.err) == (2, True, True)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert t2c("delete", "scenes", "--store", store).code == 1
    assert t2c_search.list_collections(str(store)) == ["scenes"]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    deleted = t2c("delete", "scenes", "--store", store)
    assert deleted.code == 0
    assert f"Delete collection 'scenes' of {IMAGES} images" in deleted.err
    assert t2c_search.list_collections(str(store)) == []
    assert t2c("delete", "scenes", "--store", store, "--yes").code == 1
    with pytest.raises(CollectionNotFoundError):
        t2c_search.delete_collection("scenes", str(store))


def test_what_mine_finds_is_removed_and_nothing_else(t2c: T2C, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["-c", "scenes", "--store", store]
    expression = '"a heart" >= 0.5sd AND NOT "on grass" >= 1sd'
    found = t2c("mine", *options, expression).out.split()
    assert 0 < len(found) < IMAGES
    dry = t2c("remove", *options, expression, "--dry-run", "--json").json
    assert (len(dry["ids"]), dry["removed"], dry["images"]) == (len(found), 0, IMAGES)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    refused = t2c("remove", *options, expression)
    assert (refused.code, f"{len(found)} images" in refused.err) == (2, True)
    removed = t2c("remove", *options, expression, "--yes", "--json").json
    assert (removed["ids"], removed["removed"], removed["images"]) == (dry["ids"], len(found), IMAGES - len(found))
    with open_collection("scenes", str(store)) as images:
        left = list(images.store.scan(vectors=(CLIP,)))
        assert not {payload["path"] for points in left for payload in points.payloads} & set(found)
        vectors = np.concatenate([points.vectors[CLIP] for points in left])
        statistics = STATISTICS.read(images.store)
        assert statistics is not None
        assert statistics.count == len(vectors)
        np.testing.assert_allclose(statistics.mean, vectors.mean(0), atol=1e-5)


def test_images_are_removed_by_id_or_by_a_filter(store: Path) -> None:
    with open_collection("scenes", str(store)) as images:
        first, second, *_ = (hit.id for hit in images.search("a heart", limit=3))
        gone = "00000000-0000-0000-0000-000000000000"
        assert images.remove(ids=[first, gone, second, first], dry_run=True) == [first, second]
        assert images.count("path EXISTS").count == IMAGES
        assert images.remove(ids=[first, gone, second, first]) == [first, second]
        assert images.count("path EXISTS").count == IMAGES - 2
        assert len(images.remove(where="width >= 1", dry_run=True)) == IMAGES - 2
        assert len(images.remove("path EXISTS", where="width >= 1")) == IMAGES - 2
        assert images.store.count() == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "by constraints, or by ids"),
        ({"query": "a heart", "ids": ["x"]}, "by constraints, or by ids"),
        ({"ids": ["3f0c"]}, "'3f0c' is no id of an image"),
        ({"where": '"a heart"'}, "heart"),
    ],
)
def test_what_says_not_what_to_remove_is_refused(store: Path, asked: dict[str, object], said: str) -> None:
    with open_collection("scenes", str(store)) as images, pytest.raises(UsageError, match=said):
        images.remove(**asked)


@pytest.fixture
def served(made: Path) -> Iterator[QdrantStub]:
    """A server with the collection ``scenes``, with native vectors."""
    with QdrantStub() as stub:
        with open_collection("scenes", stub.url, clip="mini", backbone="mini:cnn") as images:
            images.index([made.parent], keep_native=True, fit_pairs=IMAGES)
        yield stub


def test_info_tells_what_a_token_must_cover(t2c: T2C, made: Path, store: Path, served: QdrantStub) -> None:
    folder = t2c("info", "-c", "scenes", "--store", store, "--json").json["physical_names"]
    assert folder == [str(store / "scenes")]
    options = ["-c", "scenes", "--store", served.url]
    assert t2c("info", *options, "--json").json["physical_names"] == ["scenes", "scenes.t2c"]
    assert t2c("realign", *options, "--fit-images", made.parent, "--fit-pairs", IMAGES).code == 0
    points, companion = t2c("info", *options, "--json").json["physical_names"]
    assert (points.startswith("scenes~"), companion) == (True, "scenes.t2c")


def test_realign_with_a_token_too_narrow_fails_before_it_starts(t2c: T2C, served: QdrantStub, tmp_path: Path) -> None:
    served.forbidden = "scenes~[0-9a-f]*"
    before = t2c("info", "-c", "scenes", "--store", served.url, "--json").json
    no_file = tmp_path / "none.safetensors"  # which it would miss, if it came so far
    refused = t2c("realign", "-c", "scenes", "--store", served.url, "--aligner", no_file)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "collection 'scenes' cannot be realigned" in refused.err
    assert "may create and delete it" in refused.err
    assert t2c("info", "-c", "scenes", "--store", served.url, "--json").json == before
    served.forbidden = ""
    assert "none.safetensors" in t2c("realign", "-c", "scenes", "--store", served.url, "--aligner", no_file).err


def test_who_reads_waits_for_who_has_it_open_and_says_for_whom(t2c: T2C, made: Path, store: Path) -> None:
    options = ["-c", "scenes", "--store", str(store)]
    told = f"waiting for process {os.getpid()}, which has collection 'scenes'"
    with open_collection("scenes", str(store)) as images:
        images.store.count()  # opens it
        late = t2c("info", *options, "--wait", 1.1)
        assert (late.code, late.err.count("\n")) == (1, 2)
        assert told in late.err
        assert f"is open in process {os.getpid()}" in late.err
        command = [sys.executable, "-m", "t2c_search", "info", *options, "--wait", "200", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            assert child.stdout is not None
            assert told in child.stderr.readline()
            images.release()
            assert json.loads(child.stdout.read())["images"] == IMAGES
        assert child.returncode == 0
        images.store.count()
        indexing = t2c("index", made.parent, *options)
        assert (indexing.code, "waiting for" in indexing.err) == (1, False)
        assert "is open in process" in indexing.err


@pytest.mark.parametrize(
    "command",
    [["search", "a"], ["mine", "a"], ["count", "a"], ["facets", "path"], ["info"], ["duplicates"], ["concept", "list"]],
)
def test_every_command_that_reads_waits(t2c: T2C, store: Path, command: list[str]) -> None:
    with open_collection("scenes", str(store)) as images:
        images.store.count()
        locked = t2c(*command, "-c", "scenes", "--store", store, "--wait", 0.01)
    assert locked.code == 0 if command == ["concept", "list"] else "(waited 0.01 s)" in locked.err


def test_a_copy_and_a_renamed_collection_answer_as_before(t2c: T2C, store: Path, tmp_path: Path) -> None:
    query = ["search", '"a heart" AND NOT "on grass"', "--paths"]
    before = t2c(*query, "-c", "scenes", "--store", store).out
    copied = t2c("copy", "scenes", "--store", store, "--to-store", tmp_path / "t.t2c", "--as", "kept", "--json").json
    assert (copied["collection"], copied["images"], copied["written"]) == ("kept", IMAGES, IMAGES)
    assert t2c("rename", "scenes", "drawn", "--store", store, "--json").json == {
        "collection": "drawn",
        "former": "scenes",
    }
    for name, location in (("kept", tmp_path / "t.t2c"), ("drawn", store)):
        assert t2c(*query, "-c", name, "--store", location).out == before
    assert t2c("copy", "drawn", "--store", store).code == 2  # to where?
    taken = t2c("copy", "drawn", "--store", store, "--to-store", tmp_path / "t.t2c", "--as", "kept")
    assert (taken.code, "t2c delete kept" in taken.err) == (2, True)
