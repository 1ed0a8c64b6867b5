"""Clusters are those that were planted, in words that set them apart; places keep neighbours; all of it by the seed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from t2c_search.concepts.atlas import layout
from t2c_search.concepts.atlas.clusters import find_centres, nearest_centre, number_for, set_apart
from t2c_search.concepts.atlas.layout import check_method, choose_method, fit_layout
from t2c_search.concepts.atlas.naming import Tally, Trait, name_clusters, traits_of
from t2c_search.errors import UsageError


def planted(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows (n, 24) about four directions and one that all share, and which of the four each is of."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, number)
    rows = 3 * np.eye(24)[20] + np.eye(24)[truth] + 0.1 * rng.normal(size=(number, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), truth


def test_planted_groups_are_found_whatever_all_images_share() -> None:
    rows, truth = planted(400)
    mean = rows.mean(0)
    apart = set_apart(rows, mean)
    np.testing.assert_allclose(np.linalg.norm(apart, axis=1), 1, rtol=1e-5)
    centres = find_centres(apart, 4, seed=3)
    labels = nearest_centre(apart, centres)
    assert len({(label, true) for label, true in zip(labels, truth, strict=True)}) == 4, "one cluster for each group"
    np.testing.assert_array_equal(centres, find_centres(apart, 4, seed=3))
    distances = np.linalg.norm(apart[:, None] - centres, axis=2)
    np.testing.assert_array_equal(labels, distances.argmin(1))


def test_a_row_that_is_the_mean_itself_is_apart_from_nothing() -> None:
    rows = np.ones((3, 5), np.float32)
    assert not set_apart(rows, rows[0]).any()


def test_the_number_of_clusters_follows_its_rule() -> None:
    assert [number_for(n) for n in (1, 2, 8, 200, 742, 1152, 10**6)] == [1, 2, 2, 10, 19, 24, 24]


def test_batches_tally_as_all_rows_together() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(300, 40)).astype(np.float32)
    labels = rng.integers(0, 5, 300).astype(np.int32)
    scores[labels == 2, 7] += 2
    tally = Tally(5, 40)
    for start in range(0, 300, 37):
        tally.add(labels[start : start + 37], scores[start : start + 37])
    own, rest = scores[labels == 2].astype(float), scores[labels != 2].astype(float)
    pooled = np.sqrt(((len(own) - 1) * own.var(0, ddof=1) + (len(rest) - 1) * rest.var(0, ddof=1)) / 298)
    expected = (own.mean(0) - rest.mean(0)) / pooled * (1 - 3 / (4 * 298 - 1))
    np.testing.assert_allclose(tally.effects(2), expected, rtol=1e-4, atol=1e-6)
    words = [f"word {number}" for number in range(40)]
    best = traits_of(tally.effects(2), words, 3)
    assert best[0].concept == "word 7" and best[0].g == pytest.approx(expected[7], rel=1e-4)
    assert [trait.g for trait in best] == sorted((trait.g for trait in best), reverse=True)


def test_no_word_is_told_that_sets_nothing_apart() -> None:
    assert traits_of(np.array([-1.0, 0.0, np.nan, 0.5]), list("abcd"), 3) == (Trait("d", 0.5),)


def test_each_cluster_has_a_name_of_its_own() -> None:
    def of(*words: str) -> list[Trait]:
        return [Trait(word, 1.0) for word in words]

    assert name_clusters([of("dog", "snow"), of("lake"), of("dog", "ball")]) == ["dog, snow", "lake", "dog, ball"]
    assert name_clusters([of("dog"), of("dog"), [], []]) == ["dog", "dog 2", "cluster 1", "cluster 2"]
    assert name_clusters([of("dog", "dog 2"), of("dog 2")]) == ["dog", "dog 2"]
    names = name_clusters([of("dog"), of("dog"), of("dog 2")])
    assert len(set(names)) == 3


def test_components_are_those_of_an_oracle_up_to_their_sign() -> None:
    from sklearn.decomposition import PCA

    rows, _ = planted(120)
    found, expected = fit_layout(rows, "pca", seed=0)(rows), PCA(2, svd_solver="full").fit_transform(rows)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-5)
    np.testing.assert_array_equal(fit_layout(rows[:, :1], "pca", seed=0)(rows[:, :1])[:, 1], 0)


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_lies_by_its_seed_and_others_lie_beside_their_neighbours() -> None:
    rows, truth = planted(160)
    apart = set_apart(rows, rows.mean(0))
    fitted, others = apart[:120], apart[120:]
    place = fit_layout(fitted, "umap", seed=5)
    places = place(fitted)
    np.testing.assert_array_equal(places, fit_layout(fitted, "umap", seed=5)(fitted))
    assert len(np.unique(places, axis=0)) == 120, "what was fitted lies where it was fitted, not among its neighbours"
    np.testing.assert_array_equal(place(apart)[:120], places), "whatever else is placed with it"
    distances = np.linalg.norm(place(others)[:, None] - places, axis=2)
    agree = truth[:120][distances.argmin(1)] == truth[120:]
    assert agree.mean() > 0.95


def test_where_umap_is_not_installed_components_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_method(None, 29) == "pca", "too few for neighbourhoods"
    monkeypatch.setattr(layout, "_umap_is_installed", lambda: True)
    assert (choose_method(None, 30), choose_method("pca", 30)) == ("umap", "pca")
    monkeypatch.setattr(layout, "_umap_is_installed", lambda: False)
    assert choose_method(None, 10**6) == "pca"
    with pytest.raises(UsageError, match=r"pip install 't2c-search\[map\]'"):
        check_method("umap")
    with pytest.raises(UsageError, match="there is no layout 'tsne'; expected one of: umap, pca"):
        check_method("tsne")
