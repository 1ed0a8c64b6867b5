"""A Qdrant server for tests: as much of its gRPC interface as the stores use, over qdrant-client's in-memory engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import (
    collections_service_pb2_grpc,
    points_service_pb2_grpc,
)


class GrpcStub:
    """Serves while its ``with`` block lasts, on ``port``. Stands in for a server in tests only: no index, no disk."""

    def __init__(self) -> None:
        self.failure: tuple[grpc.StatusCode, str] | None = None
        """What every request gets instead of an answer."""
        self._client = QdrantClient(":memory:")
        self._turn = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        services = (
            (_POINTS, points_service_pb2_grpc.PointsServicer, points_service_pb2_grpc.add_PointsServicer_to_server),
            (
                _COLLECTIONS,
                collections_service_pb2_grpc.CollectionsServicer,
                collections_service_pb2_grpc.add_CollectionsServicer_to_server,
            ),
        )
        for actions, base, register in services:
            methods = {name: self._method(action) for name, action in actions.items()}
            register(type("Service", (base,), methods)(), self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()
        self._client.close()

    def _method(self, action: Callable[[QdrantClient, Any], Any]) -> Callable[[Any, Any, Any], Any]:
        def serve(_: Any, request: Any, context: Any) -> Any:
            if self.failure is not None:
                context.abort(*self.failure)
            try:
                with self._turn:
                    return action(self._client, request)
            except ValueError as exc:  # how the in-memory engine refuses
                absent = "not found" in str(exc)
                context.abort(grpc.StatusCode.NOT_FOUND if absent else grpc.StatusCode.INVALID_ARGUMENT, str(exc))

        return serve


_DONE = messages.UpdateResult(status=messages.UpdateStatus.Completed)


def _where(request: Any) -> models.Filter | None:
    return GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None


def _full(record: Any) -> Any:
    return record.model_copy(update={"payload": record.payload or {}})  # a message has no word for "no payload"


def _upsert(client: QdrantClient, request: Any) -> Any:
    client.upsert(request.collection_name, [GrpcToRest.convert_point_struct(point) for point in request.points])
    return messages.PointsOperationResponse(result=_DONE)


def _get(client: QdrantClient, request: Any) -> Any:
    records = client.retrieve(
        request.collection_name,
        [GrpcToRest.convert_point_id(point_id) for point_id in request.ids],
        GrpcToRest.convert_with_payload_selector(request.with_payload),
        GrpcToRest.convert_with_vectors_selector(request.with_vectors),
    )
    return messages.GetResponse(result=[RestToGrpc.convert_record(_full(record)) for record in records])


def _scroll(client: QdrantClient, request: Any) -> Any:
    records, offset = client.scroll(
        request.collection_name,
        _where(request),
        limit=request.limit,
        offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
        with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
    )
    return messages.ScrollResponse(
        result=[RestToGrpc.convert_record(_full(record)) for record in records],
        next_page_offset=None if offset is None else RestToGrpc.convert_extended_point_id(offset),
    )


def _query_batch(client: QdrantClient, request: Any) -> Any:
    queries = [GrpcToRest.convert_query_points(query) for query in request.query_points]
    requests = [query.model_copy(update={"params": None}) for query in queries]
    answers = client.query_batch_points(request.collection_name, requests) if requests else []
    return messages.QueryBatchResponse(
        result=[
            messages.BatchResult(result=[RestToGrpc.convert_scored_point(_full(point)) for point in answer.points])
            for answer in answers
        ]
    )


def _facet(client: QdrantClient, request: Any) -> Any:
    answer = client.facet(request.collection_name, request.key, _where(request), request.limit)
    return messages.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in answer.hits])


def _delete(client: QdrantClient, request: Any) -> Any:
    client.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points))
    return messages.PointsOperationResponse(result=_DONE)


def _update_batch(client: QdrantClient, request: Any) -> Any:
    operations = [GrpcToRest.convert_points_update_operation(operation) for operation in request.operations]
    client.batch_update_points(request.collection_name, operations)
    return messages.UpdateBatchResponse(result=[_DONE for _ in operations])


def _create(client: QdrantClient, request: Any) -> Any:
    client.create_collection(request.collection_name, GrpcToRest.convert_vectors_config(request.vectors_config))
    return messages.CollectionOperationResponse(result=True)


def _list(client: QdrantClient, request: Any) -> Any:
    names = [found.name for found in client.get_collections().collections]
    return messages.ListCollectionsResponse(collections=[messages.CollectionDescription(name=name) for name in names])


_POINTS: dict[str, Callable[[QdrantClient, Any], Any]] = {
    "Upsert": _upsert,
    "Get": _get,
    "Scroll": _scroll,
    "QueryBatch": _query_batch,
    "Count": lambda client, request: messages.CountResponse(
        result=messages.CountResult(count=client.count(request.collection_name, _where(request)).count)
    ),
    "Facet": _facet,
    "Delete": _delete,
    "UpdateBatch": _update_batch,
    "CreateFieldIndex": lambda client, request: messages.PointsOperationResponse(result=_DONE),
}
_COLLECTIONS: dict[str, Callable[[QdrantClient, Any], Any]] = {
    "List": _list,
    "Create": _create,
    "Delete": lambda client, request: messages.CollectionOperationResponse(
        result=client.delete_collection(request.collection_name)
    ),
    "CollectionExists": lambda client, request: messages.CollectionExistsResponse(
        result=messages.CollectionExists(exists=client.collection_exists(request.collection_name))
    ),
}
