"""A copy is its source bit for bit, from every kind of store to every other, also when it was killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import t2c_search
from t2c_search.collection.copying import copy
from t2c_search.errors import CollectionNotFoundError, StoreError, UsageError
from t2c_search.indexing.writer import Writer
from t2c_search.state.card import CARD, CollectionCard
from t2c_search.stores import open_store
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import CollectionSpec, VectorSpec, VectorStore
from t2c_search.testing.points import SPEC, make_id, make_points
from t2c_search.types import CLIP, NATIVE, EncoderRef, Fingerprint, Points
from tests.stubs.rest import QdrantStub

MADE = CollectionCard(
    made_by="a test",
    clip=EncoderRef("clip", 16, Fingerprint("a", "b")),
    backbone=EncoderRef("backbone", 5, Fingerprint("c", "d")),
    native=True,
)
COPY = "import sys, t2c_search; t2c_search.copy_collection('photos', sys.argv[2], store=sys.argv[1])"
PATIENCE_SECONDS = 120
Opener = Callable[[str], VectorStore]


class Killed(BaseException):
    """Stands for the end of the process."""


class Dying:
    """A store whose process dies at its ``moment``-th write: before it, or when it was done."""

    WRITES = frozenset({"create", "upsert", "delete", "update_blob", "write_blob", "add_indexes", "flush"})

    def __init__(self, store: VectorStore, moment: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, moment, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.WRITES:
            return method

        def write(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if not self._left and not self._after:
                raise Killed
            answer = method(*args, **kwargs)
            if not self._left:
                raise Killed
            return answer

        return write


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def opener(tmp_path: Path, stub: QdrantStub) -> Iterator[Callable[[str, str], VectorStore]]:
    """Opens a collection of an engine by name; what is open is closed at the end."""
    opened: list[VectorStore] = []

    def open_one(engine: str, name: str) -> VectorStore:
        location = {"edge": str(tmp_path / "s.t2c"), "server": stub.url, "memory": ":memory:"}[engine]
        opened.append(open_store(location, name))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def fill(store: VectorStore, spec: CollectionSpec = SPEC, count: int = 300) -> VectorStore:
    store.create(spec)
    points = make_points(count)
    points.vectors[NATIVE][:] = points.vectors[NATIVE].astype(np.float16)  # what every engine can hold as it is
    for payload in points.payloads:  # see test_the_last_bit_of_a_decimal_is_no_difference
        payload |= {
            "aperture": round(payload["aperture"], 1),
            "gps": {"lat": round(payload["gps"]["lat"], 2), "lon": 7.5},
        }
    with Writer(store) as writer:
        writer.put(points, set())
    for key in ("aligner", "concepts"):
        store.write_blob(key, key.encode() * 1000)
    CARD.write(store, MADE)
    return store


def content(store: VectorStore) -> tuple[Any, ...]:
    """Return all that a copy must have: points, vectors' bits, specification, and what is kept beside the points."""
    header: Header = store.header()
    _, blobs = store.read_blobs(sorted({*header.blobs} - {"copied-from", "search-index", "recall"}))
    found = list(store.scan(vectors=(CLIP, NATIVE)))
    ids = [point_id for batch in found for point_id in batch.ids]
    payloads = [payload for batch in found for payload in batch.payloads]
    vectors = {name: b"".join(batch.vectors[name].tobytes() for batch in found) for name in (CLIP, NATIVE)}
    return header.spec, blobs, ids, payloads, vectors


@pytest.mark.parametrize(("quantization", "after"), [("none", False), ("int8", True)])
@pytest.mark.parametrize("target", ["edge", "server", "memory"])
@pytest.mark.parametrize("source", ["edge", "server", "memory"])
def test_killed_at_every_write_the_same_call_goes_on(
    opener: Callable[[str, str], VectorStore], source: str, target: str, quantization: Any, after: bool
) -> None:
    spec = CollectionSpec.of(SPEC.dims, SPEC.indexes, quantization)
    original, copied = fill(opener(source, "photos"), spec), opener(target, "copy")
    moment, written = 1, list[int]()
    while True:
        dying: Any = Dying(copied, moment, after=after)
        try:
            report = copy(original, dying)
        except Killed:
            moment += 1
            if copied.exists() and CARD.read(copied) is not None:  # then it is whole
                assert content(copied) == content(original)
        else:
            break
        written.append(copied.count() if copied.exists() else 0)
    assert moment > 8  # it died that often
    assert 0 < max(written) == report.images == 300
    assert report.written == 0  # all were there when it died for the last time
    assert content(copied) == content(original)
    assert copy(original, copied) == replace(report, seconds=pytest.approx(0, abs=PATIENCE_SECONDS))


