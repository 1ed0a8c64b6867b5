"""Names beside their controls: better where they are what tells the classes, and no gain where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.bottleneck.concepts import random_directions
from t2c_search.concepts.bottleneck.curve import (
    DENSE,
    DIRECTIONS,
    LABEL_FREE,
    NAMES,
    PROBE,
    WORDS,
    ZERO_SHOT,
    Rows,
    measure,
)
from t2c_search.concepts.bottleneck.sample import Labelled
from t2c_search.state.bottlenecks import BottleneckCurve
from t2c_search.types import unit_rows

DIM = 24


def images(classes: int, seed: int = 0) -> Labelled:
    """Images that are mixtures of orthogonal attributes; of two classes one has attribute 0 or 1, of more each its own."""
    rng = np.random.default_rng(seed)
    shown = (rng.random((500, DIM)) < 0.3) + 0.15 * rng.standard_normal((500, DIM))
    if classes == 2:
        labels = ((shown[:, 0] > 0.5) | (shown[:, 1] > 0.5)).astype(np.int64)
    else:
        labels = rng.integers(0, classes, 500)
        shown[:, :classes] = 0.15 * rng.standard_normal((500, classes))
        shown[np.arange(500), labels] += 1
    vectors = unit_rows(shown + 2).astype(np.float32)  # a common part, as all images of CLIP space have
    return Labelled(vectors, labels, tuple(range(classes)), 500, vectors * 3)


@pytest.fixture(scope="module")
def named() -> BottleneckCurve:
    axes = np.eye(DIM, dtype=np.float32)
    return measure(images(2), Rows(axes, words=unit_rows(axes + 1).astype(np.float32)), (2, 10), 0)


def test_names_that_tell_are_ahead_of_chance(named: BottleneckCurve) -> None:
    assert named.accuracy(NAMES, 2) > 0.9
    assert named.accuracy(DIRECTIONS, 2) < 0.8
    gain = named.gains[0]
    assert gain.interpretable and gain.most == 2
    control = max((DIRECTIONS, WORDS), key=lambda head: named.accuracy(head, 2))
    assert gain.control == control
    assert gain.difference == pytest.approx(named.accuracy(NAMES, 2) - named.accuracy(control, 2))
    assert gain.low < gain.difference < gain.high


def test_dense_heads_and_probes_stand_beside(named: BottleneckCurve) -> None:
    assert named.accuracy(DENSE) > 0.9 and named.accuracy(PROBE) == pytest.approx(named.accuracy(DENSE), abs=0.01)
    assert named.accuracy(ZERO_SHOT) is None  # classes without words
    assert all(each.ncc <= each.most + 1 for each in named.points if each.most)
    assert named.to_pandas()["head"].tolist() == [each.head for each in named.points]


def test_names_that_are_no_better_than_random_say_so() -> None:
    directions = random_directions(DIM, DIM, 99).astype(np.float32)
    curve = measure(images(2), Rows(directions), (2, 5), 0)
    assert not any(gain.interpretable for gain in curve.gains)


def test_heads_without_labels_follow_the_class_texts() -> None:
    labelled = images(4)
    axes = np.eye(DIM, dtype=np.float32)
    right = measure(labelled, Rows(axes, classes=axes[:4]), (3, 10), 0)
    turned = measure(labelled, Rows(axes, classes=axes[[1, 2, 3, 0]]), (3, 10), 0)
    for head, most in ((ZERO_SHOT, None), (LABEL_FREE, 3), (LABEL_FREE, 10)):
        assert right.accuracy(head, most) > 0.95
        assert turned.accuracy(head, most) < 0.05


def test_folds_and_controls_follow_the_seed() -> None:
    labelled, rows = images(2), Rows(np.eye(DIM, dtype=np.float32))
    first, again, other = (measure(labelled, rows, (3,), seed) for seed in (1, 1, 2))
    assert first == again
    assert first.accuracy(DIRECTIONS, 3) != other.accuracy(DIRECTIONS, 3)
