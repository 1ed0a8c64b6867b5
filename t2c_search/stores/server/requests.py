"""A collection's layout, and searches in it, in the words of qdrant-client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from t2c_search.filters import Filter, PointIds
from t2c_search.stores.columns import OVERSAMPLING, score_threshold
from t2c_search.stores.conditions import Dialect, engine_filter
from t2c_search.stores.protocol import CollectionSpec, FieldType, Limits, Quantization, VectorSpec
from t2c_search.types import CLIP, Payload, VectorQuery

FIELD_TYPES: dict[FieldType, models.PayloadSchemaType] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
    "datetime": models.PayloadSchemaType.DATETIME,
    "text": models.PayloadSchemaType.TEXT,
    "geo": models.PayloadSchemaType.GEO,
}
"""The payload indexes of a server."""
_DIALECT = Dialect(
    models, models.Range, models.DatetimeRange, bool, lambda ids: models.HasIdCondition(has_id=list(ids))
)
_QUANTIZATION: dict[Quantization, models.QuantizationConfig] = {
    "int8": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    ),
    "tq4": models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, always_ram=True)
    ),
}


def vector_params(name: str, vector: VectorSpec, quantization: Quantization) -> models.VectorParams:
    """Return how a server holds one of the collection's vectors: in memory or on disk, whole or quantised."""
    params = models.VectorParams(**_vector_config(vector).model_dump(exclude_none=True))
    if name != CLIP:  # read in passes, seldom searched: on disk, and no graph to build
        params.on_disk, params.hnsw_config = True, models.HnswConfigDiff(m=0)
    elif quantization != "none":
        params.on_disk, params.quantization_config = True, _QUANTIZATION[quantization]
    return params


def added_vector(vector: VectorSpec) -> models.DenseVectorNameConfig:
    """Return how a server is told of a vector that is added to a collection; it decides itself where to hold it."""
    return models.DenseVectorNameConfig(dense=_vector_config(vector))


def _vector_config(vector: VectorSpec) -> models.DenseVectorConfig:
    config = models.DenseVectorConfig(size=vector.dim, distance=models.Distance.DOT)
    if vector.multi:
        config.multivector_config = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    if vector.dtype != "float32":
        config.datatype = models.VectorStorageDatatype(vector.dtype)
    return config


def vector_operations(vectors: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[models.UpdateOperation]:
    """Return what gives points, by id, these vectors, and removes those of the named ones that they lack."""
    given = [models.PointVectors(id=point_id, vector=dict(rows)) for point_id, rows in vectors.items() if rows]
    operations: list[models.UpdateOperation] = []
    if given:
        operations.append(models.UpdateVectorsOperation(update_vectors=models.UpdateVectors(points=given)))
    for name in names:
        if lacking := [point_id for point_id, rows in vectors.items() if name not in rows]:
            removal = models.DeleteVectors(points=lacking, vector=[name])
            operations.append(models.DeleteVectorsOperation(delete_vectors=removal))
    return operations


def merge_operation(point_id: str, path: str | None, fields: Payload) -> models.SetPayloadOperation:
    """Return what merges fields into a point's payload, or into the object at that path of it."""
    one = models.Filter(must=[models.HasIdCondition(has_id=[point_id])])  # unlike its id, the point may be gone
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=fields, filter=one, key=path))


def server_filter(where: Filter | PointIds | None, spec: CollectionSpec) -> models.Filter | None:
    """Return the server's filter, or None for all points."""
    found: models.Filter | None = engine_filter(where, _DIALECT, spec.indexes)
    return found


def server_request(
    query: VectorQuery, spec: CollectionSpec, *, limits: Limits | None, whole: bool
) -> models.QueryRequest:
    """Return the request for a search, of ids and scores alone unless the ``whole`` points are to come with them.

    The in-memory engine (no ``limits``), which has no approximate search, warns of parameters and does not need them.
    """
    return models.QueryRequest(
        query=query.vector.tolist(),
        prefetch=_prefetch(query, spec, limits),
        using=query.using,
        limit=query.limit,
        offset=query.offset,
        filter=server_filter(query.where, spec),
        score_threshold=score_threshold(query),
        params=_params(query, spec, limits),
        with_payload=query.with_payload and whole,
        with_vector=list(query.with_vectors) if whole else False,
    )


def _prefetch(query: VectorQuery, spec: CollectionSpec, limits: Limits | None) -> models.Prefetch | None:
    if (among := query.among) is None:
        return None
    return models.Prefetch(
        query=among.vector.tolist(),
        prefetch=_prefetch(among, spec, limits),
        using=among.using,
        limit=among.limit,
        filter=server_filter(among.where, spec),
        score_threshold=score_threshold(among),
        params=_params(among, spec, limits),
    )


def _params(query: VectorQuery, spec: CollectionSpec, limits: Limits | None) -> models.SearchParams | None:
    if limits is None:
        return None
    hnsw_ef, most = query.hnsw_ef, limits.hnsw_ef
    if hnsw_ef is not None and most is not None:
        hnsw_ef = min(hnsw_ef, most)
    return models.SearchParams(exact=query.exact, hnsw_ef=hnsw_ef, quantization=_quantization(query, spec, limits))


def _quantization(query: VectorQuery, spec: CollectionSpec, limits: Limits) -> models.QuantizationSearchParams | None:
    if spec.quantization == "none":
        return None
    oversampling = min(OVERSAMPLING, limits.oversampling or OVERSAMPLING)
    return models.QuantizationSearchParams(ignore=query.exact, rescore=True, oversampling=oversampling)
