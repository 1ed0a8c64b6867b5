"""Hedges' g from moments is that of the scores themselves, unbiased, and defined where groups are small or do not vary."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.effects import Group, hedges_g


def group(rows: np.ndarray) -> Group:
    return Group(len(rows), rows.mean(0), rows.var(0, ddof=1))


def test_g_is_what_its_definition_gives() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 2, (7, 30)), rng.normal(0, 1, (12, 30))
    pooled = np.sqrt((6 * one.var(0, ddof=1) + 11 * other.var(0, ddof=1)) / 17)
    correction = 1 - 3 / (4 * 17 - 1)  # Hedges' approximation, within 0.0001 here
    expected = correction * (one.mean(0) - other.mean(0)) / pooled
    np.testing.assert_allclose(hedges_g(group(one), group(other)), expected, rtol=2e-4)
    np.testing.assert_allclose(hedges_g(group(other), group(one)), -hedges_g(group(one), group(other)))


def test_small_groups_do_not_exaggerate() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.8, 1, (4, 20_000)), rng.normal(0, 1, (4, 20_000))
    assert hedges_g(group(one), group(other)).mean() == pytest.approx(0.8, abs=0.02)


def test_what_does_not_vary_or_is_not_there() -> None:
    still = Group(3, np.array([1.0, 2.0]), np.zeros(2))
    other = Group(5, np.array([1.0, 1.0]), np.zeros(2))
    assert hedges_g(still, other).tolist() == [0.0, np.inf]
    nothing = Group(0, np.zeros(2), np.zeros(2))
    assert np.isnan(hedges_g(nothing, other)).all()
    alone = Group(1, np.array([3.0, 1.0]), np.full(2, np.nan))
    assert np.isfinite(hedges_g(alone, Group(9, np.ones(2), np.ones(2)))).all()
