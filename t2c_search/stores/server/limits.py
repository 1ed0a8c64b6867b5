"""What a collection's strict mode allows, read from its configuration."""

from __future__ import annotations

from qdrant_client import models

from t2c_search.errors import StoreLimitError
from t2c_search.stores.conditions import json_paths
from t2c_search.stores.protocol import NO_LIMITS, CollectionSpec, Limits


def limits_of(info: models.CollectionInfo) -> Limits:
    """Return what a server allows with a collection."""
    strict = info.config.strict_mode_config
    if strict is None or not strict.enabled:
        return NO_LIMITS
    rows = [each.max_vectors for each in (strict.multivector_config or {}).values() if each.max_vectors is not None]
    return Limits(
        exact=strict.search_allow_exact is not False,
        indexed_only=strict.unindexed_filtering_retrieve is False,
        answers=strict.max_query_limit,
        conditions=strict.filter_max_conditions,
        condition_size=strict.condition_max_size,
        searches=strict.search_max_batchsize,
        points=strict.upsert_max_batchsize,
        rows=min(rows, default=None),
        indexes=strict.max_payload_index_count,
        hnsw_ef=strict.search_max_hnsw_ef,
        oversampling=strict.search_max_oversampling,
    )


def check_layout(spec: CollectionSpec, limits: Limits, location: str) -> None:
    """Raise StoreLimitError for a collection that a server with these limits would not take."""
    needed = sum(len(json_paths(field)) for field in spec.indexes)
    if limits.indexes is not None and needed > limits.indexes:
        raise StoreLimitError(
            f"{location} allows {limits.indexes} indexed fields in a collection (max_payload_index_count of its strict mode), "
            f"and this one needs {needed}: raise that limit, or give fewer columns a type"
        )
