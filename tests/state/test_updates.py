"""Updates of what a collection keeps, while others update, replace it or are killed inside them: none that returned is lost.

Each step of a run is an update by one handle, or a replacement; what happens inside its function, or its block, is drawn
from a seed. A model, which knows what has returned, says what all handles must read after each step.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from qdrant_client import models

from t2c_search.errors import CollectionReplacedError, StoreError, StoreLockedError
from t2c_search.stores import open_store
from t2c_search.stores.edge.files import write_durably
from t2c_search.stores.edge.vault import FolderVault
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.stores.server.vault import PointVault
from t2c_search.types import CLIP
from tests.stubs.rest import QdrantStub

KEYS = ("failures", "concepts")
STEPS = 25
BUDGET = 4
"""Runs in which a fault must be found."""


class Killed(BaseException):
    """Ends an update where a kill would; nothing after it is done."""


class World:
    """Two handles on one collection, and what it must hold."""

    def __init__(self, handles: list[VectorStore], dice: random.Random) -> None:
        self.handles, self.dice = handles, dice
        self.expected: dict[str, list[int]] = {key: [] for key in KEYS}
        self.replaced = 0
        self.incidents: Counter[str] = Counter()
        self._numbers = iter(range(10**6))

    def step(self) -> None:
        """Update or replace; then see that all handles read what returned, and nothing else."""
        handle, other = self.dice.sample(self.handles, 2)
        if self.dice.random() < 0.8:
            self.update(handle, self.dice.choice(KEYS), self.draw(other))
        else:
            self.replace(handle, self.dice.choice(KEYS), self.draw(other))
        for each in self.handles:
            for key in KEYS:
                assert sorted(entries(each.read_blob(key))) == sorted(self.expected[key])

    def draw(self, other: VectorStore) -> Callable[[], None]:
        """Draw what happens inside a function."""
        kind = self.dice.choice(("nothing", "update", "updates", "replacement", "kill"))
        key = self.dice.choice(KEYS)
        self.incidents[kind] += 1
        match kind:
            case "update":
                return lambda: self.update(other, key, nothing)
            case "replacement":
                return lambda: self.replace(other, key, nothing)
            case "kill":
                return killed
            case "updates":
                return lambda: self.update_all(other)
        return nothing

    def update_all(self, handle: VectorStore) -> None:
        for key in KEYS:
            self.update(handle, key, nothing)

    def update(self, handle: VectorStore, key: str, incident: Callable[[], None]) -> None:
        """Add a number to a blob; while the function runs for the first time, something happens."""
        number, happens = next(self._numbers), [incident]

        def function(content: bytes | None) -> bytes:
            while happens:
                happens.pop()()
            return json.dumps([*entries(content), number]).encode()

        try:
            returned = handle.update_blob(key, function)
        except Killed:
            return
        assert number in entries(returned)
        self.expected[key].append(number)

    def replace(self, handle: VectorStore, key: str, incident: Callable[[], None]) -> None:
        """Replace the collection by one that has a blob of its own, and keeps the others; meanwhile something happens."""
        number, before = next(self._numbers), (list(self.expected[key]), self.replaced)
        pinned = handle.pinned()
        try:
            with handle.replacement(handle.spec()) as new:
                new.write_blob(key, json.dumps([number]).encode())
                incident()
        except (Killed, StoreLockedError):
            return
        except StoreError:
            assert before != (self.expected[key], self.replaced)  # it would have lost one of these
            return
        finally:
            handle.release()  # one handle at a time has the points of an embedded collection open
        self.replaced += 1
        self.expected[key] = [number]
        with pytest.raises(CollectionReplacedError):  # what was meant for the former one does not land in this one
            pinned.update_blob(key, lambda _: b"[-1]")


def entries(content: bytes | None) -> list[int]:
    return json.loads(content) if content else []


def nothing() -> None: ...


def killed() -> None:
    raise Killed


@pytest.fixture(params=["embedded", "memory", "server"])
def handles(request: pytest.FixtureRequest, disk: Path) -> Iterator[Callable[[], list[VectorStore]]]:
    """Makes a new collection, and two handles on it."""
    with QdrantStub() as stub:
        opened: list[VectorStore] = []

        def make() -> list[VectorStore]:
            if request.param == "memory":
                opened.append(open_store(":memory:", "photos"))
                opened[-1].create(CollectionSpec.of({CLIP: 2}, {}))
                return [opened[-1]] * 2
            location, name = (stub.url if request.param == "server" else str(disk)), f"photos-{len(opened)}"
            both = [open_store(location, name) for _ in range(2)]
            both[0].create(CollectionSpec.of({CLIP: 2}, {}))
            both[0].release()
            opened.extend(both)
            return both

        yield make
        for each in opened:
            each.close()


@pytest.mark.parametrize("seed", range(2))
def test_no_update_that_returned_is_lost(handles: Callable[[], list[VectorStore]], seed: int) -> None:
    world = World(handles(), random.Random(seed))
    for _ in range(STEPS):
        world.step()
    assert len(world.incidents) == 5


def blind_swap_of_files(self: FolderVault, former: str | None, header: Header) -> bool:
    write_durably(self.home / "header.json", header.to_json())
    return True


def blind_swap_of_points(self: PointVault, former: str | None, header: Header) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        blind = SimpleNamespace(**{**vars(models), "Filter": lambda must: None})
        patch.setattr("t2c_search.stores.server.vault.models", blind)
        return SWAP_OF_POINTS(self, former, header)


SWAP_OF_POINTS = PointVault.swap


def test_reading_then_writing_is_found_out(
    handles: Callable[[], list[VectorStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderVault, "swap", blind_swap_of_files)
    monkeypatch.setattr(PointVault, "swap", blind_swap_of_points)
    with pytest.raises(AssertionError):
        for seed in range(BUDGET):
            world = World(handles(), random.Random(seed))
            for _ in range(STEPS):
                world.step()


def test_a_process_that_is_killed_inside_its_function_leaves_what_was_there(
    handles: Callable[[], list[VectorStore]], request: pytest.FixtureRequest
) -> None:
    handle, _ = handles()
    if not handle.capabilities.persistent:
        pytest.skip("nobody else can open it")
    handle.update_blob("failures", lambda _: b"[1]")
    child = os.fork()
    if not child:
        store = open_store(handle.location, handle.collection)
        store.update_blob("failures", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert handle.read_blob("failures") == b"[1]"
    assert entries(handle.update_blob("failures", lambda content: json.dumps([*entries(content), 2]).encode())) == [
        1,
        2,
    ]


def test_a_replacements_own_bytes_stand_though_they_are_the_former_ones(
    handles: Callable[[], list[VectorStore]],
) -> None:
    handle, other = handles()
    handle.write_blob("concepts", b"[]")
    with (
        pytest.raises(StoreError, match="its concepts was changed"),
        handle.replacement(handle.spec()) as new,
    ):
        new.write_blob("concepts", b"[]")
        other.write_blob("concepts", b"[1]")  # of the former space: it must not land in the new one
    assert handle.read_blob("concepts") == b"[1]"
