"""Estimates at the edges: nothing that matches, nothing that was seen, and all of it."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.query.execution.estimate import _wilson
from t2c_search.stores import open_store

from .worlds import World, clustered


@pytest.fixture(scope="module")
def world() -> World:
    return clustered(open_store(":memory:", "estimate"), 3000)


@pytest.mark.parametrize(
    "expression",
    [
        '"dog" AND camera = "none"',
        'camera = "none"',
        '"dog" AND camera = "none" OR "cat" AND tags = "none"',
        '"dog" AND NOT "cat" AND width > 10000',
    ],
)
def test_a_filter_that_nothing_matches_leaves_none_for_certain(world, expression):
    found = world.searcher.count(expression, approximate=True)
    assert (found.count, found.low, found.high, found.exact) == (0, 0, 0, True)
    assert world.searcher.count(expression).count == 0


def test_an_alternative_that_nothing_matches_takes_nothing_from_the_other(world):
    alone = world.searcher.count('"dog" AND width >= 120', approximate=True)
    beside = world.searcher.count('"dog" AND width >= 120 OR "cat" AND camera = "none"', approximate=True)
    assert (alone.count, alone.low, alone.high) == (beside.count, beside.low, beside.high) and alone.count > 0


def test_what_no_image_of_the_sample_shows_is_estimated_at_none_and_at_most_a_few(world):
    found = world.searcher.count('"dog" >= 60sd', approximate=True)
    assert found.count == found.low == 0 < found.high < 15
    assert not found.exact


@pytest.mark.parametrize("size", [1, 10, 500, 1000, 4096])
def test_an_interval_lies_among_what_is_possible(size):
    for total in (size, size + 1, 3 * size, 10**7):
        for hits in {0, 1, size // 3, size - 1, size}:
            estimate, low, high = _wilson(hits, size, total)
            assert hits <= low <= estimate <= high <= total - (size - hits)


def test_a_sample_of_nothing_says_nothing():
    assert _wilson(0, 0, 0) == (0, 0, 0)
    assert _wilson(0, 0, 70) == (0, 0, 70)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    for truth in (20, 300, 5000, 9990):
        draws = [_wilson(int(hits), 500, 10_000) for hits in rng.hypergeometric(truth, 10_000 - truth, 500, 2000)]
        assert np.mean([low <= truth <= high for _, low, high in draws]) >= 0.93
