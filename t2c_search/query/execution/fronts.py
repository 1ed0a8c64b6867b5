"""How far each branch of a plan has been searched, and the images that it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.halfspace import HalfSpace
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Payload, Points


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