@pytest.mark.parametrize(("source", "target"), [("edge", "server"), ("server", "memory"), ("memory", "edge")])
def test_vectors_that_some_points_lack_are_copied_too(
    opener: Callable[[str, str], VectorStore], source: str, target: str
) -> None:
    original, copied = fill(opener(source, "photos")), opener(target, "copy")
    original.add_vector("tags", VectorSpec(3))
    original.add_vector("patches", VectorSpec(2, multi=True))
    tags, patches = np.ones((2, 3), np.float32), [np.ones((2, 2), np.float32), np.ones((1, 2), np.float32)]
    given = Points([make_id(0), make_id(7)], vectors={"tags": tags}, multivectors={"patches": patches})
    original.update_vectors(given)
    assert copy(original, copied).written == 300
    assert copied.spec() == original.spec()
    for ids in ([make_id(0), make_id(7)], [make_id(1)]):
        there, here = (each.fetch(ids, vectors=("tags", "patches")) for each in (original, copied))
        np.testing.assert_array_equal(there.vectors["tags"], here.vectors["tags"])
        for ours, theirs in zip(there.multivectors["patches"], here.multivectors["patches"], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert copy(original, copied).written == 0


def test_what_changed_between_two_attempts_is_brought_in_line(opener: Callable[[str, str], VectorStore]) -> None:
    original, copied = fill(opener("edge", "photos")), opener("edge", "copy")
    with pytest.raises(Killed):
        copy(original, Dying(copied, 5, after=True))  # type: ignore[arg-type]  # by then it has points
    assert copied.count() > 0
    gone, changed = make_id(3), make_points(5, seed=1)
    with Writer(original) as writer:
        writer.put(changed, set(changed.ids))
        writer.delete([gone])
    original.add_indexes({"tags": "keyword"})
    report = copy(original, copied)
    assert (report.images, content(copied)) == (299, content(original))


def test_the_last_bit_of_a_decimal_is_no_difference(opener: Callable[[str, str], VectorStore]) -> None:
    """The embedded engine reads long decimals back with another one, when a killed process left them in its log."""
    original, copied = fill(opener("server", "photos")), opener("server", "copy")
    long, read_back = ({"gps": {"lat": lat, "lon": [7.5]}} for lat in (49.730000000000004, 49.73))
    original.set_payload([make_id(1)], [long])
    copy(original, copied)
    copied.set_payload([make_id(1)], [read_back])
    assert copy(original, copied).written == 0
    copied.set_payload([make_id(1)], [{"gps": {"lat": 49.7300001, "lon": [7.5]}}])
    with pytest.raises(UsageError, match="is not a copy"):
        copy(original, copied)


@pytest.mark.parametrize("engine", ["edge", "server"])
def test_what_is_there_and_is_something_else_is_left_alone(
    opener: Callable[[str, str], VectorStore], engine: str
) -> None:
    original, other = fill(opener(engine, "photos")), fill(opener(engine, "other"), count=20)
    before = content(other)
    with pytest.raises(UsageError, match="'other' is in .* already, and is not a copy of 'photos'.*t2c delete other"):
        copy(original, other)
    assert content(other) == before
    half, third = opener(engine, "half"), fill(opener(engine, "third"))
    with pytest.raises(Killed):
        copy(original, Dying(half, 5, after=True))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'half' is in .* already, and is not a copy of 'third'"):
        copy(third, half)
    copy(original, half)
    with Writer(half) as writer:
        writer.delete([make_id(1)])
    before = content(half)
    with pytest.raises(UsageError, match="'half' is in .* already, and is not a copy of 'photos' .* as that is now"):
        copy(original, half)
    assert content(half) == before


def test_a_source_that_is_written_to_meanwhile_gives_no_copy(opener: Callable[[str, str], VectorStore]) -> None:
    original, copied = fill(opener("server", "photos")), opener("edge", "copy")

    class Meanwhile(Dying):
        def __getattr__(self, name: str) -> Any:
            if name == "flush":
                original.update_blob("concepts", lambda _: b"another")
            return getattr(self._store, name)

    with pytest.raises(StoreError, match="'photos' was changed while it was copied; run the same command again"):
        copy(original, Meanwhile(copied, 0, after=False))  # type: ignore[arg-type]
    assert copied.read_blob(CARD.key) is None
    copy(original, copied)
    assert content(copied) == content(original)


def test_there_is_nothing_to_copy_in_what_was_never_finished(opener: Callable[[str, str], VectorStore]) -> None:
    original, copied = opener("edge", "photos"), opener("edge", "copy")
    with pytest.raises(CollectionNotFoundError):
        copy(original, copied)
    original.create(SPEC)
    with pytest.raises(CollectionNotFoundError, match="never finished"):
        copy(original, copied)
    assert not copied.exists()


@pytest.mark.parametrize("share", [0.4, 0.8])
@pytest.mark.parametrize("direction", ["to the server", "from the server"])
def test_a_process_that_was_killed_is_gone_on_with(
    tmp_path: Path, stub: QdrantStub, opener: Callable[[str, str], VectorStore], direction: str, share: float
) -> None:
    engine = "edge" if direction == "to the server" else "server"
    original = fill(opener(engine, "photos"), count=1000)
    original.release()
    here, there = original.location, str(tmp_path / "copy.t2c") if engine == "server" else stub.url
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    requests = len(stub.body_bytes)
    t2c_search.copy_collection("photos", there, store=here)
    requests = len(stub.body_bytes) - requests
    t2c_search.delete_collection("photos", there)
    die_at = len(stub.body_bytes) + int(share * requests)
    stub.faults.extend([None] * int(share * requests))
    stub.faults.append("silence")
    with subprocess.Popen([sys.executable, "-c", COPY, here, there], env=environment) as child:
        while len(stub.body_bytes) <= die_at:
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_SECONDS)
    stub.faults.clear()
    report = t2c_search.copy_collection("photos", there, store=here)
    assert 0 <= report.written <= report.images == 1000
    copied = open_store(there, "photos")
    assert content(copied) == content(original)
    copied.close()


