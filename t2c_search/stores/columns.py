"""Points in columns, on their way into and out of an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Protocol

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import FloatArray, Payload, Points, ScoredPoints, VectorQuery

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Record(Protocol):
    """One point as every Qdrant package returns it."""

    @property
    def id(self) -> Any: ...  # noqa: D102
    @property
    def vector(self) -> Any: ...  # noqa: D102
    @property
    def payload(self) -> Payload | None: ...  # noqa: D102


class ScoredRecord(Record, Protocol):
    """One found point as every Qdrant package returns it."""

    @property
    def score(self) -> float: ...  # noqa: D102


REQUEST_BYTES = 4 << 20
"""Size of one upload: a server refuses bodies over 32 MiB, and answers long ones late."""
REQUEST_POINTS = 256
OVERSAMPLING = 2.0
"""Candidates by quantised vectors for each hit by whole ones."""


def check_points(points: Points, spec: CollectionSpec) -> None:
    """Raise UsageError unless every point has a UUID, a payload and finite vectors of the collection's names and sizes.

    Engines differ in what they let through: some store NaN, which then sorts anywhere.
    """
    count, dims = len(points), spec.dims
    wrong = next((point_id for point_id in points.ids if not _UUID.fullmatch(point_id)), None)
    if wrong is not None:
        raise UsageError(f"point id {wrong!r} is not a UUID in lower case, such as str(uuid.uuid5(...)) gives")
    if len(points.payloads) != count:
        raise UsageError(f"{count} points came with {len(points.payloads)} payloads; give one each")
    if set(points.vectors) != set(dims):
        raise UsageError(f"points came with the vectors {sorted(points.vectors)}; the collection has {sorted(dims)}")
    for name, rows in points.vectors.items():
        if rows.shape != (count, dims[name]):
            raise UsageError(f"vector {name!r} came as {rows.shape}; expected {(count, dims[name])}")
        half = spec.vectors[name].dtype == "float16"
        largest = float(np.finfo(np.float16 if half else np.float32).max)
        if not (np.abs(rows) <= largest).all():  # NaN is not either
            raise UsageError(
                f"vector {name!r} has values that are not finite, or above {largest:.3g}; the model that made it has "
                "overflowed" + (", or is one to keep without --quantization" if half else "")
            )


def payload_sizes(ids: Sequence[str], payloads: Sequence[Payload]) -> list[int]:
    """Return each payload's size as JSON, in bytes. Raises UsageError for one that JSON cannot express."""
    sizes = []
    for point_id, payload in zip(ids, payloads, strict=True):
        try:
            sizes.append(len(json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()))
        except (TypeError, ValueError) as exc:  # an object; NaN; a file name that is not Unicode
            raise UsageError(f"the payload of point {point_id} cannot be stored as JSON: {exc}") from exc
    return sizes


def uploads(sizes: Sequence[int]) -> Iterator[slice]:
    """Cut rows of these sizes into slices of at most REQUEST_POINTS and, unless one row is larger, REQUEST_BYTES."""
    start = total = 0
    for row, size in enumerate(sizes):
        if row > start and (total + size > REQUEST_BYTES or row - start == REQUEST_POINTS):
            yield slice(start, row)
            start, total = row, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def check_query(query: VectorQuery, dims: Mapping[str, int]) -> None:
    """Raise UsageError unless the query's vectors are the collection's and its limit is at least 1."""
    unknown = {query.using, *query.with_vectors} - set(dims)
    if unknown:
        raise UsageError(f"the collection has no vector {sorted(unknown)[0]!r}; it has {sorted(dims)}")
    if query.vector.shape != (dims[query.using],):
        raise UsageError(f"the query is {query.vector.shape}; vector {query.using!r} takes {(dims[query.using],)}")
    if query.limit < 1:
        raise UsageError(f"limit {query.limit} finds nothing; give 1 or more")
    if query.among is not None:
        check_query(query.among, dims)


def score_threshold(query: VectorQuery) -> float | None:
    """Return the engine's threshold for ``min_score``: lower by what float32 dot products of unit rows may be off.

    Engines keep scores strictly above their threshold, and sum d products in float32: off by at most d·2⁻²⁴·|q||x|
    to first order (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5).
    """
    if query.min_score is None:
        return None
    rounding = query.vector.size * 2.0**-24 * float(np.linalg.norm(query.vector))
    return float(np.nextafter(np.float32(query.min_score - rounding), np.float32(-np.inf)))


def to_points(records: Sequence[Record], names: Sequence[str], dims: Mapping[str, int]) -> Points:
    """Gather records into columns, with the named vectors as (n, d) float32."""
    return Points([str(record.id) for record in records], _payloads(records), _vectors(records, names, dims))


def to_scored_points(records: Sequence[ScoredRecord], names: Sequence[str], dims: Mapping[str, int]) -> ScoredPoints:
    """Gather found records into columns, with the named vectors as (n, d) float32."""
    scores = np.array([record.score for record in records], np.float32)
    ids = [str(record.id) for record in records]
    return ScoredPoints(ids, _payloads(records), _vectors(records, names, dims), scores)


def _payloads(records: Sequence[Record]) -> list[Payload]:
    return [record.payload or {} for record in records]


def _vectors(records: Sequence[Record], names: Sequence[str], dims: Mapping[str, int]) -> dict[str, FloatArray]:
    arrays = {name: np.empty((len(records), dims[name]), np.float32) for name in names}
    packs = {name: Struct(f"{dims[name]}f") for name in names}  # twice as fast as assigning a list to a row
    for row, record in enumerate(records if names else ()):
        vectors = record.vector  # the embedded engine makes all its lists anew at each access
        for name, array in arrays.items():
            packs[name].pack_into(array.data, row * packs[name].size, *vectors[name])
    return arrays
