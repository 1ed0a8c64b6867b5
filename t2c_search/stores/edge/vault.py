"""What an embedded collection keeps beside its points, in files of its folder.

A collection ``NAME`` of the location ``photos.t2c`` is the folder ``photos.t2c/NAME``:

- ``header.json``: the header, replaced as a whole under the lock of the file ``.swap``;
- ``contents/``: the bytes of blobs, a file each, under the ids that the header names;
- ``shard/``: the engine's files; of a collection that took the place of another, ``g-xxxx/shard``;
- ``blobs/``: what makes former versions, which know no header, recognise the collection and refuse it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from t2c_search.errors import StoreError
from t2c_search.stores.blobs import REFUSED_CARD, refusals
from t2c_search.stores.edge.errors import damaged, mapped_errors
from t2c_search.stores.edge.files import read_if_there, sync_folder, write_durably
from t2c_search.stores.header import Content, Header, load_spec
from t2c_search.stores.protocol import CollectionSpec

_HEADER, _CONTENTS, _SWAP = "header.json", "contents", ".swap"
_FORMER, _FORMER_POINTER = "blobs", "current"
_SHARD = "shard"
_PREFIX = "g-"
_ORPHAN_SECONDS = 3600.0  # after which bytes that no header names are a killed writer's


class FolderVault:
    """Header and contents as files of a collection's folder, ``home``; see ``Vault``."""

    lag_seconds = 0.0

    def __init__(self, location: str, collection: str) -> None:
        self.home = Path(location) / collection
        self._location = location
        self._collection = collection

    def load(self) -> Header | None:
        """Return the header; None when there is no such collection, or one of the first layout."""
        with self._mapped_errors():
            content = read_if_there(self.home / _HEADER)
            if content is None and _refuses(_former_blobs(self.home)):
                raise damaged(
                    self._location, self._collection, f"the file {_HEADER}, which says where its points lie, is lost"
                )
        return None if content is None else Header.from_json(content, self._collection)

    def load_with(self, contents: Sequence[Content]) -> tuple[Header | None, dict[str, bytes]]:
        """Read the header, and files."""
        return self.load(), self.get(contents)

    def swap(self, former: str | None, header: Header) -> bool:
        """Replace the header, under a lock of the system's, if it has the version ``former``."""
        with self._mapped_errors():
            if not self.home.is_dir():
                return False
            with FileLock(self.home / _SWAP):
                now = self.load()
                if (None if now is None else now.version) != former:
                    return False
                write_durably(self.home / _HEADER, header.to_json())
        return True

    def put(self, content: Content, content_bytes: bytes) -> None:
        """Write a file."""
        with self._mapped_errors():
            (self.home / _CONTENTS).mkdir(exist_ok=True)
            write_durably(self.home / _CONTENTS / content.id, content_bytes)

    def get(self, contents: Sequence[Content]) -> dict[str, bytes]:
        """Read files."""
        with self._mapped_errors():
            found = {each.id: read_if_there(self.home / _CONTENTS / each.id) for each in contents}
        return {content_id: content for content_id, content in found.items() if content is not None}

    def discard(self, contents: Sequence[Content]) -> None:
        """Remove files."""
        with self._mapped_errors():
            for content in contents:
                (self.home / _CONTENTS / content.id).unlink(missing_ok=True)

    def discard_generations(self, generations: Sequence[str]) -> None:
        """Do nothing: only who has the collection open knows that nobody reads them; see ``remove_others``."""

    @contextmanager
    def creation(self, spec: CollectionSpec) -> Iterator[Path]:
        """Yield where to make the shard of a new collection, aside; at the end of the block all is renamed into place.

        Raises StoreError when something is there already.
        """
        with self._mapped_errors():
            if self.home.exists():
                raise self._taken()
            self.home.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".{self._collection}.", dir=self.home.parent))
            try:
                yield new / _SHARD
                write_durably(new / _HEADER, Header(spec).to_json())
                _refuse(new, refusals(spec))
                self._move_into_place(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            sync_folder(self.home.parent)

    def _move_into_place(self, new: Path) -> None:
        try:
            new.rename(self.home)
        except OSError as exc:
            if self.home.exists():  # somebody made it since we looked
                raise self._taken() from exc
            raise

    def _taken(self) -> StoreError:
        if is_made(self.home):
            return StoreError(
                f"collection {self._collection!r} is in {self._location} already, perhaps made by another process at this "
                "moment; run the same command again to go on with it, or use another name"
            )
        return StoreError(f"{self.home} is there already; use another collection name, or delete it first")

    def shard(self, generation: str) -> Path:
        """Return the folder of the engine's files."""
        return self.home / generation / _SHARD

    def make_aside(self) -> str:
        """Make an empty folder for another generation; return its name."""
        with self._mapped_errors():
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.home)).name

    def remove_generation(self, generation: str) -> None:
        """Remove the points of a generation that nobody reads any more."""
        shutil.rmtree(self.home / generation if generation else self.home / _SHARD, ignore_errors=True)

    def remove_others(self, kept: Collection[str]) -> None:
        """Remove all other generations, and what killed writers left; only for who has the collection open."""
        with self._mapped_errors():
            there = {folder.name for folder in self.home.glob(_PREFIX + "*")}
            if (self.home / _SHARD).exists():
                there.add("")
            for generation in there.difference(kept):
                self.remove_generation(generation)
            header = self.load()
            named = set[str]() if header is None else header.content_ids
            oldest = time.time() - _ORPHAN_SECONDS
            for file in (self.home / _CONTENTS).glob("*"):
                with suppress(FileNotFoundError):  # others write and remove there beside us
                    if file.name not in named and file.stat().st_mtime < oldest:
                        file.unlink()

    def _mapped_errors(self) -> AbstractContextManager[None]:
        return mapped_errors(self._location, self._collection)


