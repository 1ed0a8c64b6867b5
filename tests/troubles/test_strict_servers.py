"""A server in strict mode, as managed services have it: the same answers in other ways, or one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from qdrant_client import models

import t2c_search as t2c
from t2c_search.demo.world import draw
from t2c_search.errors import StoreLimitError, T2CWarning
from t2c_search.stores import open_store
from t2c_search.stores.server import connection
from t2c_search.testing.points import SPEC
from tests.stubs.rest import QdrantStub

MANAGED = models.StrictModeConfig(
    enabled=True,
    max_query_limit=10,
    unindexed_filtering_retrieve=False,
    unindexed_filtering_update=False,
    search_allow_exact=False,
    search_max_hnsw_ef=128,
    upsert_max_batchsize=7,
    max_payload_index_count=100,
)
ASKED = (
    '"a circle" >= 0.5sd AND NOT "a square"',
    'format ~ "png" AND "a circle" >= 0sd',
    'name CONTAINS "1" AND size_class = "odd"',
    'path GLOB "scenes/0*" AND NOT name ~ "01"',
    '"a circle" top 20% OR width < 10',
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn scenes, each with a field that has no index."""
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    folder.mkdir()
    for number, scene in enumerate(draw(3, 30)):
        Image.fromarray(scene.image).save(folder / f"{number:03}.png")
        (folder / f"{number:03}.json").write_text(f'{{"size_class": "{"odd" if number % 2 else "even"}"}}')
    return folder


@pytest.fixture(scope="module")
def collections(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[t2c.Collection, t2c.Collection]]:
    """The same images in a folder and on a strict server."""
    with QdrantStub(strict=MANAGED) as stub:
        places = (str(tmp_path_factory.mktemp("stores") / "a.t2c"), stub.url)
        opened = tuple(t2c.open_collection("photos", store=place, clip="mini") for place in places)
        for each in opened:
            assert each.index([scenes]).indexed == 30
        yield opened[0], opened[1]
        for each in opened:
            each.close()


@pytest.mark.parametrize("expression", ASKED)
def test_counts_and_sets_are_the_same_and_the_plan_says_why_they_take_longer(
    collections: tuple[t2c.Collection, t2c.Collection], expression: str
) -> None:
    free, strict = collections
    expected = [hit.path for hit in free.mine(expression)]
    mined = strict.mine(expression)
    assert [hit.path for hit in mined] == expected
    counted = strict.count(expression)
    assert (counted.count, counted.exact) == (len(expected), True)
    assert counted.plan is not None and "search_allow_exact" in (counted.plan.reason or "")
    assert "search_allow_exact" in str(mined.plan)
    assert free.count(expression).plan.reason is None  # type: ignore[union-attr]


def test_searches_are_approximate_and_say_why(collections: tuple[t2c.Collection, t2c.Collection]) -> None:
    free, strict = collections
    for expression in ("a circle", '"a circle" AND camera ~ "x100"', '"a circle" AND name ~ "003"'):
        found = strict.search(expression, limit=25)
        assert [hit.path for hit in found] == [hit.path for hit in free.search(expression, limit=25)]
        assert found.certificate.kind in ("ann", "exact")
    found = strict.search("a circle", limit=25, exact=True)
    assert found.certificate.kind == "ann" and "search_allow_exact" in (found.certificate.reason or "")
    assert strict.facets("format") == free.facets("format") == [("PNG", 30)]
    assert strict.facets("size_class") == free.facets("size_class")


def test_what_cannot_be_made_is_one_sentence_and_leaves_nothing() -> None:
    with QdrantStub(strict=models.StrictModeConfig(enabled=True, max_payload_index_count=3)) as stub:
        store = open_store(stub.url, "photos")
        with pytest.raises(StoreLimitError, match="allows 3 indexed fields .* needs 7"):
            store.create(SPEC)
        store.close()
        assert stub.dump() == ""


def test_rate_limits_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.0)  # an outage would be reported at once
    monkeypatch.setattr(connection.time, "sleep", waited.append)
    with QdrantStub() as stub:
        store = open_store(stub.url, "photos")
        store.create(SPEC)
        stub.faults.extend(["limited", "limited"])
        with pytest.warns(T2CWarning, match="takes no more requests for 7 s, by its rate limit: waiting") as told:
            assert store.count() == 0
        store.close()
    assert len(told) == 1
    assert len(waited) == 2 and min(waited) >= 7
