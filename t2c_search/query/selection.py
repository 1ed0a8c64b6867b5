"""Choosing among ranked hits: diverse ones (maximal marginal relevance), and one per group."""

from __future__ import annotations

import numpy as np

from t2c_search.query.calibration import Array
from t2c_search.types import FloatArray

RELEVANCE_SHARE = 0.7
"""Weight of relevance against novelty: the usual choice of the method's users."""


def diverse(vectors: FloatArray, scores: Array, mean: Array, k: int) -> list[int]:
    """Pick k rows of (n, d) vectors with (n,) descending scores, by maximal marginal relevance, the best one first.

    Scores are scaled to [0, 1] over the n; similarity is the cosine after subtracting the collection's mean, without
    which all images are alike. Carbonell and Goldstein, SIGIR 1998.
    """
    rows = vectors.astype(np.float64) - mean
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    spread = float(scores[0] - scores[-1]) or 1.0
    relevance = (scores - scores[-1]) / spread
    chosen: list[int] = []
    nearest = np.zeros(len(rows))
    for _ in range(min(k, len(rows))):
        gain = RELEVANCE_SHARE * relevance - (1 - RELEVANCE_SHARE) * nearest
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        nearest = np.maximum(nearest, rows @ rows[best]) if len(chosen) > 1 else rows @ rows[best]
    return chosen
