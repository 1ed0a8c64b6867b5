"""Answers are as certain as they say: contradictions, groups, limits of time and candidates, collections of one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from t2c_search.errors import ExpressionError, UsageError
from t2c_search.query.execution import account
from t2c_search.query.execution.searcher import Known, Searcher, Wanted
from t2c_search.query.execution.selection import diverse
from t2c_search.query.language.syntax import parse
from t2c_search.query.planning.halfspace import enclose_passing
from t2c_search.query.planning.texts import Texts
from t2c_search.results import StatisticsUsed
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP, Points

from .worlds import ClusteredWords, World, clustered, point_id, unit

SIZE = 6000


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    store = open_store(str(tmp_path_factory.mktemp("store")), "certainty")
    yield clustered(store, SIZE)
    store.close()


def searcher_of(rows, payloads=None, statistics=None, words=None, embed_image=None) -> Searcher:
    ids = [point_id(number) for number in range(len(rows))]
    payloads = payloads or [{"path": point} for point in ids]
    if statistics is None:
        statistics = VectorStatistics(rows.shape[1])
        statistics.add(ids, rows)
    store = open_store(":memory:", "few")
    store.create(CollectionSpec.of({CLIP: rows.shape[1]}, {}))
    store.upsert(Points(ids, payloads, {CLIP: rows}))
    return Searcher(store, Known(statistics), Texts(words or ClusteredWords(rows.shape[1])), embed_image)


CONTRADICTIONS = [
    '"dog" >= 0sd AND NOT "dog" >= 0sd',
    '"dog" >= 2sd AND "dog" < 1sd',
    '"dog" > 1sd AND "dog" <= 1sd',
    '"dog" >= 0sd AND "a dog" < 0sd AND "cat"',
    '("dog" OR "cat" >= 0sd) AND "dog" >= 1sd AND "dog" < 1sd',
    'NOT ("dog" top 10% OR NOT "dog" top 10%)',
]


@pytest.mark.parametrize("expression", CONTRADICTIONS)
def test_what_contradicts_itself_matches_nothing_for_certain(world, expression):
    result = world.searcher.search(expression, Wanted(5, exact=True))
    assert not result and result.certificate.kind == "exact" and not result.plan.candidates
    assert list(world.searcher.mine(expression)) == []
    counted, estimate = world.searcher.count(expression), world.searcher.count(expression, approximate=True)
    assert counted.exact and counted.count == estimate.count == estimate.high == 0
    assert world.searcher.facets(expression, "camera") == []
    assert not world.searcher.search(expression, Wanted(5, group_by="camera"))


def test_thresholds_that_meet_in_one_value_do_not_contradict_each_other(world):
    cosine = repr(world.searcher.search("dog", Wanted(1, exact=True))[0].contributions[0].cosine)
    found = world.searcher.search(f'"dog" >= {cosine} AND "dog" <= {cosine}', Wanted(5, exact=True))
    assert found and all(repr(hit.cosine) == cosine for hit in found)


def test_only_the_alternative_that_contradicts_itself_is_left_out(world):
    result = world.searcher.search('"dog" >= 2sd AND "dog" < 1sd OR "snow"', Wanted(20, exact=True))
    assert [hit.id for hit in result] == [hit.id for hit in world.searcher.search("snow", Wanted(20, exact=True))]
    assert result.certificate.kind == "exact" and len(result.plan.branches) == 1


def test_a_group_however_rare_is_found():
    words = ClusteredWords(32)
    rows = words.images(3000)
    rare = int(np.argmin(rows @ words.embed("dog")))
    cameras = ["rare" if number == rare else "common" for number in range(len(rows))]
    payloads = [{"path": f"{number}.jpg", "camera": camera} for number, camera in enumerate(cameras)]
    searcher = searcher_of(rows, payloads, words=words)
    result = searcher.search("dog", Wanted(10, group_by="camera"))
    assert [hit.payload["camera"] for hit in result] == ["common", "rare"]
    assert result.certificate.kind == "exact"
    assert result.plan.candidates < 200
    for limits in ({"max_seconds": 0}, {"max_candidates": 1}):
        hurried = searcher.search("dog", Wanted(2, group_by="camera", **limits))
        assert [hit.payload["camera"] for hit in hurried] == ["common"]
        assert hurried.certificate.kind == "none" and hurried.certificate.gap == np.inf


def test_images_seen_but_not_chosen_from_are_vouched_for_by_nobody():
    """The first search returns them all, but groups are chosen from the best: the others may hold a group of their own."""
    words = ClusteredWords(32)
    rows = words.images(60)[:20]
    order = np.argsort(-(rows @ words.embed("dog")))
    payloads = [{"path": f"{at}.jpg", "camera": "rare" if at == order[-1] else "common"} for at in range(len(rows))]
    hurried = searcher_of(rows, payloads, words=words).search(
        '"dog" AND NOT "snow"', Wanted(2, group_by="camera", max_seconds=0)
    )
    assert [hit.payload["camera"] for hit in hurried] == ["common"] and hurried.certificate.kind == "none"


@pytest.mark.parametrize("expression", ["dog", '"dog" AND NOT "snow"', 'width >= 150 OR "dog" >= 1sd', "width < 130"])
@pytest.mark.parametrize("field", ["camera", "width", "tags", "score"])
@pytest.mark.parametrize("limit", [3, 60])
def test_groups_are_those_of_the_whole_ranking(world, expression, field, limit):
    expected, taken = [], set()
    payloads = dict(zip(world.oracle.ids, world.oracle.payloads, strict=True))
    for point, _ in world.oracle.ranking(parse(expression)):
        value = payloads[point].get(field, [])
        values = set(value if isinstance(value, list) else [value])
        if values and not values & taken:
            expected.append(point)
            taken |= values
    result = world.searcher.search(expression, Wanted(limit, group_by=field, exact=True))
    assert result.certificate.kind == "exact"
    assert [hit.id for hit in result] == expected[:limit]


def test_what_cannot_group_is_refused(world):
    with pytest.raises(ExpressionError, match="no payload field camra"):
        world.searcher.search("dog", Wanted(group_by="camra"))
    places = [{"path": "a.jpg", "gps": {"lat": 1.0, "lon": 2.0}}, {"path": "b.jpg"}]
    with pytest.raises(UsageError, match="'gps' cannot group images: that of a.jpg is not a word or number"):
        searcher_of(ClusteredWords(32).images(60)[:2], places).search("dog", Wanted(group_by="gps"))


SLOW = '"dog" >= 1sd AND "cat" >= 1sd AND NOT "snow" >= 0sd'


def test_a_search_out_of_time_ends_honestly(world):
    whole = world.searcher.search(SLOW, Wanted(20, exact=True))
    assert whole.certificate.kind == "exact" and whole.plan.rounds > 1
    hurried = world.searcher.search(SLOW, Wanted(20, exact=True, max_seconds=0))
    assert hurried.plan.rounds == 1
    assert hurried.certificate.kind == "none" and hurried.certificate.gap > 0
    unseen = [hit.score for hit in whole if hit.id not in {found.id for found in hurried}]
    last = hurried[-1].score if len(hurried) == 20 else np.inf
    assert max(unseen, default=-np.inf) <= last + hurried.certificate.gap


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_seconds": -1}, "max_seconds -1 cannot be used; expected 0 or more"),
        ({"max_seconds": float("nan")}, "max_seconds nan"),
        ({"max_candidates": 0}, "max_candidates 0 cannot be used; expected 1 to 1000000"),
        ({"max_candidates": -5}, "max_candidates -5"),
    ],
)
def test_limits_that_mean_nothing_are_refused(world, limits, message):
    with pytest.raises(UsageError, match=message):
        world.searcher.search("dog", Wanted(**limits))


def test_alternatives_beyond_counting_are_refused_in_one_line(world):
    either = '("dog" OR "cat")'
    tree = parse(f"{either} AND {either}")
    tree = tree.model_copy(update={"parts": tree.parts * 25})
    with pytest.raises(ExpressionError, match=r"more than 10\^15 alternatives, and at most 32"):
        world.searcher.search(tree)


def test_the_time_that_models_take_is_told_apart(monkeypatch):
    words, clock = ClusteredWords(32), [0.0]

    def slow(texts):
        clock[0] += 10
        return words(texts)

    monkeypatch.setattr(account, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    searcher = searcher_of(words.images(60), words=slow, embed_image=lambda path: slow([path])[0])
    seconds = searcher.search('"dog" AND image("snow")').plan.seconds
    assert list(seconds) == ["plan", "embed", "search", "payload"]
    assert [step for step, passed in seconds.items() if passed] == ["embed"]


@pytest.mark.parametrize("kept", range(6))
def test_a_collection_shrunk_to_one_image_is_searched_like_any_other(kept):
    """What rounding leaves in its statistics is no covariance."""
    words = ClusteredWords(64)
    rows, statistics = words.images(60), VectorStatistics(64)
    others = [point_id(number) for number in (100, 101, 102)]
    statistics.add(others, rows[10:13])
    statistics.add([point_id(0)], rows[kept : kept + 1])
    statistics.remove(others, rows[10:13])
    searcher = searcher_of(rows[kept : kept + 1], statistics=statistics, words=words)
    for expression in ('"dog" AND "snow" AND NOT "cat"', '"dog" OR NOT "cat"', '("dog" OVER "cat") AND "snow"'):
        result = searcher.search(expression)
        assert len(result) == 1 and result.certificate.kind == "exact"
    assert searcher.count('"dog" >= -1sd AND NOT "cat" >= 1sd').count == 1
    assert searcher.count('"dog" AND "cat"').count == 0


def test_a_row_whose_variance_is_rounding_does_not_break_the_enclosure():
    """Of two concepts that are nearly one, a tangent may be their difference."""
    correlation = np.array([[1.0, 1.0 - 1e-15], [1.0 - 1e-15, 1.0]])
    rows = np.array([[1.0, -1.0], [1.0, 0.0], [0.3, -0.3]])
    for noise in (-4e-16, 0.0, 4e-16):
        half = enclose_passing((rows, np.array([0.5, 0.1, 0.2])), correlation + noise * np.eye(2))
        assert np.isfinite(half.normal).all() and np.isfinite(half.level)


def test_the_same_image_is_shown_once_while_others_are_left():
    rng = np.random.default_rng(3)
    once = unit(rng.normal(size=(12, 16)))
    rows = np.repeat(once, 2, axis=0).astype(np.float32)
    scores = np.linspace(1, 0.4, 24)
    chosen = diverse(rows, scores, np.zeros(16), 24)
    assert sorted(at // 2 for at in chosen[:12]) == list(range(12)) and chosen[0] == 0
    assert sorted(chosen) == list(range(24))


class Counting:
    """A store that counts its scans."""

    def __init__(self, store) -> None:
        self.store = store
        self.scans = 0

    def scan(self, **asked):
        self.scans += 1
        return self.store.scan(**asked)

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.mark.parametrize(
    ("expression", "scans"),
    [
        ('NOT "dog" >= 2sd', 0),
        ('"dog" >= -1.5sd', 0),
        ('NOT "dog" > 2sd AND width < 150', 0),
        ('"dog" < 0.1sd', 1),
        (" OR ".join(f'"{word}" >= 0sd' for word in ("dog", "cat", "snow", "beach", "ball")), 1),
        ('"dog" >= 0sd OR "cat" >= 0sd AND width < 150 OR "snow" >= 0sd OR "ball" < 0sd AND width < 150', 2),
    ],
)
def test_a_count_reads_every_vector_once_at_most(world, monkeypatch, expression, scans):
    store = Counting(world.searcher.store)
    monkeypatch.setattr(world.searcher, "store", store)
    counted = world.searcher.count(expression)
    assert counted.count == len(world.oracle.members(parse(expression))) and counted.exact
    assert store.scans == scans
    assert {hit.id for hit in world.searcher.mine(expression)} == world.oracle.members(parse(expression))


@pytest.mark.parametrize(
    ("expression", "searched", "mined"),
    [
        ('"dog" >= 1sd', True, True),
        ('"dog" AND "snow" top 5%', True, True),
        ('"dog"', False, True),  # which mining compares with the default threshold
        ('"dog" >= 0.01', False, False),
        ("width > 120", False, False),
    ],
)
def test_an_answer_says_of_how_many_images_its_thresholds_are_while_an_indexer_is_at_work(
    world, expression, searched, mined
):
    known = world.searcher.known
    assert known.used is not None and known.used.current
    stale = StatisticsUsed(SIZE, "some revision", current=False)
    meanwhile = Searcher(
        world.searcher.store, replace(known, used=stale), world.searcher.directions.texts, lambda path: None
    )
    for answer, says in (
        (meanwhile.search(expression), searched),
        (meanwhile.mine(expression), mined),
        (meanwhile.count(expression), mined),
        (meanwhile.count(expression, approximate=True), mined),
    ):
        assert answer.statistics is stale and answer.as_of == (SIZE if says else None)
        told = answer.to_json()
        assert told["statistics"] == {"images": SIZE, "revision": "some revision", "current": False}
        assert told["as_of"] == answer.as_of
    for answer in (
        world.searcher.search(expression),
        world.searcher.mine(expression),
        world.searcher.count(expression),
    ):
        assert answer.statistics is known.used and answer.as_of is None
