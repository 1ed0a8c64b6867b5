"""The smallest half-space that holds every image worth looking at: one vector search finds what is in it.

Images that count satisfy linear gates G z >= q and, for a top-k, F(z) >= tau with F concave, hence every tangent of F
reaches tau as well. For any weights l >= 0 on these rows R z >= q, images that count have (R'l).z >= l.q. The weights
whose half-space has the least Gaussian mass solve the dual of: minimise z'C^-1 z subject to R z >= q, a non-negative
least squares problem in a handful of unknowns. Whatever the weights, the half-space holds all that counts; that they
are good only makes it small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.ranking import Ranking

Gates = tuple[Array, Array]
"""Rows (g, m) and values (g,): what passes has rows @ z >= values."""
_CUTS = 8
_TOLERANCE = 0.1  # standard deviations: a closer fit takes longer than the few images that it excludes
_RIDGE = 1e-9  # equal concepts make the correlation singular
_LEAST_SHARE = 1e-6  # of a row's square, in place of a variance so small that its rounding would exceed the ridge


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """``normal`` (m,) dot z >= ``level``; ``reward`` is how much ``level`` rises with the score asked for."""

    normal: Array
    level: float
    score: float
    reward: float

    def best_below(self, level: float) -> float:
        """Highest score that an image can have whose dot product with ``normal`` is at most ``level``."""
        if self.reward > 0:
            return self.score + (level - self.level) / self.reward
        return -np.inf if level < self.level else np.inf


def enclose_passing(gates: Gates, correlation: Array) -> HalfSpace:
    """Enclose the images that pass the gates; the normal is 0 when the collection's mean passes, and all are in."""
    rows, values = gates
    weights = _weights(rows, values, correlation)
    return HalfSpace(weights @ rows, float(weights @ values), -np.inf, 0.0)


def enclose_best(gates: Gates, correlation: Array, ranking: Ranking, score: float, near: Array) -> HalfSpace:
    """Enclose the images that pass the gates and reach a score (Kelley's cutting planes, from ``near`` them on)."""
    rows, values = gates
    nearest = near
    for _ in range(_CUTS):
        slope, offset = ranking.tangent(nearest)
        rows, values = np.vstack([rows, slope]), np.append(values, score - offset)
        weights = _weights(rows, values, correlation)
        nearest = correlation @ (weights @ rows)
        if ranking.scores(nearest[None])[0] >= score - _TOLERANCE:
            break
    first_cut = len(gates[1])
    if not weights.any():  # the mean reaches the score itself: nothing is excluded, and the tangent there ranks
        weights[first_cut] = 1.0
    return HalfSpace(weights @ rows, float(weights @ values), score, float(weights[first_cut:].sum()))


def _weights(rows: Array, values: Array, correlation: Array) -> Array:
    """Maximise l.values - l'Gl / 2 over l >= 0, G being the rows' Gram matrix under the correlation."""
    squares = np.einsum("im,mn,in->i", rows, correlation, rows)
    squares = np.maximum(squares, _LEAST_SHARE * np.einsum("im,im->i", rows, rows) + 1e-30)
    if len(values) <= 1:
        alone: Array = np.maximum(values, 0) / squares
        return alone
    lengths = np.sqrt(squares)
    gram = (rows / lengths[:, None]) @ correlation @ (rows / lengths[:, None]).T
    factor = np.linalg.cholesky(gram + _RIDGE * np.eye(len(values)))
    weights: Array = nnls(factor.T, np.linalg.solve(factor, values / lengths))[0] / lengths
    return weights
