"""A watcher whose server goes away waits for it, says since when, and takes up what changed meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import pytest

from t2c_search.collection import open_collection, watching
from t2c_search.indexing.report import IndexReport
from t2c_search.stores.server import connection
from tests.indexing.support import save_pictures
from tests.stubs.rest import QdrantStub

PATIENCE_SECONDS = 120


@pytest.fixture
def server() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_watcher_waits_any_outage_out(
    server: QdrantStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.2)  # an outage is longer than the connection's own patience
    monkeypatch.setattr(watching, "_AWAY_SECONDS", 0.1)
    folder, stop = tmp_path / "photos", Event()
    save_pictures(folder, 12)
    told, reports = Queue[str](), Queue[IndexReport | None]()
    with open_collection("photos", server.url, clip="mini", device="cpu") as photos:
        watched = photos.watch([folder], sync=True, stop=stop, tell=told.put)
        assert photos.index([folder]).indexed == 12

        def work() -> None:
            for report in watched:
                reports.put(report)
            reports.put(None)

        worker = Thread(target=work, daemon=True)
        worker.start()
        server.go_down()
        first, second, third, *_ = sorted(folder.iterdir())
        first.rename(folder / "moved.png")
        away = told.get(timeout=PATIENCE_SECONDS)
        assert re.search(r"the store is away since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: nothing answers at http://", away), (
            away
        )
        second.unlink()
        if comes_back:
            server.come_back()
            assert "the store answers again, after " in told.get(timeout=PATIENCE_SECONDS)
            while photos.store.count() != 11:
                assert reports.get(timeout=PATIENCE_SECONDS) is not None
            third.unlink()
            while photos.store.count() != 10:
                assert reports.get(timeout=PATIENCE_SECONDS) is not None
        stop.set()
        worker.join(PATIENCE_SECONDS)
        assert not worker.is_alive()
        if not comes_back:
            assert "the last changes are not indexed" in told.get(timeout=PATIENCE_SECONDS)
            server.come_back()
            assert photos.index([folder], sync=True).deleted == 1
        assert told.empty()
