"""All images that match: a search of the half-space that encloses them where that is small, a scan of all otherwise.

Either way candidates are verified from their vectors, and come in ascending order of id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import merge
from itertools import groupby
from operator import attrgetter

import numpy as np

from t2c_search.query.fronts import Found, Front, scored
from t2c_search.query.halfspace import enclose_passing
from t2c_search.query.probe import Probe, aim
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points

SEARCH_LIMIT = 20_000
"""Candidates that the searches of a query may hold in memory, 40 MiB at 512-d; scans take over beyond."""
_SEARCH_SHARE = 0.25  # of the collection: a search that returns more is slower than a scan
_GENEROSITY = 2.0  # times the number that the sample suggests
_BATCH = 1000


def matches(store: VectorStore, fronts: Sequence[Front], *, points: int) -> Iterator[Found]:
    """Yield every image that passes a branch, once, in ascending order of id, with its best branch's score.

    Memory is constant, whatever the number of matches; ``points`` is the collection's size.
    """
    streams = [_matches_of(store, front, points, SEARCH_LIMIT // len(fronts)) for front in fronts]
    for _, same in groupby(merge(*streams, key=attrgetter("id")), key=attrgetter("id")):
        yield max(same, key=attrgetter("score"))


def count_by_score(store: VectorStore, fronts: Sequence[Front], *, points: int) -> int | None:
    """Count what passes a single threshold, from the store's scores; None for anything else, or too many.

    Vectors are read only of those so near to the threshold that single precision does not tell.
    """
    front = fronts[0]
    probe = _probe(front, points, SEARCH_LIMIT) if len(fronts) == len(front.branch.gates[1]) == 1 else None
    if probe is None:
        return None
    limit = _limit(probe, points, SEARCH_LIMIT)
    (answer,) = store.search([replace(probe.query(limit, enclosed=True, exact=True), with_vectors=())])
    if len(answer) >= limit:
        return None
    front.rounds, front.candidates = 1, len(answer)
    certain = answer.scores > probe.ceiling
    near = [point for point, above in zip(answer.ids, certain, strict=True) if not above]
    return int(certain.sum()) + len(scored(store.fetch(near, vectors=(CLIP,), payload=False), front))


def _matches_of(store: VectorStore, front: Front, points: int, most: int) -> Iterator[Found]:
    front.rounds += 1
    for batch in _enclosed(store, front, points, most) or _scanned(store, front):
        front.candidates += len(batch)
        yield from scored(batch, front)


def _scanned(store: VectorStore, front: Front) -> Iterator[Points]:
    front.path = "scan"
    vectors = (CLIP,) if front.branch.axes else ()
    return store.scan(where=front.branch.where, vectors=vectors, payload=False, batch_size=_BATCH)


def _enclosed(store: VectorStore, front: Front, points: int, most: int) -> Iterator[Points] | None:
    """Search the half-space that encloses the matches; None when it holds too much of the collection.

    The engine scans its vectors: an approximate index would miss some.
    """
    probe = _probe(front, points, most)
    if probe is None:
        return None
    limit = _limit(probe, points, most)
    (answer,) = store.search([probe.query(limit, enclosed=True, exact=True)])
    if len(answer) >= limit:
        return None
    order = np.argsort(np.array(answer.ids))
    slices = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    return (Points([answer.ids[at] for at in rows], [], {CLIP: answer.vectors[CLIP][rows]}) for rows in slices)


def _probe(front: Front, points: int, most: int) -> Probe | None:
    """Aim at the half-space that encloses the matches; None when it holds too much of the collection."""
    branch = front.branch
    half = enclose_passing(branch.gates, branch.correlation) if branch.axes else None
    if half is None or not half.normal.any():
        return None
    probe = aim(branch, half)
    return probe if probe.share() * points <= min(_SEARCH_SHARE * points, most) else None


def _limit(probe: Probe, points: int, most: int) -> int:
    return min(int(_GENEROSITY * probe.share() * points) + _BATCH, most)
