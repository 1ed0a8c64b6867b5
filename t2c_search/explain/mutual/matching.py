"""Descriptors of parts, none of which has another's: an optimal transport of descriptors to parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from t2c_search.transport import clearing_prices

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]


def match(scores: Array, number: int) -> list[Indices]:
    """Return the descriptors of k parts by their scores (k, D): ``number`` of them in all, as even as can be, each once.

    The parts and "none" take descriptors of equal mass: a part as much as it is to have, and none the rest. That is optimal
    transport with its proper marginals, by Sinkhorn's iterations on logarithms, from which the descriptors are dealt out in
    order of their mass. Each part's come in order of its scores, the best first.
    """
    parts, _ = scores.shape
    capacity = np.full(parts, number // parts)
    capacity[: number % parts] += 1
    candidates = _candidates(scores, number)
    masses = np.append(capacity, len(candidates) - number) / len(candidates)
    wanted = scores[:, candidates].T.astype(np.float64)
    if masses[-1] > 0:
        wanted = np.column_stack([wanted, np.zeros(len(wanted))])
    masses = masses[: wanted.shape[1]]
    prices, softness = clearing_prices(wanted, masses)
    plan = softmax((wanted + prices) / softness, axis=1)[:, :parts]
    return [
        candidates[own][np.argsort(-scores[part, candidates[own]])] for part, own in enumerate(_deal(plan, capacity))
    ]


def _candidates(scores: Array, number: int) -> Indices:
    """Return the descriptors that any best assignment is made of: each part's best, as many as all parts take together."""
    most = min(number, scores.shape[1])
    best = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    return np.unique(best)


def _deal(plan: Array, capacity: npt.NDArray[np.int_]) -> list[Indices]:
    """Give descriptors (c, k) to k parts in order of their mass, each once, to each part as many as it takes."""
    left, free = capacity.copy(), np.ones(len(plan), bool)
    dealt: list[list[int]] = [[] for _ in capacity]
    for place in np.argsort(-plan, axis=None, kind="stable"):
        descriptor, part = divmod(int(place), plan.shape[1])
        if free[descriptor] and left[part]:
            dealt[part].append(descriptor)
            free[descriptor] = False
            left[part] -= 1
            if not left.any():
                break
    return [np.array(each, np.intp) for each in dealt]
