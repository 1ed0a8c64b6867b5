"""Damage to an embedded collection, file by file: a sentence that says what is lost and what to do, or the same answer."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from t2c_search.collection.managing import count_images, delete_collection
from t2c_search.errors import CollectionDamagedError, CollectionNotFoundError
from t2c_search.filters import Equals, Exists, Filter, Range, TextMatch
from t2c_search.state.card import CARD, CollectionCard
from t2c_search.stores import build_index, open_store, rename
from t2c_search.stores.edge import opening
from t2c_search.stores.edge.errors import mapped_errors
from t2c_search.stores.edge.seal import Seal
from t2c_search.stores.edge.shard import load_shard
from t2c_search.stores.header import Content, Header
from t2c_search.testing.points import COUNT, SPEC, make_id, make_points, unit
from t2c_search.types import EncoderRef, Fingerprint, VectorQuery

_MEMORY_DISK = Path("/dev/shm")  # the engine syncs at every step: a real disk makes these tests many times slower
DELETED = (3, 7)
LEFT = COUNT - len(DELETED)
MODEL = EncoderRef("a model", SPEC.dims["clip"], Fingerprint("weights", "preprocessing"))
BLOBS = {
    "card": CARD.dump(CollectionCard(made_by="a test", clip=MODEL, backbone=MODEL)),
    "concepts": b"some concepts",
    "statistics": bytes(range(256)),
}
CONTENTS = ("chunk_", "matrix.dat", "quantized.data", "payload_storage/page_")  # vectors and payloads have no checksum

Undo = Callable[[], object]
Damage = Callable[[Path, random.Random], Undo]


@pytest.fixture
def disk() -> Iterator[Path]:
    """An empty folder, on a memory disk where there is one."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def make(disk: Path) -> Path:
    """Make a collection of points and blobs, and close it; return its folder."""
    store = open_store(str(disk), "photos")
    store.create(SPEC)
    store.upsert(make_points())
    store.delete([make_id(number) for number in DELETED])
    for key, content in BLOBS.items():
        store.write_blob(key, content)
    store.close()
    return disk / "photos"


KILLED = """if True:
    import os, sys
    from t2c_search.stores import open_store
    from t2c_search.testing.points import make_id, make_points
    store = open_store(sys.argv[1], "photos")
    store.delete([make_id(3)])
    store.upsert(make_points())
    store.flush()
    store.delete([make_id(3), make_id(7)])
    print(store.count())
    os._exit(9)
"""


def kill_while_open(disk: Path) -> None:
    """Change the collection in a process that ends without closing it."""
    path = os.pathsep.join(sys.path)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(disk)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (child.returncode, child.stdout) == (9, f"{LEFT}\n"), child.stderr


def ask(disk: Path) -> Any:
    """Return all that the collection answers: ids, payloads, scores, counts and blobs."""
    store = open_store(str(disk), "photos")
    conditions: list[Filter] = [
        Exists(field="camera"),
        Equals(field="camera", value="A7"),
        Range(field="width", gt=102),
        Equals(field="flash", value=True),
        Range(field="aperture", lt=3.0),
        TextMatch(field="caption", text="dog"),
    ]
    try:
        listed = list(store.scan(vectors=("native",)))
        found = store.search([VectorQuery(unit(1, -1), COUNT, exact=exact) for exact in (True, False)])
        return (
            store.count(),
            [(batch.ids, batch.payloads, batch.vectors["native"].tolist()) for batch in listed],
            [sorted(zip(each.ids, each.scores.round(5).tolist(), strict=True)) for each in found],
            [store.count(where) for where in conditions],
            [store.facet(field) for field in ("camera", "width", "flash")],
            store.read_blobs(list(BLOBS))[1],
        )
    finally:
        store.close()


def files_of(home: Path) -> list[str]:
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


def lose(file: Path, _: random.Random) -> Undo:
    aside = file.rename(next(folder for folder in file.parents if folder.name == "photos").with_name(".aside"))
    return lambda: aside.replace(file)


