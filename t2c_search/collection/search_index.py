"""The approximate search index of a collection: when it is built, and when searches use it."""

from __future__ import annotations

from t2c_search.progress import NoProgress, Progress
from t2c_search.query.execution.recall import measure_recall
from t2c_search.query.planning.calibration import Calibration
from t2c_search.state.recall import RECALL
from t2c_search.state.search_index import SEARCH_INDEX, Built
from t2c_search.state.statistics import STATISTICS
from t2c_search.stores import build_index
from t2c_search.stores.protocol import VectorStore

_SCANNED = 20_000
"""Images up to which every search scans: on the embedded engine that takes 2 ms, and leaves no doubt."""
_REBUILT_AT = 0.01  # of the collection new: what has no graph yet is scanned meanwhile


def is_scanned(images: int) -> bool:
    """Tell whether searches scan a collection of so many images, and so need no index."""
    return images <= _SCANNED


def build_search_index(store: VectorStore, written: int, progress: Progress | None = None) -> None:
    """Build the index where searches use it, once enough points were written since the last time, and measure what it finds.

    What this run has ``written`` is kept with the collection until a build is complete: small steps add up, and a build that
    failed is made up for by the next run, whatever that writes. Raises StoreError.
    """
    images, known = store.count(), SEARCH_INDEX.now(store)
    if written:
        known = SEARCH_INDEX.update(store, lambda built: built.with_written(written))
    new = max(known.written, images - known.images)  # a run that was killed did not tell what it had written
    if is_scanned(images) or new < _REBUILT_AT * images:
        return
    statistics = STATISTICS.now(store)
    if statistics is None or not statistics.count:  # all were deleted meanwhile
        return
    if store.capabilities.persistent and not store.capabilities.concurrent:  # others build theirs by themselves
        shown = progress or NoProgress()
        shown.start(None, "building the search index")
        store.release()  # another process builds it
        build_index(store.location, store.collection, lambda seconds: shown.advance(0))
    if store.limits().exact:  # else nothing tells the truth
        RECALL.write(store, measure_recall(store, Calibration(statistics)))
    SEARCH_INDEX.update(store, lambda built: built.after_build(images, known.written))


def forget_build(store: VectorStore) -> None:
    """Note that the points are all new since a build: those of a replacement are, whatever the former ones had."""
    SEARCH_INDEX.write(store, Built())
