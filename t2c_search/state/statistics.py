"""The collection's statistics as blobs, and how they stay true when a run is killed, or two write at once.

The state blob holds a run's claim, ``dirty`` and a name of its own, from before its first write until its statistics
are stored, and ``clean`` after. Whoever finds a claim there, or finds another count than the store's, counts anew from
the vectors. So does a run that ends and does not find its own claim: another one wrote meanwhile. The last of several
runs therefore always leaves the truth, as it either counts after all of them or was alone since its claim.
"""

from __future__ import annotations

import uuid

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
    return _read(store, clean=_is_clean(store)) or _count(store)


def claim_statistics(store: VectorStore) -> tuple[VectorStatistics | None, bytes]:
    """Declare the stored statistics stale, before the first change of vectors; return them as they are, and the claim.

    They are read after the claim: another run that ends in between would be missed otherwise.
    """
    clean = _is_clean(store)
    claim = mark_dirty(store)
    return _read(store, clean=clean) or _count(store), claim


def mark_dirty(store: VectorStore) -> bytes:
    """Declare the stored statistics stale, and return the claim that says so."""
    claim = _DIRTY + b" " + uuid.uuid4().hex.encode()
    store.write_blob(_STATE, claim)
    return claim


def save_statistics(store: VectorStore, statistics: VectorStatistics, claim: bytes) -> None:
    """Store the statistics and declare them true, after the last change of vectors.

    They are counted anew, under a claim of this moment, as long as another run has written since the claim: that one may
    have ended while we counted, and what we counted would replace its truth.
    """
    store.flush()
    while store.read_blob(_STATE) != claim:
        claim = mark_dirty(store)
        statistics = _count(store) or statistics
    store.write_blob(_STATISTICS, statistics.to_bytes())
    store.write_blob(_STATE, _CLEAN)


def repair_statistics(store: VectorStore) -> None:
    """Make the stored statistics true again where a killed run left them stale."""
    if _read(store, clean=_is_clean(store)) is None and store.count():
        statistics, claim = claim_statistics(store)
        if statistics is not None:
            save_statistics(store, statistics, claim)


def _is_clean(store: VectorStore) -> bool:
    return store.read_blob(_STATE) == _CLEAN


def _read(store: VectorStore, *, clean: bool) -> VectorStatistics | None:
    content = store.read_blob(_STATISTICS) if clean else None
    if content is None:
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
