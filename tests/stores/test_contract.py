"""The store contract on every engine: embedded, in memory, and a server (a stub; a real one where one is named)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2c_search.stores import list_collections, open_store
from t2c_search.stores.server import connection
from t2c_search.testing.stores import StoreContract
from tests.stubs.grpc import GrpcStub
from tests.stubs.rest import QdrantStub


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
