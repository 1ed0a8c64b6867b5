"""Contributions sum to the score, ranks without a literal are those of a search without it, and maps sum to z-scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from t2c_search.attribution.factors import PlaceFactors
from t2c_search.errors import UsageError
from t2c_search.explain.explainer import Explainer, Placed, Sources
from t2c_search.explain.explanation import Explanation
from t2c_search.explain.literals import shares_of
from t2c_search.explain.view import WHOLE
from t2c_search.query.execution.searcher import Searcher, Wanted
from t2c_search.query.language.syntax import parse
from t2c_search.stores import open_store
from t2c_search.types import CLIP
from tests.query.worlds import clustered, point_id

IMAGES, DIM = 300, 32
ASKED = (
    "dog",
    '"dog" AND "snow"',
    '"dog" AND "snow" AND "tree"',
    '"dog" AND "snow" AND NOT "crowd"',
    'NOT "crowd"',
    '"dog" >= 0.5sd AND "snow" AND NOT "ball" >= 1sd AND width >= 120',
    '"dog" AND "dog" >= 0sd AND NOT "dog" >= 3sd',
    '"dog" AND @taught AND 2 * "snow"',
    '("dog" AND NOT "crowd") OR ("cat" AND "water") OR (@named AND width < 150)',
    '"dog" OR width > 190',
    '"sunny" OVER "dog" AND image("abc") AND "dog" AND "water"',
)
WITHOUT = {
    '"dog" AND "snow" AND NOT "crowd"': {
        '"dog"': '"snow" AND NOT "crowd"',
        '"snow"': '"dog" AND NOT "crowd"',
        'NOT "crowd"': '"dog" AND "snow"',
    },
    '"dog" >= 0.5sd AND "snow" AND NOT "ball" >= 1sd AND width >= 120': {
        '"dog" >= 0.5sd': '"snow" AND NOT "ball" >= 1sd AND width >= 120',
        '"snow"': '"dog" >= 0.5sd AND NOT "ball" >= 1sd AND width >= 120',
        'NOT "ball" >= 1sd': '"dog" >= 0.5sd AND "snow" AND width >= 120',
    },
    '"dog" AND ("cat" OR "tree" AND width > 150)': {
        '"dog"': '"cat" OR "tree" AND width > 150',
        '"cat"': '"dog" AND "tree" AND width > 150 OR "dog"',
        '"tree"': '"dog" AND "cat" OR "dog" AND width > 150',
    },
    '"dog" OR "cat" AND width > 150': {'"dog"': '"cat" AND width > 150', '"cat"': '"dog" OR width > 150'},
}
"""What is left of expressions without their literals; an alternative without any is gone."""
WITHOUT['"dog" OR "cat" AND width > 150']['"cat"'] = '"dog"'


@pytest.fixture(scope="module")
def searcher() -> Iterator[Searcher]:
    store = open_store(":memory:", "words")
    yield clustered(store, IMAGES, DIM).searcher
    store.close()


def factors(seed: int) -> PlaceFactors:
    """Four places of an image of which they make up about half."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(1, 4, DIM, generator=generator) / 20
    return PlaceFactors(torch.nn.functional.normalize(parts.sum(1)), torch.zeros(1, DIM), parts, "exact", (2, 2))


SOURCES = Sources(lambda id, path: Placed(factors(len(path)), WHOLE, (8, 6)), lambda text: None)


def explained(searcher: Searcher, query: str, ids: list[str]) -> list[Explanation]:
    points = searcher.store.fetch(ids, vectors=(CLIP,))
    at = {each: row for row, each in enumerate(points.ids)}
    return list(Explainer(searcher, parse(query), SOURCES).explain(points.take([at[each] for each in ids])))


@pytest.mark.parametrize("query", ASKED)
def test_contributions_sum_to_the_score_and_maps_to_the_z(searcher: Searcher, query: str) -> None:
    hits = searcher.search(query, Wanted(40)).hits[::6]
    for hit, found in zip(hits, explained(searcher, query, [hit.id for hit in hits]), strict=True):
        assert found.id == hit.id
        assert found.found
        told = [literal.contribution for literal in found.literals]
        best = max([found.score, *(other.score for other in found.others if other.score is not None)])
        assert sum(told) == pytest.approx(found.score, abs=1e-9)
        if "OR width" not in query:  # what meets conditions alone scores 0, and has nothing to explain
            assert best == found.score == pytest.approx(hit.score, abs=1e-12)
            assert found.rank == hit.rank
            assert [(each.constraint, each.cosine, each.z, each.satisfied) for each in hit.contributions] == [
                (each.constraint, each.cosine, each.z, each.satisfied) for each in found.literals
            ]
        for literal in found.literals:
            assert literal.map.shape == found.grid == (2, 2)
            sign = 1 if literal.wanted else -1
            assert float(literal.map.sum()) == pytest.approx(sign * literal.z, abs=1e-4)


