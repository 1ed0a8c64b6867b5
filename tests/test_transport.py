"""Entropic transport against POT, and where a bare exponential fails."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.special import softmax

from t2c_search.transport import clearing_prices, even, prices


@pytest.mark.parametrize("softness", [0.2, 0.05])
@pytest.mark.parametrize("shares", [even(6), np.array([0.5, 0.2, 0.1, 0.1, 0.07, 0.03])], ids=["even", "uneven"])
def test_prices_are_the_potentials_of_entropic_transport(softness: float, shares: np.ndarray) -> None:
    scores = np.random.default_rng(5).normal(size=(60, 6))
    found = prices(scores, shares, softness, np.zeros(6))
    plan = ot.sinkhorn(
        np.full(60, 1 / 60), shares, -scores, softness, method="sinkhorn_log", numItermax=20_000, stopThr=1e-10
    )
    ours = softmax((scores + found) / softness, axis=1) / 60
    assert np.abs(ours - plan).max() < 1e-4
    np.testing.assert_allclose(ours.sum(0), shares, atol=2e-4 * shares.min())
    np.testing.assert_allclose(ours.sum(1), 1 / 60)


def test_scores_that_overflow_a_bare_exponential_are_shared_out_all_the_same() -> None:
    """The public code's Sinkhorn exponentiates scores as they are, and gives rows and columns masses of one in turn."""
    scores = 1000 * np.random.default_rng(6).normal(size=(400, 5)) + np.array([5000, 0, 0, 0, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        bare = np.exp(scores)
        for _ in range(10):
            bare = bare / bare.sum(1, keepdims=True)
            bare = bare / bare.sum(0, keepdims=True)
    assert np.isnan(bare).any()
    assert (scores.argmax(1) == 0).all()
    counts = np.bincount((scores + clearing_prices(scores, even(5))[0]).argmax(1), minlength=5)
    assert counts.min() >= 70 and counts.max() <= 90


def test_masses_of_one_for_rows_and_columns_are_no_marginals_where_there_are_more_of_one() -> None:
    """400 rows of mass one cannot fill 5 columns of mass one: after a step for the columns no row has its mass."""
    scores = np.random.default_rng(7).normal(size=(400, 5))
    bare = np.exp(scores)
    for _ in range(200):
        bare = bare / bare.sum(1, keepdims=True)
        bare = bare / bare.sum(0, keepdims=True)
    assert np.abs(bare.sum(1) - 1).min() > 0.9
    ours = softmax(scores + prices(scores, even(5), 1.0, np.zeros(5)), axis=1) / 400
    np.testing.assert_allclose((ours.sum(0), ours.sum(1)[:5]), (even(5), np.full(5, 1 / 400)), atol=1e-4)


def test_an_assignment_is_nearly_hard_and_nearly_the_best_there_is() -> None:
    scores = np.random.default_rng(8).normal(size=(300, 4))
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    found, softness = clearing_prices(scores, shares)
    plan = softmax((scores + found) / softness, axis=1) / 300
    best = ot.emd(np.full(300, 1 / 300), shares, -scores)
    assert (plan * scores).sum() > 0.99 * (best * scores).sum()
    assert np.mean(plan.max(1) * 300 > 0.9) > 0.9
