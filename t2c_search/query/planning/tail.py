"""The upper tail of a sample, continued beyond its best row: there it is taken to be exponential."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_FEW = 4  # rows or fewer say little about a share: the fitted tail says more
_FITTED = 16


def value_at(ordered: Array, rank: float) -> float:
    """Value that ``rank`` rows of a sample reach, given in descending order, between two rows for a fraction.

    A rank below 1 is beyond the best row.
    """
    if rank >= 1 or len(ordered) < _FITTED:
        return float(np.interp(rank, np.arange(1, len(ordered) + 1), ordered))
    return float(ordered[0] - _slope(ordered) * np.log(rank))


def rank_at(ordered: Array, value: float) -> float:
    """Number of rows of a sample, given in descending order, that reach a value: a fraction beyond the best row."""
    reached = int(np.searchsorted(-ordered, -value, side="right"))
    if reached >= _FEW or len(ordered) < _FITTED:
        return float(max(reached, 1))
    return float(np.exp(np.clip((ordered[0] - value) / _slope(ordered), -20, np.log(_FEW))))


def _slope(ordered: Array) -> float:
    """Fall of the value as the logarithm of the rank rises, over the first rows but the best one."""
    return max(float((ordered[1] - ordered[_FITTED - 1]) / np.log(_FITTED / 2)), 1e-9)
