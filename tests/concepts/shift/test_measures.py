"""Effects and tests are those of scipy and of the formulas, each word alone; strata join as they are said to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from t2c_search.concepts.shift.measures import (
    Ranks,
    Summary,
    difference,
    hedges,
    p_of_welch,
    rank_test,
    ranks_of_bins,
    ranks_of_scores,
    welch,
)

Scores = NDArray[np.float64]


def summary(*strata: tuple[Scores, Scores]) -> Summary:
    return Summary(
        np.array([[len(a), len(b)] for a, b in strata], np.float64),
        np.array([[a.mean(0), b.mean(0)] for a, b in strata]),
        np.array([[a.var(0, ddof=1), b.var(0, ddof=1)] for a, b in strata]),
    )


def sides(seed: int, shift: float = 0.4) -> tuple[Scores, Scores]:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(6, 80, 2)
    return rng.normal(shift, 1.5, (a, 7)), rng.normal(0, 1, (b, 7))


@pytest.mark.parametrize("seed", range(8))
def test_welch_is_scipys(seed: int) -> None:
    a, b = sides(seed)
    expected = stats.ttest_ind(a, b, equal_var=False)
    t, df = welch(summary((a, b)))
    np.testing.assert_allclose(t, expected.statistic)
    np.testing.assert_allclose(df, expected.df)
    np.testing.assert_allclose(p_of_welch(t, df), expected.pvalue, rtol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_hedges_is_the_formula(seed: int) -> None:
    a, b = sides(seed)
    n, m = len(a), len(b)
    f = n + m - 2
    j = math.gamma(f / 2) / (math.sqrt(f / 2) * math.gamma((f - 1) / 2))
    assert j == pytest.approx(1 - 3 / (4 * f - 1), rel=1e-3)  # the usual approximation
    for word in range(a.shape[1]):
        pooled = math.sqrt(((n - 1) * a[:, word].var(ddof=1) + (m - 1) * b[:, word].var(ddof=1)) / f)
        d = (a[:, word].mean() - b[:, word].mean()) / pooled
        half = 1.96 * j * math.sqrt((n + m) / (n * m) + d**2 / (2 * (n + m)))
        g, low, high = (each[word] for each in hedges(summary((a, b))))
        assert (g, low, high) == pytest.approx((j * d, j * d - half, j * d + half))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    truth = 0.5
    held = []
    for _ in range(40):
        a, b = rng.normal(truth, 1, (30, 50)), rng.normal(0, 1, (50, 50))
        _, low, high = hedges(summary((a, b)))
        held.append((low <= truth) & (truth <= high))
    assert 0.935 <= np.mean(held) <= 0.965  # 2,000 intervals: three standard errors


@pytest.mark.parametrize("seed", range(8))
def test_ranks_are_mann_and_whitneys(seed: int) -> None:
    a, b = (np.round(side, seed % 3) for side in sides(seed))  # with ties, mostly
    both = np.concatenate([a, b]).astype(np.float32)
    ranks = ranks_of_scores(both, np.arange(len(both)) < len(a))
    same = [side.astype(np.float32).astype(np.float64) for side in (a, b)]
    expected = stats.mannwhitneyu(*same, use_continuity=False, method="asymptotic")
    np.testing.assert_allclose(ranks.u[0], expected.statistic)
    auroc, error, p = rank_test(ranks, summary((a, b)).n)
    np.testing.assert_allclose(auroc, expected.statistic / (len(a) * len(b)))
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-9)
    assert not error.any()


@pytest.mark.parametrize("bins", [4, 20, 300])
def test_bins_are_off_by_no_more_than_they_say(bins: int) -> None:
    a, b = sides(1)
    n = summary((a, b)).n
    edges = np.linspace(-4, 6, bins + 1)
    counts = [np.array([[np.histogram(word, edges)[0] for word in side.T]], np.float64) for side in (a, b)]
    rough, error, p = rank_test(ranks_of_bins(*counts), n)
    exact, _, exact_p = rank_test(
        ranks_of_scores(np.concatenate([a, b]).astype(np.float32), np.arange(len(a) + len(b)) < len(a)), n
    )
    assert np.all(np.abs(rough - exact) <= error + 1e-9) and np.all(error > 0)
    if bins == 300:
        np.testing.assert_allclose(p, exact_p, atol=0.02)
    tied = [np.digitize(side, edges).astype(np.float32) for side in (a, b)]  # a bin is one tied value
    same = ranks_of_scores(np.concatenate(tied), np.arange(len(a) + len(b)) < len(a))
    np.testing.assert_allclose(rank_test(same, n)[2], p)


def test_strata_join_as_said() -> None:
    pairs = [sides(11, 0.5), sides(12, 0.5), sides(13, 0.5)]
    joined = summary(*pairs)
    alone = [summary(pair) for pair in pairs]
    weights = np.array([len(a) * len(b) / (len(a) + len(b)) for a, b in pairs])
    gaps = np.array([a.mean(0) - b.mean(0) for a, b in pairs])
    np.testing.assert_allclose(difference(joined), weights @ gaps / weights.sum())
    variances = np.array([a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b) for a, b in pairs])
    np.testing.assert_allclose(welch(joined)[0], weights @ gaps / np.sqrt(weights**2 @ variances))
    each = np.array([hedges(one) for one in alone])  # (strata, g low high, words)
    precision = (2 * 1.96 / (each[:, 2] - each[:, 1])) ** 2
    g, low, high = hedges(joined)
    np.testing.assert_allclose(g, (precision * each[:, 0]).sum(0) / precision.sum(0))
    np.testing.assert_allclose(high - low, 2 * 1.96 / np.sqrt(precision.sum(0)))


def test_ranks_by_strata_are_van_elterens() -> None:
    pairs = [sides(21), sides(22)]
    ranks = [
        ranks_of_scores(np.concatenate(pair).astype(np.float32), np.arange(sum(map(len, pair))) < len(pair[0]))
        for pair in pairs
    ]
    joined = Ranks(*(np.concatenate([getattr(one, name) for one in ranks]) for name in ("u", "variance", "error")))
    auroc, _, p = rank_test(joined, summary(*pairs).n)
    total, variance, most = 0.0, 0.0, 0.0
    for a, b in pairs:
        n, m = len(a), len(b)
        u = (a[:, None, 0] > b[None, :, 0]).sum()
        total += (u - n * m / 2) / (n + m + 1)
        variance += n * m * (n + m + 1) / 12 / (n + m + 1) ** 2
        most += n * m / (n + m + 1)
    assert p[0] == pytest.approx(2 * stats.norm.sf(abs(total) / math.sqrt(variance)), rel=1e-4)
    assert auroc[0] == pytest.approx(0.5 + total / most)
