"""Vectors and payloads in Qdrant, whichever engine holds them; the only room that knows a Qdrant package.

A location says which engine: a folder is the embedded one, ``http://`` or ``https://`` is a server, and ``:memory:``
is a collection that lives as long as the object that holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from t2c_search.errors import UsageError, brief
from t2c_search.stores.protocol import NO_WAIT, VectorStore, Wait

__all__ = ["MEMORY", "build_index", "list_collections", "open_store", "rename"]

MEMORY = ":memory:"
TIMEOUT_SECONDS = 30.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONGEST_NAME = 255  # bytes of a folder's
_RESERVED_SUFFIX = ".t2c"  # a server's companion collections


def open_store(
    location: str,
    collection: str,
    *,
    api_key: str | None = None,
    timeout: float = TIMEOUT_SECONDS,
    wait: Wait | None = None,
) -> VectorStore:
    """Return the collection at that location, whether it exists yet or not.

    ``api_key`` (a server's; T2C_QDRANT_API_KEY when None) and ``timeout`` (seconds for one request) concern servers;
    ``wait`` says how long to wait for an embedded collection that another process has open (not at all when None).
    Each ``open_store(":memory:", ...)`` is a new empty store, even under the same name.
    Raises UsageError for a location or a name that cannot be used. Nothing is read before the first method call.
    """
    _check_name(collection)
    if location == MEMORY:
        from t2c_search.stores.server.store import open_memory

        return open_memory(collection)
    if _is_server(location):
        from t2c_search.stores.server.store import open_server

        return open_server(location, collection, _api_key(api_key), timeout)
    from t2c_search.stores.edge.store import EdgeStore

    return EdgeStore(location, collection, wait or NO_WAIT)


def list_collections(location: str, *, api_key: str | None = None, timeout: float = TIMEOUT_SECONDS) -> list[str]:
    """List the names of the t2c_search collections at that location, sorted. Raises StoreError as a store does."""
    if location == MEMORY:
        return []
    if _is_server(location):
        from t2c_search.stores.server.store import collection_names as names_on_server

        return names_on_server(location, _api_key(api_key), timeout)
    from t2c_search.stores.edge.store import collection_names

    return collection_names(location)


def rename(location: str, collection: str, name: str) -> bool:
    """Give an embedded collection another name, in one step; return False elsewhere, where it must be copied.

    Raises UsageError for a name that cannot be used, StoreError where it is taken.
    """
    _check_name(name)
    if location == MEMORY or _is_server(location):
        return False
    from t2c_search.stores.edge.store import EdgeStore

    store = EdgeStore(location, collection)
    try:
        store.rename(name)
    finally:
        store.close()
    return True


def build_index(location: str, collection: str, on_progress: Callable[[float], None] | None = None) -> None:
    """Build the approximate index of an embedded collection, which must be closed everywhere; others build their own.

    ``on_progress`` is told the seconds spent so far, about twice a second. Killed half way, the collection is whole
    and searches scan what has no graph yet. Raises StoreLockedError, StoreFullError and other kinds of StoreError.
    """
    if location == MEMORY or _is_server(location):
        return
    from t2c_search.stores.edge import optimize

    optimize.build_index(location, collection, on_progress)


def _check_name(collection: str) -> None:
    if not _NAME.fullmatch(collection) or collection.endswith(_RESERVED_SUFFIX):
        raise UsageError(
            f"collection name {collection!r} cannot be used; expected letters, digits, '.', '_' and '-', at most 100, "
            f"beginning with a letter or digit and not ending in {_RESERVED_SUFFIX}"
        )


def _is_server(location: str) -> bool:
    if location.startswith(("http://", "https://")):
        return True
    if "://" in location or not location or location.startswith(":"):
        raise UsageError(f"store {location!r} cannot be used; expected a folder, http(s)://host:port or {MEMORY}")
    if any(len(os.fsencode(name)) > _LONGEST_NAME for name in location.split("/")):
        raise UsageError(f"store {brief(location)!r} cannot be used: no folder has so long a name")
    return False


def _api_key(given: str | None) -> str | None:
    return given or os.environ.get("T2C_QDRANT_API_KEY") or None
