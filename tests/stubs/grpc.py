"""A Qdrant server for tests: as much of its gRPC interface as the stores use, over qdrant-client's in-memory engine.

As the REST one, it refuses what it does not carry out, with INVALID_ARGUMENT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from tests.stubs.rest import VERSION, Engine


class Call(NamedTuple):
    """One call that was understood: the method's name and its message."""

    method: str
    message: Any


class GrpcStub:
    """Serves while its ``with`` block lasts, on ``port``. Stands in for a server in tests only: no index, no disk."""

    def __init__(self, version: str = VERSION, strict: models.StrictModeConfig | None = None) -> None:
        self.version = version
        self.failure: tuple[grpc.StatusCode, str] | None = None
        """What every request gets instead of an answer."""
        self.requests: list[Call] = []
        self._engine = Engine(strict)
        self._turn = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        points, collections = points_service_pb2_grpc, collections_service_pb2_grpc
        for methods, base, register in (
            (_POINTS, points.PointsServicer, points.add_PointsServicer_to_server),
            (_COLLECTIONS, collections.CollectionsServicer, collections.add_CollectionsServicer_to_server),
            (
                {"HealthCheck": Method(self._health)},
                qdrant_pb2_grpc.QdrantServicer,
                qdrant_pb2_grpc.add_QdrantServicer_to_server,
            ),
        ):
            served = {name: self._serving(name, method) for name, method in methods.items()}
            register(type("Service", (base,), served)(), self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()
        self._engine.client.close()

    def _health(self, engine: Engine, message: Any) -> Any:
        return messages.HealthCheckReply(title="qdrant - vector search engine", version=self.version)

    def _serving(self, name: str, method: Method) -> Callable[[Any, Any, Any], Any]:
        def serve(_: Any, message: Any, context: Any) -> Any:
            if self.failure is not None:
                context.abort(*self.failure)
            try:
                method.check(name, message)
                with self._turn:
                    self.requests.append(Call(name, message))
                    return method.action(self._engine, message)
            except KeyError as exc:  # how the in-memory engine says that there is no such point
                context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: No point with id {exc.args[0]} found")
            except ValueError as exc:  # how it refuses all else
                absent = "not found" in str(exc)
                context.abort(grpc.StatusCode.NOT_FOUND if absent else grpc.StatusCode.INVALID_ARGUMENT, str(exc))

        return serve


_EVERYWHERE = frozenset({"collection_name", "timeout"})


@dataclass(frozen=True)
class Method:
    """What answers one method, and the fields of its message that are carried out."""

    action: Callable[[Engine, Any], Any]
    fields: frozenset[str] = frozenset()

    def check(self, name: str, message: Any) -> None:
        """Raise ValueError for a field that is not carried out."""
        if unknown := {field.name for field, _ in message.ListFields()} - self.fields - _EVERYWHERE:
            raise ValueError(f"the stub does not carry out the field {sorted(unknown)[0]!r} of {name}")


_DONE = messages.UpdateResult(status=messages.UpdateStatus.Completed)


def _written(found: Any) -> Any:
    return messages.PointsOperationResponse(result=_DONE)


def _condition(message: Any, name: str = "filter") -> models.Filter | None:
    return GrpcToRest.convert_filter(getattr(message, name)) if message.HasField(name) else None


def _full(record: Any) -> Any:
    return record.model_copy(update={"payload": record.payload or {}})  # a message has no word for "no payload"


def _upsert(engine: Engine, message: Any) -> Any:
    points = [GrpcToRest.convert_point_struct(point) for point in message.points]
    mode = GrpcToRest.convert_update_mode(message.update_mode) if message.HasField("update_mode") else None
    condition = _condition(message, "update_filter")
    return _written(engine.upsert(message.collection_name, points, update_filter=condition, update_mode=mode))


def _update_vectors(engine: Engine, message: Any) -> Any:
    points = [GrpcToRest.convert_point_vectors(point) for point in message.points]
    condition = _condition(message, "update_filter")
    return _written(engine.update_vectors(message.collection_name, points, condition))


def _set_payload(engine: Engine, message: Any) -> Any:
    return _written(
        engine.client.set_payload(
            message.collection_name,
            GrpcToRest.convert_payload(message.payload),
            GrpcToRest.convert_points_selector(message.points_selector),
            key=message.key or None,
        )
    )


def _delete_payload(engine: Engine, message: Any) -> Any:
    selector = GrpcToRest.convert_points_selector(message.points_selector)
    return _written(engine.client.delete_payload(message.collection_name, list(message.keys), selector))


def _get(engine: Engine, message: Any) -> Any:
    records = engine.client.retrieve(
        message.collection_name,
        [GrpcToRest.convert_point_id(point_id) for point_id in message.ids],
        GrpcToRest.convert_with_payload_selector(message.with_payload),
        GrpcToRest.convert_with_vectors_selector(message.with_vectors),
    )
    return messages.GetResponse(result=[RestToGrpc.convert_record(_full(record)) for record in records])


def _scroll(engine: Engine, message: Any) -> Any:
    records, offset = engine.scroll(
        message.collection_name,
        _condition(message),
        limit=message.limit,
        offset=GrpcToRest.convert_point_id(message.offset) if message.HasField("offset") else None,
        with_payload=GrpcToRest.convert_with_payload_selector(message.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(message.with_vectors),
    )
    return messages.ScrollResponse(
        result=[RestToGrpc.convert_record(_full(record)) for record in records],
        next_page_offset=None if offset is None else RestToGrpc.convert_extended_point_id(offset),
    )


def _query_batch(engine: Engine, message: Any) -> Any:
    queries = [GrpcToRest.convert_query_points(query) for query in message.query_points]
    answers = engine.query(message.collection_name, queries) if queries else []
    return messages.QueryBatchResponse(
        result=[
            messages.BatchResult(result=[RestToGrpc.convert_scored_point(_full(point)) for point in answer.points])
            for answer in answers
        ]
    )


def _count(engine: Engine, message: Any) -> Any:
    found = engine.count(message.collection_name, _condition(message), message.exact)
    return messages.CountResponse(result=messages.CountResult(count=found.count))


def _facet(engine: Engine, message: Any) -> Any:
    condition = _condition(message)
    answer = engine.facet(message.collection_name, message.key, condition, limit=message.limit, exact=message.exact)
    return messages.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in answer.hits])


