"""What a collection on a server keeps beside its points: a companion collection, whose points carry it as payload.

``NAME.t2c`` is the companion of ``NAME``. One point of it is the header; the bytes of blobs are points of their own, in
pieces, as text. The points of a generation ``~xxxx`` are the collection ``NAME~xxxx``.

The header is swapped by an upsert with an ``update_filter`` on its version, which the server applies in one step, and which
has the strong ordering: with a weaker one, writers through several nodes of a cluster lose updates and leave replicas that
differ for good. Contents are written once, under ids of their own, so that the default ordering does for them.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

from qdrant_client import QdrantClient, models

from t2c_search.errors import CollectionNotFoundError, StoreTimeoutError, StoreTooLargeError
from t2c_search.stores.blobs import pause
from t2c_search.stores.header import Content, Header
from t2c_search.stores.server.connection import Connection
from t2c_search.types import Payload

COMPANION_SUFFIX = ".t2c"
_CHUNK_BYTES = 1 << 20  # a third more in base64: far below what a server takes in one request
_CHUNKS_AT_ONCE = 24  # read in one answer, of 32 MiB
_LEAST_PIECE = 1 << 10  # who takes less takes no request of ours
_SEEN_SECONDS = 30.0  # in which a write that was acknowledged must be seen
_NAMESPACE = uuid.UUID("6f0e4c1e-6d6f-5f0b-9d0e-2f6a6f1b7c55")
_VERSION = "version"


class PointVault:
    """Header and contents as points of a collection's companion; see ``Vault``."""

    lag_seconds = 10.0

    def __init__(self, connection: Connection, collection: str) -> None:
        self.companion = collection + COMPANION_SUFFIX
        self._connection = connection
        self._client = connection.client
        self._call = connection.call
        self._collection = collection

    def is_there(self) -> bool:
        """Tell whether the companion collection is there."""
        return self._call(self._client.collection_exists, self.companion)

    def create(self) -> None:
        """Make the companion collection unless it is there."""
        # one number per point, always zero: points without any vector are not taken by every server version
        vector = models.VectorParams(size=1, distance=models.Distance.DOT)
        self._call(ensure_collection, self._client, self.companion, vector)

    def index_versions(self) -> None:
        """Index the field that the header is swapped by: a server in strict mode filters by nothing else."""
        keyword = models.PayloadSchemaType.KEYWORD
        self._call(self._client.create_payload_index, self.companion, _VERSION, keyword)

    def load(self) -> Header | None:
        """Return the header; None when there is none, or no companion collection."""
        return self.load_with([])[0]

    def load_with(self, contents: Sequence[Content]) -> tuple[Header | None, dict[str, bytes]]:
        """Return the header, and read points with it."""
        header_id = _point_id("header")
        chunks = [chunk_id for content in contents for chunk_id in _chunk_ids(content)]
        try:
            payloads = dict(self.payloads([header_id, *chunks]))
        except CollectionNotFoundError:
            return None, {}
        payload = payloads.pop(header_id, None)
        header = None if payload is None else Header.from_json(payload["header"].encode(), self._collection)
        return header, _joined(contents, self._whole(payloads))

    def forget_header(self) -> None:
        """Remove the header, if there is one."""
        if self.load() is not None:
            self.delete([_point_id("header")])

    def swap(self, former: str | None, header: Header) -> bool:
        """Replace the header if it has the version ``former``; what was written is read back to tell."""
        payload = {_VERSION: header.version, "header": header.to_json().decode()}
        match = models.FieldCondition(key=_VERSION, match=models.MatchValue(value=former or ""))
        self._call(
            self._client.upsert,
            self.companion,
            [models.PointStruct(id=_point_id("header"), vector=[0.0], payload=payload)],
            wait=True,
            ordering=models.WriteOrdering.STRONG,
            update_filter=models.Filter(must=[match]),  # a point that is not there is inserted all the same
        )
        deadline = time.monotonic() + _SEEN_SECONDS
        while True:
            now = self.load()
            if now is not None and now.descends_from(header.version):
                return True
            if now is not None and now.version != former:
                return False
            if time.monotonic() > deadline:  # what answers is a replica that is left behind
                raise StoreTimeoutError(
                    f"collection {self._collection!r}: a change was accepted and is not seen; is the cluster whole?"
                )
            pause()

    def put(self, content: Content, content_bytes: bytes) -> None:
        """Write points, a request for each piece."""
        for chunk_id, start in zip(_chunk_ids(content), range(0, content.size, _CHUNK_BYTES), strict=True):
            self._put_piece(chunk_id, base64.b64encode(content_bytes[start : start + _CHUNK_BYTES]).decode())

    def _put_piece(self, point_id: str, piece: str) -> None:
        """Write a piece, or where the server takes no request of that size, its halves, and that it has halves."""
        if len(piece) <= self._connection.request_bytes:
            try:
                self.upsert(point_id, {"content": piece})
            except StoreTooLargeError:
                if len(piece) < _LEAST_PIECE:
                    raise
                self._connection.request_bytes = len(piece) // 2
            else:
                return
        middle = len(piece) // 2
        for half, part in zip(_halves(point_id), (piece[:middle], piece[middle:]), strict=True):
            self._put_piece(half, part)
        self.upsert(point_id, {"halved": True})

    def get(self, contents: Sequence[Content]) -> dict[str, bytes]:
        """Read points, several pieces in one answer."""
        wanted = [chunk_id for content in contents for chunk_id in _chunk_ids(content)]
        return _joined(contents, self._whole(dict(self.payloads(wanted))))

    def _whole(self, payloads: Mapping[str, Payload]) -> dict[str, str]:
        """Return pieces by point, those that were written as halves read and put together."""
        pieces = {point_id: payload["content"] for point_id, payload in payloads.items() if "content" in payload}
        halved = [point_id for point_id, payload in payloads.items() if "halved" in payload]
        if halved:
            halves = [half for point_id in halved for half in _halves(point_id)]
            parts = self._whole(dict(self.payloads(halves)))
            for point_id in halved:
                first, second = _halves(point_id)
                if first in parts and second in parts:
                    pieces[point_id] = parts[first] + parts[second]
        return pieces

    def discard(self, contents: Sequence[Content]) -> None:
        """Remove points, halves first: what is left of a removal that was killed is found again."""
        self._discard([chunk_id for content in contents for chunk_id in _chunk_ids(content)])

    def _discard(self, point_ids: list[str]) -> None:
        halved = [point_id for point_id, payload in self.payloads(point_ids, ["halved"]) if "halved" in payload]
        if halved:
            self._discard([half for point_id in halved for half in _halves(point_id)])
        self.delete(point_ids)

    def discard_generations(self, generations: Sequence[str]) -> None:
        """Remove the collections of these generations."""
        for generation in generations:
            self._call(self._client.delete_collection, self._collection + generation)

    def payloads(self, point_ids: Sequence[str], fields: Sequence[str] = ()) -> Iterator[tuple[str, Payload]]:
        """Yield those of the companion's points that there are, with their payloads, or these fields of them."""
        for start in range(0, len(point_ids), _CHUNKS_AT_ONCE):
            some = list(point_ids[start : start + _CHUNKS_AT_ONCE])
            for record in self._call(self._client.retrieve, self.companion, some, with_payload=list(fields) or True):
                yield str(record.id), record.payload or {}

    def payload(self, point_id: str) -> Payload | None:
        """Return the payload of one of the companion's points, or None."""
        return next((payload for _, payload in self.payloads([point_id])), None)

    def upsert(self, point_id: str, payload: Payload) -> None:
        """Write one of the companion's points."""
        point = models.PointStruct(id=point_id, vector=[0.0], payload=payload)
        self._call(self._client.upsert, self.companion, [point], wait=True)

    def delete(self, point_ids: Sequence[str]) -> None:
        """Remove some of the companion's points."""
        if point_ids:
            self._call(self._client.delete, self.companion, models.PointIdsList(points=list(point_ids)), wait=True)


