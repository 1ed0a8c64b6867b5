"""A nearly full disk under an embedded collection: always a clear error, never the death of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import qdrant_edge

from t2c_search.decoding.metadata import PAYLOAD_INDEXES
from t2c_search.errors import StoreFullError
from t2c_search.stores import open_store
from t2c_search.stores.edge.disk_space import RESERVE_BYTES
from t2c_search.stores.edge.shard import create_shard, empty_bytes
from t2c_search.stores.protocol import CollectionSpec, FieldType
from t2c_search.testing.points import COUNT, SPEC, make_points
from t2c_search.types import CLIP, NATIVE

FULL = CollectionSpec.of({CLIP: 512}, PAYLOAD_INDEXES)
"""What indexing makes."""
BEGIN = """if True:
    import sys
    from dataclasses import replace
    from t2c_search.errors import StoreFullError
    from t2c_search.stores import open_store
    from t2c_search.testing.points import SPEC
    from test_room import FULL
    store = open_store(sys.argv[1], "photos")
"""


def outcome(folder: Path, *lines: str) -> str:
    """Run lines in another interpreter, where ``store`` is the collection in the folder, and tell how it ended."""
    body = [f"    {line}" for line in ("try:", *(f"    {line}" for line in lines), "except StoreFullError as exc:")]
    code = "\n".join([BEGIN, *body, "        print(exc)", "    else:", "        print('done')"])
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    return child.stdout.strip() if child.returncode == 0 else f"exit code {child.returncode} {child.stderr}"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a memory disk of so many MiB."""

    def mounted(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(tmp_path)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("a small file system cannot be mounted here: there is no mount command")
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.decode().strip()}")
        return tmp_path

    yield mounted
    if tmp_path.is_mount():
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
    return ballast


@pytest.mark.parametrize("size", [66, 72, 80, 90, 100, 104, 120, 160])
def test_a_collection_that_does_not_fit_is_not_made(mount: Callable[[int], Path], size: int) -> None:
    disk = mount(size)
    told = outcome(disk, "store.create(FULL)", "store.count()")
    assert told.startswith(f"the disk of {disk} is full: {size} MiB are free, and 172 MiB are needed. Make room")
    assert list(disk.iterdir()) == []


def test_a_collection_that_fits_is_made_and_opened_again(mount: Callable[[int], Path]) -> None:
    disk = mount(172)
    assert outcome(disk, "store.create(FULL)", "store.close()") == "done"
    assert outcome(disk, "assert store.count() == 0", "store.close()") == "done"


def test_replacements_and_indexes_that_do_not_fit_are_refused(mount: Callable[[int], Path]) -> None:
    disk = mount(110)
    assert outcome(disk, "store.create(replace(FULL, indexes={}))") == "done"
    for lines in (["with store.replacement(FULL):", "    pass"], ["store.add_indexes(FULL.indexes)"]):
        told = outcome(disk, *lines)
        assert told.startswith(f"the disk of {disk} is full: 10"), told
    assert outcome(disk, "assert store.spec().indexes == {}", "assert store.count() == 0") == "done"


def test_a_collection_on_a_full_disk_is_refused_until_there_is_room(mount: Callable[[int], Path]) -> None:
    disk = mount(300)
    assert outcome(disk, "store.create(FULL)", "store.close()") == "done"
    for file in (disk / "photos" / "shard" / "segments").rglob("page_0.dat"):  # holes again, as a copied file has them
        size = file.stat().st_size
        os.truncate(file, 0)
        os.truncate(file, size)
    ballast = fill(disk)
    assert f"the disk of {disk} is full" in outcome(disk, "store.count()")
    ballast.unlink()
    assert outcome(disk, "assert store.count() == 0", "store.close()") == "done"


def test_closing_on_a_full_disk_tells_it_keeps_everything_and_leaves_no_lock(mount: Callable[[int], Path]) -> None:
    disk = mount(300)
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    store.upsert(make_points())
    ballast = fill(disk)
    with pytest.raises(StoreFullError, match="Make room and run the same command again"):
        store.close()
    ballast.unlink()
    again = open_store(str(disk), "photos")
    assert again.count() == COUNT
    again.close()


@pytest.mark.parametrize("quantization", ["none", "int8", "tq4"])
@pytest.mark.parametrize("vectors", [{CLIP: 512}, {CLIP: 512, NATIVE: 2048}])
@pytest.mark.parametrize(
    "indexes", [{}, PAYLOAD_INDEXES, {"a": "integer", "b": "bool", "c": "float", "d": "text", "e": "geo"}]
)
def test_room_asked_for_is_what_an_empty_shard_takes(
    mount: Callable[[int], Path], vectors: dict[str, int], indexes: dict[str, FieldType], quantization: str
) -> None:
    disk = mount(400)
    spec = CollectionSpec.of(vectors, indexes, quantization)
    create_shard(disk / "shard", spec)
    qdrant_edge.EdgeShard.load(str(disk / "shard")).close()
    taken = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
    assert taken <= empty_bytes(spec) <= taken + (3 << 20)
    assert empty_bytes(FULL) + RESERVE_BYTES == 172 << 20
