"""The two sides on planted images: parts made of known descriptors, texts that say known ones."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.explain.mutual.looking import Looked
from t2c_search.explain.mutual.sides import SIDE, Descriptors, knowledge_of

NUMBER, EACH, PARTS = 200, 4, 5
NAMES = tuple(f"d{at}" for at in range(NUMBER))


def planted(seed: int) -> tuple[Looked, Descriptors, np.ndarray]:
    """An image whose five parts show four descriptors each, the first parts most; rows of descriptors are orthogonal."""
    rng = np.random.default_rng(seed)
    descriptors = Descriptors.of(NAMES, np.eye(NUMBER, dtype=np.float32), EACH * PARTS)
    shown = rng.permutation(NUMBER)[: EACH * PARTS].reshape(PARTS, EACH)
    rows, features = np.zeros((3 * PARTS, NUMBER), np.float32), np.zeros((3 * PARTS, PARTS), np.float32)
    vector = np.zeros(NUMBER, np.float32)
    for part, own in enumerate(shown):
        for order, at in enumerate(own):
            rows[3 * part : 3 * part + 3, at] = 1 - 0.1 * order
            vector[at] = 1 / (1 + EACH * part + order)
        features[3 * part : 3 * part + 3, part] = 1
    return Looked(vector, (3, PARTS), np.ones(3 * PARTS, bool), features, rows), descriptors, shown


@pytest.mark.parametrize("seed", range(3))
def test_each_part_is_given_what_it_shows_and_what_is_shared_comes_by_its_weight_in_the_image(seed: int) -> None:
    looked, descriptors, shown = planted(seed)
    said = np.concatenate([shown[:, 2], np.setdiff1d(np.arange(NUMBER), shown)[:15]])
    (found,) = knowledge_of([("id", "path", looked)], said, descriptors, np.zeros(NUMBER))
    assert [part.places for part in found.parts] == [3] * PARTS
    assert {part.descriptors for part in found.parts} == {tuple(NAMES[at] for at in own) for own in shown}
    assert found.shared == tuple(NAMES[own[2]] for own in shown)
    assert found.map.shape == (3, PARTS) and found.map.min() == 0
    assert (found.sharing.seen, found.sharing.said, found.sharing.shared) == (20, 20, 5)
    assert found.sharing.by_chance == 2.0


def test_sides_that_share_more_have_more_information_in_common() -> None:
    looked, descriptors, shown = planted(7)
    seen, others = shown.ravel(), np.setdiff1d(np.arange(NUMBER), shown)
    told = []
    for shared in range(EACH * PARTS + 1):
        said = np.concatenate([seen[:shared], others[: EACH * PARTS - shared]])
        (found,) = knowledge_of([("id", "path", looked)], said, descriptors, np.zeros(NUMBER))
        assert found.sharing.shared == shared
        told.append(found.sharing.mutual_information)
    assert (np.diff(told[2:]) > 0).all()  # 2 = 20 * 20 / 200 are shared by chance
    assert told[2] == pytest.approx(0, abs=1e-12) and told[0] > 0


def test_the_area_is_larger_where_what_is_shared_is_what_the_image_shows_most() -> None:
    looked, descriptors, shown = planted(7)
    others = np.setdiff1d(np.arange(NUMBER), shown)[:12]
    areas = []
    for shared in (shown.ravel()[:8], shown.ravel()[6:14], shown.ravel()[-8:]):
        (found,) = knowledge_of([("", "", looked)], np.concatenate([shared, others]), descriptors, np.zeros(NUMBER))
        areas.append(found.sharing.auc)
    assert areas[0] > areas[1] > areas[2] > 0


def test_vectors_are_taken_about_the_mean() -> None:
    """What all images of a collection have is not what one of them shows."""
    looked, descriptors, shown = planted(8)
    common = np.zeros(NUMBER)
    common[everywhere := np.setdiff1d(np.arange(NUMBER), shown)[0]] = 5.0
    moved = Looked(
        looked.vector + common.astype(np.float32),
        looked.grid,
        looked.shown,
        looked.features,
        looked.rows + common.astype(np.float32),
    )
    said = np.append(shown.ravel()[1:], everywhere)
    (plain,) = knowledge_of([("id", "path", looked)], said, descriptors, np.zeros(NUMBER))
    (about,) = knowledge_of([("id", "path", moved)], said, descriptors, common)
    assert about.parts == plain.parts and about.shared == plain.shared
    (aside,) = knowledge_of([("id", "path", moved)], said, descriptors, np.zeros(NUMBER))
    assert aside.shared[0] == NAMES[everywhere] and NAMES[everywhere] not in plain.shared


def test_a_text_says_the_descriptors_nearest_to_it() -> None:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(400, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    descriptors = Descriptors.of([f"d{at}" for at in range(400)], rows)
    text = rng.normal(size=16)
    said = descriptors.said(text)
    assert len(said) == SIDE == 50
    others = np.setdiff1d(np.arange(400), said)
    assert (rows[said] @ text).min() >= (rows[others] @ text).max()
    assert (np.diff(rows[said] @ text) <= 0).all()


def test_fewer_descriptors_than_parts_are_dealt_to_fewer_parts() -> None:
    looked, descriptors, _ = planted(10)
    few = Descriptors.of(NAMES, descriptors.rows, 3)
    (found,) = knowledge_of([("id", "path", looked)], few.said(looked.vector), few, np.zeros(NUMBER))
    assert [len(part.descriptors) for part in found.parts] == [1, 1, 1]


@pytest.mark.parametrize(("number", "side"), [(4, None), (10, 6), (10, 0)])
def test_lists_that_are_too_short_are_told(number: int, side: int | None) -> None:
    with pytest.raises(UsageError, match=f"{number} descriptors are too few"):
        Descriptors.of(NAMES[:number], np.eye(number, dtype=np.float32), side)
