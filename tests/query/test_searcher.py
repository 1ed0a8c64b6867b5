"""The operations beyond the oracle's reach: limits, estimates, facets, diversity, groups, words and refusals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from t2c_search.errors import ExpressionError, UsageError
from t2c_search.query.execution import mining
from t2c_search.query.execution.searcher import Wanted
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.query.planning.texts import Texts
from t2c_search.stores import open_store
from t2c_search.types import CLIP

from .worlds import World, clustered, point_id

SIZE = 6000


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    store = open_store(str(tmp_path_factory.mktemp("store")), "searcher")
    yield clustered(store, SIZE)
    store.close()


QUERIES = [
    '"dog" AND "snow" AND NOT "crowd"',
    '"dog" AND "cat" AND "tree" AND NOT "beach" AND NOT "ball"',
    '"dog" OR "red car" AND "crowd" OR "water" AND NOT "tree"',
    '"dog" >= 1sd AND "beach" >= 1sd AND NOT "ball" >= 0.5sd',
    'NOT "dog" AND NOT "tree"',
    'image("xyz") AND "night sky"',
    '("dog" OVER "cat") AND "snow" top 10%',
    '2 * "dog" + "ball" - "crowd"',
    '"water" AND width >= 190 AND NOT "tree"',
]


@pytest.mark.parametrize("expression", QUERIES)
def test_a_certificate_needs_few_candidates_and_is_right(world, expression):
    result = world.searcher.search(expression, Wanted(20, exact=True))
    assert result.certificate.kind == "exact" and result.certificate.gap == 0
    assert result.plan.candidates <= SIZE // 4
    assert [hit.id for hit in result] == [point for point, _ in world.oracle.ranking(parse(expression))[:20]]


def test_too_few_candidates_give_an_honest_answer(world):
    expression = '("dog" OVER "cat") AND "snow" top 30% AND NOT "tree" top 30% AND ("ball" OVER "beach")'
    result = world.searcher.search(expression, Wanted(3, exact=True, max_candidates=8))
    assert result.certificate.kind == "none" and result.certificate.gap > 0
    assert result.plan.candidates <= 8
    best = world.oracle.ranking(parse(expression))[:3]
    found = [hit.score for hit in result]
    assert found == sorted(found, reverse=True)
    unseen = [score for point, score in best if point not in {hit.id for hit in result}]
    assert max(unseen, default=-np.inf) <= (found[-1] if len(found) == 3 else np.inf) + result.certificate.gap


def test_more_hits_than_candidates_may_be_asked_for(world):
    assert len(world.searcher.search("dog", Wanted(5500, max_candidates=10))) == 5500
    assert len(world.searcher.search("dog", Wanted(SIZE + 10))) == SIZE


def test_where_narrows_every_operation(world):
    expression, where = '"dog" OR "water"', "width >= 150"
    tree, condition = parse(expression), parse_filter(where)
    best = world.oracle.ranking(tree, condition)[:20]
    assert [hit.id for hit in world.searcher.search(expression, Wanted(20, exact=True), where=where)] == [
        p for p, _ in best
    ]
    within = [hit.id for hit in world.searcher.mine(expression, where=condition)]
    assert set(within) == world.oracle.members(parse(f"({expression}) AND {where}"))
    assert world.searcher.count(expression, where=where).count == len(within)


@pytest.mark.parametrize(
    "expression", ["dog", '"dog" AND width >= 120', '"dog" AND tags = old OR "snow" AND width >= 120']
)
def test_an_estimate_covers_the_count(world, expression):
    exact = world.searcher.count(expression)
    estimate = world.searcher.count(expression, approximate=True)
    assert exact.exact and exact.low == exact.count == exact.high
    assert not estimate.exact and estimate.low < estimate.count < estimate.high
    assert estimate.low <= exact.count <= estimate.high
    assert estimate.high - estimate.low < SIZE / 10


@pytest.mark.parametrize("at", range(8))
def test_a_count_by_several_thresholds_reads_no_vector_but_those_on_them(world, monkeypatch, at):
    """Each threshold is exactly where an image lies, which single precision cannot tell."""
    monkeypatch.setattr(mining, "_FEW_SHARE", 0)
    (hit,) = list(world.searcher.mine('"dog" >= 1sd AND "ball" >= 0.5sd'))[at : at + 1]
    dog, ball = (repr(each.cosine) for each in hit.contributions)
    for expression in (f'"dog" >= {dog} AND NOT "ball" > {ball}', f'"dog" >= {dog} AND "ball" > {ball}'):
        counted, members = world.searcher.count(expression), {found.id for found in world.searcher.mine(expression)}
        assert counted.count == len(members)
        assert (hit.id in members) == ("NOT" in expression)
        assert counted.plan.candidates <= counted.count + 4


def test_a_count_of_more_than_was_expected_is_complete(world, monkeypatch):
    expression = '"dog" >= 1sd AND "ball" >= 0.5sd'
    expected = len(world.oracle.members(parse(expression)))
    monkeypatch.setattr(mining, "_FEW_SHARE", 0)
    monkeypatch.setattr(mining, "_limit", lambda probe, points, most: expected // 2)
    assert world.searcher.count(expression).count == expected


def test_facets_count_every_value_among_the_matches(world):
    members = world.oracle.members(parse("dog"))
    payloads = [p for point, p in zip(world.oracle.ids, world.oracle.payloads, strict=True) if point in members]
    counted = Counter(tag for payload in payloads for tag in payload.get("tags", []))
    assert world.searcher.facets("dog", "tags") == sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    assert len(world.searcher.facets("dog", "width", limit=3)) == 3


def test_a_hit_says_what_each_constraint_makes_of_it(world):
    hit = world.searcher.search('"dog" >= 1sd AND NOT "snow"', Wanted(1, exact=True))[0]
    dog, snow = hit.contributions
    assert (dog.constraint, snow.constraint) == ('"dog" >= 1sd', 'NOT "snow"')
    at = world.oracle.ids.index(hit.id)
    direction = world.oracle.direction(parse('"dog"'))
    assert np.isclose(dog.cosine, world.oracle.rows[at] @ direction) and np.isclose(hit.cosine, dog.cosine)
    assert np.isclose(dog.z, world.oracle.z(direction)[at]) and dog.satisfied and dog.z >= 1
    assert hit.path == hit.payload["path"] == world.oracle.payloads[at]["path"]


def test_the_plan_reads_like_an_explanation(world):
    plan = str(world.searcher.search('"dog" AND "snow" AND NOT "crowd" AND width > 3', Wanted(5)).plan)
    for part in (
        "1 branch, ",
        "where   width > 3",
        'NOT "crowd"',
        'z("dog, snow")',
        'log sigmoid(-z("crowd") +1.5)',
    ):
        assert part in plan


def test_the_direction_of_a_plan_is_in_standard_deviations(world):
    mined = world.searcher.mine('"dog" >= 1sd AND "snow" >= 0.5sd')
    hits = list(mined)
    (branch,) = mined.plan.branches
    depth = sum(
        weight * world.oracle.z(world.oracle.direction(parse(name))) for name, weight in branch.direction.items()
    )
    assert branch.path == "search" and np.isclose(depth.std(), 1)
    assert branch.candidates == mined.plan.candidates >= len(hits) > 0
    found = depth[[world.oracle.ids.index(hit.id) for hit in hits]]
    assert found.min() >= np.sort(depth)[-branch.candidates]  # they are among the furthest in it
    assert [constraint.z for constraint in branch.constraints] == pytest.approx([1, 0.5])


def test_images_deleted_while_they_are_mined_are_left_out(tmp_path):
    store = open_store(str(tmp_path), "mined")
    searcher = clustered(store, 3000).searcher
    ids = [hit.id for hit in searcher.mine('"dog" top 60%')]
    hits = searcher.mine('"dog" top 60%')
    first = next(hits)
    store.delete(ids[-10:])
    rest = list(hits)
    assert [first.id, *(hit.id for hit in rest)] == ids[:-10]
    assert [first.rank, *(hit.rank for hit in rest)] == list(range(1, len(ids) - 9))
    store.close()


def test_facets_of_equal_counts_stand_in_order_of_value(world):
    listed = world.searcher.facets("width EXISTS", "width", limit=200)
    assert listed == sorted(listed, key=lambda entry: (-entry[1], entry[0])) and len(listed) == 100


def test_fewer_candidates_than_branches_still_find_something(world):
    result = world.searcher.search('"dog" OR "cat" OR "snow"', Wanted(1, exact=True, max_candidates=1))
    assert len(result) == 1 and result.plan.candidates <= 2 and result.certificate.kind == "none"


def test_an_empty_wording_is_refused(world):
    with pytest.raises(UsageError, match="one of the texts for the concept is empty"):
        world.searcher.directions.texts.worded(["a dog", " "])


def test_texts_that_join_in_a_sentence_are_not_taken_for_their_sum(world):
    plain = world.searcher.search('"dog" AND "snow"', Wanted(5))
    with_sum = world.searcher.search('"dog" AND "snow" AND ("dog" + "snow") >= -9sd', Wanted(5))
    names = [branch.ranked_by for branch in (*plain.plan.branches, *with_sum.plan.branches)]
    assert names[0] == ('z("dog, snow")',)
    assert 'log sigmoid(z("dog, snow") -1.5)' in names[1] and len(names[1]) == 2


def test_the_plan_of_opposites_that_cancel_out_has_finite_weights(world):
    expression = '("dog" OVER "snow") AND ("snow" OVER "dog")'
    for plan in (world.searcher.search(expression).plan, world.searcher.count(expression).plan):
        (branch,) = plan.branches
        assert np.isfinite(list(branch.direction.values())).all() and str(plan)


def test_diverse_hits_are_less_alike_and_keep_the_best(world):
    plain, diverse = world.searcher.search("dog", Wanted(10)), world.searcher.search("dog", Wanted(10, diverse=True))
    assert plain[0].id == diverse[0].id and len({hit.id for hit in diverse}) == 10

    def likeness(result):
        rows = world.searcher.store.fetch([hit.id for hit in result], vectors=(CLIP,), payload=False).vectors[CLIP]
        return np.mean((rows @ rows.T)[np.triu_indices(10, 1)])

    assert likeness(diverse) < likeness(plain)


def test_groups_show_the_best_of_each_value(world):
    result = world.searcher.search("dog", Wanted(3, group_by="camera", exact=True))
    assert {hit.payload["camera"] for hit in result} == {"X100", "A7", "phone"}
    ranking = [point for point, _ in world.oracle.ranking(parse("dog"))]
    cameras = [world.oracle.payloads[world.oracle.ids.index(point)].get("camera") for point in ranking]
    assert [hit.id for hit in result] == [
        ranking[at] for at in sorted(cameras.index(hit.payload["camera"]) for hit in result)
    ]


def test_paraphrases_of_the_thing_itself_are_one_direction():
    texts = Texts(lambda prompts: pytest.fail("nothing needs embedding"))
    wanted = ["dog", "a dog", "the dog", "A photo of a dog", "there is a dog", "pictures of dog"]
    assert len({texts.prompts(text) for text in wanted}) == 1
    assert texts.prompts("the") == ("the", "a the", "the the")  # nothing else is left
    closed = Texts(lambda prompts: pytest.fail("nothing needs embedding"), free_text=False)
    assert closed.prompts("a dog") == ("a dog",)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("@tought", "no concept is saved as @tought; did you mean @taught"),
        ('like("nothing")', "no image of that id"),
        (f'like("{point_id(10**6)}")', "no image of that id"),
        ('"dog" OVER "dog"', "cancels itself out"),
        ('"dog" - "dog"', "cancels itself out"),
    ],
)
def test_concepts_that_are_not_there(world, expression, message):
    with pytest.raises(UsageError, match=message):
        world.searcher.search(expression)


def test_too_many_alternatives_are_refused_before_they_are_made(world):
    either = " AND ".join(f'("dog {at}" OR "cat {at}")' for at in range(40))
    with pytest.raises(ExpressionError, match=f"multiplies out to {2**40} alternatives, and at most 32"):
        world.searcher.search(either)
    assert world.searcher.count(" AND ".join(f"(width > {at} OR score > 2)" for at in range(40))).exact  # one filter


def test_unusable_arguments_are_refused(world):
    with pytest.raises(UsageError, match="limit 0"):
        world.searcher.search("dog", Wanted(0))
    with pytest.raises(UsageError, match="one of them"):
        world.searcher.search("dog", Wanted(diverse=True, group_by="camera"))
    with pytest.raises(ExpressionError, match="no payload field widht"):
        world.searcher.count("dog", where="widht > 3")
