"""Collections of vectors in memory, of which is known what is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2c_search.concepts.audit.reading import Chosen
from t2c_search.errors import UnknownVectorError
from t2c_search.query.execution.searcher import Known, Searcher
from t2c_search.query.planning.texts import Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP, Points

DIM = 24


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def point_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"image {number}"))


def collection(
    rows: np.ndarray,
    payloads: Sequence[Mapping[str, Any]],
    field: str | None = None,
    texts: Mapping[str, np.ndarray] | None = None,
) -> Chosen:
    """Put rows (n, d) with payloads into a store in memory; ``texts`` are the vectors of the only texts there are."""
    store = open_store(":memory:", f"audit-{uuid.uuid4().hex}")
    store.create(CollectionSpec.of({CLIP: rows.shape[1]}, {}))
    ids = [point_id(number) for number in range(len(rows))]
    told = [{"path": f"{number}.jpg", **payload} for number, payload in enumerate(payloads)]
    store.upsert(Points(ids, told, {CLIP: rows}))
    statistics = VectorStatistics(rows.shape[1])
    statistics.add(ids, rows)

    def embed(asked: Sequence[str]) -> np.ndarray:
        known = texts or {}
        if unknown := [text for text in asked if text not in known]:
            raise UnknownVectorError(f"no vector for {unknown[0]!r}")
        return np.array([known[text] for text in asked], np.float32)

    return Chosen(Searcher(store, Known(statistics), Texts(embed, False), lambda path: rows[0]), None, field)


def clusters(
    rng: np.random.Generator, sizes: Sequence[int], spread: float = 0.6
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit rows around a centre for each size, the number of each row's centre, and the centres."""
    centres = unit(rng.normal(size=(len(sizes), DIM)))
    of = np.repeat(np.arange(len(sizes)), sizes)
    return unit(centres[of] + spread * unit(rng.normal(size=(len(of), DIM)))), of, centres
