"""Half-spaces enclose what counts whatever the numbers, bounds hold, and the good ones are small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2c_search.query.planning.halfspace import enclose_best, enclose_passing
from t2c_search.query.planning.ranking import Ranking, Term

SIGNS = st.sampled_from([-1.0, 1.0])
ONCE = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def problems(draw):
    """Gates, correlation, ranking and 4,000 z-scores of that correlation."""
    size = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mixed = rng.normal(size=(size, size + 2))
    correlation = mixed @ mixed.T
    scale = np.sqrt(np.diag(correlation))
    correlation /= np.outer(scale, scale)
    axes = draw(st.lists(st.integers(0, size - 1), max_size=size))
    signs = np.array([draw(SIGNS) for _ in axes])
    rows = np.zeros((len(axes), size))
    rows[np.arange(len(axes)), axes] = signs
    values = np.array([draw(st.floats(-2, 2)) for _ in axes])
    bends = st.one_of(st.none(), st.floats(-2, 2))
    terms = st.builds(Term, st.integers(0, size - 1), SIGNS, st.floats(0.1, 3), bends)
    ranking = Ranking(tuple(draw(st.lists(terms, min_size=1, max_size=4))))
    z = rng.multivariate_normal(np.zeros(size), correlation, size=4000)
    return (rows, values), correlation, ranking, z


@ONCE
@given(problems())
def test_nothing_that_passes_is_outside(problem):
    (rows, values), correlation, _, z = problem
    half = enclose_passing((rows, values), correlation)
    passing = z[(z @ rows.T >= values).all(axis=1)]
    assert (passing @ half.normal >= half.level - 1e-6 * (1 + abs(half.level))).all()
    if half.normal.any():
        assert half.best_below(half.level - 1) == -np.inf


@ONCE
@given(problems(), st.floats(0, 1), st.integers(0, 3999))
def test_no_score_exceeds_its_bound(problem, share, near):
    gates, correlation, ranking, z = problem
    passing = z[(z @ gates[0].T >= gates[1]).all(axis=1)]
    scores = ranking.scores(passing)
    score = float(np.quantile(scores, share)) if len(scores) else 0.0
    half = enclose_best(gates, correlation, ranking, score, z[near])
    reached = passing @ half.normal
    slack = 1e-6 * (1 + np.abs(reached).max(initial=0) + abs(half.level))
    assert (reached[scores >= score] >= half.level - slack).all()
    bounds = np.array([half.best_below(at + slack) for at in reached])
    assert (scores <= bounds + 1e-9).all()


def test_the_best_weights_enclose_far_less_than_equal_ones():
    correlation = np.array([[1.0, 0.9], [0.9, 1.0]])
    gates = np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([1.0, 0.0])  # the first high, the second low: rare together
    z = np.random.default_rng(0).multivariate_normal([0, 0], correlation, size=100_000)
    best = enclose_passing(gates, correlation)
    weakest = enclose_passing((gates[0][:1], gates[1][:1]), correlation)
    inside = [(z @ half.normal >= half.level).mean() for half in (best, weakest)]
    passing = (z @ gates[0].T >= gates[1]).all(axis=1).mean()
    assert passing <= inside[0] < 0.2 * inside[1]


def test_a_gate_that_the_mean_passes_excludes_nothing():
    half = enclose_passing((np.array([[1.0]]), np.array([-0.5])), np.eye(1))
    assert not half.normal.any()


@pytest.mark.parametrize("bend", [None, 0.5])
def test_tangents_are_never_below(bend):
    ranking = Ranking((Term(0, 1.0, 2.0, bend), Term(1, -1.0, 1.0, -1.5)), 0.3, 0.7)
    z = np.random.default_rng(1).normal(size=(1000, 2))
    slope, offset = ranking.tangent(z[0])
    assert (z @ slope + offset >= ranking.scores(z) - 1e-12).all()
    assert np.isclose(z[0] @ slope + offset, ranking.scores(z[:1])[0])
