"""Chance is what dealing out anew gives: the largest t of all words by hand, one word by scipy, distances pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from t2c_search.concepts.shift.permutations import deal, energy_test, in_parts, largest_t
from t2c_search.types import FloatArray


def made(seed: int, n: int = 40, words: int = 300) -> tuple[FloatArray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, words)).astype(np.float32), np.arange(n) < n // 3


def test_as_many_of_each_stratum_go_to_a() -> None:
    is_a = np.arange(50) % 3 == 0
    strata = [np.arange(0, 50, 2), np.arange(1, 50, 2)]
    dealt = deal(is_a, strata, 200, np.random.default_rng(0))
    np.testing.assert_array_equal(dealt[0], is_a)
    for places in strata:
        assert set(dealt[:, places].sum(1)) == {is_a[places].sum()}
    assert len({row.tobytes() for row in dealt}) > 100
    shares = dealt[1:, strata[0]].mean(0)
    assert np.all(np.abs(shares - is_a[strata[0]].mean()) < 0.15)


@pytest.mark.parametrize("strata", [1, 2])
def test_p_is_that_of_the_largest_t_by_hand(strata: int) -> None:
    scores, is_a = made(1)
    scores[is_a, 17] += 1.1
    scores[is_a, 250] -= 1.1
    places = [np.flatnonzero(np.arange(len(is_a)) % strata == each) for each in range(strata)]
    dealt = deal(is_a, places, 150, np.random.default_rng(2))
    p = largest_t(in_parts(scores, np.eye(scores.shape[1], dtype=np.float32)), dealt, places)

    def t(chosen: np.ndarray) -> np.ndarray:
        gap, variance = 0.0, 0.0
        for each in places:
            a, b = scores[each][chosen[each]].astype(float), scores[each][~chosen[each]].astype(float)
            weight = len(a) * len(b) / len(each)
            gap += weight * (a.mean(0) - b.mean(0))
            variance += weight**2 * (a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b))
        return np.abs(gap / np.sqrt(variance))

    own, largest = t(is_a), np.array([t(row).max() for row in dealt[1:]])
    np.testing.assert_allclose(p, (1 + (largest[:, None] >= own - 1e-5).sum(0)) / 151)
    assert {17, 250} >= set(np.flatnonzero(p == p.min()))
    if strata == 1:
        np.testing.assert_allclose(own[:5], np.abs(stats.ttest_ind(scores[is_a], scores[~is_a], equal_var=False)[0][:5]), rtol=1e-5)  # fmt: skip  # noqa: E501


def test_one_word_alone_is_scipys_permutation_test() -> None:
    scores, is_a = made(4, n=24, words=1)
    scores[is_a] += 0.9
    a, b = scores[is_a, 0], scores[~is_a, 0]
    expected = stats.permutation_test(
        (a, b),
        lambda x, y: abs(stats.ttest_ind(x, y, equal_var=False).statistic),
        n_resamples=1500,
        alternative="greater",
        rng=np.random.default_rng(5),
    )
    whole = [np.arange(len(is_a))]
    p = largest_t(iter([scores]), deal(is_a, whole, 1999, np.random.default_rng(6)), whole)
    assert p[0] == pytest.approx(expected.pvalue, abs=0.03)


def test_energy_is_that_of_all_pairs() -> None:
    scores, is_a = made(7, words=5)
    scores[is_a, 0] += 0.7
    whole = [np.arange(len(is_a))]
    dealt = deal(is_a, whole, 300, np.random.default_rng(8))

    def energy(chosen: np.ndarray) -> float:
        a, b = scores[chosen], scores[~chosen]
        return float(2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean())

    distance, p = energy_test(scores, dealt, whole)
    own, others = energy(is_a), np.array([energy(row) for row in dealt[1:]])
    assert distance == pytest.approx(own, rel=1e-4)
    assert p == pytest.approx((1 + (others >= own).sum()) / 301)


def test_energy_sees_what_no_mean_tells_and_keeps_within_strata() -> None:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(200, 3)).astype(np.float32)
    is_a = np.arange(200) < 100
    whole = [np.arange(200)]
    assert energy_test(rows, deal(is_a, whole, 99, rng), whole)[1] > 0.05
    rows[is_a] *= 2
    assert energy_test(rows, deal(is_a, whole, 99, rng), whole)[1] <= 0.02
    # A has most of the second stratum, which lies elsewhere: as one they differ, within strata they do not
    rows = rng.normal(size=(200, 3)).astype(np.float32)
    second = rng.random(200) < np.where(is_a, 0.8, 0.2)
    rows[second] += 3
    strata = [np.flatnonzero(~second), np.flatnonzero(second)]
    assert energy_test(rows, deal(is_a, whole, 99, rng), whole)[1] <= 0.02
    assert energy_test(rows, deal(is_a, strata, 99, rng), strata)[1] > 0.05
