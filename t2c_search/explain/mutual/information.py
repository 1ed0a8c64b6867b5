"""How much two choices among D descriptors tell of each other. All figures are in nats."""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer] | int


def mutual_information(shared: Counts, seen: Counts, said: Counts, all_of_them: int) -> Array:
    """Return the mutual information of two memberships over all D descriptors, of counts of any one shape.

    Of a descriptor drawn at random: whether it is among the N ``seen``, and whether it is among the M ``said``, k of which are
    ``shared``. The 2 x 2 table of both is k, N - k, M - k, D - N - M + k, with its own marginals. It is zero where k is what
    chance gives, N M / D, and rises with k from there on.
    """
    k, n, m = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (shared, seen, said)))
    d = float(all_of_them)
    table = np.stack([k, n - k, m - k, d - n - m + k]) / d
    by_chance = np.stack([n * m, n * (d - m), (d - n) * m, (d - n) * (d - m)]) / d**2
    found: Array = np.maximum((xlogy(table, table) - xlogy(table, by_chance)).sum(0), 0)
    return found


def entropy_sum(shared: int, seen: int, said: int) -> float:
    """Return log N + log M + log k, zero for k = 0: what the paper's equation 9 and its public code compute.

    They add the joint entropy of their table, which has 1 / k where descriptors are shared, and is log k. The information of
    two uniform marginals would take it off; but with this table that falls as more is shared: for N = M = 15 it is 5.42 at
    k = 1 and 2.93 at k = 12. It stands in results for comparison with published figures, and decides nothing.
    """
    return log(seen) + log(said) + log(shared) if shared else 0.0


def jaccard(shared: int, seen: int, said: int) -> float:
    """Return the share that is common of all descriptors that either side has; zero where neither has any."""
    return shared / max(seen + said - shared, 1)


def removal_curve(shared: npt.NDArray[np.bool_], said: int, all_of_them: int) -> Array:
    """Return the mutual information (N + 1,) as seen descriptors are removed one by one, in the order they stand in.

    ``shared`` (N,) tells which of them the text has too. The curve begins with all of them and ends with none, at zero.
    """
    left = np.concatenate([np.cumsum(shared[::-1])[::-1], [0]])
    return mutual_information(left, np.arange(len(shared), -1, -1), said, all_of_them)
