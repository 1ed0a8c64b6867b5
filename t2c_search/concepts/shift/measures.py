"""How much two sides differ, in every word at once: effects with their intervals, and tests, as one or by strata.

Scores are z-scores (``tally.Scale``). Of s strata and the sides A and B, ``n`` is (s, 2), and means and variances are
(s, 2, ...), where the last axis is the words'. Without strata s is 1, and each formula is the plain one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.effects import small_sample_factor
from t2c_search.query.planning.calibration import NORMAL_95, Array

_LEAST_VARIANCE = 1e-12  # of a z-score: below it, all images of a side score alike


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """Numbers (s, 2) of images, and means and variances (s, 2, m) of their scores in m words."""

    n: Array
    mean: Array
    variance: Array


def welch(summary: Summary) -> tuple[Array, Array]:
    """Return Welch's t and its degrees of freedom (Welch 1947), of each word.

    Differences of strata are weighed by nA nB / (nA + nB), and their variances accordingly.
    """
    n = _beside(summary.n, summary.mean)
    weight = _harmonic(n)
    of_means = summary.variance / n
    difference = (weight * (summary.mean[:, 0] - summary.mean[:, 1])).sum(0)
    variance = np.maximum((weight**2 * of_means.sum(1)).sum(0), _LEAST_VARIANCE)
    parts = (weight[:, None] ** 4 * of_means**2 / (n - 1)).sum((0, 1))
    return difference / np.sqrt(variance), variance**2 / np.maximum(parts, _LEAST_VARIANCE**2)


def p_of_welch(t: Array, df: Array) -> Array:
    """Return two-sided p-values."""
    from scipy import stats

    p: Array = np.minimum(2 * stats.t.sf(np.abs(t), df), 1)
    return p


def hedges(summary: Summary) -> tuple[Array, Array, Array]:
    """Return Hedges' g of each word, and the ends of its 95 % interval (Hedges 1981).

    g = J d / s, with the pooled s and the small sample's factor J at f = nA + nB - 2; its variance is
    J^2 ((nA + nB) / (nA nB) + (d / s)^2 / (2 (nA + nB))). Strata are weighed by the inverse of that.
    """
    n = _beside(summary.n, summary.mean)
    total = n.sum(1)
    f = total - 2
    j = small_sample_factor(f)
    pooled = ((n - 1) * summary.variance).sum(1) / f
    d = (summary.mean[:, 0] - summary.mean[:, 1]) / np.sqrt(np.maximum(pooled, _LEAST_VARIANCE))
    weight = 1 / (j**2 * (1 / _harmonic(n) + d**2 / (2 * total)))
    g = (weight * j * d).sum(0) / weight.sum(0)
    reach = NORMAL_95 / np.sqrt(weight.sum(0))
    return g, g - reach, g + reach


def difference(summary: Summary) -> Array:
    """Return the difference of means of each word; strata are weighed by nA nB / (nA + nB)."""
    weight = _harmonic(_beside(summary.n, summary.mean))
    found: Array = (weight * (summary.mean[:, 0] - summary.mean[:, 1])).sum(0) / weight.sum(0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Mann and Whitney's U of side A, its variance under no difference, and what it may be wrong by, each (s, m)."""

    u: Array
    variance: Array
    error: Array


def ranks_of_scores(scores: npt.NDArray[np.float32], is_a: npt.NDArray[np.bool_]) -> Ranks:
    """Rank the scores (n, m) of one stratum, ties by their mean rank; the result is of s = 1."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    own = is_a.sum()
    u = ranks[is_a].sum(0) - own * (own + 1) / 2
    variance = _variance(own, len(is_a) - own, ((ranks - (len(is_a) + 1) / 2) ** 2).sum(0))
    return Ranks(u[None], variance[None], np.zeros_like(u)[None])


def ranks_of_bins(a: Array, b: Array) -> Ranks:
    """Rank what was counted in bins, (s, m, k) of each side: as tied within a bin, so that U is off by half of that at most."""
    both = a + b
    u = (a * (np.cumsum(b, -1) - b / 2)).sum(-1)
    middle = np.cumsum(both, -1) - (both - 1) / 2 - (both.sum(-1, keepdims=True) + 1) / 2
    variance = _variance(a.sum(-1), b.sum(-1), (both * middle**2).sum(-1))
    return Ranks(u, variance, (a * b).sum(-1) / 2)


def rank_test(ranks: Ranks, n: Array) -> tuple[Array, Array, Array]:
    """Return AUROC (the chance that an image of A scores above one of B), its error, and the two-sided p, of each word.

    Strata are joined as van Elteren (1960) does, each U divided by nA + nB + 1; the test is then his, else Mann and Whitney's.
    """
    from scipy import stats

    pairs, share = (n[:, 0] * n[:, 1])[:, None], 1 / (n.sum(1) + 1)[:, None]
    above = (share * (ranks.u - pairs / 2)).sum(0)
    deviation = np.sqrt(np.maximum((share**2 * ranks.variance).sum(0), _LEAST_VARIANCE))
    most = (share * pairs).sum(0)
    return 0.5 + above / most, (share * ranks.error).sum(0) / most, 2 * stats.norm.sf(np.abs(above) / deviation)


def _variance(a: Array, b: Array, squares: Array) -> Array:
    """Variance of a sum of ``a`` ranks drawn from a + b, whose squares about their mean sum up to ``squares``."""
    total = a + b
    found: Array = a * b / (total * (total - 1)) * squares
    return found


def _beside(n: Array, values: Array) -> Array:
    """Give numbers (s, 2) as many axes as the values have."""
    return n.reshape(n.shape + (1,) * (values.ndim - 2))


def _harmonic(n: Array) -> Array:
    found: Array = n[:, 0] * n[:, 1] / n.sum(1)
    return found
