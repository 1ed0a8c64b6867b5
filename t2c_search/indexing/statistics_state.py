"""The collection's statistics as blobs, and how they stay true when a run is killed.

The state blob says ``dirty`` from before a run's first write until its statistics are stored. Whoever finds it dirty,
or finds another count than the store's (a second writer), counts anew from the vectors.
"""

from __future__ import annotations

from t2c_search.errors import CollectionFormatError
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP

_STATISTICS = "statistics"
_STATE = "statistics-state"
_DIRTY, _CLEAN = b"dirty", b"clean"


def load_statistics(store: VectorStore) -> VectorStatistics | None:
    """Return the statistics of the collection's CLIP vectors, from a scan where the stored ones are stale; writes
    nothing.

    None when the collection never held an image.
    """
    return _read(store) or _count(store)


def mark_dirty(store: VectorStore) -> None:
    """Declare the stored statistics stale; call it before the first change of vectors."""
    store.write_blob(_STATE, _DIRTY)


def save_statistics(store: VectorStore, statistics: VectorStatistics) -> None:
    """Store the statistics and declare them true; call it after the last change of vectors."""
    store.flush()
    store.write_blob(_STATISTICS, statistics.to_bytes())
    store.write_blob(_STATE, _CLEAN)


def repair_statistics(store: VectorStore) -> None:
    """Make the stored statistics true again where a killed run, or two at once, left them stale."""
    if _read(store) is None and (statistics := _count(store)) is not None:
        save_statistics(store, statistics)


def _read(store: VectorStore) -> VectorStatistics | None:
    content = store.read_blob(_STATISTICS)
    if content is None or store.read_blob(_STATE) != _CLEAN:
        return None
    try:
        statistics = VectorStatistics.from_bytes(content)
    except CollectionFormatError:  # damaged: as good as stale
        return None
    return statistics if statistics.count == store.count() else None


def _count(store: VectorStore) -> VectorStatistics | None:
    statistics: VectorStatistics | None = None
    for points in store.scan(vectors=(CLIP,), payload=False):
        vectors = points.vectors[CLIP]
        if statistics is None:
            statistics = VectorStatistics(vectors.shape[1])
        statistics.add(points.ids, vectors)
    return statistics
