"""How far each branch of a plan has been searched, and the images that it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from t2c_search.filters import Filter
from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.halfspace import HalfSpace
from t2c_search.query.planning.planner import Branch
from t2c_search.query.planning.regions import AT_ONCE
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Payload, Points

_BATCH = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One scored image: the branch that scored it, and its cosines with that branch's axes (m,).

    ``payload`` is None where it did not come with the image's vector.
    """

    id: str
    score: float
    branch: int
    cosines: Array
    payload: Payload | None = None


@dataclass(slots=True)
class Front:
    """How far a branch has been searched: no unseen image of it scores more than ``bound``."""

    number: int
    branch: Branch
    path: Literal["search", "scan"] = "search"
    bound: float = np.inf
    rounds: int = 0
    candidates: int = 0
    wanted: int = 0
    """Candidates last asked for."""
    half: HalfSpace | None = None
    """What was last searched; None after a scan."""


def read_all(store: VectorStore, where: Filter | None, branches: Sequence[Branch]) -> Iterator[Points]:
    """Read all images that match a filter, once for all the branches that have it, with what their cosines are read off.

    Factors are many times as much as a vector: where each branch has a gate on whole images too, only those of the images that
    pass one are read.
    """
    vectors = tuple(dict.fromkeys(name for branch in branches for name in branch.vectors))
    if not any(branch.factors for branch in branches):
        yield from store.scan(where=where, vectors=vectors, payload=False, batch_size=_BATCH)
    elif not all(branch.sifts for branch in branches):
        yield from store.scan(where=where, vectors=vectors, payload=False, batch_size=AT_ONCE)
    else:
        for batch in store.scan(where=where, vectors=(CLIP,), payload=False, batch_size=_BATCH):
            passing = np.logical_or.reduce([branch.may_pass(batch.vectors[CLIP]) for branch in branches])
            ids = [batch.ids[row] for row in np.flatnonzero(passing)]
            for start in range(0, len(ids), AT_ONCE):
                yield store.fetch(ids[start : start + AT_ONCE], vectors=vectors, payload=False)


def scored(candidates: Points, front: Front, most: int | None = None, *, with_payload: bool = False) -> list[Found]:
    """Score candidates exactly, from their vectors, and return those that pass the branch's gates.

    Of more than ``most``, the best and what ties with the last of them: ids decide later. ``with_payload`` says that the
    candidates came with theirs.
    """
    branch = front.branch
    cosine = branch.cosines(candidates)
    rows = np.flatnonzero(branch.passes(cosine))
    scores = branch.scores(cosine[rows])
    if most is not None and len(rows) > most:
        kept = scores >= np.partition(scores, -most)[-most]
        rows, scores = rows[kept], scores[kept]
    return [
        Found(
            candidates.ids[row],
            float(score),
            front.number,
            cosine[row],
            candidates.payloads[row] if with_payload else None,
        )
        for row, score in zip(rows, scores, strict=True)
    ]


def with_payloads(store: VectorStore, found: Sequence[Found]) -> Iterator[tuple[Found, Payload]]:
    """Yield each image with its payload, fetched where it did not come along; those deleted meanwhile are left out."""
    missing = [each.id for each in found if each.payload is None]
    points = store.fetch(missing) if missing else Points([])
    fetched = dict(zip(points.ids, points.payloads, strict=True))
    for each in found:
        payload = fetched.get(each.id) if each.payload is None else each.payload
        if payload is not None:
            yield each, payload
