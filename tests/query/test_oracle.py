"""The engine against brute force, on random constraint trees: same sets, same order, same numbers, on every store."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from t2c_search.errors import ExpressionError, UsageError
from t2c_search.filters import Equals, Exists, OneOf, Range
from t2c_search.query.constraints import And, Image, Like, Not, Or, Phrase, Saved
from t2c_search.query.normal_form import branches
from t2c_search.stores import open_store

from .strategies import concepts, thresholds, trees
from .worlds import WORDS, World, clustered, point_id, real_photos

K = 20
FIRST = point_id(0)
REAL_WORDS = ("dog", "person", "ball", "bicycle", "jacket", "hat", "water bottle", "boat", "horse", "umbrella")
ONCE = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["embedded", "memory", "server"])
def world(request, tmp_path_factory) -> World:
    locations = {"embedded": str(tmp_path_factory.mktemp("store")), "memory": ":memory:"}
    locations["server"] = os.environ.get("T2C_TEST_QDRANT_URL", "")
    if not locations[request.param]:
        pytest.skip("T2C_TEST_QDRANT_URL is not set")
    store = open_store(locations[request.param], "oracle")
    if store.exists():
        store.drop()
    yield clustered(store, 600)
    store.close()


@pytest.fixture(scope="module")
def photos(real_data: Path, tmp_path_factory) -> World:
    store = open_store(str(tmp_path_factory.mktemp("photos")), "photos")
    yield real_photos(store, real_data)
    store.close()


def conditions():
    return st.sampled_from(
        [
            Range(field="width", gte=150),
            Range(field="width", gt=110, lt=120),
            OneOf(field="camera", values=("X100", "A7")),
            Equals(field="tags", value="old"),
            Exists(field="score"),
            Range(field="score", lte=0.5),
        ]
    )


def searched(texts, others=()):
    """Trees of at most as many branches as are searched."""
    atoms = concepts(st.sampled_from([*(Phrase(text=text) for text in texts), *others]))
    return trees(st.one_of(atoms, thresholds(atoms), conditions())).filter(_is_searched)


def _is_searched(tree) -> bool:
    try:
        return bool(branches(tree))
    except ExpressionError:
        return False


def agree(world: World, tree) -> None:
    """Compare everything that the engine says of a tree with brute force."""
    engine, oracle = world.engine, world.oracle
    try:
        result = engine.search(tree, K)
    except UsageError as refused:  # a random difference of a concept with itself
        assume("cancels itself out" not in str(refused))
        raise
    best = oracle.ranking(tree)[:K]
    assert result.certificate.kind != "none"
    assert [hit.id for hit in result] == [point for point, _ in best]
    np.testing.assert_allclose([hit.score for hit in result], [score for _, score in best], atol=1e-7)
    members = oracle.members(tree)
    mined = [hit.id for hit in engine.mine(tree)]
    assert mined == sorted(members)
    assert engine.count(tree).count == len(members)


DRAWN = searched(WORDS, [Saved(name="taught"), Saved(name="named"), Image(path="seven"), Like(id=FIRST)])
PHOTOS = searched(REAL_WORDS, [Image(path="seven"), Like(id=FIRST)])


@settings(ONCE, max_examples=200)
@given(DRAWN)
def test_drawn_world(world, tree):
    agree(world, tree)


@settings(ONCE, max_examples=120)
@given(PHOTOS)
def test_real_photos(photos, tree):
    agree(photos, tree)


@settings(ONCE, max_examples=20)
@given(PHOTOS, PHOTOS, PHOTOS)
def test_boolean_laws_hold_to_the_last_photo(photos, a, b, c):
    def found(tree):
        assume(_is_searched(tree))
        return {hit.id for hit in photos.engine.mine(tree)}

    def neither(one, other):
        return And(parts=(Not(part=one), Not(part=other)))

    everything = set(photos.oracle.ids)
    try:
        assert found(Not(part=a)) == everything - found(a)
        assert found(Not(part=Or(parts=(a, b)))) == found(neither(a, b))
        assert found(And(parts=(a, Or(parts=(b, c))))) == found(And(parts=(a, b))) | found(And(parts=(a, c)))
        both, only = And(parts=(a, b)), And(parts=(a, Not(part=b)))
        assert len(found(a)) == photos.engine.count(both).count + photos.engine.count(only).count
    except UsageError as refused:
        assume("cancels itself out" not in str(refused))
        raise
