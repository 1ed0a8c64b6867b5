"""Two runs on one collection, and a server that fails: every point exactly once, statistics true in the end."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2c_search.errors import StoreUnavailableError
from t2c_search.indexing.writer import UPSERT_POINTS, Writer
from t2c_search.sources import ImageInput, list_images
from t2c_search.state.failures import read_failures
from t2c_search.state.statistics import claim_statistics, save_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.stores.server import connection
from t2c_search.types import CLIP, Failure, Points
from tests.stubs.rest import QdrantStub

from .support import DIM, assert_same, assert_statistics_are_true, create, index, save_pictures

COUNT = 60


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "photos", COUNT)
    return tmp_path / "photos"


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def store(stub: QdrantStub) -> Iterator[VectorStore]:
    store = create(open_store(stub.url, "photos", timeout=1))
    yield store
    store.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(connection, "LONGEST_WAIT_SECONDS", 0.002)


def undisturbed(photos: Path) -> VectorStore:
    made = create(open_store(":memory:", "fresh"))
    index(list_images([photos]), made)
    return made


def indexer(location: str, folder: Path) -> subprocess.Popen[str]:
    script = [sys.executable, str(Path(__file__).with_name("kill_me.py")), location, str(folder)]
    return subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_index_the_same_folder_on_a_server(photos: Path, stub: QdrantStub, store: VectorStore) -> None:
    both = [indexer(stub.url, photos) for _ in range(2)]
    for process in both:
        _, error = process.communicate()  # closes its standard input, which ends it once it is done
        assert process.returncode == 0, error
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)


def test_the_second_process_on_an_embedded_collection_is_told_who_has_it(photos: Path, tmp_path: Path) -> None:
    location = str(tmp_path / "photos.t2c")
    create(open_store(location, "photos"), indexes={}).close()
    with indexer(location, photos) as first:
        assert first.stdout is not None
        first.stdout.readline()  # it holds the collection, and will until it is told to end
        with indexer(location, photos) as second:
            _, error = second.communicate()
        assert second.returncode != 0
        assert "StoreLockedError" in error
        assert f"is open in process {first.pid}" in error
        first.communicate()
    assert first.returncode == 0
    store = open_store(location, "photos")
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)
    store.close()


class SecondRun:
    """Runs another indexer, to its end, in the middle of this one."""

    def __init__(self, photos: Path, store: VectorStore) -> None:
        self.photos, self.store, self.done = photos, store, False

    def start(self, total: int | None, stage: str) -> None: ...

    def fail(self, failure: Failure) -> None: ...

    def advance(self, images: int) -> None:
        if not self.done and self.store.count():
            self.done = True
            index(list_images([self.photos]), self.store)


def test_a_run_within_a_run_leaves_true_statistics(photos: Path, store: VectorStore) -> None:
    within = SecondRun(photos, store)
    index(list_images([photos]), store, batch_size=2, progress=within)
    assert within.done
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)


def test_a_run_within_a_run_keeps_the_others_failures(photos: Path, tmp_path: Path, store: VectorStore) -> None:
    others = tmp_path / "others"
    save_pictures(others, 3)
    mended, broken, own = others / "0000.jpg", others / "0001.jpg", photos / "0000.jpg"
    kept = mended.read_bytes()
    for path in (mended, photos / "0001.jpg"):
        path.write_bytes(b"no picture")
    index(list_images([others, photos]), store)
    assert [Path(failure.path) for failure in read_failures(store)] == [mended, photos / "0001.jpg"]
    mended.write_bytes(kept)
    for path in (broken, own):
        path.write_bytes(b"no picture")
    save_pictures(photos, 2, first=1)  # mends its own
    within = SecondRun(others, store)
    index(list_images([photos]), store, progress=within)
    assert within.done
    assert [Path(failure.path) for failure in read_failures(store)] == [broken, own]


def test_a_run_counts_anew_when_it_finds_anothers_claim_and_only_then(
    photos: Path, stub: QdrantStub, store: VectorStore
) -> None:
    index(list_images([photos]), store)

    def scans() -> int:
        return sum(each.path.endswith("/photos/points/scroll") for each in stub.requests)

    claim_statistics(store)  # by a run that was killed
    save_statistics(store, VectorStatistics(DIM), claim_statistics(store)[1])
    assert_statistics_are_true(store)
    before = scans()
    save_statistics(store, *claim_statistics(store))
    assert scans() == before
    assert_statistics_are_true(store)


def test_a_server_that_fails_in_every_way_gets_every_point_once(
    photos: Path, stub: QdrantStub, store: VectorStore, quick: None
) -> None:
    faults = [500, 503, 429, 408, 504, "reset", "lost answer"]
    dice = random.Random(0)
    stub.faults.extend(dice.choice(faults) if dice.random() < 0.4 else None for _ in range(400))
    stub.faults.append("silence")
    report = index(list_images([photos]), store, batch_size=3)
    assert (report.indexed, report.failed) == (COUNT, 0)
    stub.faults.clear()
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)


class Outage:
    """The server goes away in the middle of the run."""

    def __init__(self, stub: QdrantStub) -> None:
        self.stub, self.down = stub, False

    def start(self, total: int | None, stage: str) -> None: ...

    def fail(self, failure: Failure) -> None: ...

    def advance(self, images: int) -> None:
        if not self.down:
            self.down = True
            self.stub.go_down()


def test_a_server_that_is_restarted_is_waited_for(
    photos: Path, stub: QdrantStub, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    restarting = threading.Lock()

    def sleep(seconds: float) -> None:
        with restarting:
            waits.append(seconds)
            if len(waits) == 5:
                stub.come_back()

    monkeypatch.setattr(connection.time, "sleep", sleep)
    outage = Outage(stub)
    report = index(list_images([photos]), store, batch_size=3, progress=outage)
    assert outage.down
    assert len(waits) >= 5
    assert report.indexed == COUNT
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)


def test_uploads_are_in_flight_side_by_side(photos: Path, stub: QdrantStub, store: VectorStore) -> None:
    class Meeting:
        """Lets no upload through before a second one is there."""

        def __init__(self) -> None:
            self.met = threading.Barrier(2)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def upsert(self, points: Points) -> None:
            self.met.wait(60)
            store.upsert(points)

    def points(start: int) -> Points:
        ids = [ImageInput(f"/{number}.jpg", 0, 0).id for number in range(start, start + UPSERT_POINTS)]
        vectors = np.random.default_rng(start).normal(size=(UPSERT_POINTS, DIM)).astype(np.float32)
        return Points(ids, [{"path": i} for i in ids], {CLIP: vectors})

    with Writer(Meeting()) as writer:
        for number in range(6):
            writer.put(points(number * UPSERT_POINTS), set())
    assert store.count() == 6 * UPSERT_POINTS
    assert_statistics_are_true(store)


def test_an_outage_that_lasts_ends_the_run_and_the_next_one_completes_it(
    photos: Path, stub: QdrantStub, store: VectorStore, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.05)
    with pytest.raises(StoreUnavailableError, match="is the Qdrant server running there"):
        index(list_images([photos]), store, batch_size=3, progress=Outage(stub))
    stub.come_back()
    assert store.count() < COUNT
    report = index(list_images([photos]), store)
    assert report.indexed + report.unchanged == COUNT
    assert_same(store, undisturbed(photos))
    assert_statistics_are_true(store)
