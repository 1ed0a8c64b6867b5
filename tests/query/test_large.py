"""Searches of more images than a first search returns: only there do later rounds, and what stops them, run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from t2c_search.errors import ExpressionError, UsageError
from t2c_search.query.execution.searcher import Wanted
from t2c_search.query.execution.topk import FIRST_CANDIDATES, Effort, find_top
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.language.constraints import Not, Or
from t2c_search.query.language.syntax import parse
from t2c_search.query.planning.normal_form import branches
from t2c_search.query.planning.planner import embed, plan
from t2c_search.query.planning.probe import Probe
from t2c_search.stores import open_store
from t2c_search.types import CLIP

from .strategies import concepts as made_of
from .strategies import thresholds
from .test_oracle import ONCE, conditions, searched
from .worlds import WORDS, World, clustered

SIZE = 7000
K = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    assert SIZE > 2 * FIRST_CANDIDATES + 100  # or a first search returns everything
    store = open_store(str(tmp_path_factory.mktemp("store")), "large")
    yield clustered(store, SIZE)
    store.close()


def alternatives():
    """A condition on the payload alone, or a negation, or whatever else."""
    atoms = made_of(st.sampled_from([Phrase(text=text) for text in WORDS]))
    negated = st.one_of(atoms, thresholds(atoms)).map(lambda part: Not(part=part))
    trees = st.tuples(conditions(), negated, searched(WORDS)).map(lambda parts: Or(parts=parts))
    return trees.filter(_is_searched)


def _is_searched(tree) -> bool:
    try:
        return bool(branches(tree))
    except ExpressionError:
        return False


def ranked(world: World, tree, count: int) -> list[str]:
    return [point for point, _ in world.oracle.ranking(tree)[:count]]


@pytest.mark.timeout(600)
@settings(ONCE, max_examples=80)
@given(alternatives())
def test_conditions_beside_negations_are_certified_and_right(world, tree):
    try:
        result = world.searcher.search(tree, Wanted(K, exact=True))
    except UsageError as refused:  # a random difference of a concept with itself
        assume("cancels itself out" not in str(refused))
        raise
    assert result.certificate.kind == "exact"
    assert [hit.id for hit in result] == ranked(world, tree, K)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "expression",
    [
        'width >= 150 OR "snow" OR NOT "dog" top 50%',
        'width >= 150 OR "snow" OR "dog" < -0.01sd',
        'width >= 150 OR "snow" OR NOT "dog" >= 0sd',
        'camera = X100 OR NOT "tree" OR "snow" >= 1sd',
        'width >= 150 OR "snow" OR "dog" < -0.01sd AND "dog" >= -0.02sd',
    ],
)
@pytest.mark.parametrize("limit", [1, 5, K])
def test_no_branch_is_asked_for_more_than_it_can_score(world, expression, limit):
    """What matches the condition alone scores 0, and other branches more still, which a negation may never reach."""
    result = world.searcher.search(expression, Wanted(limit, exact=True))
    assert result.certificate.kind == "exact"
    assert [hit.id for hit in result] == ranked(world, parse(expression), limit)


class Silent:
    """A store that finds nothing."""

    def __init__(self, store) -> None:
        self.store, self.capabilities = store, store.capabilities

    def search(self, queries):
        return [
            replace(answer, ids=[], payloads=[], vectors={CLIP: answer.vectors[CLIP][:0]}, scores=answer.scores[:0])
            for answer in self.store.search(queries)
        ]


@pytest.mark.timeout(60)
def test_a_round_that_brings_nothing_is_the_last(world, monkeypatch):
    """Were rounding to eat a bound's improvement, the same search would be asked for ever."""
    directions = world.searcher.directions
    asked = plan(embed(branches(parse('NOT "dog" AND "snow"')), directions), directions, mining=False)
    monkeypatch.setattr(Probe, "bound", lambda probe, answer, limit, enclosed: np.inf)
    top = find_top(Silent(world.searcher.store), asked, 5, Effort(SIZE, exact=True, candidates=5000))
    assert not top.found and top.open and top.fronts[0].rounds == 1
