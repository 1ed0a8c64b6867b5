"""Writes in the words of the embedded engine."""

from __future__ import annotations

from collections.abc import Iterable

import qdrant_edge as edge

from t2c_search.stores.columns import vectors_by_point
from t2c_search.stores.payloads import Merge
from t2c_search.types import Points


def upsert(shard: edge.EdgeShard, points: Points) -> None:
    """Insert or replace whole points."""
    columns = zip(points.ids, vectors_by_point(points), points.payloads, strict=True)
    batch = [edge.Point(point_id, vectors, payload) for point_id, vectors, payload in columns]
    shard.update(edge.UpdateOperation.upsert_points(batch))


def update_vectors(shard: edge.EdgeShard, points: Points) -> None:
    """Replace vectors of those points that exist, and remove those that the points lack."""
    known = {str(record.id) for record in shard.retrieve(list(points.ids), False, False)}
    vectors = {each: rows for each, rows in zip(points.ids, vectors_by_point(points), strict=True) if each in known}
    if batch := [edge.PointVectors(point_id, rows) for point_id, rows in vectors.items() if rows]:
        shard.update(edge.UpdateOperation.update_vectors(batch))
    for name in (*points.vectors, *points.multivectors):
        lacking: list[edge.PointId] = [point_id for point_id, rows in vectors.items() if name not in rows]
        if lacking:
            shard.update(edge.UpdateOperation.delete_vectors(lacking, [name]))


def merge(shard: edge.EdgeShard, parts: Iterable[Merge]) -> None:
    """Merge fields into the payloads of those points that exist."""
    for point_id, path, fields in parts:
        one = edge.Filter(must=[edge.HasIdCondition({point_id})])  # unlike its id, the point may be gone
        shard.update(edge.UpdateOperation.set_payload_by_filter(one, fields, path))
