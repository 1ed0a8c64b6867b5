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

from t2c_search.filters import Filter
from t2c_search.query.execution.fronts import Found, Front, read_all, scored
from t2c_search.query.planning.halfspace import HalfSpace, enclose_passing
from t2c_search.query.planning.probe import Probe, aim
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points, VectorQuery

SEARCH_LIMIT = 20_000
"""Candidates that the searches of a query may hold in memory, 40 MiB at 512-d; scans take over beyond."""
SCORES_LIMIT = 200_000
"""The same where only ids and scores are held, some 200 bytes each."""
_SEARCH_SHARE = 0.25  # of the collection: a search that returns more is slower than a scan
_FEW_SHARE = 0.02  # of the collection: reading the vectors of fewer takes less time than three searches without
_GENEROSITY = 2.0  # times the number that the sample suggests
_BATCH = 1000


def matches(store: VectorStore, fronts: Sequence[Front], *, points: int) -> Iterator[Found]:
    """Yield every image that passes a branch, once, in ascending order of id, with its best branch's score.

    Memory is constant, whatever the number of matches; ``points`` is the collection's size.
    """
    most = SEARCH_LIMIT // max(len(fronts), 1)
    streams: list[Iterator[Found]] = []
    scanned: dict[Filter | None, list[Front]] = {}
    for front in fronts:
        front.rounds += 1
        batches = _enclosed(store, front, points, most)
        if batches is None:
            scanned.setdefault(front.branch.where, []).append(front)
        else:
            streams.append(_matches_of(batches, [front]))
    streams += [_matches_of(_scanned(store, where, same), same) for where, same in scanned.items()]
    for _, same in groupby(merge(*streams, key=attrgetter("id")), key=attrgetter("id")):
        yield max(same, key=attrgetter("score"))


def count_by_score(store: VectorStore, fronts: Sequence[Front], *, points: int) -> int | None:
    """Count what passes the thresholds of a single branch, from the store's scores; None when that cannot be, or is slow.

    Vectors are read only of those so near to a threshold that single precision does not tell.
    """
    if len(fronts) != 1:
        return None
    (front,) = fronts
    limits = store.limits()
    if not limits.exact or limits.answers is not None:  # searches among others have no pages
        return None
    probe = _probe(front, points, SCORES_LIMIT)
    if probe is None:
        return _count_of_the_rest(store, front, points)
    limit = _limit(probe, points, SCORES_LIMIT)
    one = len(front.branch.gates[1]) == 1
    if not one and probe.share() * points < min(_FEW_SHARE * points, SEARCH_LIMIT):
        return None
    told = _told_by_one(store, probe, limit) if one else _told_by_several(store, probe, limit)
    if told is None:
        return None
    certain, near = told
    front.rounds, front.candidates, front.half = 1, certain + len(near), probe.half
    batches = (near[start : start + _BATCH] for start in range(0, len(near), _BATCH))
    verified = (scored(store.fetch(batch, vectors=(CLIP,), payload=False), front) for batch in batches)
    return certain + sum(map(len, verified))


def _count_of_the_rest(store: VectorStore, front: Front, points: int) -> int | None:
    """Count what passes one threshold as all less what fails it, where those are the fewer."""
    branch = front.branch
    rows, values = branch.gates
    if len(values) != 1:
        return None
    literals = tuple(replace(literal, wanted=not literal.wanted) for literal in branch.literals if literal.gates)
    failing = Front(front.number, replace(branch, literals=literals, gates=(-rows, -values)))
    if _probe(failing, points, SCORES_LIMIT) is None:
        return None
    failed = count_by_score(store, [failing], points=points)
    front.rounds, front.candidates, front.half = failing.rounds, failing.candidates, failing.half
    return None if failed is None else store.count(branch.where) - failed


def _told_by_one(store: VectorStore, probe: Probe, limit: int) -> tuple[int, list[str]] | None:
    """How many certainly pass the one threshold, and the ids of those that may; None when ``limit`` is too few."""
    (answer,) = store.search([_scores_only(probe, limit)])
    if len(answer) >= limit:
        return None
    certain = answer.scores > probe.ceiling
    return int(certain.sum()), [point for point, above in zip(answer.ids, certain, strict=True) if not above]


def _told_by_several(store: VectorStore, probe: Probe, limit: int) -> tuple[int, list[str]] | None:
    """The same of several thresholds, each asked among what the one before found in the half-space of them all."""
    branch, enclosing = probe.branch, _scores_only(probe, limit)
    gates = [aim(branch, HalfSpace(row, float(value), -np.inf, 0.0)) for row, value in zip(*branch.gates, strict=True)]
    surely = perhaps = enclosing
    for gate in gates:
        query = VectorQuery(gate.vector, limit, exact=True)
        surely = replace(query, min_score=gate.ceiling + 2 * gate.slack, among=surely)  # stores keep a little below it
        perhaps = replace(query, min_score=gate.floor, among=perhaps)
    beyond = replace(enclosing, offset=limit - 1, limit=1)
    overflow, passing, possible = store.search([beyond, surely, perhaps])
    if len(overflow):
        return None
    return len(passing), list(set(possible.ids) - set(passing.ids))


def _scores_only(probe: Probe, limit: int) -> VectorQuery:
    return replace(probe.query(limit, enclosed=True, exact=True), with_vectors=())


def _matches_of(batches: Iterator[Points], fronts: Sequence[Front]) -> Iterator[Found]:
    """Score each batch by every front; an image that several find comes as often, one after the other."""
    for batch in batches:
        for front in fronts:
            front.candidates += len(batch)
        yield from merge(*(scored(batch, front) for front in fronts), key=attrgetter("id"))


def _scanned(store: VectorStore, where: Filter | None, fronts: Sequence[Front]) -> Iterator[Points]:
    """Read all that match a filter, once for all the branches that have it."""
    for front in fronts:
        front.path = "scan"
    return read_all(store, where, [front.branch for front in fronts])


def _enclosed(store: VectorStore, front: Front, points: int, most: int) -> Iterator[Points] | None:
    """Search the half-space that encloses the matches; None when it holds too much of the collection.

    The engine scans its vectors: an approximate index would miss some.
    """
    probe = _probe(front, points, most)
    if probe is None or not store.limits().exact:
        return None
    limit = _limit(probe, points, most)
    (answer,) = store.search([probe.query(limit, enclosed=True, exact=True)])
    if len(answer) >= limit:
        return None
    front.half = probe.half
    order = np.argsort(np.array(answer.ids))
    slices = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    return (Points([answer.ids[at] for at in rows], [], {CLIP: answer.vectors[CLIP][rows]}) for rows in slices)


def _probe(front: Front, points: int, most: int) -> Probe | None:
    """Aim at the half-space that encloses the matches; None when it holds too much of the collection, or there is none."""
    branch = front.branch
    bounded = branch.axes and branch.factors is None
    half = enclose_passing(branch.gates, branch.correlation) if bounded else None
    if half is None or not half.normal.any():
        return None
    probe = aim(branch, half)
    return probe if probe.share() * points <= min(_SEARCH_SHARE * points, most) else None


def _limit(probe: Probe, points: int, most: int) -> int:
    return min(int(_GENEROSITY * probe.share() * points) + _BATCH, most)
