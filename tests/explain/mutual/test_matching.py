"""Descriptors of parts: distinct, as many each, and as good together as the exact assignment."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment

from t2c_search.explain.mutual.matching import match


def exact(scores: np.ndarray, capacity: list[int]) -> float:
    """The best sum of scores there is, by the Hungarian method on parts that stand there as often as they take descriptors."""
    rows = np.repeat(np.arange(len(scores)), capacity)
    own, chosen = linear_sum_assignment(-scores[rows])
    return float(scores[rows[own], chosen].sum())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("parts", "number"), [(5, 50), (3, 50), (1, 7), (4, 4)])
def test_parts_have_descriptors_of_their_own_and_nearly_the_best(seed: int, parts: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(1, 400))  # parts of one image are alike, and would all have the same descriptors
    scores = 0.2 * common + 0.1 * rng.normal(size=(parts, 400))
    found = match(scores, number)
    every = np.concatenate(found)
    assert len(set(every.tolist())) == len(every) == number
    sizes = [len(each) for each in found]
    assert sum(sizes) == number and max(sizes) - min(sizes) <= 1
    reached = sum(float(scores[part, each].sum()) for part, each in enumerate(found))
    assert reached > 0.99 * exact(scores, sizes)
    for part, each in enumerate(found):
        assert (np.diff(scores[part, each]) <= 0).all()


def test_it_is_optimal_transport_with_a_part_for_what_is_left() -> None:
    """POT's exact plan between descriptors of equal mass and parts of the masses that they take, one of them "none"."""
    scores = np.random.default_rng(11).normal(size=(3, 60))
    masses = np.array([5, 5, 5, 45]) / 60
    plan = ot.emd(np.full(60, 1 / 60), masses, -np.column_stack([scores.T, np.zeros(60)]))
    wanted = [set(np.flatnonzero(plan[:, part] > 0.5 / 60).tolist()) for part in range(3)]
    assert [set(each.tolist()) for each in match(scores, 15)] == wanted


def test_parts_that_are_the_same_share_what_either_would_take() -> None:
    scores = np.tile(np.random.default_rng(12).normal(size=100), (2, 1))
    found = match(scores, 10)
    assert set(np.concatenate(found).tolist()) == set(np.argsort(-scores[0])[:10].tolist())
    assert [len(each) for each in found] == [5, 5]


def test_all_descriptors_may_be_dealt_out_and_large_scores_do_no_harm() -> None:
    scores = 1e4 * np.random.default_rng(13).normal(size=(2, 12))
    found = match(scores, 12)
    assert sorted(np.concatenate(found).tolist()) == list(range(12))
