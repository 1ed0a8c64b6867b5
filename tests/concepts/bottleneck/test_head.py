"""Sparse heads: the path, the weights and the number of contributing concepts, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from t2c_search.concepts.bottleneck.head import Head, sparse_path


def planted(seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Scores (400, 40) of noise, and labels that concepts 3 and 7 tell, or each class its own concept."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((400, 40))
    if classes == 2:
        return scores, (scores[:, 3] + scores[:, 7] > 0.5).astype(np.int64)
    return scores, scores[:, :classes].argmax(1)


def contributing(head: Head, scores: np.ndarray) -> float:
    """Count one image after the other."""
    counts = []
    for row in scores:
        chosen = int(np.argmax([weights @ row + bias for weights, bias in zip(head.weights, head.bias, strict=True)]))
        parts = sorted(
            (abs(weight * score) for weight, score in zip(head.weights[chosen], row, strict=True)), reverse=True
        )
        covered, count = 0.0, 0
        while sum(parts) and covered < 0.95 * sum(parts):
            covered += parts[count]
            count += 1
        counts.append(count)
    return float(np.mean(counts))


@pytest.mark.parametrize("seed", range(5))
def test_contributing_concepts_are_counted_to_95_percent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((3, 12)) * (rng.random((3, 12)) < 0.5)
    head, scores = Head(weights, rng.standard_normal(3)), rng.standard_normal((50, 12))
    assert head.contributing(scores) == pytest.approx(contributing(head, scores))
    assert Head(np.zeros((3, 12)), np.zeros(3)).contributing(scores) == 0


@pytest.mark.parametrize(("seed", "classes"), [(0, 2), (1, 2), (2, 4)])
def test_the_path_lets_in_what_tells_first(seed: int, classes: int) -> None:
    scores, labels = planted(seed, classes)
    heads = list(sparse_path(scores, labels, 10))
    none, *others = heads
    assert not none.weights.any()
    shares = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(1 / (1 + np.exp(-none.bias)), shares)
    assert all(head.contributing(scores) <= 10 for head in heads)
    used = [set(np.flatnonzero(head.weights.any(0))) for head in others]
    telling = {3, 7} if classes == 2 else set(range(classes))
    first = next(each for each in used if telling <= each)
    assert len(first) <= len(telling) + 3  # all others are noise
    assert (others[-1].logits(scores).argmax(1) == labels).mean() > 0.85


def test_weights_are_those_of_a_ridge_on_the_concepts_chosen() -> None:
    scores, labels = planted(3)
    head = list(sparse_path(scores, labels, 5))[-1]
    chosen = np.flatnonzero(head.weights[1])
    np.testing.assert_array_equal(head.weights[0], -head.weights[1])
    assert head.bias[0] == -head.bias[1]

    def loss(given: np.ndarray) -> float:
        logits = scores[:, chosen] @ given[:-1] + given[-1]
        return float(np.logaddexp(0, np.where(labels == 1, -logits, logits)).sum() + given[:-1] @ given[:-1] / 2)

    best = minimize(loss, np.zeros(len(chosen) + 1), tol=1e-9).x
    np.testing.assert_allclose([*head.weights[1, chosen], head.bias[1]], best, atol=2e-3)
