"""Servers elsewhere are reached through the proxy that the environment names; this machine's own never is."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from t2c_search.errors import StoreAccessError
from t2c_search.stores import list_collections
from tests.stubs.rest import QdrantStub


class Proxy(BaseHTTPRequestHandler):
    """Notes what it is asked for, and refuses it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the proxy of the environment was asked for."""
    Proxy.asked = []
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        for name in ("NO_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Proxy.asked
        server.shutdown()
        thread.join()


def test_a_server_elsewhere_is_asked_through_the_proxy(asked: list[str]) -> None:
    with pytest.raises(StoreAccessError, match="refused our key"):
        list_collections("http://qdrant.invalid:7333")
    assert asked == ["http://qdrant.invalid:7333/", "http://qdrant.invalid:7333/collections"]  # its version first


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_asked_directly(asked: list[str], name: str) -> None:
    with QdrantStub() as stub:
        assert list_collections(stub.url.replace("127.0.0.1", name)) == []
    assert asked == []
