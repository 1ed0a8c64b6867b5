"""Concepts taught by examples: they find more than the text alone, and survive storage."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.concepts.saved import fit_concept
from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.query.planning.calibration import Calibration
from t2c_search.state.concepts import SavedConcept, dump_concepts, load_concepts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store

from .worlds import clustered, point_id, unit

DIM = 48


@pytest.fixture(scope="module")
def shown():
    """A concept that 8 % of 3,000 images show, its true direction, and a text that is half wrong about it."""
    rng = np.random.default_rng(2)
    true, wrong = unit(rng.normal(size=(2, DIM)))
    labels = rng.random(3000) < 0.08
    rows = unit(rng.normal(size=(3000, DIM)) / np.sqrt(DIM) + 0.5 * labels[:, None] * true).astype(np.float32)
    statistics = VectorStatistics(DIM)
    statistics.add([point_id(number) for number in range(len(rows))], rows)
    return rows, labels, Calibration(statistics), unit(true + wrong)


def f1(concept: SavedConcept, rows, labels, calibration: Calibration) -> float:
    axis = calibration.axis(concept.direction)
    found = axis.z(rows.astype(np.float64) @ axis.direction) >= concept.threshold
    return 2 * (found & labels).sum() / (found.sum() + labels.sum())


def best_f1(direction, rows, labels) -> float:
    hits = np.cumsum(labels[np.argsort(-(rows @ direction))])
    return float((2 * hits / (np.arange(1, len(hits) + 1) + labels.sum())).max())


@pytest.mark.parametrize("judged", [False, True])
def test_twenty_examples_do_as_well_as_the_best_threshold_of_the_text(shown, judged):
    rows, labels, calibration, text = shown
    ranked = np.argsort(-(rows @ text))
    if judged:  # marked in the upper half of the hits, as they come
        marked = ranked[np.linspace(0, len(ranked) // 2, 20).astype(int)]
    else:  # picked at large, ten of each
        marked = np.concatenate([np.flatnonzero(labels)[:10], np.flatnonzero(~labels)[:10]])
    yes, no = marked[labels[marked]], marked[~labels[marked]]
    concept = fit_concept("it", rows[yes], rows[no], calibration, text)
    assert f1(concept, rows, labels, calibration) >= 0.95 * best_f1(text, rows, labels)


def test_examples_alone_make_a_concept(shown):
    rows, labels, calibration, _ = shown
    concept = fit_concept("it", rows[labels][:10], rows[:0], calibration)
    assert f1(concept, rows, labels, calibration) > 0.5
    alone = fit_concept("it", rows[labels][:1], rows[:0], calibration)
    assert np.isfinite(alone.threshold) and np.isclose(np.linalg.norm(alone.direction), 1)


def test_nothing_to_learn_from_or_a_name_that_cannot_be_typed_is_refused(shown):
    rows, _, calibration, text = shown
    for no in (rows[:3], rows[:0]):
        with pytest.raises(UsageError, match="needs an example that shows it, or its text"):
            fit_concept("it", rows[:0], no, calibration)
    assert np.isclose(fit_concept("it", rows[:0], rows[:3], calibration, text).direction @ text, 1)
    with pytest.raises(UsageError, match="are, on average, the collection itself"):
        fit_concept("it", calibration.mean[None].astype(np.float32), rows[:0], calibration)
    with pytest.raises(UsageError, match="letters, digits"):
        fit_concept("night sky", rows[:1], rows[:3], calibration, text)


def test_wordings_alone_make_a_concept_with_the_default_threshold():
    world = clustered(open_store(":memory:", "wordings"), 500)
    wordings = ["dog", "the hound", "some dog or other"]
    direction = world.searcher.directions.texts.worded(wordings)
    concept = fit_concept("it", np.empty((0, 32)), np.empty((0, 32)), world.searcher.calibration, direction)
    assert concept.threshold is None and np.isclose(concept.direction @ direction, 1)
    assert load_concepts(dump_concepts({"it": concept}))["it"].threshold is None


def test_concepts_survive_storage():
    concepts = {"a": SavedConcept("a", np.arange(3.0), 1.5), "größe": SavedConcept("größe", np.ones(3))}
    loaded = load_concepts(dump_concepts(concepts))
    assert [(c.name, c.threshold) for c in loaded.values()] == [("a", 1.5), ("größe", None)]
    np.testing.assert_array_equal(loaded["a"].direction, np.arange(3.0))
    assert load_concepts(dump_concepts({})) == {}
    with pytest.raises(CollectionFormatError):
        load_concepts(b"something else")