@pytest.mark.parametrize("engine", ["edge", "server"])
def test_a_renamed_collection_is_the_same_under_another_name(
    opener: Callable[[str, str], VectorStore], engine: str
) -> None:
    original = fill(opener(engine, "photos"))
    before, location = content(original), original.location
    fill(opener(engine, "taken"), count=20).release()
    original.release()
    with pytest.raises(StoreError if engine == "edge" else UsageError, match=r"taken.* is (there|in .*) already"):
        t2c_search.rename_collection("photos", "taken", location)
    with pytest.raises(UsageError, match="cannot be used"):
        t2c_search.rename_collection("photos", "../holidays", location)
    t2c_search.rename_collection("photos", "holidays", location)
    assert t2c_search.list_collections(location) == ["holidays", "taken"]
    renamed = opener(engine, "holidays")
    assert content(renamed) == before
    renamed.upsert(make_points(5, seed=2))
    renamed.release()
    with pytest.raises(CollectionNotFoundError):
        t2c_search.rename_collection("photos", "holidays", location)


def test_a_rename_on_a_server_that_was_killed_before_it_deleted_is_finished(
    stub: QdrantStub, opener: Callable[[str, str], VectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = fill(opener("server", "photos"))
    before = content(original)
    copy(original, opener("server", "holidays"))
    t2c_search.rename_collection("photos", "holidays", stub.url)
    assert t2c_search.list_collections(stub.url) == ["holidays"]
    assert content(opener("server", "holidays")) == before
