"""A server that is slow, broken, strict, gone or someone else's; and what is said to it on the wire."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import grpc
import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from t2c_search import errors
from t2c_search.filters import AllOf, AnyOf, Equals, Exists, GeoRadius, Not, OneOf, Range, TextMatch
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.columns import REQUEST_BYTES
from t2c_search.stores.protocol import VectorStore
from t2c_search.stores.server import batches, connection
from t2c_search.testing.filters import matches
from t2c_search.testing.points import CLIP_DIM, COUNT, NATIVE_DIM, SPEC, make_id, make_points, unit
from t2c_search.types import CLIP, NATIVE, Points, VectorQuery
from tests.stubs.grpc import GrpcStub
from tests.stubs.rest import Fault, QdrantStub


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def store(stub: QdrantStub) -> Iterator[VectorStore]:
    store = open_store(stub.url, "photos", timeout=1)
    store.create(SPEC)
    yield store
    store.close()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(connection, "LONGEST_WAIT_SECONDS", 0.002)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (400, errors.StoreError, "status 400: fault 400 as ordered"),
        (401, errors.StoreAccessError, "T2C_QDRANT_API_KEY"),
        (403, errors.StoreAccessError, "refused our key"),
        (404, errors.StoreError, "not found"),
        (408, errors.StoreTimeoutError, "did not answer in time"),
        (429, errors.StoreError, "status 429"),
        (500, errors.StoreError, "failed with status 500: fault 500 as ordered"),
        (503, errors.StoreUnavailableError, "status 503"),
        (504, errors.StoreTimeoutError, "did not answer in time"),
        ("reset", errors.StoreUnavailableError, "nothing answers"),
        ("silence", errors.StoreTimeoutError, "did not answer in time"),
    ],
)
def test_failures_become_our_errors(
    stub: QdrantStub, store: VectorStore, no_patience: None, fault: Fault, kind: type[Exception], words: str
) -> None:
    stub.faults.append(fault)
    with pytest.raises(kind, match=words) as caught:
        store.count()
    assert type(caught.value) is kind
    assert stub.url in str(caught.value)
    assert store.count() == 0  # and the store can go on


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "no key", errors.StoreAccessError),
        (grpc.StatusCode.PERMISSION_DENIED, "read only", errors.StoreAccessError),
        (grpc.StatusCode.NOT_FOUND, "Collection `photos` doesn't exist!", errors.CollectionNotFoundError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", errors.StoreTimeoutError),
        (grpc.StatusCode.UNAVAILABLE, "restarting", errors.StoreUnavailableError),
        (grpc.StatusCode.INTERNAL, "No space left on device", errors.StoreFullError),
        (grpc.StatusCode.INTERNAL, "broken", errors.StoreError),
        (grpc.StatusCode.INVALID_ARGUMENT, "wrong", errors.StoreError),
    ],
)
def test_grpc_failures_become_our_errors(
    monkeypatch: pytest.MonkeyPatch, no_patience: None, code: grpc.StatusCode, reason: str, kind: type[Exception]
) -> None:
    with GrpcStub() as stub:
        monkeypatch.setattr(connection, "_GRPC_PORT", stub.port)
        store = open_store("http://127.0.0.1:6333", "photos")
        store.create(SPEC)
        stub.failure = (code, reason)
        with pytest.raises(kind) as caught:
            store.count()
        assert type(caught.value) is kind
        if kind is not errors.StoreTimeoutError:
            assert reason in str(caught.value)
        stub.failure = None
        assert store.count() == 0
        store.close()


def test_passing_failures_are_overcome_and_every_point_is_there_once(
    stub: QdrantStub, store: VectorStore, quick: None
) -> None:
    stub.faults.extend([500, "reset", 429, "lost answer", 503, "silence", 504])
    store.upsert(make_points())
    assert not stub.faults
    assert store.count() == COUNT
    stub.faults.extend(["lost answer", 500])
    store.write_blob("card", b"x" * 2_000_000)
    assert store.read_blob("card") == b"x" * 2_000_000
    stub.faults.append("lost answer")
    store.delete([make_id(0)])
    assert store.count() == COUNT - 1


def test_creation_is_repeatable_when_answers_are_lost(stub: QdrantStub, quick: None) -> None:
    store = open_store(stub.url, "photos")
    assert not store.exists()
    stub.faults.extend(["lost answer", None] * 40)
    store.create(SPEC)
    stub.faults.clear()
    assert store.exists()
    assert store.spec() == SPEC
    store.close()


def test_an_outage_ends_in_an_error(stub: QdrantStub, store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(connection, "FIRST_WAIT_SECONDS", 0.001)
    stub.faults.extend([500] * 1000)
    with pytest.raises(errors.StoreError, match="status 500"):
        store.count()
    assert 1000 > len(stub.faults) > 900  # tried again, and not for ever


def test_refusals_are_not_repeated(stub: QdrantStub, store: VectorStore) -> None:
    stub.faults.extend([400, 400])
    with pytest.raises(errors.StoreError):
        store.count()
    assert len(stub.faults) == 1


def test_an_address_where_nothing_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_: float) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr(connection.time, "sleep", sleep)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(errors.StoreUnavailableError, match=f"nothing answers at {url}"):
            open_store(url, "photos").exists()
        with pytest.raises(errors.StoreUnavailableError):
            list_collections(url)


@pytest.mark.parametrize("answer", [{"hello": "world"}, "<html>", {"result": 3}])
def test_another_kind_of_server_is_recognised(
    stub: QdrantStub, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(QdrantStub, "answer", lambda *_: (200, answer))
    with pytest.raises(errors.StoreError, match="does not answer like a Qdrant server"):
        open_store(stub.url, "photos").exists()


def test_the_key_is_sent_and_never_told(stub: QdrantStub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.api_key = "s3cret"
    monkeypatch.delenv("T2C_QDRANT_API_KEY", raising=False)
    with pytest.raises(errors.StoreAccessError):
        open_store(stub.url, "photos").exists()
    with pytest.raises(errors.StoreAccessError) as caught:
        open_store(stub.url, "photos", api_key="wr0ng").exists()
    assert "wr0ng" not in str(caught.value)
    assert not open_store(stub.url, "photos", api_key="s3cret").exists()
    monkeypatch.setenv("T2C_QDRANT_API_KEY", "s3cret")
    assert not open_store(stub.url, "photos").exists()
    assert list_collections(stub.url) == []


@pytest.mark.parametrize("location", ["http://", "http://host:port", "ftp://host", "", ":other:", "http://h:99999"])
def test_unusable_locations_are_refused(location: str) -> None:
    with pytest.raises(errors.UsageError):
        open_store(location, "photos")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "photos.t2c", "a b", "x" * 101])
def test_unusable_names_are_refused(name: str) -> None:
    with pytest.raises(errors.UsageError, match="collection name"):
        open_store(":memory:", name)


@pytest.mark.parametrize("wire", ["rest", "grpc"])
@pytest.mark.parametrize("version", ["1.17.9", "1.9.0", "0.11.7"])
def test_a_server_that_is_too_old_is_told_before_anything_is_written(
    wire: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with QdrantStub(version=version) as stub, GrpcStub(version=version) as grpc_stub:
        monkeypatch.setattr(connection, "_GRPC_PORT", grpc_stub.port)
        url = stub.url if wire == "rest" else "http://127.0.0.1:6333"
        store = open_store(url, "photos")
        for call in (store.exists, lambda: store.create(SPEC)):
            with pytest.raises(errors.StoreError, match=f"{url} runs Qdrant {version}, .* upgrade .* to 1.18 or later"):
                call()
        with pytest.raises(errors.StoreError, match="upgrade the server"):
            list_collections(url)
        store.close()
        asked = [each.path for each in stub.requests] + [call.method for call in grpc_stub.requests]
        assert set(asked) == ({"/"} if wire == "rest" else {"HealthCheck"})


@pytest.mark.parametrize("version", ["1.18.0", "1.20.1", "2.0.0", "1.19.0-dev", "dev", ""])
def test_later_servers_and_those_of_no_known_version_are_let_through(version: str) -> None:
    with QdrantStub(version=version) as stub:
        store = open_store(stub.url, "photos")
        assert not store.exists()
        store.create(SPEC)
        assert [each.path for each in stub.requests].count("/") == 1
        store.close()


@pytest.mark.parametrize("status", [403, 404])
def test_a_proxy_that_hides_the_version_is_let_through(stub: QdrantStub, status: int) -> None:
    stub.faults.append(status)
    assert not open_store(stub.url, "photos").exists()


def test_a_foreign_collection_is_left_alone(stub: QdrantStub) -> None:
    client = QdrantClient(stub.url, check_compatibility=False, trust_env=False)
    client.create_collection("theirs", vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE))
    client.upsert("theirs", [models.PointStruct(id=1, vector=[1.0, 0.0], payload={})])
    store = open_store(stub.url, "theirs")
    assert not store.exists()
    assert list_collections(stub.url) == []
    for call in (lambda: store.create(SPEC), store.drop, store.count, lambda: store.write_blob("card", b"")):
        with pytest.raises(errors.CollectionFormatError, match="not made by t2c_search"):
            call()
    assert client.count("theirs").count == 1


def test_an_interrupted_creation_is_completed_by_the_next(stub: QdrantStub) -> None:
    store = open_store(stub.url, "photos")
    assert not store.exists()  # from here on the server's version is known
    for number in range(40):  # one request further each time
        stub.faults.extend([None] * number + [400])
        try:
            store.create(SPEC)
        except errors.StoreError:
            stub.faults.clear()
            if store.exists():  # the last request of all reads back what was made
                break
        else:
            break
    assert number > 10
    stub.faults.clear()
    assert store.spec() == SPEC
    assert store.count() == 0


@pytest.mark.parametrize("fault", [400, "lost answer"])
def test_an_interrupted_replacement_leaves_the_old_or_the_new(
    stub: QdrantStub, store: VectorStore, no_patience: None, fault: Fault
) -> None:
    for number in range(60):  # one request further each time
        store.write_blob("card", b"old")
        with suppress(errors.StoreError), store.replacement(SPEC) as new:
            new.write_blob("card", b"new")
            stub.faults.extend([None] * number + [fault])  # from the switch on
        finished = bool(stub.faults)
        stub.faults.clear()
        other = open_store(stub.url, "photos")
        assert other.exists()
        assert other.count() == 0
        assert other.read_blob("card") in (b"old", b"new")
        assert store.read_blob("card") == other.read_blob("card")
        other.close()
        if finished:
            break
    assert number > 2
    assert finished


def test_a_collection_made_where_the_header_names_nothing_is_found(stub: QdrantStub, store: VectorStore) -> None:
    with store.replacement(SPEC) as new:
        new.upsert(make_points(3))
    client = QdrantClient(stub.url, check_compatibility=False, trust_env=False)
    for found in client.get_collections().collections:
        if "~" in found.name:
            client.delete_collection(found.name)
    again = open_store(stub.url, "photos")
    assert not again.exists()
    with pytest.raises(errors.CollectionNotFoundError):
        store.count()
    again.create(SPEC)
    again.upsert(make_points(5))
    again.close()
    assert open_store(stub.url, "photos").count() == 5


def test_an_interrupted_blob_leaves_the_old_one(stub: QdrantStub, store: VectorStore) -> None:
    store.write_blob("card", b"old" * 1_000_000)
    interruptions = 0
    for number in range(20):
        stub.faults.extend([None] * number + [400])
        try:
            store.write_blob("card", b"new" * 1_000_000)
        except errors.StoreError:
            stub.faults.clear()
            interruptions += 1
            assert store.read_blob("card") in (b"old" * 1_000_000, b"new" * 1_000_000)
        else:
            break
    stub.faults.clear()
    assert interruptions > 4
    assert store.read_blob("card") == b"new" * 1_000_000


def test_uploads_are_bounded_in_bytes_and_points(stub: QdrantStub, store: VectorStore) -> None:
    points, store = make_points(600), store.pinned()
    payloads = [{**payload, "notes": "x" * 30_000} for payload in points.payloads]
    del stub.body_bytes[:]
    store.upsert(Points(points.ids, payloads, points.vectors))
    store.set_payload(points.ids, payloads)
    assert max(stub.body_bytes) <= REQUEST_BYTES
    del stub.body_bytes[:]
    store.upsert(points)
    assert len(stub.body_bytes) == 3  # of 256, 256 and 88 points
    huge = {"notes": "x" * (REQUEST_BYTES + 1)}
    store.upsert(Points(points.ids[:2], [huge, {}], {name: rows[:2] for name, rows in points.vectors.items()}))
    assert store.fetch([make_id(0)]).payloads == [huge]


def test_answers_are_bounded_and_complete(
    stub: QdrantStub, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert(make_points())
    store = store.pinned()
    query = VectorQuery(unit(1, 3), 50, with_vectors=(CLIP, NATIVE), with_payload=True)
    (whole,) = store.search([query])
    fetched, scanned = store.fetch(whole.ids, vectors=(CLIP,)), list(store.scan(vectors=(NATIVE,)))
    monkeypatch.setattr(batches, "RESPONSE_BYTES", 5000)
    del stub.requests[:]
    (parts,) = store.search([query])
    asked, *fetches = [request.body for request in stub.requests]
    assert asked["searches"][0]["with_vector"] is False
    assert asked["searches"][0]["with_payload"] is False
    sizes = [len(body["ids"]) for body in fetches]
    assert max(sizes) == 5000 // (1024 + 20 * (CLIP_DIM + NATIVE_DIM))
    assert sum(sizes) == 50
    assert parts.ids == whole.ids
    assert parts.payloads == whole.payloads
    np.testing.assert_array_equal(parts.scores, whole.scores)
    for name in (CLIP, NATIVE):
        np.testing.assert_array_equal(parts.vectors[name], whole.vectors[name])
    again = store.fetch(whole.ids, vectors=(CLIP,))
    assert again.ids == fetched.ids
    np.testing.assert_array_equal(again.vectors[CLIP], fetched.vectors[CLIP])
    small = list(store.scan(vectors=(NATIVE,)))
    assert len(small) > len(scanned)
    assert [point_id for batch in small for point_id in batch.ids] == list(scanned[0].ids)


def test_what_the_wire_carries(stub: QdrantStub, store: VectorStore) -> None:
    made = [each.body for each in stub.requests if each[:2] == ("PUT", "/collections/photos")]
    assert [(name, params["distance"]) for name, params in made[0]["vectors"].items()] == [
        (CLIP, "Dot"),
        (NATIVE, "Dot"),
    ]
    assert made[0]["vectors"][NATIVE]["hnsw_config"]["m"] == 0
    indexes = [each.body for each in stub.requests if each.path == "/collections/photos/index"]
    assert {body["field_name"]: body["field_schema"] for body in indexes} == SPEC.indexes
    store.search([VectorQuery(unit(1), 5, exact=True), VectorQuery(unit(1), 5, hnsw_ef=200, min_score=0.5)])
    first, second = stub.requests[-1].body["searches"]
    assert first["params"]["exact"] is True
    assert second["params"] == {**first["params"], "exact": False, "hnsw_ef": 200}
    assert 0.499 < second["score_threshold"] < 0.5
    assert json.dumps(stub.requests).count("/photos.t2c") > 0


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_every_filter_crosses_the_wire(wire: str, stub: QdrantStub, monkeypatch: pytest.MonkeyPatch) -> None:
    points = make_points()
    with GrpcStub() as grpc_stub:
        monkeypatch.setattr(connection, "_GRPC_PORT", grpc_stub.port)
        store = open_store(stub.url if wire == "rest" else "http://127.0.0.1:6333", "photos")
        store.create(SPEC)
        store.upsert(points)
        _check_filters(store, points)
        store.close()


def _check_filters(store: VectorStore, points: Points) -> None:
    narrow = Range(field="aperture", gt=2)
    for where in (
        Equals(field="flash", value=True),
        Equals(field="camera", value="A7"),
        Equals(field="aperture", value=1.4),
        OneOf(field="camera", values=("A7", "X100")),
        OneOf(field="width", values=(101, 105)),
        narrow,
        Range(field="taken", gte="2023-01-09T12:00:00Z"),
        Exists(field="tags"),
        TextMatch(field="caption", text="dog 7"),
        GeoRadius(field="gps", lat=45, lon=7.5, metres=50_000),
        Not(part=narrow),
        AnyOf(parts=(narrow, AllOf(parts=(Exists(field="tags"), Not(part=Equals(field="width", value=100)))))),
    ):
        expected = sum(matches(where, payload) for payload in points.payloads)
        assert 0 < expected < COUNT
        assert store.count(where) == expected, where
