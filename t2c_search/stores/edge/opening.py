"""One generation of an embedded collection, opened in this process when it is needed and let go when somebody asks for it.

One process at a time has a collection open: the one that has the lock of the file ``.open``. So that those who wait are not
starved by a process that lets go and comes back, who wants to open first takes the lock of the file ``.turn``, and waits for
the other one while it holds that.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet, finalize

import qdrant_edge as edge
from filelock import BaseFileLock, FileLock, Timeout

from t2c_search.errors import CollectionReplacedError, StoreLockedError
from t2c_search.stores.edge.disk_space import is_short_of_room
from t2c_search.stores.edge.errors import closed, damaged, mapped_errors
from t2c_search.stores.edge.files import read_if_there
from t2c_search.stores.edge.seal import Seal
from t2c_search.stores.edge.shard import count_points, load_shard
from t2c_search.stores.edge.trial import try_opening
from t2c_search.stores.edge.vault import FolderVault, is_former, refuse_former, upgrade
from t2c_search.stores.protocol import Wait

_TURN, _LOCK, _HOLDER = ".turn", ".open", ".holder"
_POLL_SECONDS = 0.01
_TELL_SECONDS = 1.0


class Doorkeeper:
    """Opens the engine's files for one store of this process: when it may, and after how long a wait."""

    def __init__(self, location: str, collection: str, vault: FolderVault, wait: Wait) -> None:
        self.location = location
        self.collection = collection
        self.vault = vault
        self.open_generations: set[str] = set()
        self._wait = wait
        self.is_closed = False
        self._lock = FileLock(vault.home / _LOCK, thread_local=False)
        self._turn = (
            threading.RLock()
        )  # of this process's threads; again, as whatever is collected may let go at any moment
        self._holds = 0

    def open(self, generation: str) -> edge.EdgeShard:
        """Load the points of a generation. Raises StoreLockedError when another process has them for too long.

        Raises CollectionReplacedError when they are the collection's no longer, StoreError for a store that was closed.
        """
        self.check_open()
        deadline, tell = time.monotonic() + self._wait.seconds, self._teller()
        with self.mapped_errors():
            self._hold(deadline, tell)
            try:
                return self._load(generation, deadline, tell)
            except BaseException:
                self.let_go()
                raise

    def open_new(self, generation: str) -> edge.EdgeShard:
        """Load the empty points of a generation that no header names yet; only for who has the current ones open."""
        folder = self.vault.shard(generation)
        with self.mapped_errors():
            Seal(0).write(folder)
            shard = load_shard(folder)
        with self._turn:
            self._holds += 1
        return shard

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from opening the collection for the block. Raises StoreLockedError as ``open`` does."""
        with self.mapped_errors():
            self._hold(time.monotonic() + self._wait.seconds, self._teller())
        try:
            yield
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Note that what was opened is closed; whoever waits may open the collection once all of it is."""
        with self._turn:
            self._holds -= 1
            if not self._holds:
                with suppress(OSError):
                    (self.vault.home / _HOLDER).unlink(missing_ok=True)
                self._lock.release()

    def _hold(self, deadline: float, tell: Callable[[], None]) -> None:
        """Keep others out once more, after a wait for those who are in."""
        with self._turn:
            if not self._holds:
                turn = FileLock(self.vault.home / _TURN)
                self._acquire(turn, deadline, tell)
                try:
                    self._acquire(self._lock, deadline, tell)
                finally:
                    turn.release()
                (self.vault.home / _HOLDER).write_text(str(os.getpid()))
            self._holds += 1

    def _acquire(self, lock: BaseFileLock, deadline: float, tell: Callable[[], None]) -> None:
        while True:
            try:
                lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS)
                return
            except Timeout:
                if time.monotonic() > deadline:
                    raise self._locked() from None
                tell()

    def check_open(self) -> None:
        """Raise StoreError after the store was closed."""
        if self.is_closed:
            raise closed(self.location, self.collection)

    def mapped_errors(self) -> AbstractContextManager[None]:
        """Raise what goes wrong in the block as a kind of StoreError."""
        return mapped_errors(self.location, self.collection)

    def _load(self, generation: str, deadline: float, tell: Callable[[], None]) -> edge.EdgeShard:
        self.check_current(generation)
        folder = self.vault.shard(generation)
        while (
            True
        ):  # a former version, or a process that was tried in and whose starter was killed, has no lock of ours
            try:
                shard = self._load_undamaged(folder)
                break
            except StoreLockedError:
                if time.monotonic() > deadline:
                    raise self._locked() from None
                tell()
                time.sleep(_POLL_SECONDS)
        try:
            if is_former(self.vault.home):
                upgrade(self.vault)
            self.check_current(generation)  # whoever replaced it was killed before removing this
            refuse_former(self.vault)
            self.vault.remove_others({generation, *self.open_generations})
        except BaseException:
            shard.close()
            raise
        return shard

    def _load_undamaged(self, folder: Path) -> edge.EdgeShard:
        """Load a shard, and break its seal. Raises CollectionDamagedError where it is not what it was, or cannot be loaded."""
        seal = Seal.read(folder)
        if damage := seal.damage(folder):
            raise damaged(self.location, self.collection, damage)
        if seal.files is not None:
            Seal(seal.points).write(folder)
        if seal.files is None or is_short_of_room(folder):
            header = self.vault.load()
            vectors = [] if header is None else [name for name, each in header.spec.vectors.items() if not each.added]
            try_opening(folder, self.location, self.collection, vectors)
        with mapped_errors(self.location, self.collection, opening=True):
            shard = load_shard(folder)
            points = count_points(shard)
        if points < seal.points or (seal.files is not None and points > seal.points):
            shard.close()
            there = f"it has {points} images, and there were {seal.points}"
            raise damaged(self.location, self.collection, there)
        return shard

    def check_current(self, generation: str) -> None:
        """Raise CollectionReplacedError unless the points of this generation are the collection's."""
        header = self.vault.load()
        if header is not None and header.generation != generation:
            raise CollectionReplacedError(
                f"collection {self.collection!r} in {self.location} was replaced while it was asked; ask again"
            )

    def _holder(self) -> str:
        """Say which process has the collection open, as far as it told."""
        told = read_if_there(self.vault.home / _HOLDER)
        return f"process {told.decode(errors='replace')}" if told else "another process"

    def _teller(self) -> Callable[[], None]:
        """Return what tells, once and after a second, that this process waits."""
        began, told = time.monotonic(), False

        def tell() -> None:
            nonlocal told
            if not told and self._wait.tell is not None and time.monotonic() > began + _TELL_SECONDS:
                told = True
                self._wait.tell(
                    f"waiting for {self._holder()}, which has collection {self.collection!r} in {self.location} open, for "
                    f"up to {self._wait.seconds:g} s"
                )

        return tell

    def _locked(self) -> StoreLockedError:
        waited = f" (waited {self._wait.seconds:g} s)" if self._wait.seconds else ""
        return StoreLockedError(
            f"collection {self.collection!r} in {self.location} is open in {self._holder()}, or twice in this one{waited}; "
            "wait for it or stop it. For several at once use a Qdrant server: --store http://..."
        )


