"""What is remembered of the texts that were asked for: they are embedded once, and not so many are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from t2c_search.query.language.constraints import Phrase
from t2c_search.query.planning import directions
from t2c_search.query.planning.calibration import Calibration
from t2c_search.query.planning.directions import Concepts
from t2c_search.statistics import VectorStatistics

from .worlds import point_id

DIM = 8


@pytest.fixture
def calibration() -> Calibration:
    statistics = VectorStatistics(DIM, 64)
    statistics.add([point_id(number) for number in range(64)], np.random.default_rng(0).normal(size=(64, DIM)))
    return Calibration(statistics)


def concepts(embedded: list[str]) -> Concepts:
    """Concepts of a closed vocabulary, one text a batch, which note what they embed."""

    def embed(texts: Sequence[str]) -> np.ndarray:
        embedded.extend(texts)
        rows = [np.random.default_rng(int.from_bytes(text.encode())).normal(size=DIM) for text in texts]
        return np.array(rows, np.float32)

    return Concepts(embed, lambda path: np.zeros(DIM), lambda point: None, {}, free_text=False)


def ask(asked: Concepts, calibration: Calibration, text: str) -> np.ndarray:
    phrase = Phrase(text=text)
    return asked.directions(calibration, [phrase]).axis(phrase).direction


def test_a_text_is_embedded_once(calibration: Calibration) -> None:
    embedded: list[str] = []
    asked = concepts(embedded)
    first = ask(asked, calibration, "a dog")
    np.testing.assert_array_equal(ask(asked, calibration, "a dog"), first)
    assert embedded == ["a dog"]


def test_no_more_texts_and_axes_are_kept_than_there_is_room_for(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "CACHED_TEXTS", 4)
    monkeypatch.setattr(directions, "CACHED_AXES", 3)
    embedded: list[str] = []
    asked = concepts(embedded)
    first = [ask(asked, calibration, text) for text in "abcdefghij"]
    assert len(asked.axes) <= 3
    again = [ask(asked, calibration, text) for text in "abcdefghij"]
    np.testing.assert_array_equal(again, first)
    assert len(embedded) == 20, "each was forgotten before it was asked for again"
