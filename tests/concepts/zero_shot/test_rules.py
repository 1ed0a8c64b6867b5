"""Rules, shares and fits against oracles: plain numpy, scikit-learn, POT, and planted truths."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from t2c_search.concepts.zero_shot.judged import judge
from t2c_search.concepts.zero_shot.keys import hashes, ids_of, keys_of
from t2c_search.concepts.zero_shot.likelihood import fit_rule
from t2c_search.concepts.zero_shot.rule import Assigned, Rule
from t2c_search.concepts.zero_shot.sample import MOST_IMAGES, Sample
from t2c_search.concepts.zero_shot.shares import estimate_shares


def planted(seed: int, shares: np.ndarray, n: int, slope: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (n, k) and labels (n,) for which slope * cosine is the log odds of the classes, at equal shares, exactly.

    Each class's scores are normal with its own mean where it is true: then the likelihood ratio is linear in the scores.
    """
    rng = np.random.default_rng(seed)
    k = len(shares)
    labels = rng.choice(k, n, p=shares)
    spread = 0.05
    cosines = 0.2 + spread * rng.normal(size=(n, k))
    cosines[np.arange(n), labels] += slope * spread**2
    return cosines.astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_an_assignment_is_the_best_class_its_lead_and_its_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines, offsets = rng.normal(size=(50, 7)).astype(np.float32), rng.normal(size=7)
    found = Rule(offsets, 3.0).assign(cosines)
    scores = cosines + offsets
    ordered = np.sort(scores, axis=1)
    np.testing.assert_array_equal(found.classes, scores.argmax(1))
    np.testing.assert_allclose(found.scores, ordered[:, -1], rtol=1e-6)
    np.testing.assert_allclose(found.margins, ordered[:, -1] - ordered[:, -2], atol=1e-6)
    np.testing.assert_allclose(found.confidences, softmax(3 * scores, axis=1).max(1), rtol=1e-5)
    assert Rule(offsets).assign(cosines).confidences is None  # nothing was fitted: nothing is said


def test_the_fit_is_the_maximum_of_the_likelihood_and_its_prior() -> None:
    cosines, labels = planted(0, np.array([0.5, 0.3, 0.2]), 400)
    rule = fit_rule(cosines, labels)
    assert rule.slope is not None

    def loss(slope: float, biases: np.ndarray) -> float:
        log_p = log_softmax(slope * cosines + biases, axis=1)
        return float(-log_p[np.arange(len(labels)), labels].sum() + 0.5 * biases @ biases)

    slope, biases = rule.slope, rule.offsets * rule.slope
    best = loss(slope, biases)
    rng = np.random.default_rng(1)
    for _ in range(200):
        assert loss(slope * np.exp(0.05 * rng.normal()), biases + 0.05 * rng.normal(size=3)) > best


def test_planted_temperature_and_shares_are_found() -> None:
    shares = np.array([0.7, 0.2, 0.1])
    cosines, labels = planted(2, shares, 20_000)
    rule = fit_rule(cosines, labels)
    assert rule.slope == pytest.approx(40, rel=0.05)
    biases = rule.offsets * rule.slope
    np.testing.assert_allclose(biases - biases.mean(), np.log(shares) - np.log(shares).mean(), atol=0.1)
    held = planted(3, shares, 20_000)
    judged = judge("kind", ("a", "b", "c"), held[1], rule.assign(held[0]), 0.0)
    assert judged.reliability is not None
    assert judged.reliability.error < 0.015
    too_sure = judge("kind", ("a", "b", "c"), held[1], Rule(rule.offsets, 4 * rule.slope).assign(held[0]), 0.0)
    assert too_sure.reliability is not None
    assert too_sure.reliability.error > 0.05


def test_a_class_without_images_and_labels_that_are_always_right_leave_the_fit_finite() -> None:
    cosines = np.eye(3, dtype=np.float32)[np.arange(60) % 2]
    rule = fit_rule(cosines, (np.arange(60) % 2).astype(np.int32))
    assert rule.slope is not None
    assert np.isfinite(rule.offsets).all()
    assert np.isfinite(rule.slope)
    assert (rule.assign(cosines).classes == np.arange(60) % 2).all()


def test_the_fit_without_biases_is_that_of_scikit_learn() -> None:
    """Two classes whose shares are equal by symmetry: a logistic regression on the difference of their cosines."""
    cosines, labels = planted(4, np.array([0.5, 0.5]), 3000)
    cosines, labels = np.concatenate([cosines, cosines[:, ::-1]]), np.concatenate([labels, 1 - labels])
    oracle = LogisticRegression(C=1e8, fit_intercept=False, tol=1e-10).fit(
        (cosines[:, 1] - cosines[:, 0])[:, None], labels
    )
    assert fit_rule(cosines, labels).slope == pytest.approx(float(oracle.coef_[0, 0]), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_estimated_from_images_of_other_shares(seed: int) -> None:
    even, skewed = np.full(4, 0.25), np.array([10, 4, 2, 1]) / 17
    rule = fit_rule(*planted(seed, even, 5000))
    cosines, labels = planted(seed + 100, skewed, 5000)
    shares = estimate_shares(rule.log_posteriors(cosines), even)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, skewed, atol=0.02)
    before = (rule.assign(cosines).classes == labels).mean()
    after = (rule.shifted(np.log(shares / even) / rule.slope).assign(cosines).classes == labels).mean()
    assert after > before + 0.01
    at_home = estimate_shares(rule.log_posteriors(planted(seed, even, 5000)[0]), even)
    np.testing.assert_allclose(at_home, even, atol=0.02)


