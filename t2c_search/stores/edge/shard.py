"""How the embedded engine lays out a collection: its vectors, in memory or on disk, whole or quantised, and its indexes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import qdrant_edge as edge

from t2c_search.stores.conditions import json_paths
from t2c_search.stores.edge.seal import Seal
from t2c_search.stores.protocol import CollectionSpec, FieldType, Quantization, VectorSpec, VectorType
from t2c_search.types import CLIP

# texts lie far from all images, and what they find is scattered: the engine's own 16 and 100 miss a third of it
_GRAPH = edge.HnswIndexConfig(m=32, ef_construct=400, full_scan_threshold=10_000)
_NO_GRAPH = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
_QUANTIZATION: dict[Quantization, edge.ScalarQuantizationConfig | edge.TurboQuantQuantizationConfig] = {
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned),
    "tq4": edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned),
}
_DTYPES: dict[VectorType, edge.VectorStorageDatatype] = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
_FIELD_TYPES: dict[FieldType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "text": edge.PayloadSchemaType.Text,
    "geo": edge.PayloadSchemaType.Geo,
}
_INDEX_BYTES: dict[FieldType, int] = {
    "keyword": 7 << 20,
    "integer": 8 << 20,
    "float": 5 << 20,
    "bool": 4 << 20,
    "datetime": 5 << 20,
    "text": 35 << 20,
    "geo": 7 << 20,
}
"""What an index without any value takes once it was loaded, where files have no holes: the engine makes them large."""
VECTOR_BYTES = 1 << 20
"""What a vector without any point takes in a segment; once more for all the small files together."""


def index_bytes(indexes: Mapping[str, FieldType]) -> int:
    """Return how much room indexes take at most in an empty segment."""
    return sum(_INDEX_BYTES[field_type] * len(json_paths(field)) for field, field_type in indexes.items())


def empty_bytes(spec: CollectionSpec) -> int:
    """Return how much room a shard without any point takes at most."""
    return VECTOR_BYTES * (len(spec.vectors) + 1) + index_bytes(spec.indexes)


def create_shard(folder: Path, spec: CollectionSpec) -> None:
    """Make an empty shard in a folder that is not there yet, and seal it. Raises Exception as the engine does."""
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={name: _vector_params(name, vector, spec.quantization) for name, vector in spec.vectors.items()}
        ),
    )
    add_indexes(shard, spec.indexes)
    shard.flush()
    shard.close()
    Seal.of(folder, 0).write(folder)


def load_shard(folder: Path) -> edge.EdgeShard:
    """Open the shard in a folder. Raises Exception as the engine does."""
    return edge.EdgeShard.load(str(folder))


def count_points(shard: edge.EdgeShard) -> int:
    """Count all points. Raises Exception as the engine does."""
    return shard.count(edge.CountRequest(exact=True, filter=None))


def add_indexes(shard: edge.EdgeShard, indexes: Mapping[str, FieldType]) -> None:
    """Index payload fields; those indexed already stay as they are. Raises Exception as the engine does."""
    for field, field_type in indexes.items():
        for path in json_paths(field):
            shard.update(edge.UpdateOperation.create_field_index(path, _FIELD_TYPES[field_type]))


def add_vector(shard: edge.EdgeShard, name: str, vector: VectorSpec) -> None:
    """Add a named vector; one that is there already stays as it is. Raises Exception as the engine does."""
    shard.update(
        edge.UpdateOperation.create_dense_vector(
            name, vector.dim, edge.Distance.Dot, multivector_config=_multi(vector), datatype=_DTYPES[vector.dtype]
        )
    )


def _multi(vector: VectorSpec) -> edge.MultiVectorConfig | None:
    return edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if vector.multi else None


def _vector_params(name: str, vector: VectorSpec, quantization: Quantization) -> edge.EdgeVectorParams:
    if name != CLIP:  # read in passes, seldom searched: on disk, and no graph to build
        return edge.EdgeVectorParams(
            vector.dim,
            edge.Distance.Dot,
            memory=edge.Memory.Cold,
            hnsw_config=_NO_GRAPH,
            datatype=_DTYPES[vector.dtype],
            multivector_config=_multi(vector),
        )
    if quantization == "none":
        return edge.EdgeVectorParams(vector.dim, edge.Distance.Dot, hnsw_config=_GRAPH)
    return edge.EdgeVectorParams(
        vector.dim,
        edge.Distance.Dot,
        memory=edge.Memory.Cold,
        hnsw_config=_GRAPH,
        quantization_config=_QUANTIZATION[quantization],
    )
