"""Images read in bulk are those that are mined, with their vectors and payloads, and texts those of the searches."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.syntax import parse
from t2c_search.query.planning.texts import Texts
from t2c_search.stores import open_store
from t2c_search.types import CLIP

from .worlds import ClusteredWords, clustered


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return clustered(open_store(":memory:", "read"), 1500, 16).searcher


@pytest.mark.parametrize("asked", ['"dog" >= 1sd', '"dog" >= 0.5sd AND NOT "snow"', "width >= 150", "width < 0"])
def test_what_is_read_is_what_is_mined(searcher: Searcher, asked: str) -> None:
    mined = list(searcher.mine(asked))
    batches = list(searcher.read(parse(asked), vectors=(CLIP,), payload=("width",)))
    assert [each for points in batches for each in points.ids] == [hit.id for hit in mined]
    for points in batches:
        stored = searcher.store.fetch(points.ids, vectors=(CLIP,))
        np.testing.assert_array_equal(points.vectors[CLIP], stored.vectors[CLIP])
        assert [each.get("width") for each in points.payloads] == [each.get("width") for each in stored.payloads]


def test_without_constraints_all_is_read_once(searcher: Searcher) -> None:
    ids = [each for points in searcher.read() for each in points.ids]
    assert len(ids) == 1500 and ids == sorted(set(ids))


@pytest.mark.parametrize("free_text", [True, False])
def test_texts_in_bulk_are_the_texts_of_searches(free_text: bool) -> None:
    texts = Texts(ClusteredWords(16), free_text)
    many = [f"a photo of the dog {number}" for number in range(300)]
    alone = np.array([texts.vector(text) / np.linalg.norm(texts.vector(text)) for text in many])
    np.testing.assert_allclose(texts.rows(many), alone, atol=1e-6)
    assert texts.rows([]).size == 0