def test_the_estimate_is_a_fixed_point_of_saerens() -> None:
    cosines, _ = planted(7, np.array([0.6, 0.3, 0.1]), 2000)
    trained = np.array([0.2, 0.3, 0.5])
    posteriors = softmax(40 * cosines + np.log(trained), axis=1)
    shares = estimate_shares(np.log(posteriors), trained)
    weighted = posteriors * (shares / trained)
    means = (weighted / weighted.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose((2000 * means + 3 * trained) / 2003, shares, atol=1e-5)


def test_shares_that_have_not_changed_stay_the_trained_ones() -> None:
    trained = np.array([0.6, 0.3, 0.1])
    kept = 0
    for seed in range(40):
        cosines, _ = planted(seed, trained, 60)
        kept += estimate_shares(log_softmax(40 * cosines + np.log(trained), axis=1), trained) is trained
    assert kept >= 34  # of 40; a test at 5 % keeps 38 on average


def test_ids_are_packed_and_written_again() -> None:
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(500)]
    keys = keys_of(ids)
    assert keys.nbytes == 16 * len(ids)
    assert ids_of(keys) == ids
    np.testing.assert_array_equal(hashes(keys), [uuid.UUID(each).int & (2**62 - 1) for each in ids])


def test_a_sample_is_the_same_whatever_the_batches_and_their_order() -> None:
    rng = np.random.default_rng(8)
    classes = 400  # so many that a sample has 10,000 images
    keys = rng.integers(0, 2**63, (MOST_IMAGES + 5000, 2), dtype=np.uint64)
    cosines = rng.normal(size=(len(keys), 1)).astype(np.float32)
    labels = np.arange(len(keys), dtype=np.int32)

    def taken(order: np.ndarray, batch: int) -> np.ndarray:
        sample = Sample(classes)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            sample.add(keys[part], cosines[part], labels[part])
        hashed, held, kept = sample.taken()
        assert len(sample) == len(kept) == 10_000
        np.testing.assert_array_equal(held, cosines[kept])
        np.testing.assert_array_equal(hashed, np.sort(hashes(keys))[:10_000])
        return kept

    np.testing.assert_array_equal(taken(np.arange(len(keys)), 1000), taken(rng.permutation(len(keys)), 333))


@pytest.mark.parametrize("abstain", [0.0, 0.4])
def test_a_judgement_counts_what_plain_loops_count(abstain: float) -> None:
    rng = np.random.default_rng(9)
    truth = rng.integers(-1, 3, 300).astype(np.int32)
    margins = rng.random(300).astype(np.float32)
    given = np.where(rng.random(300) < 0.5 + margins / 2, np.maximum(truth, 0), rng.integers(0, 3, 300)).astype(
        np.int32
    )
    sure = rng.random(300).astype(np.float32)
    judged = judge("kind", ("a", "b", "c"), truth, Assigned(given, margins, margins, sure), abstain)
    matrix = np.zeros((3, 4), int)
    for wanted, found, margin in zip(truth, given, margins, strict=True):
        if wanted >= 0:
            matrix[wanted, 3 if margin < abstain else found] += 1
    np.testing.assert_array_equal(judged.matrix, matrix)
    known = truth >= 0
    kept = known & (margins >= abstain)
    assert judged.left_out == (~known).sum()
    assert judged.accuracy == pytest.approx((truth == given)[kept].mean())
    assert judged.coverage == pytest.approx(kept.sum() / known.sum())
    np.testing.assert_allclose(judged.recall, [matrix[at, at] / matrix[at].sum() for at in range(3)])
    error = 0.0
    for low in range(15):
        inside = known & (sure >= low / 15) & (sure < (low + 1) / 15)
        if inside.any():
            error += abs(sure[inside].mean() - (truth == given)[inside].mean()) * inside.sum() / known.sum()
    assert judged.reliability is not None
    assert judged.reliability.error == pytest.approx(error, abs=1e-5)
    for margin, coverage, accuracy in zip(*judged.risk.columns().values(), strict=True):
        led = known & (margins >= np.float32(margin))
        assert coverage == pytest.approx(led.sum() / known.sum())
        assert accuracy == pytest.approx((truth == given)[led].mean())
