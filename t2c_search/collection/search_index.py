"""The approximate search index of a collection: when it is built, and when searches use it."""

from __future__ import annotations

import json

from t2c_search.progress import NoProgress, Progress
from t2c_search.query.execution.recall import measure_recall
from t2c_search.query.planning.calibration import Calibration
from t2c_search.state.recall import write_recall
from t2c_search.state.statistics import load_statistics
from t2c_search.stores import build_index
from t2c_search.stores.protocol import VectorStore

_SCANNED = 20_000
"""Images up to which every search scans: on the embedded engine that takes 2 ms, and leaves no doubt."""
_REBUILT_AT = 0.01  # of the collection new: what has no graph yet is scanned meanwhile
_BLOB = "search-index"


def is_scanned(images: int) -> bool:
    """Tell whether searches scan a collection of so many images, and so need no index."""
    return images <= _SCANNED


def build_search_index(store: VectorStore, written: int, progress: Progress | None = None) -> None:
    """Build the index where searches use it, once enough points were written since the last time, and measure what it finds.

    What this run has ``written`` is kept with the collection until a build is complete: small steps add up, and a build that
    failed is made up for by the next run, whatever that writes. Raises StoreError.
    """
    images, (built, since) = store.count(), _read(store)
    since += written
    if written:
        _write(store, built, since)
    new = max(since, images - built)  # a run that was killed did not tell what it had written
    if is_scanned(images) or new < _REBUILT_AT * images:
        return
    statistics = load_statistics(store)
    if statistics is None:  # all were deleted meanwhile
        return
    if store.capabilities.persistent and not store.capabilities.concurrent:  # others build theirs by themselves
        shown = progress or NoProgress()
        shown.start(None, "building the search index")
        store.release()  # another process builds it
        build_index(store.location, store.collection, lambda seconds: shown.advance(0))
    write_recall(store, measure_recall(store, Calibration(statistics)))
    _write(store, images, 0)


def forget_build(store: VectorStore) -> None:
    """Note that the points are all new since a build: those of a replacement are, whatever the former ones had."""
    _write(store, 0, 0)


def _read(store: VectorStore) -> tuple[int, int]:
    """Return how many images there were at the last complete build, and how many points were written since."""
    content = store.read_blob(_BLOB)
    if content is None:
        return 0, 0
    kept = json.loads(content)
    return kept["images"], kept["written"]


def _write(store: VectorStore, images: int, written: int) -> None:
    store.write_blob(_BLOB, json.dumps({"images": images, "written": written}).encode())
