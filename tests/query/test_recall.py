"""The recall on a certificate is what the collection's own index was seen to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from t2c_search.collection import open_collection, search_index
from t2c_search.demo.world import draw
from t2c_search.query.execution.recall import measure_recall
from t2c_search.stores import open_store

from .worlds import clustered


class Forgetful:
    """A store whose index misses every other image."""

    def __init__(self, store) -> None:
        self.store = store

    def search(self, queries):
        answers = self.store.search([replace(query, exact=True) for query in queries])
        return [
            answer if query.exact else replace(answer, ids=answer.ids[::2], scores=answer.scores[::2])
            for query, answer in zip(queries, answers, strict=True)
        ]


def test_recall_is_the_share_of_the_truth_that_the_index_finds():
    world = clustered(open_store(":memory:", "recall"), 500)
    assert measure_recall(world.searcher.store, world.searcher.calibration) == 1
    assert measure_recall(Forgetful(world.searcher.store), world.searcher.calibration) == pytest.approx(0.5)


def test_a_large_collection_is_indexed_and_its_certificates_tell_the_recall(tmp_path: Path, monkeypatch):
    scenes = [Image.fromarray(scene.image) for scene in draw(3, 30)]
    for number, image in enumerate(scenes[1:]):
        image.save(tmp_path / f"{number}.png")
    with open_collection("large", str(tmp_path / "s.t2c"), clip="mini", backbone="mini") as images:
        images.index([tmp_path])
        assert images.search("a star").certificate.kind == "exact"
        assert images.searcher.search("a star").certificate.recall is None  # never measured
        monkeypatch.setattr(search_index, "_SCANNED", 10)
        scenes[0].save(tmp_path / "new.png")
        images.index([tmp_path])
        found = images.search("a star")
        assert (found.certificate.kind, found.certificate.recall) == ("ann", 1.0)
        assert images.search("a star", exact=True).certificate.kind == "exact"
