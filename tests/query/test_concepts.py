"""A text's direction is its own, whatever is asked beside it, and several wordings make one direction."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.encoders import registry
from t2c_search.query.language.constraints import Phrase
from t2c_search.query.planning.calibration import Calibration
from t2c_search.query.planning.directions import Concepts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store

from .worlds import ClusteredWords, clustered, point_id, unit

OTHERS = ("on grass", "a star", "a large blue circle on snow", "in water", "a triangle above a square")


@pytest.fixture(scope="module")
def clip():
    return registry.load("mini", device="cpu")


def asked_anew(clip) -> tuple[Concepts, Calibration]:
    def embed(texts):
        return clip.encode_texts(list(texts)).cpu().numpy()

    dim = embed(["a star"]).shape[1]
    statistics = VectorStatistics(dim)
    rows = unit(np.random.default_rng(0).normal(size=(50, dim))).astype(np.float32)
    statistics.add([point_id(number) for number in range(len(rows))], rows)
    return Concepts(embed, None, None, {}, True), Calibration(statistics)


@pytest.mark.parametrize("text", ["a red heart", "a red heart among the clouds"])
def test_a_text_is_the_same_vector_alone_and_among_others_to_the_last_bit(clip, text):
    phrase = Phrase(text=text)
    concepts, calibration = asked_anew(clip)
    alone = concepts.directions(calibration, [phrase]).axis(phrase)
    for others in range(1, len(OTHERS) + 1):
        concepts, calibration = asked_anew(clip)
        asked = [Phrase(text=other) for other in OTHERS[:others]]
        found = concepts.directions(calibration, [*asked, phrase], [(text, *OTHERS[:others])])
        np.testing.assert_array_equal(found.axis(phrase).direction, alone.direction)


def test_wordings_make_one_direction_the_mean_of_theirs():
    words = ClusteredWords(32)
    world = clustered(open_store(":memory:", "worded"), 300)
    concepts, calibration = world.engine.concepts, world.engine.calibration
    wordings = ["dog", "the hound", "some dog or other"]
    phrases = [Phrase(text=wording) for wording in wordings]
    directions = concepts.directions(calibration, phrases)
    each = np.array([directions.axis(phrase).direction for phrase in phrases])
    found = concepts.worded(wordings)
    np.testing.assert_allclose(found, unit(each.mean(axis=0)), atol=1e-12)
    assert (
        found @ words.centres[0] > (each @ words.centres[0]).mean()
    )  # what they share adds up, what is its own does not