def cut(file: Path, _: random.Random) -> Undo:
    size = file.stat().st_size
    tail = file.read_bytes()[size // 2 :]
    os.truncate(file, size // 2)

    def undo() -> None:
        if any(tail):
            with file.open("ab") as content:
                content.write(tail)
        os.truncate(file, size)

    return undo


def cut_short(file: Path, _: random.Random) -> Undo:
    """Leave a page: what is mapped behind it is a bus error."""
    os.truncate(file, min(4096, file.stat().st_size))
    return lambda: None


def flip(file: Path, rng: random.Random) -> Undo:
    size = file.stat().st_size
    if not size or any(part in file.as_posix() for part in CONTENTS):
        return lambda: None
    at, bit = rng.randrange(size), 1 << rng.randrange(8)

    def invert() -> None:
        with file.open("r+b") as content:
            content.seek(at)
            byte = content.read(1)[0]
            content.seek(at)
            content.write(bytes([byte ^ bit]))

    invert()
    return invert


def told(error: CollectionDamagedError) -> str:
    """Check that an error says what to do, and return it."""
    assert "from a backup; without one, delete" in str(error)
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("built", [False, True], ids=["as written", "with an index"])
def test_each_file_of_a_closed_collection_is_missed_and_each_flip_seen(disk: Path, built: bool) -> None:
    home, rng = make(disk), random.Random(0)
    if built:
        build_index(str(disk), "photos")
    answer, names, errors = ask(disk), files_of(home), dict[str, set[str]]()
    assert answer[0] == LEFT
    for name in names:
        for damage in (lose, cut, flip):
            undo = damage(home / name, rng)
            try:
                assert ask(disk) == answer, (name, damage)
                if not (home / name).exists():  # else it was written anew
                    undo()
            except CollectionDamagedError as error:
                errors.setdefault(name, set()).add(told(error))
                undo()
    harmless = {".holder", ".open", ".swap", ".turn", "blobs/card", "blobs/spec", "seal.json"}
    assert set(names) - set(errors) <= harmless
    assert all(len(each) > 1 for each in errors.values()), "what happened is told"
    ids = next(each for name, each in errors.items() if "id_tracker" in name)
    assert any("which holds which images there are, is lost" in each for each in ids)
    assert ask(disk) == answer


@pytest.mark.parametrize("damage", [lose, cut, cut_short])
@pytest.mark.parametrize(
    "name",
    [
        "edge_config.json",
        "segments/*/segment.json",
        "segments/*/version.info",
        "segments/*/mutable_id_tracker.mappings",
        "segments/*/mutable_id_tracker.versions",
        "segments/*/vector_storage-clip/vectors/status.dat",
        "segments/*/vector_storage-clip/vectors/chunk_0.mmap",
        "segments/*/vector_storage-native/deleted/status.dat",
        "segments/*/payload_storage/tracker.dat",
        "segments/*/payload_storage/page_0.dat",
    ],
)
def test_files_of_a_collection_that_was_not_closed_are_tried_in_a_child(
    disk: Path, damage: Damage, name: str, copied: Path
) -> None:
    shutil.copytree(copied, disk, dirs_exist_ok=True)
    (file,) = (disk / "photos" / "shard").glob(name)
    damage(file, random.Random(0))
    try:
        assert ask(disk)[0] == LEFT
        assert ask(disk) == ask(copied)
    except CollectionDamagedError as error:
        assert "is damaged: " in told(error)


@pytest.fixture(scope="module")
def copied() -> Iterator[Path]:
    """A store whose last process was killed."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    make(folder)
    kill_while_open(folder)
    yield folder
    shutil.rmtree(folder)


def test_fewer_points_than_there_must_be_after_a_kill_are_told(disk: Path) -> None:
    home = make(disk)
    kill_while_open(disk)
    least = Seal.read(home / "shard")
    assert (least.points, least.files) == (LEFT, None)
    Seal(LEFT + 1).write(home / "shard")
    for _ in range(2):
        with pytest.raises(CollectionDamagedError, match=f"it has {LEFT} images, and there were {LEFT + 1}"):
            ask(disk)


def test_only_a_collection_that_was_not_closed_is_tried_in_a_child(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, try_opening = list[Path](), opening.try_opening

    def noted(shard: Path, *arguments: Any) -> None:
        tried.append(shard)
        try_opening(shard, *arguments)

    monkeypatch.setattr(opening, "try_opening", noted)
    home = make(disk)
    answer = ask(disk)
    assert tried == []
    kill_while_open(disk)
    assert ask(disk) == answer
    assert tried == [home / "shard"]
    rename(str(disk), "photos", "pictures")
    rename(str(disk), "pictures", "photos")
    assert ask(disk) == answer
    assert len(tried) == 1
    (home / "seal.json").unlink()  # as of a collection that a former version made
    assert ask(disk) == answer
    assert len(tried) == 2


def test_a_panic_of_the_engine_is_an_error_of_ours(disk: Path) -> None:
    shard = make(disk) / "shard"
    (status,) = shard.glob("segments/*/vector_storage-clip/vectors/status.dat")
    os.truncate(status, 3)
    with pytest.raises(CollectionDamagedError) as error, mapped_errors(str(disk), "photos"):
        load_shard(shard)
    assert "the engine cannot go on: " in told(error.value)


@pytest.mark.parametrize("name", ["header.json", "shard/edge_config.json", "contents/*"])
def test_a_damaged_collection_can_be_deleted(disk: Path, name: str) -> None:
    home = make(disk)
    for file in home.glob(name):
        file.write_bytes(b"?")
    with pytest.raises(CollectionDamagedError):
        ask(disk)
    assert count_images("photos", str(disk)) is None
    delete_collection("photos", str(disk))
    assert list(disk.iterdir()) == []
    with pytest.raises(CollectionNotFoundError):
        count_images("photos", str(disk))


def test_a_lost_header_loses_no_points(disk: Path) -> None:
    home = make(disk)
    header = (home / "header.json").read_bytes()
    (home / "header.json").unlink()
    with pytest.raises(CollectionDamagedError, match=r"header\.json, which says where its points lie, is lost"):
        ask(disk)
    (home / "header.json").write_bytes(header)
    assert ask(disk)[0] == LEFT


def test_each_flip_in_a_header_is_seen() -> None:
    header = (
        Header(SPEC).with_blob("card", Content.of(b"a card")).replaced("g-1", SPEC, {"aligner": Content.of(b"a map")})
    )
    content = header.to_json()
    assert Header.from_json(content, "photos") == header
    for at in range(len(content)):
        for bit in range(8):
            flipped = bytes([*content[:at], content[at] ^ 1 << bit, *content[at + 1 :]])
            with suppress(CollectionDamagedError):
                assert Header.from_json(flipped, "photos") == header  # as of the last digit of a time


def test_a_seal_stays_true_when_holes_are_filled(disk: Path) -> None:
    home = make(disk)
    for name in files_of(home):
        content = (home / name).read_bytes()
        (home / name).unlink()
        (home / name).write_bytes(content)
    assert ask(disk)[0] == LEFT
