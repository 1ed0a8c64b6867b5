"""Servers behind proxies and TLS: what is too large for them, what they want to know, and what is said of their errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trustme

from t2c_search.cli.doctor import examine
from t2c_search.errors import StoreAccessError, StoreError, StoreTooLargeError, StoreUnavailableError, T2CWarning
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.header import Content
from t2c_search.stores.protocol import VectorStore
from t2c_search.stores.server import connection
from t2c_search.stores.server.vault import PointVault
from t2c_search.testing.points import COUNT, SPEC, make_id, make_points
from tests.stubs.grpc import GrpcStub
from tests.stubs.rest import QdrantStub

MOST_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an authority that nobody trusts, and of what it issued to this machine, with the key."""

    authority: Path
    server: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    made = Certificates(folder / "authority.pem", folder / "server.pem")
    authority.cert_pem.write_to_path(str(made.authority))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(made.server))
    return made


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantStub]:
    monkeypatch.setattr(connection, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(connection, "LONGEST_WAIT_SECONDS", 0.002)
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def small(stub: QdrantStub) -> Iterator[VectorStore]:
    """A collection behind a proxy that takes small requests only."""
    stub.most_bytes = MOST_BYTES
    store = open_store(stub.url, "photos")
    store.create(SPEC)
    yield store
    store.close()


def refused(stub: QdrantStub) -> int:
    return sum(size > stub.most_bytes for size in stub.body_bytes)


def test_requests_become_as_small_as_a_proxy_wants_them_and_stay_so(stub: QdrantStub, small: VectorStore) -> None:
    points = make_points()
    small.upsert(points)
    assert small.fetch(points.ids).payloads == points.payloads
    once = refused(stub)
    assert 0 < once < 10
    small.upsert(make_points(seed=1))
    small.update_payload(points.ids, [{"note": "x" * 300} for _ in points.ids])
    assert refused(stub) == once and small.count() == COUNT


def test_one_point_that_is_too_large_is_told(small: VectorStore) -> None:
    points = make_points(2)
    points.payloads[1]["caption"] = "x" * 2 * MOST_BYTES
    with pytest.raises(StoreTooLargeError, match="client_max_body_size"):
        small.upsert(points)
    assert small.fetch([make_id(0)]).ids == [make_id(0)]


def test_blobs_come_in_pieces_that_fit(stub: QdrantStub, small: VectorStore) -> None:
    content = np.random.default_rng(1).bytes(200_000)
    small.write_blob("statistics", content)
    stub.most_bytes = 10**9
    with_room = open_store(stub.url, "photos")
    assert with_room.read_blob("statistics") == small.read_blob("statistics") == content
    with_room.close()


def test_pieces_are_removed_with_their_halves(stub: QdrantStub) -> None:
    stub.most_bytes = MOST_BYTES
    server = connection.connect(stub.url, None, 5)
    vault = PointVault(server, "photos")
    vault.create()
    content = np.random.default_rng(1).bytes(100_000)
    entry = Content.of(content)
    vault.put(entry, content)
    assert vault.get([entry]) == {entry.id: content}
    assert server.client.count(vault.companion).count > 8
    vault.discard([entry])
    assert server.client.count(vault.companion).count == 0
    server.close()


def test_a_user_and_password_are_sent_and_never_told(stub: QdrantStub) -> None:
    stub.credentials = "Basic " + base64.b64encode("anna:s3:cr\u00e9t".encode()).decode()
    location = stub.url.replace("http://", "http://anna:s3%3Acr%C3%A9t@")
    store = open_store(location, "photos")
    store.create(SPEC)
    assert list_collections(location) == ["photos"]
    store.close()
    with pytest.raises(StoreAccessError) as told:
        list_collections(location.replace("s3", "s4"))
    assert "s4" not in str(told.value)


def test_a_path_before_the_api_works(stub: QdrantStub) -> None:
    stub.prefix = "/behind/qdrant"
    for location in (f"{stub.url}/behind/qdrant", f"{stub.url}/behind/qdrant/"):
        store = open_store(location, "photos")
        if not store.exists():
            store.create(SPEC)
        store.upsert(make_points(3))
        assert (store.count(), list_collections(location)) == (3, ["photos"])
        store.close()
    with pytest.raises(StoreError):
        list_collections(stub.url)


@pytest.mark.parametrize("status", [400, 401, 404, 502, 503])
def test_pages_of_proxies_are_one_line(stub: QdrantStub, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.01)
    stub.pages = True
    stub.faults.extend([status] * 100)
    with pytest.raises(StoreError) as told:
        list_collections(stub.url)
    assert f"a page of a proxy, '{status} Of A Proxy'" in str(told.value)
    assert "<" not in str(told.value) and "\n" not in str(told.value)


def test_waiting_shows_with_its_reason(stub: QdrantStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TOLD_AFTER_SECONDS", 0.0)
    stub.pages = True
    stub.faults.extend([502] * 5)
    with pytest.warns(T2CWarning, match=r"502 Of A Proxy.*Trying again for \d+ s") as told:
        assert list_collections(stub.url) == []
    assert len(told) == 1


def test_a_certificate_that_nobody_trusts_is_told_and_its_authority_can_be_named(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with QdrantStub(certificate=certificates.server) as stub:
        with pytest.raises(StoreAccessError, match=r"certificate of https://.* is not trusted .*SSL_CERT_FILE"):
            list_collections(stub.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        for location in (stub.url, stub.url.replace("127.0.0.1", "localhost")):
            assert list_collections(location) == []


def test_tls_and_plain_http_are_told_apart(stub: QdrantStub, certificates: Certificates) -> None:
    with pytest.raises(StoreError, match="speaks no TLS: use http://"):
        list_collections(stub.url.replace("http://", "https://"))
    with QdrantStub(certificate=certificates.server) as behind_tls, pytest.raises(StoreError, match="TLS.*https://"):
        list_collections(behind_tls.url.replace("https://", "http://"))
    stub.faults.extend([400] * 2)


def test_the_transport_is_told_and_can_be_chosen(
    stub: QdrantStub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def transport() -> str | None:
        store = open_store(stub.url, "photos")
        store.close()
        return store.capabilities.transport

    assert transport() == "REST"
    assert any("over REST" in finding.message for finding in examine(stub.url) if finding.subject == "store")
    with GrpcStub() as over_grpc:
        monkeypatch.setenv("T2C_QDRANT_GRPC_PORT", str(over_grpc.port))
        assert transport() == f"gRPC at port {over_grpc.port}"
        assert list_collections(stub.url) == [] and not stub.requests[2:]
        monkeypatch.setenv("T2C_QDRANT_GRPC_PORT", "0")
        assert transport() == "REST"
    monkeypatch.setenv("T2C_QDRANT_GRPC_PORT", str(over_grpc.port))
    monkeypatch.setattr(connection, "_listens", lambda *_: True)
    with pytest.raises(StoreUnavailableError, match="nothing answers"):
        list_collections(stub.url)
    assert capfd.readouterr().err == ""
