"""Which inputs the store does not hold as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from t2c_search.decoding.metadata import MEASURED, content_hash
from t2c_search.errors import ImageError
from t2c_search.sources import ImageInput
from t2c_search.sources.addresses import UNKNOWN_SIZE
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Payload

_COMPARED_AT_ONCE = 500  # inputs in one request, whose answer may hold several KB of payload for each


class State(Enum):
    """How an input stands against the store."""

    UNCHANGED = "unchanged"
    DESCRIBED = "described"
    """The pixels are as they were, but captions or fields changed."""
    CHANGED = "changed"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Change:
    """One input, how it stands, and the payload to replace the stored one by, if any.

    Fields that the store has and the input does not speak of are kept: they are among a changed input's fields.
    """

    input: ImageInput
    state: State
    payload: Payload | None = None


def compare(inputs: Iterable[ImageInput], store: VectorStore, pool: Executor) -> Iterator[list[Change]]:
    """Yield a Change for every input, in order, some hundreds at a time.

    A file of the same size and time of change is not opened; one of the same size but another time is hashed, in
    ``pool``. Where the size is not known before reading (``UNKNOWN_SIZE``), the time alone decides.
    """
    remaining = iter(inputs)
    while chunk := list(islice(remaining, _COMPARED_AT_ONCE)):
        points = store.fetch([item.id for item in chunk])
        stored = dict(zip((payload["path"] for payload in points.payloads), points.payloads, strict=True))
        touched = [item for item in chunk if item.path in stored and _is_touched(item, stored[item.path])]
        hashes = dict(zip((item.path for item in touched), pool.map(hash_input, touched), strict=True))
        yield [_compare(item, stored.get(item.path), hashes.get(item.path)) for item in chunk]


def _is_touched(item: ImageInput, stored: Payload) -> bool:
    return bool(_has_size(item, stored) and item.mtime_ns != stored["mtime_ns"])


def _has_size(item: ImageInput, stored: Payload) -> bool:
    return item.size in (UNKNOWN_SIZE, stored.get("bytes"))  # no bytes: only its embedding is known


def hash_input(item: ImageInput) -> str:
    """Return the hash of a file's bytes; empty when it cannot be read."""
    try:
        return content_hash(item.read())
    except ImageError:  # it changed into something unreadable; embedding it will report that
        return ""


def _compare(item: ImageInput, stored: Payload | None, new_hash: str | None) -> Change:
    if stored is None:
        return Change(item, State.NEW)
    described = {name: value for name, value in stored.items() if name not in MEASURED}
    fields = {**described, **item.fields}
    same_content = _has_size(item, stored) and new_hash in (None, stored.get("hash"))
    if not same_content:
        return Change(replace(item, fields=fields), State.CHANGED)
    payload = {**stored, **fields, "mtime_ns": item.mtime_ns}
    state = State.UNCHANGED if fields == described else State.DESCRIBED
    return Change(item, state, payload if payload != stored else None)
