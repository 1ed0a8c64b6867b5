"""Pointing scores, their intervals, and where boxes lie in what a model sees."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from t2c_search.explain.grounding import FINE, collage, inside_boxes, interval, pointing_scores
from t2c_search.explain.pairs import shares_of_places
from t2c_search.explain.view import WHOLE, View


def quadrant() -> np.ndarray:
    inside = np.zeros((8, 8), bool)
    inside[:4, 4:] = True
    return inside


def test_scores_are_the_mass_that_is_right() -> None:
    inside = quadrant()
    maps = np.stack([np.where(inside, 1.0, -1.0), np.where(inside, -1.0, 1.0), np.ones((8, 8)), np.zeros((8, 8))])
    scores = pointing_scores(maps.astype(np.float32), np.stack([inside] * 4))
    assert scores[:, 0].tolist() == [1.0, 0.0, 0.25, 0.0]
    assert scores[:, 1].tolist() == [0.25 * 0.25 + 0.75 * 0.75, 0.25 * 0.75 + 0.75 * 0.25, 0.25, 0.0]


def test_chance_is_the_mean_over_where_the_thing_might_be() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 8, 8)).astype(np.float32)
    places = [np.zeros((8, 8), bool) for _ in range(4)]
    for at, place in enumerate(places):
        place[at // 2 * 4 : at // 2 * 4 + 4, at % 2 * 4 : at % 2 * 4 + 4] = True
    scores = np.concatenate([pointing_scores(one, place[None]) for place in places])
    assert scores[:, 0].mean() == pytest.approx(scores[0, 1], abs=1e-6)
    assert np.ptp(scores[:, 1]) < 1e-9


def test_intervals_hold_the_mean_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        mean, low, high = interval(rng.normal(0.6, 0.2, 8))
        assert low < mean < high
        held += low <= 0.6 <= high
    assert 0.92 <= held / 400 <= 0.98
    assert interval(np.array([0.5])) == (0.5, -0.5, 1.5)


def test_boxes_lie_in_the_view() -> None:
    whole = inside_boxes([(0.5, 0.0, 1.0, 0.5)], WHOLE)
    assert whole.mean() == 0.25
    assert whole[: FINE // 2, FINE // 2 :].all()
    middle = View(0.25, 0.25, 0.75, 0.75)
    assert inside_boxes([(0.0, 0.0, 0.5, 0.5)], middle)[: FINE // 2, : FINE // 2].all()
    assert not inside_boxes([(0.0, 0.0, 0.2, 0.2)], middle).any()
    assert inside_boxes([(0, 0, 1, 1)], View(0, -0.5, 1, 1.5)).mean() == 0.5


def test_a_collage_shows_each_picture_in_its_quadrant() -> None:
    colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    made = np.asarray(collage([Image.new("RGB", (60, 90), colour) for colour in colours]))
    side = made.shape[0] // 2
    for at, colour in enumerate(colours):
        row, column = at // 2 * side, at % 2 * side
        assert (made[row : row + side, column : column + side] == colour).all()


def test_regions_cover_shares_of_places() -> None:
    inside = np.zeros((FINE, FINE))
    inside[: FINE // 2, : FINE // 4] = 1
    assert shares_of_places(inside, (2, 2)).tolist() == [0.5, 0, 0, 0]
    assert shares_of_places(np.ones((FINE, FINE)), (7, 5)).tolist() == [1.0] * 35
    assert shares_of_places(inside, (7, 7)).mean() == pytest.approx(0.125, abs=0.01)
