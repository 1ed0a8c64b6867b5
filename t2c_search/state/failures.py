"""The list of images that could not be indexed, kept with the collection until they can be."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set

from t2c_search.sources.presence import is_gone
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Failure

_BLOB = "failures"


def read_failures(store: VectorStore) -> list[Failure]:
    """Return the images that failed when they were last indexed, in order of path."""
    content = store.read_blob(_BLOB)
    return [Failure(**entry) for entry in json.loads(content)] if content else []


def write_failures(store: VectorStore, failures: list[Failure]) -> None:
    """Store the list, replacing the former one."""
    entries = [{"path": failure.path, "reason": failure.reason} for failure in sorted(failures, key=lambda f: f.path)]
    store.write_blob(_BLOB, json.dumps(entries).encode())


def change_failures(store: VectorStore, *, settled: Set[str], new: Sequence[Failure]) -> None:
    """Take the settled paths off the list and put the new failures on it, as another run may have changed it meanwhile."""
    known = read_failures(store)
    failures = {failure.path: failure for failure in known if failure.path not in settled}
    failures |= {failure.path: failure for failure in new}
    changed = sorted(failures.values(), key=lambda failure: failure.path)
    if changed != known:
        write_failures(store, changed)


def forget_gone(store: VectorStore) -> list[Failure]:
    """Drop the failures whose files are gone; return those that are left."""
    failures = read_failures(store)
    left = [failure for failure in failures if not is_gone(failure.path)]
    if left != failures:
        write_failures(store, left)
    return left
