"""A Qdrant server for tests: as much of its REST interface as the stores use, over qdrant-client's in-memory engine.

A server passes over what it does not know, and a condition that is passed over loses updates. So this one answers 400 to
every key and every parameter that it does not carry out, and 404 to every path that it does not have.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

Fault = int | bytes | Literal["reset", "silence", "lost answer", "half answer"] | None
"""A status instead of an answer; bytes instead of one; a closed connection; no answer at all; carried out but not answered, or
answered with the first half alone; no fault."""
VERSION = "1.18.3"
_VECTORS = models.VectorParams | dict[str, models.VectorParams]
_POINT = {"id", "vector", "payload"}


class Request(NamedTuple):
    """One request that was understood: ``parameters`` are those of the address, such as ``ordering``."""

    method: str
    path: str
    body: Any
    parameters: dict[str, str]


class QdrantStub:
    """Serves while its ``with`` block lasts, from ``url``. Stands in for a server in tests only: no index, no disk."""

    def __init__(self, api_key: str | None = None, version: str = VERSION) -> None:
        self.api_key = api_key
        self.version = version
        self.faults: deque[Fault] = deque()
        """What goes wrong with the next requests, in order."""
        self.forbidden = ""
        """Pattern of the collections that the key does not cover; empty: it covers all."""
        self.requests: list[Request] = []
        self.body_bytes: list[int] = []
        self._engine = Engine()
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._listen(0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.go_down()
        self._engine.client.close()

    def go_down(self) -> None:
        """Refuse connections from now on, as a server that is being restarted."""
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        """Answer again, at the same address and with everything that was there."""
        self._listen(self._server.server_port)
        self._thread.start()

    def dump(self) -> str:
        """Return all that is stored, as JSON lines: a collection's name, vectors and indexes, then its points, and so on."""
        client = self._engine.client
        with self._turn:
            lines: list[dict[str, Any]] = []
            for found in client.get_collections().collections:
                params = client.get_collection(found.name).config.params
                vectors = params.model_dump(mode="json", include={"vectors"}, exclude_none=True)
                lines.append({"collection": found.name, **vectors, "indexes": self._engine.indexes[found.name]})
                records, _ = client.scroll(found.name, limit=sys.maxsize, with_payload=True, with_vectors=True)
                lines += [record.model_dump(mode="json", include=_POINT) for record in records]
        return "".join(json.dumps(line) + "\n" for line in lines)

    def load(self, dump: str) -> None:
        """Store what another stub dumped, besides what is there."""
        name = ""
        with self._turn:
            for line in map(json.loads, dump.splitlines()):
                if "collection" in line:
                    name = line["collection"]
                    self._engine.create(name, TypeAdapter(_VECTORS).validate_python(line["vectors"]))
                    self._engine.indexes[name] = line["indexes"]
                else:
                    self._engine.client.upsert(name, [models.PointStruct(**line)])

    def _listen(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def silence(self) -> None:
        """Wait, as a server that does not answer, until the stub ends."""
        self._ending.wait()

    def answer(self, request: Request) -> tuple[int, Any]:
        """Return status and JSON of one request. Requests are carried out one at a time, whole."""
        with self._turn:
            self.requests.append(request)
            if (request.method, request.path) == ("GET", "/"):
                return 200, {"title": "qdrant - vector search engine", "version": self.version}
            if self.forbidden and re.match(f"/collections/{self.forbidden}(/|$)", request.path):
                return 403, {"status": {"error": "Forbidden: the token does not cover this collection"}}
            for (method, pattern), route in _ROUTES.items():
                if method == request.method and (found := re.fullmatch(pattern, request.path)):
                    try:
                        result = route.carry_out(self._engine, found.groups(), request)
                    except KeyError as exc:  # how the in-memory engine says that there is no such point
                        return 404, {"status": {"error": f"Not found: No point with id {exc.args[0]} found"}}
                    except ValueError as exc:  # how it refuses all else, and pydantic
                        status = 404 if "not found" in str(exc) else 400
                        return status, {"status": {"error": str(exc)}}
                    return 200, {"result": result, "status": "ok", "time": 0.0}
        return 404, {"status": {"error": f"the stub has no {request.method} {request.path}"}}


def _handler_of(stub: QdrantStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.body_bytes.append(len(content))
            fault = stub.faults.popleft() if stub.faults else None
            if fault == "silence":
                stub.silence()
            if fault in ("silence", "reset"):
                self.connection.close()
                return
            address = urlsplit(self.path)
            if stub.api_key is not None and self.headers.get("api-key") != stub.api_key and address.path != "/":
                fault = 401
            if isinstance(fault, int):
                self._reply(fault, {"status": {"error": f"fault {fault} as ordered"}})
                return
            body = json.loads(content) if content else None
            status, answer = stub.answer(Request(self.command, address.path, body, dict(parse_qsl(address.query))))
            if fault == "lost answer":
                self.connection.close()
                return
            if isinstance(fault, bytes):
                self._send(status, fault)
                return
            content = json.dumps(answer).encode()
            self._send(status, content[: len(content) // 2] if fault == "half answer" else content)

        def _reply(self, status: int, answer: Any) -> None:
            self._send(status, json.dumps(answer).encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Keep the tests' output clean."""

    return Handler


class Engine:
    """The in-memory engine, with what it lacks: which payload fields are indexed, without which no server counts values."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.indexes: dict[str, dict[str, str]] = {}

    def create(self, name: str, vectors: Any) -> bool:
        """Make a collection."""
        self.indexes[name] = {}
        return self.client.create_collection(name, vectors_config=vectors)

    def delete(self, name: str) -> bool:
        """Delete a collection."""
        self.indexes.pop(name, None)
        return self.client.delete_collection(name)

    def index(self, name: str, field: str, kind: str) -> None:
        """Index a payload field."""
        self.client.get_collection(name)
        self.indexes[name][field] = kind

    def info(self, name: str) -> models.CollectionInfo:
        """Describe a collection."""
        info = self.client.get_collection(name)
        schema = {
            field: models.PayloadIndexInfo(data_type=models.PayloadSchemaType(kind), points=info.points_count or 0)
            for field, kind in self.indexes[name].items()
        }
        return info.model_copy(update={"payload_schema": schema})

    def facet(self, name: str, key: str, where: models.Filter | None, limit: int) -> models.FacetResponse:
        """Count the values of an indexed field."""
        if key not in self.indexes[name]:
            raise ValueError(f'Bad request: Index required but not found for "{key}" of one of the following types')
        return self.client.facet(name, key, where, limit)


@dataclass(frozen=True)
class Route:
    """What answers one path: the model of its body and, of its keys, those that are carried out."""

    action: Callable[..., Any]
    body: Any = None
    keys: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()

    def carry_out(self, engine: Engine, names: tuple[str, ...], request: Request) -> Any:
        """Check the request, and return its result as JSON. Raises ValueError, KeyError for a point that is not there."""
        if unknown := set(request.parameters) - self.parameters - {"timeout"}:
            raise ValueError(f"the stub does not know the parameter {sorted(unknown)[0]!r} of {request.path}")
        if "ordering" in request.parameters:
            models.WriteOrdering(request.parameters["ordering"])
        if self.body is None:
            return _json(self.action(engine, *names))
        body = TypeAdapter(self.body).validate_python(request.body)  # refuses keys that the client's models lack
        if isinstance(request.body, dict) and (unknown := set(request.body) - self.keys):
            raise ValueError(f"the stub does not carry out the key {sorted(unknown)[0]!r} of {request.path}")
        return _json(self.action(engine, *names, body))


def _json(found: Any) -> Any:
    if isinstance(found, BaseModel):
        return found.model_dump(mode="json", exclude_none=True)
    return [_json(each) for each in found] if isinstance(found, list) else found


_DONE = {"operation_id": 0, "status": "completed"}


def _upsert(engine: Engine, name: str, body: models.PointsBatch | models.PointsList) -> Any:
    points = body.batch if isinstance(body, models.PointsBatch) else body.points
    return engine.client.upsert(name, points, update_filter=body.update_filter, update_mode=body.update_mode)


def _update_vectors(engine: Engine, name: str, body: models.UpdateVectors) -> Any:
    return engine.client.update_vectors(name, body.points, update_filter=body.update_filter)


def _delete(engine: Engine, name: str, body: models.PointIdsList | models.FilterSelector) -> Any:
    return engine.client.delete(name, body)


def _retrieve(engine: Engine, name: str, body: models.PointRequest) -> Any:
    return engine.client.retrieve(name, body.ids, body.with_payload or False, body.with_vector or False)


def _scroll(engine: Engine, name: str, body: models.ScrollRequest) -> Any:
    records, offset = engine.client.scroll(
        name,
        scroll_filter=body.filter,
        limit=body.limit or 10,
        offset=body.offset,
        with_payload=body.with_payload or False,
        with_vectors=body.with_vector or False,
    )
    return {"points": _json(records), "next_page_offset": offset}


def _query(engine: Engine, name: str, body: models.QueryRequestBatch) -> Any:
    requests = [search.model_copy(update={"params": None}) for search in body.searches]  # it has no index to tune
    return engine.client.query_batch_points(name, requests)


def _index(engine: Engine, name: str, body: models.CreateFieldIndex) -> Any:
    engine.index(name, body.field_name, models.PayloadSchemaType(body.field_schema).value)
    return _DONE


_NAMED = r"/collections/([^/]+)"
_POINTS = _NAMED + "/points"
_WRITE = frozenset({"wait", "ordering"})
_READ = frozenset({"consistency"})
_ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/collections"): Route(lambda engine: engine.client.get_collections()),
    ("GET", _NAMED): Route(lambda engine, name: engine.info(name)),
    ("GET", _NAMED + "/exists"): Route(lambda engine, name: {"exists": engine.client.collection_exists(name)}),
    ("PUT", _NAMED): Route(
        lambda engine, name, body: engine.create(name, body.vectors), models.CreateCollection, frozenset({"vectors"})
    ),
    ("DELETE", _NAMED): Route(lambda engine, name: engine.delete(name)),
    ("PUT", _NAMED + "/vectors/([^/]+)"): Route(
        lambda engine, name, vector, body: engine.client.create_vector_name(name, vector, body),
        models.DenseVectorNameConfig,
        frozenset({"dense"}),
        _WRITE,
    ),
    ("PUT", _NAMED + "/index"): Route(
        _index, models.CreateFieldIndex, frozenset({"field_name", "field_schema"}), _WRITE
    ),
    ("PUT", _POINTS): Route(
        _upsert, models.PointInsertOperations, frozenset({"points", "batch", "update_filter", "update_mode"}), _WRITE
    ),
    ("POST", _POINTS): Route(_retrieve, models.PointRequest, frozenset({"ids", "with_payload", "with_vector"}), _READ),
    ("PUT", _POINTS + "/vectors"): Route(
        _update_vectors, models.UpdateVectors, frozenset({"points", "update_filter"}), _WRITE
    ),
    ("POST", _POINTS + "/delete"): Route(_delete, models.PointsSelector, frozenset({"points", "filter"}), _WRITE),
    ("POST", _POINTS + "/payload"): Route(
        lambda engine, name, body: engine.client.set_payload(
            name, body.payload, body.points if body.filter is None else body.filter, key=body.key
        ),
        models.SetPayload,
        frozenset({"payload", "points", "filter", "key"}),
        _WRITE,
    ),
    ("POST", _POINTS + "/payload/delete"): Route(
        lambda engine, name, body: engine.client.delete_payload(
            name, body.keys, body.points if body.filter is None else body.filter
        ),
        models.DeletePayload,
        frozenset({"keys", "points", "filter"}),
        _WRITE,
    ),
    ("POST", _POINTS + "/batch"): Route(
        lambda engine, name, body: engine.client.batch_update_points(name, body.operations),
        models.UpdateOperations,
        frozenset({"operations"}),
        _WRITE,
    ),
    ("POST", _POINTS + "/scroll"): Route(
        _scroll, models.ScrollRequest, frozenset({"offset", "limit", "filter", "with_payload", "with_vector"}), _READ
    ),
    ("POST", _POINTS + "/query/batch"): Route(_query, models.QueryRequestBatch, frozenset({"searches"}), _READ),
    ("POST", _POINTS + "/count"): Route(
        lambda engine, name, body: engine.client.count(name, body.filter),
        models.CountRequest,
        frozenset({"filter", "exact"}),
        _READ,
    ),
    ("POST", _NAMED + "/facet"): Route(
        lambda engine, name, body: engine.facet(name, body.key, body.filter, body.limit or 10),
        models.FacetRequest,
        frozenset({"key", "filter", "limit", "exact"}),
        _READ,
    ),
}
