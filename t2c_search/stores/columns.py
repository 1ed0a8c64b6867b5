"""Points in columns, on their way into and out of an engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from t2c_search.errors import UsageError
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import FloatArray, Payload, Points, ScoredPoints, VectorQuery


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


def lacking_rows(rows: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which points have a row of NaN, (n,) bool: they lack the vector."""
    return np.asarray(np.isnan(rows).all(1))


def vectors_by_point(points: Points) -> list[dict[str, Any]]:
    """Return each point's vectors by name, as lists, without those that it lacks; points are as ``check_vectors`` wants."""
    columns: dict[str, list[Any]] = {name: rows.tolist() for name, rows in points.vectors.items()}
    for name, rows in points.vectors.items():
        for row in np.flatnonzero(np.isnan(rows[:, 0])):  # NaN are whole rows
            columns[name][row] = None
    columns |= {name: [rows.tolist() or None for rows in each] for name, each in points.multivectors.items()}
    return [
        {name: column[row] for name, column in columns.items() if column[row] is not None} for row in range(len(points))
    ]


def vector_sizes(points: Points) -> list[int]:
    """Return how many numbers each point's vectors have."""
    single = sum(rows.shape[1] for rows in points.vectors.values())
    return [single + sum(each[row].size for each in points.multivectors.values()) for row in range(len(points))]


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
    start = 0
    while start < len(sizes):
        count = first_upload(sizes[start : start + REQUEST_POINTS], REQUEST_POINTS, REQUEST_BYTES)
        yield slice(start, start + count)
        start += count


def first_upload(sizes: Sequence[int], points: int, size: int) -> int:
    """How many of the first rows, of these sizes, are at most so many and, unless one row is larger, so many bytes."""
    total = 0
    for row, each in enumerate(sizes[:points]):
        total += each
        if row and total > size:
            return row
    return min(len(sizes), points)


def score_threshold(query: VectorQuery) -> float | None:
    """Return the engine's threshold for ``min_score``: lower by what float32 dot products of unit rows may be off.

    Engines keep scores strictly above their threshold, and sum d products in float32: off by at most d·2⁻²⁴·|q||x|
    to first order (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5).
    """
    if query.min_score is None:
        return None
    rounding = query.vector.size * 2.0**-24 * float(np.linalg.norm(query.vector))
    return float(np.nextafter(np.float32(query.min_score - rounding), np.float32(-np.inf)))


def to_points(records: Sequence[Record], names: Sequence[str], spec: CollectionSpec) -> Points:
    """Gather records into columns, with the named vectors as float32."""
    vectors, multivectors = _vectors(records, names, spec)
    ids = [str(record.id) for record in records]
    return Points(ids, _payloads(records), vectors, multivectors=multivectors)


def to_scored_points(records: Sequence[ScoredRecord], names: Sequence[str], spec: CollectionSpec) -> ScoredPoints:
    """Gather found records into columns, with the named vectors as float32."""
    vectors, multivectors = _vectors(records, names, spec)
    scores = np.array([record.score for record in records], np.float32)
    ids = [str(record.id) for record in records]
    return ScoredPoints(ids, _payloads(records), vectors, scores, multivectors=multivectors)


def _payloads(records: Sequence[Record]) -> list[Payload]:
    return [record.payload or {} for record in records]


def _vectors(
    records: Sequence[Record], names: Sequence[str], spec: CollectionSpec
) -> tuple[dict[str, FloatArray], dict[str, list[FloatArray]]]:
    dims = {name: spec.vectors[name].dim for name in names}
    multivectors: dict[str, list[FloatArray]] = {name: [] for name in names if spec.vectors[name].multi}
    arrays = {name: np.empty((len(records), dim), np.float32) for name, dim in dims.items() if name not in multivectors}
    packs = {name: Struct(f"{dims[name]}f") for name in arrays}  # twice as fast as assigning a list to a row
    for row, record in enumerate(records if names else ()):
        vectors = record.vector or {}  # the embedded engine makes all its lists anew at each access
        for name, array in arrays.items():
            if name in vectors:
                packs[name].pack_into(array.data, row * packs[name].size, *vectors[name])
            else:
                array[row] = np.nan
        for name, rows in multivectors.items():
            rows.append(np.array(vectors.get(name, ()), np.float32).reshape(-1, dims[name]))
    return arrays, multivectors
