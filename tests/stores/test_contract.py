"""The store contract on every engine: embedded, in memory, and a server (a stub; a real one where one is named)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from t2c_search.errors import StoreLimitError
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.server import connection
from t2c_search.testing.stores import StoreContract
from tests.stubs.grpc import GrpcStub
from tests.stubs.rest import QdrantStub

LIMITED = models.StrictModeConfig(
    enabled=True,
    max_query_limit=40,
    unindexed_filtering_retrieve=False,
    unindexed_filtering_update=False,
    search_max_hnsw_ef=64,
    search_max_oversampling=1.5,
    search_max_batchsize=2,
    upsert_max_batchsize=16,
    filter_max_conditions=30,
    condition_max_size=40,
    max_payload_index_count=12,
)
STRICT = LIMITED.model_copy(update={"search_allow_exact": False})
NEED_AMONG = {"test_a_search_among_what_another_finds_obeys_both"}
NEED_EXACT = {
    *NEED_AMONG,
    "test_exact_search_equals_sorting_every_dot_product",
    "test_search_brings_vectors_payloads_and_obeys_the_filter",
    "test_indexed_search_finds_what_the_exact_one_does",
    "test_min_score_loses_no_point_that_reaches_it",
    "test_quantised_collections_give_whole_scores_and_near_native_vectors",
    "test_searches_by_several_rows_add_up_the_best_of_each",
    "test_a_vector_is_added_and_points_lack_it_until_they_are_given_it",
}
"""Of the contract's cases those that a server without exact searches cannot answer: exact searches, and no others."""


class StrictContract(StoreContract):
    """The contract on a server in strict mode: the same answers, and one named error where it allows none."""

    refused: frozenset[str]

    @pytest.fixture(autouse=True)
    def expect_refusals(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in self.refused:
            request.applymarker(pytest.mark.xfail(raises=StoreLimitError, strict=True))


class TestEmbedded(StoreContract):
    @pytest.fixture
    def location(self, disk: Path) -> str:
        return str(disk / "photos.t2c")


class TestMemory(StoreContract):
    @pytest.fixture
    def location(self) -> str:
        return ":memory:"


class TestServerOverRest(StoreContract):
    @pytest.fixture
    def location(self) -> Iterator[str]:
        with QdrantStub() as stub:
            yield stub.url


class TestServerOverGrpc(StoreContract):
    @pytest.fixture
    def location(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with GrpcStub() as stub:
            monkeypatch.setattr(connection, "_GRPC_PORT", stub.port)
            yield "http://127.0.0.1:6333"  # the port that says there may be gRPC; nobody needs to listen there


class TestLimitedServer(StrictContract):
    refused = frozenset(NEED_AMONG)

    @pytest.fixture
    def location(self) -> Iterator[str]:
        with QdrantStub(strict=LIMITED) as stub:
            yield stub.url


class TestStrictServerOverRest(StrictContract):
    refused = frozenset(NEED_EXACT)

    @pytest.fixture
    def location(self) -> Iterator[str]:
        with QdrantStub(strict=STRICT) as stub:
            yield stub.url


class TestStrictServerOverGrpc(StrictContract):
    refused = frozenset(NEED_EXACT)

    @pytest.fixture
    def location(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with GrpcStub(strict=STRICT) as stub:
            monkeypatch.setattr(connection, "_GRPC_PORT", stub.port)
            yield "http://127.0.0.1:6333"


class TestServer(StoreContract):
    @pytest.fixture
    def location(self) -> Iterator[str]:
        url = os.environ.get("T2C_TEST_QDRANT_URL")
        if not url:
            pytest.skip("no Qdrant server: set T2C_TEST_QDRANT_URL to an empty one")
        yield url
        for name in list_collections(url):
            store = open_store(url, name)
            store.drop()
            store.close()
