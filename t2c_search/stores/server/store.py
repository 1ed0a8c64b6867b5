"""A Qdrant server, or Qdrant's in-memory engine for tests and notebooks, both through qdrant-client.

A collection ``NAME`` has a companion ``NAME.t2c`` that holds its blobs, and tells it from collections that others made. A
replacement is filled as ``NAME~xxxx`` and ``NAME~xxxx.t2c``; one blob of ``NAME.t2c``, the pointer, then names it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, islice
from typing import ParamSpec, TypeVar

import numpy as np
from qdrant_client import QdrantClient, models

from t2c_search.errors import CollectionFormatError, CollectionNotFoundError, StoreError
from t2c_search.filters import Filter, Scalar
from t2c_search.stores.blobs import SPEC, dump_spec, load_spec
from t2c_search.stores.columns import (
    REQUEST_POINTS,
    check_points,
    check_query,
    payload_sizes,
    to_points,
    to_scored_points,
    uploads,
)
from t2c_search.stores.conditions import check_facet, json_path
from t2c_search.stores.protocol import Capabilities, CollectionSpec, FieldType
from t2c_search.stores.server.blobs import COMPANION_SUFFIX, PointBlobs, ensure_collection
from t2c_search.stores.server.connection import Connection, connect
from t2c_search.stores.server.requests import FIELD_TYPES, server_filter, server_request, vector_params
from t2c_search.types import Payload, Points, ScoredPoints, VectorQuery

RESPONSE_BYTES = 16 << 20
"""Size of one answer with vectors; larger ones are asked for in parts."""
_FLOAT_BYTES = 20  # one float32 as JSON, at most
_PAYLOAD_BYTES = 1 << 10  # one payload, as a rule
_POINTER = "current"
_REPLACEMENT = "~"  # not in a name that a user may choose
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Item = TypeVar("_Item")


def open_memory(collection: str) -> QdrantStore:
    """Return a new empty store in this process's memory: brute force, for tests and notebooks."""
    capabilities = Capabilities(persistent=False, ann=False, concurrent=False)
    # its numpy arrays grow in one call while another reads them
    connection = Connection(QdrantClient(":memory:"), ":memory:", one_at_a_time=True)
    return QdrantStore(connection, ":memory:", collection, capabilities)


def open_server(location: str, collection: str, api_key: str | None, timeout: float) -> QdrantStore:
    """Return a collection on a server."""
    capabilities = Capabilities(persistent=True, ann=True, concurrent=True)
    return QdrantStore(connect(location, api_key, timeout), location, collection, capabilities)


def collection_names(location: str, api_key: str | None, timeout: float) -> list[str]:
    """List the collections on a server that have a companion, replaced ones once, sorted."""
    connection = connect(location, api_key, timeout)
    try:
        names = {found.name for found in connection.call(connection.client.get_collections).collections}
    finally:
        connection.close()
    made = {name.partition(_REPLACEMENT)[0] for name in names if name + COMPANION_SUFFIX in names}
    return sorted(name for name in made if name + COMPANION_SUFFIX in names)


