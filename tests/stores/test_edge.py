"""What only the embedded engine does: survive being killed, lock its folder, mind the disk, build its index apart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from t2c_search.errors import CollectionNotFoundError, StoreError, StoreFullError, StoreLockedError, UsageError
from t2c_search.stores import build_index, list_collections, open_store
from t2c_search.stores.edge import files, vault
from t2c_search.stores.edge import store as edge
from t2c_search.stores.protocol import CollectionSpec, Quantization
from t2c_search.testing.points import COUNT, SPEC, make_id, make_points, unit
from t2c_search.types import CLIP, Points, VectorQuery

LARGE_DIM = 2048
LARGE = CollectionSpec.of({CLIP: LARGE_DIM}, {"number": "integer"})
"""Points of this size reach the engine's threshold for building a graph, 10 MB of vectors, soonest."""


def large_points(start: int, stop: int) -> Points:
    rows = np.random.default_rng(start).standard_normal((stop - start, LARGE_DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    numbers = range(start, stop)
    return Points([make_id(number) for number in numbers], [{"number": number} for number in numbers], {CLIP: rows})


@contextmanager
def python(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run code in another interpreter, which sees what this one imports; it is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert child.stdout is not None
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("batches_before_kill", [1, 4, 9])
def test_what_was_acknowledged_survives_kill_9(disk: Path, batches_before_kill: int) -> None:
    location = str(disk / "photos.t2c")
    code = """if True:
        import sys
        from test_edge import LARGE, large_points
        from t2c_search.stores import open_store
        store = open_store(sys.argv[1], "killed")
        store.create(LARGE)
        for start in range(0, 10**6, 100):
            store.upsert(large_points(start, start + 100))
            print(start + 100, flush=True)
    """
    with python(code, location) as child:
        acknowledged = [int(child.stdout.readline()) for _ in range(batches_before_kill)][-1]
        child.kill()
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
    store = open_store(location, "killed")
    for start in range(0, acknowledged, 100):
        written = large_points(start, start + 100)
        found = store.fetch(written.ids, vectors=(CLIP,))
        assert found.ids == written.ids
        assert found.payloads == written.payloads
        np.testing.assert_array_equal(found.vectors[CLIP], written.vectors[CLIP])
    store.upsert(large_points(acknowledged, acknowledged + 200))  # it can go on, over a batch that was under way
    assert store.count() == acknowledged + 200
    store.close()


def test_killed_creation_leaves_no_collection(disk: Path) -> None:
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from t2c_search.stores import open_store
        from t2c_search.testing.points import SPEC
        Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the moment before the collection appears
        open_store(sys.argv[1], "killed").create(SPEC)
    """
    location = str(disk / "photos.t2c")
    with python(code, location) as child:
        assert child.wait() == -9
    store = open_store(location, "killed")
    assert not store.exists()
    assert list_collections(location) == []
    with pytest.raises(CollectionNotFoundError, match="there are: none"):
        store.count()
    store.create(SPEC)
    assert store.count() == 0
    store.close()


def shards(home: Path) -> list[Path]:
    """List the engine's folders of a collection, one for each generation that is there."""
    return sorted(home.rglob("shard"))


@pytest.mark.parametrize("moment", ["while it is filled", "before the switch", "after the switch"])
def test_killed_replacement_leaves_the_old_or_the_new_and_no_remains(disk: Path, moment: str) -> None:
    code = """if True:
        import os, signal, sys
        from t2c_search.stores import open_store
        from t2c_search.stores.blobs import Aside
        from t2c_search.stores.edge.opening import Openings
        from test_edge import LARGE, large_points
        die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        location, moment = sys.argv[1:]
        store = open_store(location, "killed")
        if moment == "before the switch":
            Aside.take_over = die
        with store.replacement(LARGE) as new:
            new.write_blob("card", b"new")
            new.upsert(large_points(0, 50))
            if moment == "after the switch":
                Openings.replace = die
            if moment == "while it is filled":
                die()
    """
    location = str(disk / "photos.t2c")
    store = open_store(location, "killed")
    store.create(LARGE)
    store.upsert(large_points(100, 180))
    store.write_blob("card", b"old")
    store.close()
    early = open_store(location, "killed")
    assert early.read_blob("card") == b"old"
    with python(code, location, moment) as child:
        assert child.wait() == -9
    switched = moment == "after the switch"
    assert early.read_blob("card") == (b"new" if switched else b"old")
    assert early.count() == (50 if switched else 80)
    early.close()
    store = open_store(location, "killed")
    written = large_points(0, 50) if switched else large_points(100, 180)
    found = store.fetch(written.ids, vectors=(CLIP,))
    assert (found.ids, store.count()) == (written.ids, len(written))
    np.testing.assert_array_equal(found.vectors[CLIP], written.vectors[CLIP])
    assert store.read_blob("card") == (b"new" if switched else b"old")
    assert len(shards(disk / "photos.t2c" / "killed")) == 1
    with store.replacement(LARGE) as new:
        new.upsert(large_points(300, 320))
    assert store.count() == 20
    store.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("switched", [False, True])
def test_an_error_at_the_switch_leaves_the_old_or_the_new_and_can_go_on(
    disk: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], switched: bool
) -> None:
    home = disk / "photos"
    store = open_store(str(disk), "photos")
    store.create(LARGE)
    store.upsert(large_points(100, 180))

    def fail(folder: Path) -> None:
        if (
            folder == home if switched else folder.parent == home
        ):  # the header's folder, or the new generation's before it
            raise error("at the switch")

    with pytest.raises((KeyboardInterrupt, StoreError), match="at the switch"), store.replacement(LARGE) as new:
        new.upsert(large_points(0, 50))
        monkeypatch.setattr(files, "sync_folder", fail)
        monkeypatch.setattr(edge, "sync_folder", fail)
    monkeypatch.undo()
    assert store.count() == (50 if switched else 80)
    store.close()
    again = open_store(str(disk), "photos")
    assert again.count() == (50 if switched else 80)
    assert len(shards(home)) == 1
    again.close()


def test_a_replacement_stays_when_the_header_cannot_be_read(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(disk), "photos")
    store.create(LARGE)

    def fail(path: Path) -> None:
        if path in (disk / "photos", disk / "photos" / "header.json"):  # at the switch
            monkeypatch.setattr(vault, "read_if_there", fail)
            raise OSError("a disk that fails")

    with pytest.raises(StoreError, match="a disk that fails"), store.replacement(LARGE) as new:
        new.upsert(large_points(0, 50))
        monkeypatch.setattr(files, "sync_folder", fail)
    monkeypatch.undo()
    assert store.count() == 50
    store.close()


def test_failed_creation_leaves_nothing(disk: Path) -> None:
    store = open_store(str(disk), "broken")
    with pytest.raises(UsageError, match="field"):
        store.create(CollectionSpec.of({CLIP: 8}, {'no"name': "keyword"}))
    assert list(disk.iterdir()) == []


def test_creation_spares_a_folder_of_that_name(disk: Path) -> None:
    (disk / "holiday").mkdir()
    (disk / "holiday" / "photo.jpg").write_bytes(b"kept")
    store = open_store(str(disk), "holiday")
    assert not store.exists()
    with pytest.raises(StoreError, match="there already"):
        store.create(SPEC)
    assert (disk / "holiday" / "photo.jpg").read_bytes() == b"kept"


def test_location_that_is_a_file_is_an_error(disk: Path) -> None:
    (disk / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(str(disk / "file"), "photos").create(SPEC)


def test_files_beside_the_collections_are_passed_over(disk: Path) -> None:
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    store.close()
    (disk / "README.txt").write_text("what is in here")
    assert list_collections(str(disk)) == ["photos"]
    with pytest.raises(CollectionNotFoundError, match="there are: photos"):
        open_store(str(disk), "nothing").count()


def test_another_process_holds_the_lock_until_it_ends(disk: Path) -> None:
    location = str(disk / "photos.t2c")
    store = open_store(location, "photos")
    store.create(SPEC)
    store.upsert(make_points())
    store.write_blob("card", b"read me")
    store.close()
    code = """if True:
        import sys
        from t2c_search.stores import open_store
        store = open_store(sys.argv[1], "photos")
        print(store.count(), flush=True)
        sys.stdin.read()
    """
    with python(code, location) as child:
        assert child.stdout.readline() == f"{COUNT}\n"
        second = open_store(location, "photos")
        with pytest.raises(StoreLockedError, match=rf"photos\.t2c is open in process {child.pid}"):
            second.count()
        with pytest.raises(StoreLockedError):
            second.drop()
        with pytest.raises(StoreLockedError):
            build_index(location, "photos")
        assert second.read_blob("card") == b"read me"
        assert list_collections(location) == ["photos"]
    assert second.count() == COUNT  # a killed holder leaves no lock
    second.close()


def test_build_index_makes_searches_approximate_and_fast_ones_right(disk: Path) -> None:
    location = str(disk / "photos.t2c")
    store = open_store(location, "photos")
    store.create(LARGE)
    store.upsert(large_points(0, 1300))
    store.close()
    assert _indexed(disk) == 0

    temporary = disk / "photos.t2c" / "photos" / "shard" / "temp_segments"
    code = "import sys; from t2c_search.stores import build_index; build_index(sys.argv[1], 'photos')"
    with python(code, location) as child:
        until(lambda: temporary.is_dir() and any(temporary.iterdir()))
        child.kill()  # the indexer dies in the middle of the build; the builder must die with it
    until(lambda: _is_free(location))
    assert _indexed(disk) == 0
    assert any(temporary.iterdir())

    told: list[float] = []
    build_index(location, "photos", told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert _indexed(disk) == 1300
    assert not any(temporary.iterdir())
    again = open_store(location, "photos")
    assert again.count() == 1300
    query = large_points(0, 1300).vectors[CLIP][7]
    exact, indexed = again.search([VectorQuery(query, 10, exact=exact, hnsw_ef=256) for exact in (True, False)])
    assert exact.ids[0] == indexed.ids[0] == make_id(7)
    assert len(set(exact.ids) & set(indexed.ids)) >= 6
    again.close()


@pytest.mark.parametrize("quantization", ["int8", "tq4"])
def test_quantised_searches_give_whole_scores_and_exact_ones_ignore_it(disk: Path, quantization: Quantization) -> None:
    location = str(disk / "photos.t2c")
    store = open_store(location, "photos")
    store.create(replace(LARGE, quantization=quantization))
    points = large_points(0, 1300)
    store.upsert(points)
    store.close()
    build_index(location, "photos")
    rows = points.vectors[CLIP].astype(np.float64)
    queries = [rows[at] + 0.7 * rows[at + 1] for at in (7, 70, 700)]
    assert not np.allclose(*(_engine_scores(disk, queries[0], rescore=rescore) for rescore in (True, False)), atol=1e-4)
    store = open_store(location, "photos")
    for query in queries:
        exact, quick = store.search([VectorQuery(query, 20, exact=exact, hnsw_ef=1300) for exact in (True, False)])
        for found in (exact, quick):
            kept = [points.ids.index(point_id) for point_id in found.ids]
            np.testing.assert_allclose(found.scores, rows[kept] @ query, atol=1e-6)
        assert exact.ids == [points.ids[kept] for kept in np.argsort(-rows @ query)[:20]]
        assert len(set(exact.ids) & set(quick.ids)) >= 17
    store.close()


def _engine_scores(disk: Path, query: np.ndarray, *, rescore: bool) -> list[float]:
    """Ask the engine itself for the first hit's scores, by whole or by quantised vectors."""
    nearest = qdrant_edge.Query.Nearest(query.tolist(), using=CLIP)
    quantization = qdrant_edge.QuantizationSearchParams(rescore=rescore)
    params = qdrant_edge.SearchParams(hnsw_ef=1300, quantization=quantization)
    with _engine(disk) as shard:
        found = shard.query(qdrant_edge.QueryRequest(limit=1, query=nearest, params=params))
    return [point.score for point in found]


def _indexed(disk: Path) -> int:
    with _engine(disk) as shard:
        return shard.info().indexed_vectors_count


@contextmanager
def _engine(disk: Path) -> Iterator[qdrant_edge.EdgeShard]:
    """Open a copy of the points with the engine itself, which alters the files that it opens."""
    copy = disk / "copy"
    shutil.copytree(disk / "photos.t2c" / "photos" / "shard", copy)
    shard = qdrant_edge.EdgeShard.load(str(copy))
    yield shard
    shard.close()
    shutil.rmtree(copy)


def _is_free(location: str) -> bool:
    store = open_store(location, "photos")
    try:
        return store.count() == 1300
    except StoreLockedError:
        return False
    finally:
        store.close()


def test_build_index_tells_what_is_wrong(disk: Path) -> None:
    with pytest.raises(CollectionNotFoundError, match="'nothing'"):
        build_index(str(disk), "nothing")
    build_index(":memory:", "nothing")  # engines that have no index to build
    build_index("http://127.0.0.1:1", "nothing")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 120 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_full_disk_stops_writing_loses_nothing_and_goes_on(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(30 << 20))
    store = open_store(str(small_disk), "photos")
    store.create(LARGE)
    written = 0
    with pytest.raises(StoreFullError, match="Make room"):
        while written < 10_000:
            store.upsert(large_points(written, written + 100))
            written += 100
    assert 0 < written < 10_000
    store.write_blob("card", b"still kept")  # nothing that maps memory: a run can save its state at the end
    (small_disk / "other").write_bytes(bytes(16 << 20))
    with pytest.raises(StoreFullError):
        store.set_payload([make_id(0)], [{}])
    with pytest.raises(StoreFullError):
        open_store(str(small_disk), "another").create(LARGE)
    assert store.count() == written
    store.close()
    with pytest.raises(StoreFullError, match="full"):
        build_index(str(small_disk), "photos")
    again = open_store(str(small_disk), "photos")
    assert again.count() == written
    assert again.read_blob("card") == b"still kept"
    for name in ("ballast", "other"):
        (small_disk / name).unlink()
    again.upsert(large_points(written, written + 100))
    assert again.count() == written + 100
    np.testing.assert_array_equal(
        again.fetch([make_id(0)], vectors=(CLIP,)).vectors[CLIP], large_points(0, 100).vectors[CLIP][:1]
    )
    again.close()


def test_log_is_cut_while_writing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "FLUSH_BYTES", 1 << 20)
    store = open_store(str(disk), "photos")
    store.create(LARGE)
    logs = set()
    points = large_points(0, 500)
    for _ in range(30):  # three log files' worth
        store.upsert(points)
        logs.add(len(list((disk / "photos" / "shard" / "wal").glob("closed-*"))))
    assert max(logs) <= 1
    store.close()


def test_changed_payloads_and_deletions_are_flushed_too(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paged_out: list[Path] = []
    monkeypatch.setattr(edge, "FLUSH_BYTES", 1 << 18)
    monkeypatch.setattr(edge, "page_out", paged_out.append)
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    points = make_points()
    store.upsert(points)
    assert paged_out == []
    logs = set()
    for _ in range(4):  # of a log file's size each
        store.set_payload(points.ids, [{**payload, "notes": "x" * 120_000} for payload in points.payloads])
        logs.add(len(list((disk / "photos" / "shard" / "wal").glob("closed-*"))))
    assert max(logs) <= 1
    assert len(paged_out) == 4
    store.delete(points.ids)
    assert len(paged_out) == 5
    store.close()


def test_search_in_a_collection_without_a_graph_is_a_scan(disk: Path) -> None:
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    store.upsert(make_points())
    exact, indexed = store.search([VectorQuery(unit(1, 2), 20, exact=exact) for exact in (True, False)])
    assert exact.ids == indexed.ids
    store.close()


def mapped_bytes(folder: Path) -> int:
    """Resident bytes of the files below the folder that this process has mapped."""
    resident, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            counts = values[-1].startswith(str(folder))
        elif name == "Rss:" and counts:
            resident += int(values[0]) << 10
    return resident


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and takes pages back on demand")
@pytest.mark.parametrize("searches", [False, True])
def test_memory_of_what_was_written_is_given_back_unless_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches: bool
) -> None:
    monkeypatch.setattr(edge, "FLUSH_BYTES", 1 << 20)
    store = open_store(str(tmp_path), "photos")
    store.create(LARGE)
    written = 0
    if searches:
        store.search([VectorQuery(large_points(0, 1).vectors[CLIP][0], 1)])
    for start in range(0, 4000, 500):
        points = large_points(start, start + 500)
        store.upsert(points)
        written += points.vectors[CLIP].nbytes
    assert (mapped_bytes(tmp_path) > written) == searches
    assert searches or mapped_bytes(tmp_path) < written / 4
    (found,) = store.search([VectorQuery(points.vectors[CLIP][7], 1, with_vectors=(CLIP,))])
    assert found.ids == [points.ids[7]]
    np.testing.assert_array_equal(found.vectors[CLIP][0], points.vectors[CLIP][7])
    assert store.count() == 4000
    store.close()
