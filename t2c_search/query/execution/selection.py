"""Choosing among ranked hits: diverse ones (maximal marginal relevance), and one per group."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.filters import AnyOf, Equals, Exists, Filter, Not, Scalar
from t2c_search.query.execution.fronts import Found, Front, with_payloads
from t2c_search.query.execution.topk import Effort, TopK, find_top
from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.normal_form import combined
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.matching import values_at
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FloatArray

POOL = 5
"""Times the hits asked for: what diverse ones and groups are chosen from."""
RELEVANCE_SHARE = 0.7
"""Weight of relevance against novelty: the usual choice of the method's users."""
_SAME = 0.98  # cosine after subtracting the mean from which two images show the same: copies, and bursts
_LAST = 2.0  # more than any two gains differ by


def diverse(vectors: FloatArray, scores: Array, mean: Array, k: int) -> list[int]:
    """Pick k rows of (n, d) vectors with (n,) descending scores, by maximal marginal relevance, the best one first.

    Scores are scaled to [0, 1] over the n; similarity is the cosine after subtracting the collection's mean, without
    which all images are alike. What shows the same as a row picked before comes after all others. Carbonell and
    Goldstein, SIGIR 1998.
    """
    if not len(vectors):
        return []
    rows = vectors.astype(np.float64) - mean
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    spread = float(scores[0] - scores[-1]) or 1.0
    relevance = (scores - scores[-1]) / spread
    chosen: list[int] = []
    nearest = np.zeros(len(rows))
    for _ in range(min(k, len(rows))):
        gain = RELEVANCE_SHARE * relevance - (1 - RELEVANCE_SHARE) * nearest - _LAST * (nearest >= _SAME)
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        nearest = np.maximum(nearest, rows @ rows[best]) if len(chosen) > 1 else rows @ rows[best]
    return chosen


def best_of_groups(store: VectorStore, branches: Sequence[Branch], field: str, limit: int, effort: Effort) -> TopK:
    """Find the best image of each value of a payload field, those of the ``limit`` best values, and what vouches for them.

    Each is the best of those that share no value with the ones before it; images without the field are left out. The
    values found are excluded from the next search, however many images have them, until nothing is left. Raises
    UsageError where the field holds neither words nor numbers.
    """
    branches = [replace(branch, where=combined(branch.where, Exists(field=field))) for branch in branches]
    best = TopK(limit, [Front(number, branch) for number, branch in enumerate(branches)])
    taken: list[Scalar] = []
    while True:
        others = [replace(branch, where=combined(branch.where, _none_of(field, taken))) for branch in branches]
        pool = POOL * (limit - len(best.found))
        left = replace(effort, candidates=effort.candidates - best.candidates)
        top = find_top(store, others, pool, left)
        first = _first_of_values(store, top.found, field, taken)
        best.found += first[: limit - len(best.found)]
        for front, before in zip(top.fronts, best.fronts, strict=True):
            front.branch, front.rounds = before.branch, front.rounds + before.rounds
            front.candidates += before.candidates
        best.fronts = top.fronts
        if len(best.found) == limit:
            return best
        if top.open or not first or len(top.found) < pool or time.perf_counter() > effort.deadline:
            for front in best.fronts:  # what was seen beyond the pool is unseen here
                front.bound = max(front.bound, top.worst)
            return best


def values_of(payload: Mapping[str, Any], field: str) -> list[Scalar]:
    """Read a field, dotted where it is nested: one value, or those of a list."""
    found = [
        each for value in values_at(dict(payload), field) for each in (value if isinstance(value, list) else [value])
    ]
    return [each for each in found if isinstance(each, bool | int | float | str)]


def _first_of_values(store: VectorStore, found: list[Found], field: str, taken: list[Scalar]) -> list[Found]:
    """Return those of the images found, best first, that share no value with one before; their values are then taken."""
    first: list[Found] = []
    for each, payload in with_payloads(store, found):
        values = values_of(payload, field)
        if not values:
            raise UsageError(
                f"{field!r} cannot group images: that of {payload.get('path', each.id)} is not a word or number"
            )
        if not any(value in taken for value in values):
            first.append(replace(each, payload=payload))
            taken += values
    return first


def _none_of(field: str, values: Sequence[Scalar]) -> Filter | None:
    return Not(part=AnyOf(parts=tuple(Equals(field=field, value=value) for value in values))) if values else None
