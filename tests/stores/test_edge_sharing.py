"""One embedded collection, several processes and users: each is told what stands in its way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from t2c_search.errors import StoreError
from t2c_search.stores import open_store
from t2c_search.stores.edge import store as edge
from t2c_search.testing.points import COUNT, SPEC, make_points


def test_whoever_makes_a_collection_second_is_told_to_run_again(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = str(disk / "photos.t2c")
    first, second = open_store(location, "photos"), open_store(location, "photos")
    make_shard = edge.create_shard

    def overtaken(*arguments: object) -> None:
        make_shard(*arguments)
        monkeypatch.setattr(edge, "create_shard", make_shard)
        first.create(SPEC)
        first.upsert(make_points())

    monkeypatch.setattr(edge, "create_shard", overtaken)
    with pytest.raises(StoreError, match=r"made by another process at this moment; run the same command again"):
        second.create(SPEC)
    assert [path.name for path in (disk / "photos.t2c").iterdir()] == ["photos"]
    assert first.count() == COUNT
    first.close()
    assert second.count() == COUNT
    second.close()


def test_two_processes_that_make_one_collection_at_once_end_clearly(disk: Path) -> None:
    code = """if True:
        import sys
        from t2c_search.errors import StoreError
        from t2c_search.stores import open_store
        from t2c_search.testing.points import SPEC
        store = open_store(sys.argv[1], "photos")
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            store.create(SPEC)
        except StoreError as exc:
            print(exc, flush=True)
        else:
            print("made", flush=True)
        sys.stdin.readline()
    """
    for attempt in range(5):
        command = [sys.executable, "-c", code, str(disk / f"{attempt}.t2c")]
        pipe = subprocess.PIPE
        both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
        try:
            assert [child.stdout.readline() for child in both] == ["ready\n"] * 2
            for child in both:
                child.stdin.write("\n")
                child.stdin.flush()
            told = sorted(child.stdout.readline() for child in both)
        finally:
            for child in both:
                child.kill()
                child.communicate()
        assert told[1] == "made\n"
        assert "run the same command again to go on with it" in told[0]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_collection_that_may_only_be_read_is_refused_with_a_remedy(disk: Path) -> None:
    store = open_store(str(disk / "photos.t2c"), "photos")
    store.create(SPEC)
    store.upsert(make_points())
    store.close()
    code = """if True:
        import os, sys
        from t2c_search.errors import StoreAccessError
        from t2c_search.stores import open_store
        from t2c_search.stores.edge import store as edge  # all that is needed, before it may become unreadable
        from t2c_search.testing.points import SPEC, make_points, unit
        from t2c_search.types import VectorQuery
        points, query = make_points(), VectorQuery(unit(1), 1)
        if os.geteuid() == 0:  # whom permissions do not bind
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        store = open_store(sys.argv[1], "photos")
        assert store.spec() == SPEC
        for call in (
            store.count,
            store.flush,
            lambda: store.search([query]),
            lambda: store.upsert(points),
            lambda: store.write_blob("card", b""),
            lambda: open_store(sys.argv[1], "another").create(SPEC),
        ):
            try:
                call()
            except StoreAccessError as exc:
                print(exc)
    """
    _allow(disk, stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    try:
        child = subprocess.run(
            [sys.executable, "-c", code, str(disk / "photos.t2c")],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    finally:
        _allow(disk, stat.S_IRWXU)
    assert (child.returncode, child.stderr) == (0, "")
    told = child.stdout.splitlines()
    assert len(told) == 6
    for line in told:
        assert "photos.t2c cannot be used" in line
        assert "writes to its files even for searching: give this user write access to the folder" in line


def test_a_released_store_knows_the_indexes_that_others_added(disk: Path) -> None:
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    assert "tags" not in store.spec().indexes
    store.release()
    other = open_store(str(disk), "photos")
    other.add_indexes({"tags": "keyword"})
    other.close()
    assert "tags" in store.spec().indexes
    store.close()


def _allow(folder: Path, mode: int) -> None:
    """Change the permissions of a folder and all below it."""
    folder.chmod(mode)
    for path in folder.rglob("*"):
        path.chmod(mode)
