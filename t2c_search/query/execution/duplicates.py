"""Groups of images that are the same: to the byte, or so alike that their vectors say so; and which of each to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, NATIVE, FloatArray, Payload, VectorQuery, unit_rows

NEAR = 0.95
"""Cosine from which two images count as one. Of real photographs, no two different ones reached it, under ViT-B/32 (0.925
among 684), MobileNetV2 (0.74 among 240) or a small CLIP model (0.84); copies made larger do with MobileNetV2
(0.97 and more), copies made smaller mostly, and copies at JPEG quality 40 (median 0.90) do not."""
COMPARED_ALL = 200_000
"""Images up to which every pair is compared: 400 MiB of vectors at 512-d. Beyond, each asks the store for its nearest."""
_BLOCK = 2048  # rows: 16 MiB of cosines at a time
_NEAREST = 32  # asked for per image; a larger group is found through its members
_QUERIES = 64
_PENDING = 2_000_000  # pairs held before they are reduced to what connects their groups

_Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One image of a group. ``keep`` tells the best; the others are ``same_bytes``, or near, as the image kept in ``of``.

    ``cosine`` is with that image. An image that is near others of the group, but not any that is kept, is kept as well.
    """

    id: str
    path: str
    width: int
    height: int
    bytes: int
    keep: bool
    of: str
    cosine: float
    same_bytes: bool


Group = tuple[Duplicate, ...]


class Duplicates(list[Group]):
    """Groups of images of the same bytes or of a cosine of at least ``near``, largest first."""

    def __init__(self, near: float, groups: Iterable[Group]) -> None:
        super().__init__(groups)
        self.near = near

    def to_json(self) -> dict[str, Any]:
        """Return them in plain values, as ``t2c duplicates --json`` prints them after the collection's name."""
        return {
            "near": self.near,
            "groups": [[asdict(duplicate) for duplicate in group] for group in self],
            "images": sum(map(len, self)),
            "to_drop": sum(not duplicate.keep for group in self for duplicate in group),
        }


def find_duplicates(store: VectorStore, near: float = NEAR) -> Duplicates:
    """Return the groups of images of the same bytes or of a cosine of at least ``near``, largest first.

    Vectors are the backbone's own where the collection keeps them, else those in CLIP space. Within a group, images stand
    from best to worst: most pixels, then most bytes, then the path that comes first. Of every image to drop, one of at
    least that cosine is kept. Above ``COMPARED_ALL`` images pairs are those that the store's index finds in CLIP space.
    """
    vector = NATIVE if NATIVE in store.spec().vectors else CLIP
    exhaustive = store.count() <= COMPARED_ALL
    if not exhaustive:
        vector = CLIP  # the one that has an index
    ids, hashes, rows = _read(store, vector, with_rows=exhaustive)
    row_of = {point_id: row for row, point_id in enumerate(ids)}
    near_pairs = _compare_all(rows, near) if exhaustive else _ask_nearest(store, row_of, near)
    labels = _connect(len(ids), (pairs for source in (_same(hashes), near_pairs) for pairs in source))
    groups = [_judge(store, [ids[row] for row in members], vector, near) for members in _members(labels)]
    several = [group for group in groups if len(group) > 1]  # of others all but one were deleted meanwhile
    return Duplicates(near, sorted(several, key=lambda group: (-len(group), group[0].path)))


def _read(store: VectorStore, vector: str, *, with_rows: bool) -> tuple[list[str], list[str], FloatArray]:
    """Return ids, content hashes and, if asked, unit rows (n, d) of all images."""
    ids: list[str] = []
    hashes: list[str] = []
    vectors = (vector,) if with_rows else ()
    batches = [np.empty((0, store.spec().dims[vector]), np.float32)]
    for points in store.scan(vectors=vectors, payload=("hash",)):
        if with_rows:
            batches.append(unit_rows(points.vectors[vector]))
        ids += points.ids
        hashes += [payload.get("hash", point_id) for point_id, payload in zip(points.ids, points.payloads, strict=True)]
    return ids, hashes, np.concatenate(batches)