def _delete(engine: Engine, message: Any) -> Any:
    return _written(engine.client.delete(message.collection_name, GrpcToRest.convert_points_selector(message.points)))


def _update_batch(engine: Engine, message: Any) -> Any:
    operations = [GrpcToRest.convert_points_update_operation(operation) for operation in message.operations]
    engine.client.batch_update_points(message.collection_name, operations)
    return messages.UpdateBatchResponse(result=[_DONE for _ in operations])


def _index(engine: Engine, message: Any) -> Any:
    engine.index(message.collection_name, message.field_name, messages.FieldType.Name(message.field_type)[9:].lower())
    return _written(None)


def _create_vector(engine: Engine, message: Any) -> Any:
    told = message.dense_config
    multi = told.HasField("multivector_config")
    dense = models.DenseVectorConfig(
        size=told.size,
        distance=GrpcToRest.convert_distance(told.distance),
        multivector_config=GrpcToRest.convert_multivector_config(told.multivector_config) if multi else None,
        datatype=GrpcToRest.convert_datatype(told.datatype) if told.HasField("datatype") else None,
    )
    config = models.DenseVectorNameConfig(dense=dense)
    return _written(engine.client.create_vector_name(message.collection_name, message.vector_name, config))


def _create(engine: Engine, message: Any) -> Any:
    engine.create(message.collection_name, GrpcToRest.convert_vectors_config(message.vectors_config))
    return messages.CollectionOperationResponse(result=True)


def _list(engine: Engine, message: Any) -> Any:
    names = [found.name for found in engine.client.get_collections().collections]
    return messages.ListCollectionsResponse(collections=[messages.CollectionDescription(name=name) for name in names])


def _info(engine: Engine, message: Any) -> Any:
    info = engine.info(message.collection_name)
    return messages.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


def _exists(engine: Engine, message: Any) -> Any:
    exists = engine.client.collection_exists(message.collection_name)
    return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))


_WRITE = frozenset({"wait", "ordering"})
_READ = frozenset({"read_consistency"})
_WHOLE = frozenset({"with_payload", "with_vectors"})
_POINTS = {
    "Upsert": Method(_upsert, _WRITE | {"points", "update_filter", "update_mode"}),
    "UpdateVectors": Method(_update_vectors, _WRITE | {"points", "update_filter"}),
    "SetPayload": Method(_set_payload, _WRITE | {"payload", "points_selector", "key"}),
    "DeletePayload": Method(_delete_payload, _WRITE | {"keys", "points_selector"}),
    "Get": Method(_get, _READ | _WHOLE | {"ids"}),
    "Scroll": Method(_scroll, _READ | _WHOLE | {"filter", "offset", "limit"}),
    "QueryBatch": Method(_query_batch, _READ | {"query_points"}),
    "Count": Method(_count, _READ | {"filter", "exact"}),
    "Facet": Method(_facet, _READ | {"key", "filter", "limit", "exact"}),
    "Delete": Method(_delete, _WRITE | {"points"}),
    "UpdateBatch": Method(_update_batch, _WRITE | {"operations"}),
    "CreateFieldIndex": Method(_index, _WRITE | {"field_name", "field_type"}),
    "CreateVectorName": Method(_create_vector, _WRITE | {"vector_name", "dense_config"}),
}
_COLLECTIONS = {
    "List": Method(_list),
    "Get": Method(_info),
    "Create": Method(_create, frozenset({"vectors_config"})),
    "Delete": Method(
        lambda engine, message: messages.CollectionOperationResponse(result=engine.delete(message.collection_name))
    ),
    "CollectionExists": Method(_exists),
}