def _joined(contents: Sequence[Content], pieces: Mapping[str, str]) -> dict[str, bytes]:
    """Put contents together, those of which every piece is there."""
    found = {}
    for content in contents:
        chunks = [pieces.get(chunk_id) for chunk_id in _chunk_ids(content)]
        if None not in chunks:
            found[content.id] = b"".join(base64.b64decode(chunk or "") for chunk in chunks)
    return found


def ensure_collection(
    client: QdrantClient, name: str, vectors: models.VectorParams | dict[str, models.VectorParams]
) -> None:
    """Make a collection unless it is there: safe to repeat when the answer to its making was lost."""
    if not client.collection_exists(name):
        client.create_collection(name, vectors_config=vectors)


def pieces_of(content_id: str, count: int) -> list[str]:
    """Return the ids of the points that carry so many pieces of a content."""
    return [_point_id(f"{content_id}/{number}") for number in range(count)]


def key_point(key: str) -> str:
    """Return the id of the point that named a blob's content in the first layout."""
    return _point_id(key)


def _halves(point_id: str) -> tuple[str, str]:
    return _point_id(f"{point_id}/a"), _point_id(f"{point_id}/b")


def _chunk_ids(content: Content) -> list[str]:
    return pieces_of(content.id, -(-content.size // _CHUNK_BYTES))


def _point_id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))