def is_former(home: Path) -> bool:
    """Tell whether a collection of the first layout lies there, and not one of this layout that has lost its header."""
    blobs = _former_blobs(home)
    return not (home / _HEADER).exists() and (blobs / "spec").is_file() and not _refuses(blobs)


def former_generation(home: Path) -> str:
    """Return the generation that a collection of the first layout has."""
    return (read_if_there(home / _FORMER_POINTER) or b"").decode(errors="replace")


def upgrade(vault: FolderVault) -> None:
    """Give a collection of the first layout its header; only for who has it open. Killed half way, it is begun anew.

    First its blobs are copied, then the header makes it one of this layout, in one step. Former versions hold the engine's
    lock while they write, and who upgrades has it; before it is let go, ``refuse_former`` keeps them out.
    """
    home, blobs = vault.home, _former_blobs(vault.home)
    spec = load_spec(json.loads((blobs / "spec").read_bytes()))
    entries: dict[str, Content] = {}
    for file in sorted(blobs.glob("[!.]*")):
        if file.name != "spec":
            content = file.read_bytes()
            entries[file.name] = Content.of(content)
            vault.put(entries[file.name], content)
    vault.swap(None, Header(spec, entries, former_generation(home)))


def refuse_former(vault: FolderVault) -> None:
    """Make former versions refuse a collection that was upgraded; only for who has it open."""
    home = vault.home
    pointer, header = home / _FORMER_POINTER, vault.load()
    if header is None or (not pointer.exists() and _refuses(home / _FORMER)):
        return
    _refuse(home, refusals(header.spec))
    pointer.unlink(missing_ok=True)


def is_made(home: Path) -> bool:
    """Tell whether a collection lies there, of whichever layout."""
    return (home / _HEADER).is_file() or (_former_blobs(home) / "spec").is_file()


def _former_blobs(home: Path) -> Path:
    return home / former_generation(home) / _FORMER


def _refuses(blobs: Path) -> bool:
    """Tell whether these blobs are those that former versions are refused by."""
    return read_if_there(blobs / "card") == REFUSED_CARD


def _refuse(folder: Path, contents: Mapping[str, bytes]) -> None:
    (folder / _FORMER).mkdir(exist_ok=True)
    for file in (folder / _FORMER).iterdir():
        file.unlink()
    for key, content in contents.items():
        write_durably(folder / _FORMER / key, content)
    sync_folder(folder)
