"""What points, queries and new vectors must be, whatever the engine: engines differ in what they let through."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.stores.columns import lacking_rows
from t2c_search.stores.protocol import CollectionSpec, VectorSpec, VectorType
from t2c_search.types import FloatArray, Points, VectorQuery

_VECTOR_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MOST_OF_A_BYTE = 255
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_added(name: str, vector: VectorSpec, spec: CollectionSpec) -> bool:
    """Tell whether a vector is there already. Raises UsageError when another one has its name, or no vector could have it."""
    if not _VECTOR_NAME.fullmatch(name):
        raise UsageError(f"vector name {name!r} cannot be used; expected a-z, digits and -")
    there = spec.vectors.get(name)
    if there is not None and replace(there, added=vector.added) != vector:
        raise UsageError(f"the collection has another vector {name!r}: {there}, not {vector}; use another name")
    return there is not None


def with_vector(spec: CollectionSpec, *, name: str, vector: VectorSpec) -> CollectionSpec:
    """Return the specification with a vector added, unless another process has added it meanwhile."""
    if check_added(name, vector, spec):
        return spec
    return replace(spec, vectors={**spec.vectors, name: replace(vector, added=True)})


def check_points(points: Points, spec: CollectionSpec) -> None:
    """Raise UsageError unless every point has a UUID, a payload and finite vectors of the collection's names and sizes.

    Vectors that were added to the collection may be left out, of all points or of some. Engines
    would store NaN, which then sorts anywhere.
    """
    if len(points.payloads) != len(points):
        raise UsageError(f"{len(points)} points came with {len(points.payloads)} payloads; give one each")
    came = {*points.vectors, *points.multivectors}
    if not {name for name, vector in spec.vectors.items() if not vector.added} <= came:
        raise UsageError(f"points came with the vectors {sorted(came)}; the collection has {sorted(spec.vectors)}")
    check_vectors(points, spec)


def check_vectors(points: Points, spec: CollectionSpec) -> None:
    """Raise UsageError unless every point has a UUID, and all vectors that came are finite, and the collection's."""
    wrong = next((point_id for point_id in points.ids if not _UUID.fullmatch(point_id)), None)
    if wrong is not None:
        raise UsageError(f"point id {wrong!r} is not a UUID in lower case, such as str(uuid.uuid5(...)) gives")
    came = {*points.vectors, *points.multivectors}
    if not came <= set(spec.vectors):
        raise UsageError(f"points came with the vectors {sorted(came)}; the collection has {sorted(spec.vectors)}")
    for name, rows in points.vectors.items():
        vector = spec.vectors[name]
        if vector.multi or rows.shape != (len(points), vector.dim):
            expected = "several rows a point, as a multivector" if vector.multi else f"{(len(points), vector.dim)}"
            raise UsageError(f"vector {name!r} came as {rows.shape}; expected {expected}")
        _check_numbers(name, rows[~lacking_rows(rows)] if vector.added else rows, vector.dtype)
    for name, each in points.multivectors.items():
        vector = spec.vectors[name]
        if not vector.multi or len(each) != len(points) or any(rows.shape[1:] != (vector.dim,) for rows in each):
            expected = f"{len(points)} arrays of (k, {vector.dim})" if vector.multi else "one row a point"
            raise UsageError(f"vector {name!r} came as {[rows.shape for rows in each[:3]]}...; expected {expected}")
        if not vector.added and not all(len(rows) for rows in each):
            raise UsageError(f"vector {name!r} has no rows for some points; all points of the collection have it")
        for rows in each:
            _check_numbers(name, rows, vector.dtype)


def _check_numbers(name: str, rows: FloatArray, dtype: VectorType) -> None:
    if dtype == "uint8":
        if not ((rows >= 0) & (rows <= _MOST_OF_A_BYTE) & (rows == np.floor(rows))).all():
            raise UsageError(f"vector {name!r} holds bytes: its values are whole numbers from 0 to {_MOST_OF_A_BYTE}")
        return
    largest = float(np.finfo(dtype).max)
    if not (np.abs(rows) <= largest).all():  # NaN is not either
        raise UsageError(
            f"vector {name!r} has values that are not finite, or above {largest:.3g}; the model that made it has "
            "overflowed" + (", or is one to keep without --quantization" if dtype == "float16" else "")
        )


def check_query(query: VectorQuery, spec: CollectionSpec) -> None:
    """Raise UsageError unless the query's vectors are the collection's and its limit is at least 1."""
    unknown = {query.using, *query.with_vectors} - set(spec.vectors)
    if unknown:
        raise UsageError(f"the collection has no vector {sorted(unknown)[0]!r}; it has {sorted(spec.vectors)}")
    vector, shape = spec.vectors[query.using], query.vector.shape
    if shape[-1:] != (vector.dim,) or len(shape) != 1 + vector.multi or not query.vector.size:
        expected = f"(k, {vector.dim})" if vector.multi else f"{(vector.dim,)}"
        raise UsageError(f"the query is {shape}; vector {query.using!r} takes {expected}")
    if query.limit < 1:
        raise UsageError(f"limit {query.limit} finds nothing; give 1 or more")
    if query.among is not None:
        check_query(query.among, spec)
