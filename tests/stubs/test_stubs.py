"""The stubs do what a server does with what the stores rely on, and refuse what they do not know."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import build_opener

import grpc
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.stubs.grpc import GrpcStub
from tests.stubs.rest import QdrantStub

ID = str(uuid.UUID(int=1))
DOT = models.Distance.DOT


@pytest.fixture
def rest() -> Iterator[QdrantStub]:
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def over_grpc() -> Iterator[GrpcStub]:
    with GrpcStub() as stub:
        yield stub


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, rest: QdrantStub, over_grpc: GrpcStub) -> Iterator[QdrantClient]:
    """A client of either stub, with a collection ``c`` of one point."""
    client = QdrantClient(
        rest.url,
        grpc_port=over_grpc.port,
        prefer_grpc=request.param == "grpc",
        check_compatibility=False,
        trust_env=False,
    )
    client.create_collection("c", {"v": models.VectorParams(size=2, distance=DOT)})
    client.upsert("c", [point(version=1)])
    yield client
    client.close()


def point(**payload: Any) -> models.PointStruct:
    return models.PointStruct(id=ID, vector={"v": [1.0, 2.0]}, payload=payload)


def payload(client: QdrantClient) -> Any:
    return client.retrieve("c", [ID])[0].payload


def version_is(version: int) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="version", match=models.MatchValue(value=version))])


def send(stub: QdrantStub, method: str, path: str, body: Any = None) -> Any:
    """Return the JSON of an answer, or its status when it is an error."""
    content = None if body is None else json.dumps(body).encode()
    try:
        with build_opener().open(HttpRequest(stub.url + path, content, method=method)) as answer:
            return json.load(answer)
    except HTTPError as exc:
        return exc.code, json.load(exc)["status"]["error"]


def test_a_condition_decides_whether_a_point_that_is_there_changes(client: QdrantClient) -> None:
    client.upsert("c", [point(version=9)], update_filter=version_is(2))
    assert payload(client) == {"version": 1}
    client.upsert("c", [point(version=2)], update_filter=version_is(1), ordering=models.WriteOrdering.STRONG)
    assert payload(client) == {"version": 2}
    client.upsert("c", [point(version=3)], update_mode=models.UpdateMode.INSERT_ONLY)
    assert payload(client) == {"version": 2}
    other = models.PointStruct(id=str(uuid.UUID(int=2)), vector={"v": [1.0, 2.0]}, payload={})
    client.upsert("c", [other], update_filter=version_is(1))
    assert client.count("c").count == 2  # what is not there is inserted whatever the condition


def test_orderings_are_kept_of_every_write(rest: QdrantStub, over_grpc: GrpcStub, client: QdrantClient) -> None:
    client.upsert("c", [point(version=2)], ordering=models.WriteOrdering.STRONG)
    client.upsert("c", [point(version=2)])
    if over_grpc.requests:
        strong, weak = (call.message for call in over_grpc.requests[-2:])
        assert (strong.ordering.type, weak.HasField("ordering")) == (messages.WriteOrderingType.Strong, False)
    else:
        assert [each.parameters.get("ordering") for each in rest.requests[-2:]] == ["strong", None]


def test_vectors_change_alone_and_new_ones_are_added(client: QdrantClient) -> None:
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    dense = models.DenseVectorConfig(size=2, distance=DOT, multivector_config=multi, datatype=models.Datatype.FLOAT16)
    client.create_vector_name("c", "patches", models.DenseVectorNameConfig(dense=dense))
    client.update_vectors("c", [models.PointVectors(id=ID, vector={"patches": [[1.0, 0.0], [0.0, 1.0]]})])
    (record,) = client.retrieve("c", [ID], with_vectors=True)
    assert record.vector == {"v": [1.0, 2.0], "patches": [[1.0, 0.0], [0.0, 1.0]]}
    assert record.payload == {"version": 1}
    vectors = client.get_collection("c").config.params.vectors
    assert isinstance(vectors, dict)
    assert vectors["patches"].multivector_config == multi
    with pytest.raises((UnexpectedResponse, grpc.RpcError), match="No point with id"):
        client.update_vectors("c", [models.PointVectors(id=str(uuid.UUID(int=7)), vector={"v": [1.0, 0.0]})])


def test_payloads_are_merged_and_fields_removed(client: QdrantClient) -> None:
    client.set_payload("c", {"a": 1, "version": 2}, [ID])
    client.set_payload("c", {"b": 2}, models.Filter(must=[models.HasIdCondition(has_id=[ID])]), key="within")
    assert payload(client) == {"version": 2, "a": 1, "within": {"b": 2}}
    client.delete_payload("c", ["a"], [ID])
    assert payload(client) == {"version": 2, "within": {"b": 2}}


def test_values_are_counted_where_there_is_an_index_only(client: QdrantClient) -> None:
    with pytest.raises((UnexpectedResponse, grpc.RpcError), match="Index required"):
        client.facet("c", "version")
    client.create_payload_index("c", "version", models.PayloadSchemaType.INTEGER)
    assert [hit.count for hit in client.facet("c", "version").hits] == [1]
    assert client.get_collection("c").payload_schema["version"].data_type == models.PayloadSchemaType.INTEGER


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PUT", "/collections/c/points", {"points": [], "update_filters": {}}, "update_filters"),
        ("PUT", "/collections/c/points", {"points": [{"id": 1, "vectors": {}}]}, "vectors"),
        ("PUT", "/collections/c/points?order=strong", {"points": []}, "order"),
        ("PUT", "/collections/c/points?ordering=stronger", {"points": []}, "stronger"),
        ("PUT", "/collections/c/points", {"points": [], "shard_key": "a"}, "shard_key"),
        ("PUT", "/collections/c/points/vectors", {"points": [], "updatefilter": {}}, "updatefilter"),
        ("POST", "/collections/c/points/batch", {"operations": [{"upsert": {"points": [], "if": {}}}]}, "if"),
        ("POST", "/collections/c/points/scroll", {"order_by": "x"}, "order_by"),
        ("POST", "/collections/c/points/count", {"filter": {"must": [], "most": []}}, "most"),
        ("PUT", "/collections/d", {"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 6}, "shard_number"),
    ],
)
def test_what_is_not_known_is_refused_by_name(rest: QdrantStub, method: str, path: str, body: Any, named: str) -> None:
    send(rest, "PUT", "/collections/c", {"vectors": {"size": 2, "distance": "Dot"}})
    status, error = send(rest, method, path, body)
    assert status == 400
    assert named in error


def test_a_field_that_is_not_carried_out_is_refused_by_name(over_grpc: GrpcStub) -> None:
    client = QdrantClient("127.0.0.1", grpc_port=over_grpc.port, prefer_grpc=True, check_compatibility=False)
    with pytest.raises(grpc.RpcError, match="shard_number") as caught:
        client.create_collection("c", {"v": models.VectorParams(size=2, distance=DOT)}, shard_number=6)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    client.close()


def test_a_version_is_told(rest: QdrantStub, over_grpc: GrpcStub, client: QdrantClient) -> None:
    rest.version = over_grpc.version = "1.17.1"
    assert client.info().version == "1.17.1"


def test_a_dump_is_loaded_by_another_stub(rest: QdrantStub) -> None:
    client = QdrantClient(rest.url, check_compatibility=False, trust_env=False)
    client.create_collection("c", {"v": models.VectorParams(size=2, distance=DOT)})
    client.create_collection("d", models.VectorParams(size=1, distance=DOT))
    client.create_payload_index("c", "version", models.PayloadSchemaType.INTEGER)
    client.upsert("c", [point(version=1)])
    with QdrantStub() as other:
        other.load(rest.dump())
        assert other.dump() == rest.dump()
        again = QdrantClient(other.url, check_compatibility=False, trust_env=False)
        assert payload(again) == {"version": 1}
        assert again.facet("c", "version").hits[0].value == 1
        again.close()
    client.close()