def _same(hashes: Sequence[str]) -> Iterator[_Pairs]:
    """Yield (n, 2) rows of equal hashes, each with the first of its kind."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(content, row), row) for row, content in enumerate(hashes)]
    yield np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _compare_all(rows: FloatArray, near: float) -> Iterator[_Pairs]:
    """Yield (n, 2) rows whose cosine is at least ``near``, from blocks of the upper triangle."""
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            found = np.argwhere(rows[top : top + _BLOCK] @ rows[left : left + _BLOCK].T >= near)
            pairs = found + np.array([top, left])
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def _ask_nearest(store: VectorStore, row_of: dict[str, int], near: float) -> Iterator[_Pairs]:
    """Yield (n, 2) rows of near images as the store's index finds them."""
    for points in store.scan(vectors=(CLIP,), payload=False):
        waiting = iter(zip(points.ids, points.vectors[CLIP], strict=True))
        while batch := list(islice(waiting, _QUERIES)):
            answers = store.search(
                [VectorQuery(row, _NEAREST, min_score=near, hnsw_ef=4 * _NEAREST) for _, row in batch]
            )
            yield np.array(
                [
                    (row_of[point_id], row_of[other])
                    for (point_id, _), answer in zip(batch, answers, strict=True)
                    for other, score in zip(answer.ids, answer.scores, strict=True)
                    if score >= near and other != point_id and {point_id, other} <= row_of.keys()
                ],
                np.int64,
            ).reshape(-1, 2)


def _connect(count: int, pairs: Iterable[_Pairs]) -> npt.NDArray[np.int32]:
    """Label the connected components of ``count`` nodes (count,), holding ``_PENDING`` pairs at most and a batch."""
    labels = np.arange(count, dtype=np.int32)
    pending: list[_Pairs] = []
    for batch in pairs:
        pending.append(batch)
        if sum(map(len, pending)) > _PENDING:
            labels, pending = _merge(labels, pending), []
    return _merge(labels, pending)


def _merge(labels: npt.NDArray[np.int32], pairs: list[_Pairs]) -> npt.NDArray[np.int32]:
    """Join the components that the pairs connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return labels
    joined = labels[np.concatenate(pairs)]
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(len(labels), len(labels)))
    _, component = connected_components(graph, directed=False)
    merged: npt.NDArray[np.int32] = component[labels]
    return merged


def _members(labels: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each label that several share."""
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(rows) > 1:
            yield rows


def _judge(store: VectorStore, ids: list[str], vector: str, near: float) -> Group:
    """Order a group from best to worst, and keep of it what nothing better that is kept stands for."""
    points = store.fetch(ids, vectors=(vector,))
    best_first = sorted(range(len(points)), key=lambda at: _quality(points.payloads[at]))
    rows = unit_rows(points.vectors[vector])
    kept: list[int] = []
    group: list[Duplicate] = []
    for at in best_first:
        cosines = rows[kept] @ rows[at]
        same = [points.payloads[at].get("hash", at) == points.payloads[other].get("hash") for other in kept]
        nearest = int(np.argmax(cosines + 2 * np.array(same))) if kept else -1
        if nearest >= 0 and (same[nearest] or cosines[nearest] >= near):
            of = points.payloads[kept[nearest]]
            group.append(_duplicate(points.ids[at], points.payloads[at], of, float(cosines[nearest])))
        else:
            kept.append(at)
            group.append(_duplicate(points.ids[at], points.payloads[at], None, 1.0))
    return tuple(group)


def _quality(payload: Payload) -> tuple[int, int, str]:
    return -payload.get("width", 0) * payload.get("height", 0), -payload.get("bytes", 0), payload.get("path", "")


def _duplicate(point_id: str, payload: Payload, of: Payload | None, cosine: float) -> Duplicate:
    path = payload.get("path", "")
    return Duplicate(
        id=point_id,
        path=path,
        width=payload.get("width", 0),
        height=payload.get("height", 0),
        bytes=payload.get("bytes", 0),
        keep=of is None,
        of=path if of is None else of.get("path", ""),
        cosine=round(cosine, 4),
        same_bytes=of is not None and payload.get("hash") == of.get("hash"),
    )
