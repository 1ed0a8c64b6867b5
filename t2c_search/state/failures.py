"""The list of images that could not be indexed, kept with the collection until they can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict

from t2c_search.errors import CollectionFormatError
from t2c_search.sources.presence import is_gone
from t2c_search.state.kept import Kept
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Failure


def _dump(failures: Iterable[Failure]) -> bytes:
    return json.dumps([asdict(failure) for failure in failures]).encode()


def _load(content: bytes) -> tuple[Failure, ...]:
    try:
        return tuple(Failure(**entry) for entry in json.loads(content))
    except (ValueError, TypeError) as exc:
        raise CollectionFormatError(f"the collection's list of failed images cannot be read ({exc})") from exc


FAILURES: Kept[tuple[Failure, ...]] = Kept("failures", (), _dump, _load)
"""In order of path, one for each."""


def read_failures(store: VectorStore) -> list[Failure]:
    """Return the images that failed when they were last indexed, in order of path."""
    return list(FAILURES.now(store))


def change_failures(store: VectorStore, *, settled: Set[str], new: Sequence[Failure]) -> None:
    """Take the settled paths off the list and put the new failures on it; what other runs change meanwhile stays."""

    def change(known: tuple[Failure, ...]) -> tuple[Failure, ...]:
        failures = {failure.path: failure for failure in known if failure.path not in settled}
        failures |= {failure.path: failure for failure in new}
        return tuple(failures[path] for path in sorted(failures))

    if settled or new:
        FAILURES.update(store, change)


def forget_gone(store: VectorStore) -> list[Failure]:
    """Drop the failures whose files are gone; return those that are left."""
    known = FAILURES.now(store)
    gone = {failure for failure in known if is_gone(failure.path)}
    if gone:
        known = FAILURES.update(store, lambda failures: tuple(each for each in failures if each not in gone))
    return list(known)
