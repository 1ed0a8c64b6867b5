"""Files whose bytes the collection has already: renamed ones and copies take over its vectors, and cost no embedding.

Equal files that are new in the same run are all embedded: to tell them, each file would have to be read once more before
it is, and the first one's vector waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from t2c_search.filters import OneOf
from t2c_search.indexing.changes import hash_input
from t2c_search.indexing.metadata import MEASURED, location_payload
from t2c_search.indexing.places import is_remote
from t2c_search.indexing.removal import is_gone
from t2c_search.indexing.sources import ImageInput
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FloatArray, Payload, Points


@dataclass(frozen=True, slots=True)
class Twin:
    """An input, and the stored point with the same bytes: id, payload and vectors by name, (d,) float32 each.

    ``moved``: the point's own file is gone, so that the input is that file under another name; otherwise it is a copy.
    """

    input: ImageInput
    id: str
    stored: Payload
    vectors: dict[str, FloatArray]
    moved: bool

    @property
    def payload(self) -> Payload:
        """The input's payload: measured fields of the stored one; what people wrote of it moves, but is not copied."""
        kept = {name: value for name, value in self.stored.items() if self.moved or name in MEASURED}
        return {**kept, **location_payload(self.input.path, self.input.mtime_ns), **self.input.fields}


def find_twins(inputs: Sequence[ImageInput], store: VectorStore, pool: Executor) -> list[Twin]:
    """Read and hash the inputs in ``pool``, and return those whose bytes the store holds; each file moves once.

    Images at remote addresses are passed over: those without a twin would be fetched twice.
    """
    near = [item for item in inputs if not is_remote(item.path)]
    hashes = list(pool.map(hash_input, near))
    known = _stored(set(hashes) - {""}, store)
    twins = []
    for item, content_hash in zip(near, hashes, strict=True):
        if same := known.get(content_hash):
            point = next((point for point in same if point.gone), same[0])
            twins.append(Twin(item, point.id, point.stored, point.vectors, point.gone))
            point.gone = False  # its file has been found again
    return twins


def to_points(twins: Sequence[Twin]) -> Points:
    """Return the points to write for these inputs."""
    vectors = {name: np.stack([twin.vectors[name] for twin in twins]) for name in twins[0].vectors}
    return Points([twin.input.id for twin in twins], [twin.payload for twin in twins], vectors)


@dataclass(slots=True)
class _Point:
    id: str
    stored: Payload
    vectors: dict[str, FloatArray]
    gone: bool


def _stored(hashes: Iterable[str], store: VectorStore) -> dict[str, list[_Point]]:
    found: dict[str, list[_Point]] = {}
    if not hashes:
        return found
    where = OneOf(field="hash", values=tuple(sorted(hashes)))
    for points in store.scan(where=where, vectors=tuple(store.spec().vectors)):
        for row, (point_id, payload) in enumerate(zip(points.ids, points.payloads, strict=True)):
            vectors = {name: rows[row] for name, rows in points.vectors.items()}
            point = _Point(point_id, payload, vectors, is_gone(payload["path"]))
            same = found.setdefault(payload["hash"], [])
            if point.gone or not same:  # one of many copies is enough
                same.append(point)
    return found
