"""Descriptors of parts, none of which has another's: an optimal transport of descriptors to parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from t2c_search.transport import clearing_prices

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]


def match(scores: Array, number: int) -> list[Indices]:
    """Return the descriptors of k parts by their scores (k, D): ``number`` of them in all, as even as can be, each once.

    The parts and "none" take descriptors of equal mass: a part as much as it is to have, and none the rest. That is optimal
    transport with its proper marginals, by Sinkhorn's iterations on logarithms, which leaves little of any descriptor to several
    takers. Those of which the parts together take most are theirs, and dealt out as suits all parts best. Each part's come in
    order of its scores, the best first.
    """
    parts, _ = scores.shape
    capacity = np.full(parts, number // parts)
    capacity[: number % parts] += 1
    chosen = _taken(scores, capacity)
    places = np.repeat(np.arange(parts), capacity)
    own, dealt = linear_sum_assignment(-scores[np.ix_(places, chosen)])
    matched = [chosen[dealt[places[own] == part]] for part in range(parts)]
    return [each[np.argsort(-scores[part, each], kind="stable")] for part, each in enumerate(matched)]


def _taken(scores: Array, capacity: npt.NDArray[np.int_]) -> Indices:
    """Return the descriptors that k parts take by their scores (k, D), as many as they have room for together."""
    number = capacity.sum()
    candidates = _candidates(scores, number)
    if len(candidates) == number:
        return candidates
    masses = np.append(capacity, len(candidates) - number) / len(candidates)
    wanted = np.column_stack([scores[:, candidates].T.astype(np.float64), np.zeros(len(candidates))])
    prices, softness = clearing_prices(wanted, masses)
    left = softmax((wanted + prices) / softness, axis=1)[:, -1]
    return candidates[np.argsort(left, kind="stable")[:number]]


def _candidates(scores: Array, number: int) -> Indices:
    """Return the descriptors that any best assignment is made of: each part's best, as many as all parts take together."""
    most = min(number, scores.shape[1])
    best = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    return np.unique(best)
