"""The collections of a store: which there are, and what is done to one as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from t2c_search import stores
from t2c_search.collection.copying import CopyReport, copy
from t2c_search.collection.nearby import not_found
from t2c_search.errors import CollectionDamagedError, UsageError
from t2c_search.progress import Progress
from t2c_search.settings import Settings, load_settings
from t2c_search.state.card import CARD
from t2c_search.stores.protocol import VectorStore


def list_collections(store: str | None = None) -> list[str]:
    """List the names of a store's collections, sorted; the settings' store when None. Raises StoreError."""
    settings = load_settings()
    location = store or settings.store
    return stores.list_collections(location, api_key=settings.key_for(location))


def count_images(name: str, store: str | None = None) -> int | None:
    """Count a collection's images; None when it is damaged. Raises CollectionNotFoundError."""
    settings = load_settings()
    with _opened(store or settings.store, name, settings) as opened:
        _require(opened)
        try:
            CARD.read(opened)
            return opened.count()
        except CollectionDamagedError:
            return None


def delete_collection(name: str, store: str | None = None) -> None:
    """Delete a collection, damaged or not, with all that it keeps; image files are left alone. Raises CollectionNotFoundError."""
    settings = load_settings()
    with _opened(store or settings.store, name, settings) as opened:
        _require(opened)
        opened.drop()


def rename_collection(name: str, new_name: str, store: str | None = None, *, progress: Progress | None = None) -> None:
    """Give a collection another name: in one step in an embedded store; on a server by a copy, as it cannot rename.

    The copy takes time, and room for the collection once more; killed half way, the former name is whole, and the same
    call goes on. Raises UsageError when something of the new name is there.
    """
    settings = load_settings()
    location = store or settings.store
    with _opened(location, name, settings) as old:
        _require(old)
    if stores.rename(location, name, new_name):
        return
    with _opened(location, name, settings) as old, _opened(location, new_name, settings) as new:
        copy(old, new, progress)
        old.drop()


def copy_collection(
    name: str,
    to_store: str | None = None,
    new_name: str | None = None,
    *,
    store: str | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy a collection to another store, or under another name, or both: vectors bit for bit, and all that it keeps.

    Killed half way, the same call goes on from there. Servers are both asked with the settings' key. Raises UsageError
    when the target is there and is something else, StoreError when the collection was changed meanwhile.
    """
    settings = load_settings()
    location = store or settings.store
    if to_store is None and new_name is None:
        raise UsageError("say where to copy to: another store, another name, or both")
    with (
        _opened(location, name, settings) as source,
        _opened(to_store or location, new_name or name, settings) as target,
    ):
        _require(source)
        return copy(source, target, progress)


def _require(store: VectorStore) -> None:
    """Raise CollectionNotFoundError, which says which collections there are, unless this one is there."""
    if not store.exists():
        raise not_found(store)


@contextmanager
def _opened(location: str, name: str, settings: Settings) -> Iterator[VectorStore]:
    opened = stores.open_store(location, name, api_key=settings.key_for(location))
    try:
        yield opened
    finally:
        opened.close()
