"""A text's direction is its own, whatever is asked beside it, and several wordings make one direction."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.encoders import registry
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.language.constraints import And
from t2c_search.query.planning.calibration import Calibration
from t2c_search.query.planning.directions import Directions, Lookups
from t2c_search.query.planning.normal_form import branches
from t2c_search.query.planning.planner import embed
from t2c_search.query.planning.texts import Texts
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store

from .worlds import ClusteredWords, clustered, point_id, unit

OTHERS = ("on grass", "a star", "a large blue circle on snow", "in water", "a triangle above a square")


@pytest.fixture(scope="module")
def clip():
    return registry.load("mini", device="cpu")


def asked_anew(clip) -> Directions:
    def embed(texts):
        return clip.encode_texts(list(texts)).cpu().numpy()

    dim = embed(["a star"]).shape[1]
    statistics = VectorStatistics(dim)
    rows = unit(np.random.default_rng(0).normal(size=(50, dim))).astype(np.float32)
    statistics.add([point_id(number) for number in range(len(rows))], rows)
    return Directions(Calibration(statistics), Texts(embed), Lookups(None, None, None), {})


@pytest.mark.parametrize("text", ["a red heart", "a red heart among the clouds"])
def test_a_text_is_the_same_vector_alone_and_among_others_to_the_last_bit(clip, text):
    phrase = Phrase(text=text)
    alone = asked_anew(clip).axis(phrase)
    for others in range(1, len(OTHERS) + 1):
        conjunction = And(parts=(*(Phrase(text=other) for other in OTHERS[:others]), phrase))
        question = embed(branches(conjunction), asked_anew(clip))
        assert (*OTHERS[:others], text) in question.axes
        np.testing.assert_array_equal(question.axes[phrase].direction, alone.direction)


def test_wordings_make_one_direction_the_mean_of_theirs():
    words = ClusteredWords(32)
    world = clustered(open_store(":memory:", "worded"), 300)
    directions = world.searcher.directions
    wordings = ["dog", "the hound", "some dog or other"]
    phrases = [Phrase(text=wording) for wording in wordings]
    each = np.array([directions.axis(phrase).direction for phrase in phrases])
    found = directions.texts.worded(wordings)
    np.testing.assert_allclose(found, unit(each.mean(axis=0)), atol=1e-12)
    assert (
        found @ words.centres[0] > (each @ words.centres[0]).mean()
    )  # what they share adds up, what is its own does not
