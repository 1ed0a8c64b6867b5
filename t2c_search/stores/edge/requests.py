"""Searches in the words of the embedded engine."""

from __future__ import annotations

import numpy as np
import qdrant_edge as edge

from t2c_search.filters import Filter, PointIds
from t2c_search.stores.columns import OVERSAMPLING, score_threshold
from t2c_search.stores.conditions import Dialect, engine_filter
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import VectorQuery

# the engine's MatchValue takes Python's True for the integer 1, which no boolean equals; numpy's is a boolean to it
_DIALECT = Dialect(edge, edge.RangeFloat, edge.RangeDateTime, np.bool_, lambda ids: edge.HasIdCondition(set(ids)))


def edge_filter(where: Filter | PointIds | None, spec: CollectionSpec) -> edge.Filter | None:
    """Return the engine's filter, or None for all points."""
    found: edge.Filter | None = engine_filter(where, _DIALECT, spec.indexes)
    return found


def edge_request(query: VectorQuery, spec: CollectionSpec) -> edge.QueryRequest:
    """Return the engine's request for a search."""
    return edge.QueryRequest(
        limit=query.limit,
        offset=query.offset,
        query=edge.Query.Nearest(query.vector.tolist(), using=query.using),
        prefetches=_prefetches(query, spec),
        with_vector=list(query.with_vectors),
        with_payload=query.with_payload,
        filter=edge_filter(query.where, spec),
        score_threshold=score_threshold(query),
        params=_params(query, spec),
    )


def _prefetches(query: VectorQuery, spec: CollectionSpec) -> list[edge.Prefetch] | None:
    if (among := query.among) is None:
        return None
    stage = edge.Prefetch(
        limit=among.limit,
        query=edge.Query.Nearest(among.vector.tolist(), using=among.using),
        prefetches=_prefetches(among, spec),
        params=_params(among, spec),
        filter=edge_filter(among.where, spec),
        score_threshold=score_threshold(among),
    )
    return [stage]


def _params(query: VectorQuery, spec: CollectionSpec) -> edge.SearchParams:
    return edge.SearchParams(exact=query.exact, hnsw_ef=query.hnsw_ef, quantization=_quantization(query, spec))


def _quantization(query: VectorQuery, spec: CollectionSpec) -> edge.QuantizationSearchParams | None:
    if spec.quantization == "none":
        return None
    return edge.QuantizationSearchParams(ignore=query.exact, rescore=True, oversampling=OVERSAMPLING)