def test_a_place_is_claimed_by_one_wanted_text_at_most(searcher: Searcher) -> None:
    (hit,) = searcher.search('"snow"', Wanted(1))
    (found,) = explained(searcher, '"snow" AND "dog" AND NOT "crowd"', [hit.id])
    snow, dog, crowd = found.literals
    assert ((snow.claim > 0) & (dog.claim > 0)).sum() == 0
    assert np.array_equal(crowd.claim, crowd.map)
    (alone,) = explained(searcher, '"snow"', [hit.id])[0].literals
    assert np.allclose(alone.claim, alone.map - max(0, alone.map.mean()), atol=1e-6)


def test_negation_turns_a_map_round(searcher: Searcher) -> None:
    (hit,) = searcher.search('"snow"', Wanted(1))
    ((wanted,), (unwanted,)) = (explained(searcher, query, [hit.id])[0].literals for query in ('"snow"', 'NOT "snow"'))
    assert np.array_equal(wanted.map, -unwanted.map)
    assert wanted.z == unwanted.z
    assert wanted.contribution > 0 > unwanted.contribution


@pytest.mark.parametrize("query", WITHOUT)
def test_ranks_without_a_literal_are_those_of_a_search_without_it(searcher: Searcher, query: str) -> None:
    ids = [point_id(number) for number in range(0, IMAGES, 7)]
    ranks = {each: _ranks(searcher, each) for each in (query, *WITHOUT[query].values())}
    found = explained(searcher, query, ids)
    assert any(each.rank is None for each in found) == (">=" in query)
    for image in found:
        assert image.rank == ranks[query].get(image.id)
        assert image.found == (image.rank is not None)
        for literal in image.literals:
            assert literal.rank_without == ranks[WITHOUT[query][literal.constraint]].get(image.id)
        known = {each.constraint: each.rank_without for each in image.literals if each.rank_without}
        told = image.counterfactual
        if not known:
            assert told is None
        elif image.rank is None:
            assert told.rank_without == min(known.values())
        else:
            assert abs(told.rank_without - image.rank) == max(abs(each - image.rank) for each in known.values())
            assert known[told.constraint] == told.rank_without


def _ranks(searcher: Searcher, query: str) -> dict[str, int]:
    return {hit.id: hit.rank for hit in searcher.search(query, Wanted(IMAGES, exact=True))}


def test_a_lone_literal_has_no_counterfactual(searcher: Searcher) -> None:
    (found,) = explained(searcher, "dog", [point_id(5)])
    assert found.literals[0].rank_without is None
    assert found.counterfactual is None


def test_ranks_are_told_only_where_they_are_asked_for(searcher: Searcher) -> None:
    points = searcher.store.fetch([point_id(3)], vectors=(CLIP,))
    explainer = Explainer(searcher, parse('"dog" AND "snow"'), SOURCES, counterfactual=False)
    (found,) = explainer.explain(points)
    assert found.rank is None
    assert found.counterfactual is None
    assert found.found


def test_conditions_alone_have_nothing_to_explain(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="asks for no meaning"):
        Explainer(searcher, parse("width > 100"), SOURCES)


def test_shares_are_shapley_values_of_up_to_three_and_sum_for_more() -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 3, 5):
        table = {}

        def value(some: frozenset[int], table: dict[frozenset[int], float] = table) -> float:
            return table.setdefault(some, float(rng.normal()) if some else 0.0)

        shares = shares_of(value, number)
        assert sum(shares) == pytest.approx(value(frozenset(range(number))), abs=1e-12)
        if number <= 3:
            orders = list(permutations(range(number)))
            for player in range(number):
                added = [
                    value(frozenset(order[: order.index(player) + 1])) - value(frozenset(order[: order.index(player)]))
                    for order in orders
                ]
                assert shares[player] == pytest.approx(np.mean(added), abs=1e-12)


def test_an_image_that_has_changed_is_remarked(searcher: Searcher) -> None:
    points = searcher.store.fetch([point_id(3)], vectors=(CLIP,))
    own = torch.from_numpy(points.vectors[CLIP])
    for vectors, notes in ((own, 0), (torch.flip(own, (1,)), 1)):
        made = replace(factors(1), vectors=vectors)
        sources = replace(SOURCES, places=lambda id, path, made=made: Placed(made, WHOLE, (8, 6)))
        (found,) = Explainer(searcher, parse("dog"), sources).explain(points)
        assert len(found.notes) == notes