class QdrantStore:
    """One collection behind qdrant-client; see ``VectorStore``."""

    def __init__(self, connection: Connection, location: str, collection: str, capabilities: Capabilities) -> None:
        self.location = location
        self.collection = collection
        self.capabilities = capabilities
        self._connection = connection
        self._client = connection.client
        self._name = collection  # on the server
        self._spec: CollectionSpec | None = None

    @property
    def _blobs(self) -> PointBlobs:
        return PointBlobs(self._connection, self._name)

    @property
    def _home_blobs(self) -> PointBlobs:
        return PointBlobs(self._connection, self.collection)

    def exists(self) -> bool:
        """Tell whether the collection is there, complete."""
        return PointBlobs(self._connection, self._current()).read(SPEC) is not None

    def create(self, spec: CollectionSpec) -> None:
        """Make the empty collection. Killed half way it does not exist yet, and creating it again completes it."""
        current = self._current()
        if current != self.collection and PointBlobs(self._connection, current).read(SPEC) is None:
            self._home_blobs.write(_POINTER, self.collection.encode())  # what it named is gone
        if self.exists():
            raise StoreError(f"collection {self.collection!r} is at {self.location} already; use another name")
        self._name = self.collection
        if not self._blobs.is_there() and self._call(self._client.collection_exists, self.collection):
            raise self._foreign()
        self._blobs.create()
        self._make(spec)

    def drop(self) -> None:
        """Delete the collection and its blobs."""
        self.spec()
        for name in self._names():
            self._call(self._client.delete_collection, name)
        self._name, self._spec = self.collection, None

    @contextmanager
    def replacement(self, spec: CollectionSpec) -> Iterator[QdrantStore]:
        """Fill a new collection under another name; at the end of the block the pointer is replaced by that name."""
        self.spec()
        self._remove_others()
        new = QdrantStore(self._connection, self.location, self.collection, self.capabilities)
        new._name = f"{self.collection}{_REPLACEMENT}{uuid.uuid4().hex[:8]}"
        try:
            new._blobs.create()
            self._blobs.copy_to(new._blobs)
            new._make(spec)
            yield new
        except BaseException:
            with suppress(StoreError):  # what went wrong first is what matters
                for name in (new._name, new._name + COMPANION_SUFFIX):
                    self._call(self._client.delete_collection, name)
            raise
        self._spec = None  # a failure from here on leaves open which of the two the pointer names, so that both stay
        self._home_blobs.write(_POINTER, new._name.encode())
        self._name, self._spec = new._name, None
        self._remove_others()

    def spec(self) -> CollectionSpec:
        """Return what it was created with, and the indexes added since. Raises CollectionFormatError for one others made."""
        if self._spec is None:
            self._name = self._current()
            content = self._blobs.read(SPEC)
            if content is None:
                if self._call(self._client.collection_exists, self.collection):
                    raise self._foreign()
                raise CollectionNotFoundError(
                    f"no collection {self.collection!r} at {self.location}; index images to make one"
                )
            self._spec = load_spec(content)
        return self._spec

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too."""
        spec = self.spec()
        self._check_replaced()
        self._index(indexes)
        if (content := self._blobs.read(SPEC)) is not None:  # others may have added some
            spec = load_spec(content)
        self._write_spec(replace(spec, indexes={**spec.indexes, **indexes}))

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points, in requests of a bounded size; each is applied on the server on return."""
        dims = self.spec().vectors
        check_points(points, self.spec())
        columns = {name: rows.tolist() for name, rows in points.vectors.items()}
        vector_bytes = _FLOAT_BYTES * sum(dims.values())
        sizes = payload_sizes(points.ids, points.payloads)
        for part in uploads([vector_bytes + size for size in sizes]):
            vectors = {name: rows[part] for name, rows in columns.items()}
            batch = models.Batch(ids=points.ids[part], vectors=vectors, payloads=points.payloads[part])
            self._call(self._client.upsert, self._name, batch, wait=True)

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of those points that exist, leaving their vectors."""
        sizes = payload_sizes(ids, payloads)
        known = set(self.fetch(ids, payload=False).ids)
        pairs = [pair for pair in zip(ids, payloads, strict=True) if pair[0] in known]
        for part in uploads([size for size, point in zip(sizes, ids, strict=True) if point in known]):
            operations = [
                models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload=payload, points=[point]))
                for point, payload in pairs[part]
            ]
            self._call(self._client.batch_update_points, self._name, operations, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are passed over."""
        self.spec()
        for part in _parts(ids, REQUEST_POINTS):
            self._call(self._client.delete, self._name, models.PointIdsList(points=part), wait=True)

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        """Return the points that exist, in the order asked for."""
        dims = self.spec().vectors
        answers = [to_points([], vectors, dims)]
        for part in _parts(ids, _answer_points(vectors, dims)):
            records = self._call(
                self._client.retrieve, self._name, part, with_payload=payload, with_vectors=list(vectors)
            )
            answers.append(to_points(records, vectors, dims))  # at once: records hold vectors at 15 times their size
        return _in_order(ids, answers)

    def scan(
        self,
        *,
        where: Filter | None = None,
        vectors: tuple[str, ...] = (),
        payload: bool | tuple[str, ...] = True,
        batch_size: int = 1000,
    ) -> Iterator[Points]:
        """Yield every matching point once, in ascending order of id, in batches of at most ``batch_size``."""
        dims = self.spec().vectors
        offset = None
        while True:
            records, offset = self._call(
                self._client.scroll,
                self._name,
                scroll_filter=server_filter(where, self.spec()),
                limit=min(batch_size, _answer_points(vectors, dims)),
                offset=offset,
                with_payload=payload if isinstance(payload, bool) else [json_path(field) for field in payload],
                with_vectors=list(vectors),
            )
            if records:
                yield to_points(records, vectors, dims)
            if offset is None:
                return

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one round trip; what is too much for one answer is fetched after it."""
        dims = self.spec().vectors
        for query in queries:
            check_query(query, dims)
        whole = sum(query.limit * _point_bytes(query.with_vectors, dims) for query in queries) <= RESPONSE_BYTES
        spec, ann = self.spec(), self.capabilities.ann
        requests = [server_request(query, spec, ann=ann, whole=whole) for query in queries]
        answers = self._call(self._client.query_batch_points, self._name, requests)
        pairs = zip(queries, answers, strict=True)
        if whole:
            return [to_scored_points(answer.points, query.with_vectors, dims) for query, answer in pairs]
        return [self._completed(query, answer.points) for query, answer in pairs]

    def count(self, where: Filter | None = None) -> int:
        """Count the matching points exactly."""
        self.spec()
        return self._call(self._client.count, self._name, server_filter(where, self.spec()), exact=True).count

    def facet(self, field: str, *, where: Filter | None = None, limit: int = 20) -> list[tuple[Scalar, int]]:
        """Count the values of an indexed field, most frequent first, ties by value."""
        check_facet(field, self.spec().indexes)
        condition = server_filter(where, self.spec())
        answer = self._call(self._client.facet, self._name, json_path(field), condition, limit, exact=True)
        return [(hit.value, hit.count) for hit in answer.hits]

    def read_blob(self, key: str) -> bytes | None:
        """Return the blob of that key, or None."""
        self.spec()
        content = self._blobs.read(key)
        if content is None:
            self._check_replaced()
        return content

    def write_blob(self, key: str, content: bytes) -> None:
        """Replace the blob of that key atomically."""
        self.spec()
        self._check_replaced()
        self._blobs.write(key, content)

    def flush(self) -> None:
        """Do nothing more: every write has waited until the server applied it, in its write-ahead log first."""
        self.spec()

    def release(self) -> None:
        """Do nothing: nobody else is kept out."""

    def close(self) -> None:
        """Release the connection; closing again does nothing."""
        self._connection.close()

    def _make(self, spec: CollectionSpec) -> None:
        """Make the points' collection and, last, the spec, which says that the collection is complete."""
        vectors = {name: vector_params(name, dim, spec.quantization) for name, dim in spec.vectors.items()}
        self._call(ensure_collection, self._client, self._name, vectors)
        self._index(spec.indexes)
        self._write_spec(spec)

    def _index(self, indexes: Mapping[str, FieldType]) -> None:
        if self.capabilities.ann:  # the in-memory engine has no index of any kind
            for field, field_type in indexes.items():
                self._call(self._client.create_payload_index, self._name, json_path(field), FIELD_TYPES[field_type])

    def _write_spec(self, spec: CollectionSpec) -> None:
        self._blobs.write(SPEC, dump_spec(spec))
        self._spec = spec

    def _current(self) -> str:
        """Return the name, on the server, of the collection as it is now."""
        pointer = self._home_blobs.read(_POINTER)
        return self.collection if pointer is None else pointer.decode()

    def _names(self) -> list[str]:
        """List what the server holds of this collection, replaced and unfinished ones too, the pointer's home last."""
        found = self._call(self._client.get_collections).collections
        home = self.collection + COMPANION_SUFFIX
        names = {each.name for each in found if each.name.startswith(self.collection + _REPLACEMENT)}
        return [*sorted(names), *(name for name in (self.collection, home) if name in {each.name for each in found})]

    def _remove_others(self) -> None:
        """Remove what was replaced, and replacements that were not finished."""
        current = self._current()
        kept = (current, current + COMPANION_SUFFIX, self.collection + COMPANION_SUFFIX)
        for name in self._names():
            if name not in kept:
                self._call(self._client.delete_collection, name)
        if current != self.collection:
            self._home_blobs.keep_only(_POINTER)

    def _check_replaced(self) -> None:
        """Raise StoreError when this collection is gone because another took its place."""
        if self._blobs.read(SPEC) is None and self.exists():
            raise StoreError(f"collection {self.collection!r} at {self.location} was replaced meanwhile; open it again")

    def _call(
        self, request: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        """Return the answer of one of the client's methods; one that finds its collection gone may mean a replacement."""
        try:
            return self._connection.call(request, *args, **kwargs)
        except CollectionNotFoundError:
            self._check_replaced()
            raise

    def _foreign(self) -> CollectionFormatError:
        return CollectionFormatError(
            f"collection {self.collection!r} at {self.location} was not made by t2c_search, or its making was "
            "interrupted; use another name, or index again"
        )

    def _completed(self, query: VectorQuery, hits: Sequence[models.ScoredPoint]) -> ScoredPoints:
        if not query.with_vectors and not query.with_payload:
            return to_scored_points(hits, (), {})
        scores = {str(hit.id): hit.score for hit in hits}
        found = self.fetch(list(scores), vectors=query.with_vectors, payload=query.with_payload)
        kept = np.array([scores[point_id] for point_id in found.ids], np.float32)  # without those deleted meanwhile
        return ScoredPoints(found.ids, found.payloads, found.vectors, kept)


def _point_bytes(vectors: Sequence[str], dims: Mapping[str, int]) -> int:
    """About how many bytes one point with a payload takes in an answer."""
    return _PAYLOAD_BYTES + _FLOAT_BYTES * sum(dims[name] for name in vectors)


def _answer_points(vectors: Sequence[str], dims: Mapping[str, int]) -> int:
    """How many points with these vectors go into one answer."""
    return max(1, RESPONSE_BYTES // _point_bytes(vectors, dims))


def _in_order(ids: Sequence[str], answers: Sequence[Points]) -> Points:
    """Put the found points, which came in parts and in any order, into the order of ``ids``."""
    payloads = [payload for answer in answers for payload in answer.payloads]
    row_of = {point_id: row for row, point_id in enumerate(chain.from_iterable(answer.ids for answer in answers))}
    known = [point_id for point_id in ids if point_id in row_of]
    rows = [row_of[point_id] for point_id in known]
    vectors = {name: np.concatenate([answer.vectors[name] for answer in answers])[rows] for name in answers[0].vectors}
    return Points(known, [payloads[row] for row in rows], vectors)


def _parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
