"""Building the embedded engine's search index, in a process of its own.

The engine's ``optimize`` holds the interpreter's lock for as long as it runs, minutes on large collections: in the
caller's process it would stop every thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from t2c_search import child
from t2c_search.errors import StoreError
from t2c_search.stores.edge.store import EdgeStore


def build_index(location: str, collection: str, on_progress: Callable[[float], None] | None = None) -> None:
    """Run ``EdgeStore.optimize`` in a child process; see ``t2c_search.stores.build_index``."""
    began = time.monotonic()

    def tell() -> None:
        if on_progress is not None:
            on_progress(time.monotonic() - began)

    try:
        child.call(optimize, location, collection, on_wait=tell)
    except child.NoAnswerError as exc:
        raise StoreError(
            f"building the index of {collection!r} ended with exit code {exc.code} (a negative one is a signal: -9 is most "
            f"often too little memory): {exc}. The collection is whole, and searched without the missing part; try again"
        ) from exc


def optimize(location: str, collection: str) -> None:
    """Build the index in this process."""
    store = EdgeStore(location, collection)
    try:
        store.optimize()
    finally:
        store.close()
