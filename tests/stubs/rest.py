"""A Qdrant server for tests: as much of its REST interface as the stores use, over qdrant-client's in-memory engine."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models

Fault = int | Literal["reset", "silence", "lost answer"] | None
"""A status instead of an answer; a closed connection; no answer at all; carried out but not answered; no fault."""

_POINT = {"id", "vector", "payload"}
_OPERATIONS = TypeAdapter(list[models.OverwritePayloadOperation])
_VECTORS = TypeAdapter(models.VectorParams | dict[str, models.VectorParams])


class QdrantStub:
    """Serves while its ``with`` block lasts, from ``url``. Stands in for a server in tests only: no index, no disk."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.faults: deque[Fault] = deque()
        """What goes wrong with the next requests, in order."""
        self.requests: list[tuple[str, str, Any]] = []
        """Method, path and JSON body of every request that was understood."""
        self.body_bytes: list[int] = []
        self._client = QdrantClient(":memory:")
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
        self._client.close()

    def go_down(self) -> None:
        """Refuse connections from now on, as a server that is being restarted."""
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        """Answer again, at the same address and with everything that was there."""
        self._listen(self._server.server_port)
        self._thread.start()

    def dump(self) -> str:
        """Return all that is stored, as JSON lines: a collection's name and vectors, then its points, and so on."""
        with self._turn:
            lines: list[dict[str, Any]] = []
            for found in self._client.get_collections().collections:
                params = self._client.get_collection(found.name).config.params
                lines.append({"collection": found.name, **params.model_dump(mode="json", include={"vectors"})})
                records, _ = self._client.scroll(found.name, limit=sys.maxsize, with_payload=True, with_vectors=True)
                lines += [record.model_dump(mode="json", include=_POINT) for record in records]
        return "".join(json.dumps(line) + "\n" for line in lines)

    def load(self, dump: str) -> None:
        """Store what another stub dumped, besides what is there."""
        with self._turn:
            name = ""
            for line in map(json.loads, dump.splitlines()):
                if "collection" in line:
                    name = line["collection"]
                    _create(self._client, name, line)
                else:
                    self._client.upsert(name, [models.PointStruct(**line)])

    def _listen(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def silence(self) -> None:
        """Wait, as a server that does not answer, until the stub ends."""
        self._ending.wait()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Return status and JSON of one request."""
        with self._turn:
            self.requests.append((method, path, body))
            for pattern, action in _ROUTES[method].items():
                if found := re.fullmatch(pattern, path):
                    try:
                        result = action(self._client, *found.groups(), body)
                    except ValueError as exc:  # how the in-memory engine refuses
                        status = 404 if "not found" in str(exc) else 400
                        return status, {"status": {"error": str(exc)}}
                    return 200, {"result": result, "status": "ok", "time": 0.0}
        return 404, {"status": {"error": f"the stub has no {method} {path}"}}


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
            if stub.api_key is not None and self.headers.get("api-key") != stub.api_key:
                fault = 401
            if isinstance(fault, int):
                self._reply(fault, {"status": {"error": f"fault {fault} as ordered"}})
                return
            status, answer = stub.answer(
                self.command, self.path.partition("?")[0], json.loads(content) if content else None
            )
            if fault == "lost answer":
                self.connection.close()
                return
            self._reply(status, answer)

        def _reply(self, status: int, answer: Any) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Keep the tests' output clean."""

    return Handler


def _json(found: Any) -> Any:
    return found.model_dump(mode="json")


def _create(client: QdrantClient, name: str, body: Any) -> bool:
    return client.create_collection(name, vectors_config=_VECTORS.validate_python(body["vectors"]))


def _create_index(client: QdrantClient, name: str, body: Any) -> Any:
    models.PayloadSchemaType(body["field_schema"])  # the in-memory engine has no index to make
    return _completed()


def _upsert(client: QdrantClient, name: str, body: Any) -> Any:
    batch = models.Batch(**body["batch"]) if "batch" in body else [models.PointStruct(**p) for p in body["points"]]
    return _json(client.upsert(name, batch))


def _retrieve(client: QdrantClient, name: str, body: Any) -> Any:
    request = models.PointRequest(**body)
    return [
        _json(r)
        for r in client.retrieve(name, request.ids, request.with_payload or False, request.with_vector or False)
    ]


def _overwrite(client: QdrantClient, name: str, body: Any) -> Any:
    for answer in client.batch_update_points(name, _OPERATIONS.validate_python(body["operations"])):
        assert answer.status == models.UpdateStatus.COMPLETED
    return [_completed() for _ in body["operations"]]


def _scroll(client: QdrantClient, name: str, body: Any) -> Any:
    request = models.ScrollRequest(**body)
    records, offset = client.scroll(
        name,
        scroll_filter=request.filter,
        limit=request.limit or 10,
        offset=request.offset,
        with_payload=request.with_payload or False,
        with_vectors=request.with_vector or False,
    )
    return {"points": [_json(record) for record in records], "next_page_offset": offset}


def _query(client: QdrantClient, name: str, body: Any) -> Any:
    requests = [models.QueryRequest(**{**search, "params": None}) for search in body["searches"]]
    return [_json(answer) for answer in client.query_batch_points(name, requests)]


def _count(client: QdrantClient, name: str, body: Any) -> Any:
    return _json(client.count(name, models.CountRequest(**body).filter))


def _facet(client: QdrantClient, name: str, body: Any) -> Any:
    request = models.FacetRequest(**body)
    return _json(client.facet(name, request.key, request.filter, request.limit or 10))


def _completed() -> Any:
    return {"operation_id": 0, "status": "completed"}


_NAMED = r"/collections/([^/]+)"
_ROUTES: dict[str, dict[str, Callable[..., Any]]] = {
    "GET": {
        "/collections": lambda client, body: _json(client.get_collections()),
        _NAMED + "/exists": lambda client, name, body: {"exists": client.collection_exists(name)},
    },
    "PUT": {
        _NAMED: _create,
        _NAMED + "/index": _create_index,
        _NAMED + "/points": _upsert,
    },
    "POST": {
        _NAMED + "/points": _retrieve,
        _NAMED + "/points/delete": lambda client, name, body: _json(client.delete(name, body["points"])),
        _NAMED + "/points/batch": _overwrite,
        _NAMED + "/points/scroll": _scroll,
        _NAMED + "/points/query/batch": _query,
        _NAMED + "/points/count": _count,
        _NAMED + "/facet": _facet,
    },
    "DELETE": {_NAMED: lambda client, name, body: client.delete_collection(name)},
}
