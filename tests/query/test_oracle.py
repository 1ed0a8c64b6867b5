"""The searcher against brute force, on random constraint trees: same sets, same order, same numbers, on every store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from t2c_search.errors import ExpressionError, UsageError
from t2c_search.filters import Equals, Exists, OneOf, Range
from t2c_search.query.execution.searcher import Wanted
from t2c_search.query.language.concepts import Image, Like, Phrase, Saved
from t2c_search.query.language.constraints import And, Not, Or
from t2c_search.query.planning.normal_form import branches
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from tests.stubs.rest import QdrantStub

from .strategies import concepts, thresholds, trees
from .worlds import WORDS, World, clustered, drawn_scenes, point_id, read_photos, real_photos

K = 20
FIRST = point_id(0)
TREES = 500
TURNS = {"embedded": 1, "memory": 10, "server": 25} if "T2C_ORACLE_FULL" not in os.environ else {}
"""Every how manieth tree goes to a store: the slower it answers, the fewer. ``T2C_ORACLE_FULL=1`` asks all of all."""
SCENES = 250
DRAWN_WORDS = ("circle", "red star", "striped square", "blue", "triangle", "ring", "on grass", "at night", "2 hearts")
REAL_WORDS = ("dog", "person", "ball", "bicycle", "jacket", "hat", "water bottle", "boat", "horse", "umbrella")
ONCE = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def locations(tmp_path_factory) -> Iterator[dict[str, str]]:
    with QdrantStub() as stub:
        server = os.environ.get("T2C_TEST_QDRANT_URL", stub.url)
        yield {"embedded": str(tmp_path_factory.mktemp("store")), "memory": ":memory:", "server": server}


@contextmanager
def opened(locations: dict[str, str], name: str) -> Iterator[dict[str, VectorStore]]:
    stores = {kind: open_store(location, name) for kind, location in locations.items()}
    for store in stores.values():
        if store.exists():
            store.drop()
    yield stores
    for store in stores.values():
        store.close()


@pytest.fixture(scope="module")
def scenes(locations) -> Iterator[World]:
    with opened(locations, "oracle-scenes") as stores:
        yield drawn_scenes(stores, SCENES)


@pytest.fixture(scope="module")
def photos(locations, real_data: Path) -> Iterator[World]:
    with opened(locations, "oracle-photos") as stores:
        yield real_photos(stores, real_data)


@pytest.fixture(scope="module")
def read(locations, real_data: Path) -> Iterator[World]:
    with opened(locations, "oracle-read") as stores:
        yield read_photos(stores, real_data, SCENES)


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
    """Compare everything that the searchers say of a tree with brute force."""
    try:
        result = world.searcher.search(tree, Wanted(K))
    except UsageError as refused:  # a random difference of a concept with itself
        assume("cancels itself out" not in str(refused))
        raise
    best, members = world.oracle.ranking(tree)[:K], sorted(world.oracle.members(tree))
    for name, searcher in world.searchers.items():
        if world.asked % TURNS.get(name, 1) == 0:
            result = result if searcher is world.searcher else searcher.search(tree, Wanted(K))
            assert result.certificate.kind != "none"
            assert [hit.id for hit in result] == [point for point, _ in best]
            scores = [hit.score or 0.0 for hit in result]  # conditions alone give none
            np.testing.assert_allclose(scores, [score for _, score in best], atol=1e-7)
            assert [hit.id for hit in searcher.mine(tree)] == members
            assert searcher.count(tree).count == len(members)
    world.asked += 1


SAVED = [Saved(name="taught"), Saved(name="named")]
OTHERS = [Image(path="seven"), Like(id=FIRST)]
PHOTOS = searched(REAL_WORDS, OTHERS)


@pytest.mark.timeout(3600)
@settings(ONCE, max_examples=TREES)
@given(searched(DRAWN_WORDS, SAVED + OTHERS))
def test_drawn_scenes(scenes, tree):
    agree(scenes, tree)


@pytest.mark.timeout(3600)
@settings(ONCE, max_examples=TREES)
@given(PHOTOS)
def test_real_photos(photos, tree):
    agree(photos, tree)


@pytest.mark.timeout(3600)
@settings(ONCE, max_examples=TREES // 5)
@given(searched(REAL_WORDS, SAVED + OTHERS))
def test_real_photos_whose_texts_join_in_a_sentence(read, tree):
    agree(read, tree)


def test_nearly_every_search_is_certified_within_the_candidates_allowed(tmp_path: Path):
    store = open_store(str(tmp_path), "large")
    searcher = clustered(store, 8000).searcher
    kinds = []

    @settings(ONCE, max_examples=100)
    @given(searched(WORDS))
    def ask(tree):
        try:
            result = searcher.search(tree, Wanted(K, exact=True, max_candidates=5000))
        except UsageError as refused:
            assume("cancels itself out" not in str(refused))
            raise
        assert result.plan.candidates <= 5000
        kinds.append(result.certificate.kind)

    ask()
    store.close()
    assert kinds.count("exact") >= 0.95 * len(kinds)


@settings(ONCE, max_examples=20)
@given(PHOTOS, PHOTOS, PHOTOS)
def test_boolean_laws_hold_to_the_last_photo(photos, a, b, c):
    def found(tree):
        assume(_is_searched(tree))
        return {hit.id for hit in photos.searcher.mine(tree)}

    def neither(one, other):
        return And(parts=(Not(part=one), Not(part=other)))

    everything = set(photos.oracle.ids)
    try:
        assert found(Not(part=a)) == everything - found(a)
        assert found(Not(part=Or(parts=(a, b)))) == found(neither(a, b))
        assert found(And(parts=(a, Or(parts=(b, c))))) == found(And(parts=(a, b))) | found(And(parts=(a, c)))
        both, only = And(parts=(a, b)), And(parts=(a, Not(part=b)))
        assert len(found(a)) == photos.searcher.count(both).count + photos.searcher.count(only).count
    except UsageError as refused:
        assume("cancels itself out" not in str(refused))
        raise
