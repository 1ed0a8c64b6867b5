"""Entropic optimal transport of many things to few, each of which takes a given share of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_STEPS = 2000
_COARSE, _FINE = 1.0, 0.02  # of the spread of a thing's scores: softness of an assignment, first and last
_COOLING = 0.5
_UNEVEN = 1e-4  # of all things: how far a share may be off


def even(k: int) -> Array:
    """Return k equal shares."""
    return np.full(k, 1 / k)


def prices(scores: Array, shares: Array, softness: float, start: Array) -> Array:
    """Return what to add to the k columns' scores (k,) so that softmax((scores + prices) / softness) gives each its share.

    These are the column potentials of entropic optimal transport between n rows of equal mass and k columns whose masses are
    the ``shares`` (k,), by Sinkhorn's iterations on logarithms, which do not overflow however small ``softness`` is; from
    ``start`` (k,), to a mean of zero.
    """
    n = len(scores)
    scaled, found, wanted = scores / softness, start / softness, np.log(n * shares)
    for _ in range(_STEPS):
        columns = _log_sum(scaled - _log_sum(scaled + found, 1)[:, None], 0)
        off = np.abs(np.exp(found + columns) / n - shares).max()
        found = wanted - columns
        if off < _UNEVEN * shares.min():
            break
    centred: Array = softness * (found - found.mean())
    return centred


def clearing_prices(scores: Array, shares: Array) -> tuple[Array, float]:
    """Return prices (k,) by which nearly all of each of n rows (n, k) goes to one column, and the softness they hold at.

    The softness of the assignment is lowered step by step, each from the prices of the one before.
    """
    spread = float(scores.std(axis=1).mean()) or 1.0
    found = np.zeros(scores.shape[1])
    softness = _COARSE
    while softness > _FINE:
        softness = max(softness * _COOLING, _FINE)
        found = prices(scores, shares, softness * spread, found)
    return found, softness * spread


def _log_sum(logs: Array, axis: int) -> Array:
    """Return the logarithms of sums; scipy's takes ten times as long over arrays as small as one image's."""
    most = logs.max(axis, keepdims=True)
    found: Array = np.log(np.exp(logs - most).sum(axis)) + most.squeeze(axis)
    return found
