"""The images that thresholds of regions come from."""

from __future__ import annotations

from t2c_search.attribution.stored import FactorReader
from t2c_search.errors import UsageError
from t2c_search.query.planning.regions import AT_ONCE, Reservoir
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP


def take_reservoir(store: VectorStore, reader: FactorReader | None) -> Reservoir:
    """Read a collection's reservoir. Raises UsageError where it keeps no factors, or no image has any yet."""
    if reader is None:
        raise UsageError(
            f"collection {store.collection!r} keeps nothing of its images' regions, which anywhere(...) asks for: run "
            "t2c index --explainable on the same folders again"
        )
    vectors = tuple(dict.fromkeys((CLIP, *reader.vectors)))
    reservoir = Reservoir.of(reader, store.scan(vectors=vectors, payload=False, batch_size=AT_ONCE))
    if not len(reservoir.rows):
        raise UsageError(
            f"no image of collection {store.collection!r} has its regions yet, which anywhere(...) asks for: run t2c index on "
            "the same folders again"
        )
    return reservoir
