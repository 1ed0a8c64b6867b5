"""The approximate search index of a collection: when it is built, and when searches use it."""

from __future__ import annotations

from t2c_search.indexing.report import NoProgress, Progress
from t2c_search.indexing.statistics_state import load_statistics
from t2c_search.query.calibration import Calibration
from t2c_search.query.recall import measure_recall, write_recall
from t2c_search.stores import build_index
from t2c_search.stores.protocol import VectorStore

_SCANNED = 20_000
"""Images up to which every search scans: on the embedded engine that takes 2 ms, and leaves no doubt."""
_REBUILT_AT = 0.01  # of the collection new: what has no graph yet is scanned meanwhile


def is_scanned(images: int) -> bool:
    """Tell whether searches scan a collection of so many images, and so need no index."""
    return images <= _SCANNED


def build_search_index(store: VectorStore, added: int, progress: Progress | None = None) -> None:
    """Build the index where searches use it, once enough images were added, and measure what it finds."""
    statistics = load_statistics(store)
    if statistics is None or is_scanned(statistics.count) or added < _REBUILT_AT * statistics.count:
        return
    if store.capabilities.persistent and not store.capabilities.concurrent:  # others build theirs by themselves
        shown = progress or NoProgress()
        shown.start(None, "building the search index")
        store.release()  # another process builds it
        build_index(store.location, store.collection, lambda seconds: shown.advance(0))
    write_recall(store, measure_recall(store, Calibration(statistics)))