@dataclass(slots=True)
class _Held:
    """The engine's handle, and what to do with its files when nobody has it any more."""

    keeper: Doorkeeper
    generation: str
    shard: edge.EdgeShard | None = None
    is_replaced: bool = False


class Opening:
    """The points of one generation for all threads of this process; opened by the first use after it was let go."""

    def __init__(self, keeper: Doorkeeper, generation: str, shard: edge.EdgeShard | None = None) -> None:
        self.generation = generation
        self.unflushed = 0
        """Bytes written since the last flush, roughly."""
        self.is_searched = False
        self._held = _Held(keeper, generation, shard)
        self._folder = keeper.vault.shard(generation)
        self._numbers = threading.Lock()  # of points: they are counted and deleted one after the other
        self._changed = threading.Condition()
        self._users = 0
        self._leaving = False
        self._inside = threading.local()  # whose ``depth`` tells how many uses the calling thread is in
        keeper.open_generations.add(generation)
        finalize(self, _let_go, self._held).atexit = False

    @contextmanager
    def using(self) -> Iterator[edge.EdgeShard]:
        """Give the engine's handle for the block; ``release`` waits for its end, and the engine's errors become ours."""
        keeper = self._held.keeper
        with self._changed:
            depth = getattr(self._inside, "depth", 0)
            if not depth:  # who is in already would wait for itself
                self._changed.wait_for(lambda: not self._leaving)
            keeper.check_open()
            if self._held.shard is None:
                self._held.shard = keeper.open(self.generation)
            shard = self._held.shard
            self._users += 1
        self._inside.depth = depth + 1
        try:
            with keeper.mapped_errors():
                yield shard
        finally:
            self._inside.depth = depth
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def flush(self, shard: edge.EdgeShard) -> None:
        """Write the segments to the disk, and note how many points are there from now on, whatever happens."""
        with self._numbers:
            shard.flush()
            self.unflushed = 0
            Seal(count_points(shard)).write(self._folder)

    def delete(self, shard: edge.EdgeShard, ids: list[edge.PointId]) -> None:
        """Remove points, once it is noted that so many less may be there."""
        with self._numbers:
            Seal(max(0, Seal.read(self._folder).points - len(ids))).write(self._folder)
            shard.update(edge.UpdateOperation.delete_points(ids))

    def release(self) -> None:
        """Flush and close, once nobody uses it; the next use opens it again. Raises StoreError, closed all the same."""
        with self._changed:
            self._changed.wait_for(lambda: not self._leaving)
            self._leaving = True
            self._changed.wait_for(lambda: not self._users)
        self.unflushed = 0
        try:
            _close(self._held)
        finally:
            with self._changed:
                self._leaving = False
                self._changed.notify_all()

    def discard(self) -> None:
        """Close without a flush."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users)
            shard, self._held.shard = self._held.shard, None
            if shard is not None:
                shard.close()
                self._held.keeper.let_go()

    def mark_replaced(self) -> None:
        """Let the points be removed when nobody has them any more: others have taken their place."""
        self._held.is_replaced = True


def _close(held: _Held) -> None:
    """Flush, close and seal."""
    shard, held.shard = held.shard, None
    if shard is None:
        return
    with held.keeper.mapped_errors():
        try:
            shard.flush()
            points = count_points(shard)
        except BaseException:  # on a full disk above all: what is not flushed is in the log
            shard.close()
            held.keeper.let_go()
            raise
        _seal(held, shard, points)


def _seal(held: _Held, shard: edge.EdgeShard, points: int) -> None:
    """Close a shard, seal it and let it go."""
    folder = held.keeper.vault.shard(held.generation)
    try:
        shard.close()
        with suppress(OSError):  # a broken seal costs time at the next opening, no more
            Seal.of(folder, points).write(folder)
    finally:
        held.keeper.let_go()


def _let_go(held: _Held) -> None:
    """Close what nobody has any more, and remove it if it was replaced."""
    held.keeper.open_generations.discard(held.generation)
    shard, held.shard = held.shard, None
    if shard is not None and not held.is_replaced:
        _seal(held, shard, count_points(shard))
    elif shard is not None:
        shard.close()
        held.keeper.let_go()
    if held.is_replaced:
        held.keeper.vault.remove_generation(held.generation)


class Openings:
    """What one store and its pinned views have open: the collection's points, and replaced ones that a view still reads."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._lock = threading.Lock()
        self._current: Opening | None = None
        self._all: WeakSet[Opening] = WeakSet()

    def of(self, generation: str) -> Opening:
        """Return the points of a generation. Raises CollectionReplacedError when they are the collection's no longer."""
        with self._lock:
            if self._current is None or self._current.generation != generation:
                self._keeper.check_current(generation)
                self._current = Opening(self._keeper, generation)
                self._all.add(self._current)
            return self._current

    def replace(self, opening: Opening) -> None:
        """Let points take the place of the current ones, which go when nobody reads them any more."""
        with self._lock:
            if self._current is not None:
                self._current.mark_replaced()
            self._current = opening
            self._all.add(opening)

    def release(self) -> None:
        """Let go of everything, until it is used again."""
        for opening in list(self._all):
            opening.release()

    def forget(self) -> None:
        """Close everything for good: the collection is gone."""
        with self._lock:
            for opening in list(self._all):
                opening.discard()
            self._current = None
            self._all.clear()
