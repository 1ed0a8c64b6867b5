"""Processes and threads on one collection at once: no update is lost, no search fails or answers differently."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from t2c_search.state.failures import read_failures
from t2c_search.stores import open_store
from t2c_search.stores.protocol import Wait
from tests.collection.conftest import Open
from tests.collection.support import ASKED, answer, beside, opened
from tests.stubs.rest import QdrantStub

UPDATES = 200
RUNS = 10
"""Of the updates, those that are runs of the indexer."""
THREADS = 8
SEARCHES = {"embedded": 400, "memory": 750, "server": 110}
"""Of each thread; 10,080 in all."""
OPENED = 20


@pytest.fixture(params=["embedded", "server"])
def location(request: pytest.FixtureRequest) -> str:
    """Where the collection is, on each store that several processes may use."""
    if request.param == "embedded":
        return request.getfixturevalue("folder")
    stub: QdrantStub = request.getfixturevalue("server")
    return stub.url


def _with(content: bytes | None, item: str) -> bytes:
    return json.dumps([*json.loads(content or b"[]"), item]).encode()


def append(location: str, name: str) -> None:
    store = open_store(location, "photos")
    for number in range(UPDATES):
        store.update_blob("told", partial(_with, item=f"{name}{number}"))
    store.close()


def test_two_processes_update_a_blob(location: str) -> None:
    with beside(append, location, "a"), beside(append, location, "b"):
        pass
    with opened(location) as collection:
        told = json.loads(collection.store.read_blob("told") or b"")
    assert sorted(told) == sorted(f"{name}{number}" for name in "ab" for number in range(UPDATES))


def teach_and_fail(location: str, folder: Path) -> None:
    folder.mkdir()
    with opened(location) as collection:
        for number in range(UPDATES - RUNS):
            collection.add_concept(f"{folder.name}{number}", texts=["a star"])
            if number % (UPDATES // RUNS) == 0:
                broken = folder / f"{number}.jpg"
                broken.write_bytes(b"no picture")
                assert collection.index([broken]).failed == 1
                collection.release()


def test_two_processes_teach_concepts_and_index_what_fails(location: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    with beside(teach_and_fail, location, folders[0]), beside(teach_and_fail, location, folders[1]):
        pass
    with opened(location) as collection:
        names = {f"{folder.name}{number}" for folder in folders for number in range(UPDATES - RUNS)}
        assert collection.concepts.keys() == names
        failed = {
            folder / f"{number}.jpg" for folder in folders for number in range(0, UPDATES - RUNS, UPDATES // RUNS)
        }
        assert {Path(failure.path) for failure in read_failures(collection.store)} == failed
        assert collection.search("a star").statistics.current


def open_often(location: str) -> None:
    for _ in range(OPENED):
        store = open_store(location, "photos", wait=Wait(60))
        assert store.count() > 0
        store.close()


def test_threads_search_while_another_lets_go_and_reads_anew(handle: Open) -> None:
    photos = handle()
    location, quiet = photos.store.location, answer(photos)
    engine = "memory" if location == ":memory:" else "server" if location.startswith("http") else "embedded"
    photos.release()
    ended, opened_often = threading.Event(), threading.Event()

    def search() -> int:
        asked = 0
        while asked < SEARCHES[engine] or not opened_often.is_set():
            assert answer(photos) == quiet
            asked += len(ASKED)
        return asked

    def let_go() -> None:
        while not ended.wait(0.03):
            photos.release()
            photos.refresh()

    with ExitStack() as stack:
        if engine == "memory":  # no other process can open it
            opened_often.set()
        else:
            other = stack.enter_context(beside(open_often, location))
        pool = stack.enter_context(ThreadPoolExecutor(THREADS + 1))
        letting, searching = pool.submit(let_go), [pool.submit(search) for _ in range(THREADS)]
        try:
            if engine != "memory":
                other.join()
                opened_often.set()
            asked = [each.result() for each in searching]
        finally:
            opened_often.set()
            ended.set()
        letting.result()
    assert min(asked) >= SEARCHES[engine]
