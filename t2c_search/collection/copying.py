"""Copy a collection into another store, or under another name: its points bit for bit, and all that is kept beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isclose
from typing import Any

from t2c_search.collection.search_index import build_search_index, forget_build
from t2c_search.errors import CollectionNotFoundError, StoreError, UsageError, redact
from t2c_search.progress import NoProgress, Progress
from t2c_search.state.card import CARD
from t2c_search.state.recall import RECALL
from t2c_search.state.search_index import SEARCH_INDEX
from t2c_search.stores.columns import REQUEST_POINTS
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Points

_ORIGIN = "copied-from"
"""Blob of a copy that names what it was made from: a copy without a card is gone on with from there only."""
_OF_THE_STORE = frozenset({CARD.key, _ORIGIN, SEARCH_INDEX.key, RECALL.key})
"""Blobs that a copy has of its own: its card, written last, and what is known of its own search index."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """A copy: its store and name, its images, and how many of them this run wrote, as others were there already."""

    store: str
    collection: str
    images: int
    written: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as ``t2c copy --json`` prints it."""
        return {**asdict(self), "store": redact(self.store)}


def copy(source: VectorStore, target: VectorStore, progress: Progress | None = None) -> CopyReport:
    """Copy a collection; killed half way, the same call goes on from there, and a finished copy is only compared.

    The copy is no collection before all of it is there. Raises UsageError when the target is there and is something else,
    or is a copy that is not equal any more; StoreError when the source was changed meanwhile.
    """
    started = time.perf_counter()
    header = source.header()
    pinned = source.pinned(header)
    _, blobs = pinned.read_blobs(list(header.blobs))
    if CARD.key not in blobs:
        raise CollectionNotFoundError(f"collection {source.collection!r} in {source.location} was never finished")
    shown = progress or NoProgress()
    if _begin(pinned, target, header):
        written = _fill(pinned, target, shown)
        for key, content in blobs.items():
            if key not in _OF_THE_STORE:
                target.write_blob(key, content)
        forget_build(target)
        target.flush()
        if source.header().version != header.version or target.count() != pinned.count():
            raise StoreError(
                f"collection {source.collection!r} was changed while it was copied; run the same command again to go on"
            )
        target.write_blob(CARD.key, blobs[CARD.key])
    else:
        written = 0
        _compare(pinned, target, blobs, shown)
    build_search_index(target, 0, progress)
    return CopyReport(target.location, target.collection, target.count(), written, time.perf_counter() - started)


def _begin(source: VectorStore, target: VectorStore, header: Header) -> bool:
    """Make the target, or see that it is a copy of this source; tell whether it has to be filled: it has no card yet."""
    origin = json.dumps({"store": redact(source.location), "collection": source.collection}).encode()
    if not target.exists():
        target.create(header.spec)
    own, blobs = target.read_blobs((CARD.key, _ORIGIN))
    if _ORIGIN not in blobs and CARD.key not in blobs and not target.count():  # just made
        target.update_blob(_ORIGIN, lambda there: origin if there is None else there)
        own, blobs = target.read_blobs((CARD.key, _ORIGIN))
    alike = (own.spec.vectors, own.spec.quantization) == (header.spec.vectors, header.spec.quantization)
    if blobs.get(_ORIGIN) != origin or not alike:
        raise _taken(source, target)
    if CARD.key in blobs:
        return False
    target.add_indexes({field: kind for field, kind in header.spec.indexes.items() if field not in own.spec.indexes})
    return True


def _fill(source: VectorStore, target: VectorStore, shown: Progress) -> int:
    """Write the points that the target lacks or has differently, and delete those that the source has not."""
    shown.start(source.count(), "copying")
    written, resumed = 0, target.count() > 0
    for points, differing in _differences(source, target):
        if len(differing):
            target.upsert(differing)
        written += len(differing)
        shown.advance(len(points))
    if resumed:
        for points in target.scan(payload=False):
            known = set(source.fetch(points.ids, payload=False).ids)
            if gone := [point_id for point_id in points.ids if point_id not in known]:
                target.delete(gone)
    return written


def _compare(source: VectorStore, target: VectorStore, blobs: dict[str, bytes], shown: Progress) -> None:
    """Raise UsageError unless a finished copy still equals its source."""
    shown.start(source.count(), "comparing")
    _, own = target.read_blobs(list(blobs))
    equal = source.count() == target.count() and source.spec() == target.spec()
    equal = equal and all(
        own.get(key) == content for key, content in blobs.items() if key not in _OF_THE_STORE - {CARD.key}
    )
    if not equal:
        raise _taken(source, target)
    for points, differing in _differences(source, target):
        if len(differing):
            raise _taken(source, target)
        shown.advance(len(points))


def _differences(source: VectorStore, target: VectorStore) -> Iterator[tuple[Points, Points]]:
    """Yield the source's points, in batches, each with those among them that the target lacks or has differently."""
    names = tuple(source.spec().vectors)
    for points in source.scan(vectors=names, batch_size=REQUEST_POINTS):
        there = target.fetch(points.ids, vectors=names)
        row_of = {point_id: row for row, point_id in enumerate(there.ids)}
        rows = [
            row
            for row, point_id in enumerate(points.ids)
            if point_id not in row_of or not _equal(points, row, there, row_of[point_id])
        ]
        yield points, points.take(rows)


def _equal(points: Points, row: int, others: Points, other: int) -> bool:
    """Compare two points: their payloads, and their vectors' bits."""
    vectors = [(points.vectors[name][row], others.vectors[name][other]) for name in points.vectors]
    vectors += [(points.multivectors[name][row], others.multivectors[name][other]) for name in points.multivectors]
    return _alike(points.payloads[row], others.payloads[other]) and all(a.tobytes() == b.tobytes() for a, b in vectors)


def _alike(one: object, other: object) -> bool:
    """Compare values of payloads; long decimals may have another last bit once the embedded engine has read them back."""
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-15)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other


def _taken(source: VectorStore, target: VectorStore) -> UsageError:
    return UsageError(
        f"collection {target.collection!r} is in {target.location} already, and is not a copy of {source.collection!r} in "
        f"{source.location} as that is now: choose another name, or delete it first: t2c delete {target.collection} "
        f"--store {target.location}"
    )
