"""Blobs of a collection on a server: a companion collection whose points carry their bytes, in pieces, as text."""

from __future__ import annotations

import base64
import uuid

from qdrant_client import QdrantClient, models

from t2c_search.errors import CollectionNotFoundError, StoreError
from t2c_search.stores.blobs import check_key
from t2c_search.stores.server.connection import Connection
from t2c_search.types import Payload

COMPANION_SUFFIX = ".t2c"
_CHUNK_BYTES = 1 << 20  # a third more in base64: far below what a server takes in one request
_LISTED_AT_ONCE = 1000
_READ_ATTEMPTS = 5  # a reader starts again when a writer replaces the blob under it
_NAMESPACE = uuid.UUID("6f0e4c1e-6d6f-5f0b-9d0e-2f6a6f1b7c55")


class PointBlobs:
    """Blobs in the companion collection of one collection.

    A blob is a pointer point, whose id comes from the key, naming a version; and that version's chunks. Chunks are
    written first and the pointer last: the pointer's replacement is the switch.
    """

    def __init__(self, connection: Connection, collection: str) -> None:
        self._client = connection.client
        self._call = connection.call
        self._name = collection + COMPANION_SUFFIX

    def is_there(self) -> bool:
        """Tell whether the companion collection is there."""
        return self._call(self._client.collection_exists, self._name)

    def create(self) -> None:
        """Make the companion collection unless it is there."""
        # one number per point, always zero: points without any vector are not taken by every server version
        vector = models.VectorParams(size=1, distance=models.Distance.DOT)
        self._call(ensure_collection, self._client, self._name, vector)

    def read(self, key: str) -> bytes | None:
        """Return the blob's bytes, or None when there is none. Raises StoreError when it changes without end."""
        check_key(key)
        for _ in range(_READ_ATTEMPTS):
            chunk_ids = self._chunk_ids(key)
            if chunk_ids is None:
                return None
            pieces = [self._payload(chunk_id) for chunk_id in chunk_ids]
            whole = [base64.b64decode(piece["content"]) for piece in pieces if piece is not None]
            if len(whole) == len(chunk_ids):
                return b"".join(whole)
        raise StoreError(f"blob {key!r} of {self._name!r} was replaced each time it was read; try again")

    def write(self, key: str, content: bytes) -> None:
        """Replace the blob; a reader sees the old bytes or the new ones."""
        check_key(key)
        replaced = self._chunk_ids(key)
        version = uuid.uuid4().hex
        starts = range(0, len(content), _CHUNK_BYTES)
        for chunk_id, start in zip(_chunk_ids(version, len(starts)), starts, strict=True):
            piece = base64.b64encode(content[start : start + _CHUNK_BYTES]).decode()
            self._upsert(chunk_id, {"content": piece})
        self._upsert(_pointer_id(key), {"key": key, "version": version, "chunks": len(starts)})
        if replaced:
            unused = models.PointIdsList(points=list(replaced))
            self._call(self._client.delete, self._name, unused, wait=True)

    def copy_to(self, other: PointBlobs) -> None:
        """Copy every blob to a companion that was just made; what stands there under the same keys is replaced."""
        for point_id in self._ids():
            payload = self._payload(point_id)
            if payload is not None:
                other._upsert(point_id, payload)

    def keep_only(self, key: str) -> None:
        """Remove every blob but one."""
        kept = {_pointer_id(key), *(self._chunk_ids(key) or ())}
        if unused := [point_id for point_id in self._ids() if point_id not in kept]:
            self._call(self._client.delete, self._name, models.PointIdsList(points=unused), wait=True)

    def _ids(self) -> list[str]:
        ids: list[str] = []
        offset = None
        while True:
            records, offset = self._call(
                self._client.scroll, self._name, limit=_LISTED_AT_ONCE, offset=offset, with_payload=False
            )
            ids += [str(record.id) for record in records]
            if offset is None:
                return ids

    def _chunk_ids(self, key: str) -> list[str] | None:
        try:
            pointer = self._payload(_pointer_id(key))
        except CollectionNotFoundError:
            return None
        return None if pointer is None else _chunk_ids(pointer["version"], pointer["chunks"])

    def _payload(self, point_id: str) -> Payload | None:
        records = self._call(self._client.retrieve, self._name, [point_id], with_payload=True)
        return records[0].payload if records else None

    def _upsert(self, point_id: str, payload: Payload) -> None:
        point = models.PointStruct(id=point_id, vector=[0.0], payload=payload)
        self._call(self._client.upsert, self._name, [point], wait=True)


def ensure_collection(
    client: QdrantClient, name: str, vectors: models.VectorParams | dict[str, models.VectorParams]
) -> None:
    """Make a collection unless it is there: safe to repeat when the answer to its making was lost."""
    if not client.collection_exists(name):
        client.create_collection(name, vectors_config=vectors)


def _pointer_id(key: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, key))


def _chunk_ids(version: str, count: int) -> list[str]:
    return [str(uuid.uuid5(_NAMESPACE, f"{version}/{number}")) for number in range(count)]
