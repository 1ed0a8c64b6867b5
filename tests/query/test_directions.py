"""What is remembered of the texts that were asked for: embedded once, by all threads, for every searcher; within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from t2c_search.query.execution.searcher import Searcher, Wanted
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.planning import directions, texts
from t2c_search.query.planning.calibration import Calibration
from t2c_search.query.planning.directions import Directions, Lookups
from t2c_search.query.planning.texts import Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store

from .worlds import clustered, point_id

DIM = 8


@pytest.fixture
def calibration() -> Calibration:
    statistics = VectorStatistics(DIM, 64)
    rows = np.random.default_rng(0).normal(size=(64, DIM)).astype(np.float32)
    statistics.add([point_id(number) for number in range(64)], rows)
    return Calibration(statistics)


class Noted:
    """Embeds texts of a closed vocabulary, and notes which."""

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def __call__(self, asked: Sequence[str]) -> np.ndarray:
        self.embedded.extend(asked)
        rows = [np.random.default_rng(int.from_bytes(text.encode())).normal(size=DIM) for text in asked]
        return np.array(rows, np.float32)


def directions_of(calibration: Calibration, remembered: Texts) -> Directions:
    return Directions(
        calibration, remembered, Lookups(lambda path: np.zeros(DIM), lambda point: None, lambda: None), {}
    )


def test_a_text_is_embedded_once_whatever_becomes_of_the_searcher(calibration):
    noted = Noted()
    remembered = Texts(noted, free_text=False)
    first = directions_of(calibration, remembered).axis(Phrase(text="a dog")).direction
    again = directions_of(calibration, remembered).axis(Phrase(text="a dog")).direction
    np.testing.assert_array_equal(again, first)
    assert noted.embedded == ["a dog"]


def test_no_more_texts_and_axes_are_kept_than_there_is_room_for(calibration, monkeypatch):
    monkeypatch.setattr(texts, "CACHED_TEXTS", 4)
    monkeypatch.setattr(directions, "CACHED_AXES", 3)
    noted = Noted()
    remembered = Texts(noted, free_text=False)
    asked = directions_of(calibration, remembered)
    first = [asked.axis(Phrase(text=text)).direction for text in "abcdefghij"]
    assert (len(remembered._means), len(asked._axes)) == (4, 3)
    np.testing.assert_array_equal(asked.axis(Phrase(text="j")).direction, first[-1])
    assert noted.embedded == list("abcdefghij"), "the last ones are remembered"
    again = [asked.axis(Phrase(text=text)).direction for text in "abcdefghij"]
    np.testing.assert_array_equal(again, first)
    assert noted.embedded == [*"abcdefghij", *"abcdefghij"], "the first ones were forgotten"


def test_what_one_thread_embedded_is_not_lost_to_another():
    noted = Noted()
    remembered = Texts(noted, free_text=False)
    words = [f"{number}" for number in range(2000)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remembered.vector, words))
    assert sorted(noted.embedded) == sorted(words)
    for word in words:
        remembered.vector(word)
    assert len(noted.embedded) == len(words)


def test_a_searcher_takes_over_the_texts_of_the_one_before():
    world = clustered(open_store(":memory:", "taken-over"), 300)
    first = world.searcher
    found = first.search('"dog" AND "snow"', Wanted(5))
    remembered = first.directions.texts
    remembered._embed_texts = lambda asked: pytest.fail(f"{asked} is embedded again")
    again = Searcher(first.store, first.known, remembered, lambda path: pytest.fail("no image is asked for"))
    assert [hit.id for hit in again.search('"dog" AND "snow"', Wanted(5))] == [hit.id for hit in found]
