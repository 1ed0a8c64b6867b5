"""Duplicates, against brute force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2c_search.query.execution import duplicates
from t2c_search.query.execution.duplicates import Group, find_duplicates
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.points import make_id
from t2c_search.types import CLIP, NATIVE, FloatArray, Points

DIM = 6
NEAR = 0.9


def filled(rows: FloatArray, hashes: list[str] | None = None, *, native: FloatArray | None = None) -> VectorStore:
    """Return a store of these unit rows; every other image is larger, and each has a hash of its own unless given."""
    store = open_store(":memory:", "photos")
    vectors = {CLIP: rows} | ({} if native is None else {NATIVE: native})
    store.create(CollectionSpec.of({name: array.shape[1] for name, array in vectors.items()}, {"hash": "keyword"}))
    payloads = [
        {
            "path": f"{at:03d}.jpg",
            "hash": hashes[at] if hashes else str(at),
            "width": 10 + at % 2,
            "height": 5,
            "bytes": at % 3,
        }
        for at in range(len(rows))
    ]
    store.upsert(Points([make_id(at) for at in range(len(rows))], payloads, vectors))
    return store


def clustered(seed: int, count: int, spread: float) -> FloatArray:
    """Return unit rows (count, DIM) around a third as many centres."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(max(1, count // 3), DIM))[rng.integers(0, max(1, count // 3), count)]
    rows += spread * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(rows: FloatArray, hashes: list[str], near: float) -> set[frozenset[str]]:
    """Return the groups' paths, by following every pair from every image."""
    alike = (rows.astype(np.float64) @ rows.T.astype(np.float64) >= near) | np.equal.outer(hashes, hashes)
    left, groups = set(range(len(rows))), set()
    while left:
        group, new = set(), {left.pop()}
        while new:
            group |= new
            new = {int(at) for one in new for at in np.flatnonzero(alike[one])} - group
        left -= group
        if len(group) > 1:
            groups.add(frozenset(f"{at:03d}.jpg" for at in group))
    return groups


def paths(groups: list[Group]) -> set[frozenset[str]]:
    return {frozenset(each.path for each in group) for group in groups}


@pytest.fixture(params=["all pairs", "asked of the store"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Find them both ways, with every bound so small that it is reached."""
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_PENDING", 5)
    monkeypatch.setattr(duplicates, "_QUERIES", 3)
    if request.param == "asked of the store":
        monkeypatch.setattr(duplicates, "COMPARED_ALL", 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(4))
def test_groups_are_those_of_brute_force(seed: int) -> None:
    rows = clustered(seed, 90, spread=0.25)
    hashes = [str(at % 80) for at in range(len(rows))]
    found = find_duplicates(filled(rows, hashes), NEAR)
    assert paths(found) == brute_force(rows, hashes, NEAR)
    assert [len(group) for group in found] == sorted((len(group) for group in found), reverse=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(1, 40), st.floats(0.05, 0.6))
def test_what_is_dropped_is_near_what_is_kept_and_what_is_kept_is_not(seed: int, count: int, spread: float) -> None:
    rows = clustered(seed, count, spread)
    for group in find_duplicates(filled(rows), NEAR):
        at = {each.path: int(each.path[:3]) for each in group}
        kept = [each.path for each in group if each.keep]
        assert group[0].keep
        quality = [(-each.width * each.height, -each.bytes, each.path) for each in group]
        assert quality == sorted(quality)
        for each in group:
            cosine = float(rows[at[each.path]] @ rows[at[each.of]])
            assert each.of in kept
            assert each.keep == (each.of == each.path)
            assert each.cosine == pytest.approx(cosine, abs=1e-4)
            assert each.keep or cosine >= NEAR - 1e-6
        between = [rows[at[one]] @ rows[at[other]] for one in kept for other in kept if one < other]
        assert all(cosine < NEAR + 1e-6 for cosine in between)


def test_native_vectors_decide_where_they_are_kept_whatever_their_length() -> None:
    rows = np.eye(DIM, dtype=np.float32)[[0, 0, 1]]
    native = np.array([[9, 0], [0, 3], [0, 0.1]], np.float32)
    (group,) = find_duplicates(filled(rows, native=native), NEAR)
    assert [each.path for each in group] == ["001.jpg", "002.jpg"]


def test_the_same_bytes_are_the_same_image_though_vectors_differ() -> None:
    rows = np.eye(DIM, dtype=np.float32)[:4]
    (group,) = find_duplicates(filled(rows, ["a", "b", "a", "c"]), NEAR)
    assert [(each.path, each.keep, each.same_bytes) for each in group] == [
        ("002.jpg", True, False),
        ("000.jpg", False, True),
    ]


def test_an_empty_collection_has_none() -> None:
    assert find_duplicates(filled(np.empty((0, DIM), np.float32)), NEAR) == []
