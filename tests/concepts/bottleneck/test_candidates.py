"""Which concepts may be used, what they score, and what controls are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.bottleneck import concepts
from t2c_search.concepts.bottleneck.concepts import (
    ALIKE,
    NEAR,
    Scale,
    most_telling,
    random_directions,
    random_words,
    said_before,
    too_near,
)
from t2c_search.types import unit_rows


def test_scores_are_standard_deviations_of_the_images() -> None:
    rng = np.random.default_rng(0)
    vectors, directions = (
        unit_rows(rng.standard_normal((300, 8))).astype(np.float32),
        unit_rows(rng.standard_normal((5, 8))),
    )
    scores = Scale.of(directions, vectors).scores(vectors)
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.std(0), 1, atol=1e-6)
    products = vectors @ directions[2]
    np.testing.assert_allclose(scores[:, 2], (products - products.mean()) / products.std(), atol=1e-4)
    alike = np.repeat(vectors[:1], 10, axis=0)
    assert np.abs(Scale.of(directions, alike).scores(alike)).max() < 0.5  # no noise blown up


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("a ship", True), ("Ships", True), ("the cargo ship", True), ("shipyard", False), ("a horse", True),
        ("horse's mane", True), ("race-horse", True), ("hors", False), ("glass", False),
    ],
)  # fmt: skip
def test_names_with_a_class_in_them_are_left_out(name: str, left_out: bool) -> None:
    found = too_near([name, "water"], np.eye(2, 4, dtype=np.float32), [("ship",), ("a horse", "horses")], None)
    assert (0 in found) == left_out
    assert 1 not in found
    if left_out:
        assert found[0].cosine is None


def test_a_class_without_words_leaves_nothing_out() -> None:
    assert too_near(["1", "true"], np.eye(2, 3, dtype=np.float32), [(), ()], None) == {}


def test_near_synonyms_of_a_class_are_left_out_with_their_cosine() -> None:
    rng = np.random.default_rng(1)
    common = 3 * rng.standard_normal(32)  # all texts of a CLIP model have much in common
    rows = unit_rows(common + rng.standard_normal((200, 32))).astype(np.float32)
    classes = unit_rows(rows[[5, 9]] + 0.02 * rng.standard_normal((2, 32))).astype(np.float32)
    names = [f"thing {at}" for at in range(200)]
    found = too_near(names, rows, [("owl",), ("lark",)], classes)
    together = np.concatenate([rows, classes]).mean(0)
    for at in range(200):
        cosines = [
            (rows[at] - together)
            @ (each - together)
            / np.linalg.norm(rows[at] - together)
            / np.linalg.norm(each - together)
            for each in classes
        ]
        assert (at in found) == (max(cosines) >= NEAR)
    assert (found[5].near, found[9].near) == ("owl", "lark")
    assert found[5].cosine is not None and found[5].cosine > 0.9
    assert len(found) < 20  # not all, though all cosines are high before the mean is taken off
    assert (rows @ classes.T).min() > NEAR


def test_what_an_earlier_concept_says_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    rows = unit_rows(rng.standard_normal((60, 16)))
    rows[30:45] = unit_rows(rows[:15] + 0.05 * rng.standard_normal((15, 16)))
    names = [f"c{at}" for at in range(60)]
    centred = unit_rows(rows - rows.mean(0))
    expected = {at for at in range(60) if any(centred[at] @ centred[before] >= ALIKE for before in range(at))}
    assert set(range(30, 45)) <= expected
    for block in (7, 60, 1000):
        monkeypatch.setattr(concepts, "_BLOCK", block)
        found = said_before(names, rows.astype(np.float32))
        assert set(found) == expected
        assert found[33].near == "c3"


def test_the_most_telling_concepts_are_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    scores = rng.standard_normal((300, 50))
    scores[:, 17] += labels
    scores[:, 30] -= labels
    scores[:, 4] = 1  # the same for all
    monkeypatch.setattr(concepts, "MOST_SCORED", 2)
    with np.errstate(all="ignore"), pytest.warns(Warning):
        assert most_telling(scores, labels).tolist() == [17, 30]
    monkeypatch.setattr(concepts, "MOST_SCORED", 50)
    assert most_telling(scores, labels).tolist() == list(range(50))


def test_controls_are_drawn_by_their_seed() -> None:
    words = random_words(500, 4)
    assert len(set(words)) == 500 and words == random_words(500, 4) != random_words(500, 5)
    directions = random_directions(400, 12, 6)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.abs(directions.mean(0)).max() < 0.1
