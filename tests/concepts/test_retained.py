"""Retained accuracy, on rows whose classes are planted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from t2c_search.concepts.retained import Labelled, retained_accuracy
from t2c_search.errors import UsageError

A_CLASS, CLASSES, DIM = 60, 3, 8


def planted(seed: int, noise: float) -> tuple[list[str], np.ndarray]:
    """Rows around a centre for each class."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((CLASSES, DIM))
    numbers = np.repeat(np.arange(CLASSES), A_CLASS)
    rows = centres[numbers] + noise * random.standard_normal((len(numbers), DIM))
    return [f"class {number}" for number in numbers], rows.astype(np.float32)


def halves() -> list[bool]:
    return [number % 2 == 0 for number in range(A_CLASS * CLASSES)]


def test_a_perfect_map_retains_what_the_other_model_has_and_a_senseless_one_chance() -> None:
    labels, rows = planted(0, 0.4)
    turned = rows @ np.linalg.qr(np.random.default_rng(1).standard_normal((DIM, DIM)))[0].astype(np.float32)
    perfect = retained_accuracy(Labelled(labels, turned, rows, rows), halves())
    assert (perfect.classes, perfect.trained_on, perfect.tested_on) == (CLASSES, 90, 90)
    assert perfect.carried == perfect.of_other == pytest.approx(perfect.own, abs=0.03)
    assert perfect.own >= 0.95
    noise = np.random.default_rng(2).standard_normal(rows.shape).astype(np.float32)
    senseless = retained_accuracy(Labelled(labels, turned, rows, noise), halves())
    assert senseless.carried == pytest.approx(1 / CLASSES, abs=0.15)
    assert senseless.retained == senseless.carried / senseless.own


def test_the_other_models_probe_is_what_judges_and_neither_scale_nor_length_matters() -> None:
    labels, rows = planted(3, 0.4)
    swapped = np.roll(rows, A_CLASS, axis=0)  # each class's rows lie where the next one's should
    wrong = retained_accuracy(Labelled(labels, rows, rows, swapped), halves())
    assert wrong.carried <= 0.1 < 0.95 <= wrong.own
    lengths = np.random.default_rng(4).uniform(0.01, 100, (len(rows), 1)).astype(np.float32)
    scaled = retained_accuracy(Labelled(labels, rows * lengths, rows, rows * lengths), halves())
    assert (scaled.own, scaled.carried) == (wrong.own, wrong.own)


def test_a_table_and_json_say_the_same() -> None:
    labels, rows = planted(5, 0.4)
    told = retained_accuracy(Labelled(labels, rows, rows, rows), halves())
    assert told.to_arrow().to_pylist()[2] == {"probe": "carried", "accuracy": told.carried}
    assert json.loads(json.dumps(told.to_json()))["retained"] == told.retained


@pytest.mark.parametrize("counts", [{"a": 20}, {"a": 20, "b": 9}])
def test_what_is_too_little_to_judge_by_is_an_error_that_says_so(counts: dict[str, int]) -> None:
    labels = [label for label, count in counts.items() for _ in range(count)]
    rows = np.ones((len(labels), 2), np.float32)
    with pytest.raises(UsageError, match="two classes or more, with 10 images or more each"):
        retained_accuracy(Labelled(labels, rows, rows, rows), [True] * len(labels))
