"""A Qdrant server, or Qdrant's in-memory engine for tests and notebooks, both through qdrant-client.

A collection ``NAME`` has a companion ``NAME.t2c`` with its header and blobs, which tells it from collections that others
made; see ``vault``. A replacement is filled as ``NAME~xxxx``, which the header then names.

Points are written with the medium ordering: two indexers may write one point from two sides, and with the weak one the
replicas of a cluster would then differ for good.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np
from qdrant_client import QdrantClient, models

from t2c_search.errors import (
    CollectionFormatError,
    CollectionNotFoundError,
    CollectionReplacedError,
    StoreError,
    StoreLimitError,
    StoreTooLargeError,
)
from t2c_search.filters import Filter, Scalar
from t2c_search.stores.blobs import Aside, Blobs
from t2c_search.stores.checks import check_added, check_points, check_query, check_vectors, with_vector
from t2c_search.stores.columns import (
    REQUEST_POINTS,
    first_upload,
    payload_sizes,
    to_points,
    to_scored_points,
    vectors_by_point,
)
from t2c_search.stores.conditions import json_path, json_paths
from t2c_search.stores.header import Header
from t2c_search.stores.payloads import Merge, merges, rewrites
from t2c_search.stores.protocol import NO_LIMITS, Capabilities, CollectionSpec, FieldType, Limits, VectorSpec
from t2c_search.stores.reading import Facet, FilteredReads, Reading
from t2c_search.stores.server.batches import (
    answer_points,
    fits_one_answer,
    in_order,
    in_parts,
    joined_pages,
    pages,
    upload_sizes,
)
from t2c_search.stores.server.connection import Connection, connect
from t2c_search.stores.server.former import Former, is_former, settle, upgrade
from t2c_search.stores.server.limits import check_layout, limits_of
from t2c_search.stores.server.requests import (
    FIELD_TYPES,
    added_vector,
    merge_operation,
    server_filter,
    server_request,
    vector_operations,
    vector_params,
)
from t2c_search.stores.server.vault import COMPANION_SUFFIX, PointVault, ensure_collection
from t2c_search.types import Payload, Points, ScoredPoints, VectorQuery

_POINTS = models.WriteOrdering.MEDIUM
_REPLACEMENT = "~"  # not in a name that a user may choose
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def open_memory(collection: str) -> QdrantStore:
    """Return a new empty store in this process's memory: brute force, for tests and notebooks."""
    capabilities = Capabilities(persistent=False, ann=False, concurrent=False)
    # its numpy arrays grow in one call while another reads them
    connection = Connection(QdrantClient(":memory:"), ":memory:", one_at_a_time=True)
    return QdrantStore(connection, ":memory:", collection, capabilities)


def open_server(location: str, collection: str, api_key: str | None, timeout: float) -> QdrantStore:
    """Return a collection on a server."""
    connection = connect(location, api_key, timeout)
    capabilities = Capabilities(persistent=True, ann=True, concurrent=True, transport=connection.transport)
    return QdrantStore(connection, location, collection, capabilities)


def collection_names(location: str, api_key: str | None, timeout: float) -> list[str]:
    """List the collections on a server that have a companion, replaced ones once, sorted."""
    connection = connect(location, api_key, timeout)
    try:
        names = {found.name for found in connection.call(connection.client.get_collections).collections}
    finally:
        connection.close()
    homes = (name.removesuffix(COMPANION_SUFFIX) for name in names if name.endswith(COMPANION_SUFFIX))
    return sorted(name for name in homes if _REPLACEMENT not in name)


class QdrantStore(FilteredReads[str]):
    """One collection behind qdrant-client; see ``VectorStore``."""

    def __init__(self, connection: Connection, location: str, collection: str, capabilities: Capabilities) -> None:
        self.location = location
        self.collection = collection
        self.capabilities = capabilities
        self._connection = connection
        self._client = connection.client
        self._vault = PointVault(connection, collection)
        self._blobs = Blobs(self._vault, self._missing)
        self._pin: Header | None = None
        self._aside: Aside | None = None

    def exists(self) -> bool:
        """Tell whether the collection is there, complete."""
        header = self._vault.load()
        if header is None:
            return is_former(self._connection, self.collection)
        return self._connection.call(self._client.collection_exists, self.collection + header.generation)

    def header(self) -> Header:
        """Read what the collection is now; one of the first layout is upgraded."""
        return self._pin or self._blobs.header()

    def pinned(self, header: Header | None = None) -> QdrantStore:
        """Return this store as it is at a header, or now, over the same connection."""
        view = QdrantStore(self._connection, self.location, self.collection, self.capabilities)
        view._pin = header or self.header()
        return view

    def physical_names(self) -> list[str]:
        """Name the collection of the points, and the companion."""
        return [self.collection + self.header().generation, self._vault.companion]

    def spec(self) -> CollectionSpec:
        """Return what it was created with, and the indexes and vectors added since."""
        return self.header().spec

    def create(self, spec: CollectionSpec) -> None:
        """Make the empty collection. Killed half way it does not exist yet, or is completed when next looked at."""
        if self.exists():
            raise StoreError(f"collection {self.collection!r} is at {self.location} already; use another name")
        self._vault.forget_header()  # of points that somebody deleted
        if not self._vault.is_there() and self._connection.call(self._client.collection_exists, self.collection):
            raise self._foreign()
        self._vault.create()
        if self.capabilities.ann:  # the in-memory engine has no index of any kind
            self._vault.index_versions()
        self._check_layout(spec)
        self._make(self.collection, spec)
        settle(self._vault, Former(self._connection, self.collection), Header(spec))

    def _check_layout(self, spec: CollectionSpec) -> None:
        """See by the companion what the server allows with a collection, before there is one that it does not."""
        try:
            check_layout(spec, self._limits(self._vault.companion), self.location)
        except StoreLimitError:
            self._connection.call(self._client.delete_collection, self._vault.companion)
            raise

    def drop(self) -> None:
        """Delete the collection and its blobs."""
        self.header()
        for name in self._names():
            self._connection.call(self._client.delete_collection, name)

    @contextmanager
    def replacement(self, spec: CollectionSpec) -> Iterator[QdrantStore]:
        """Fill a new collection under another name; at the end of the block the header is replaced by one that names it."""
        began = self.header()
        self._remove_others(began)
        generation = f"{_REPLACEMENT}{uuid.uuid4().hex[:8]}"
        filled = self.pinned(Header(spec, generation=generation))
        filled._aside = Aside(self._blobs, began)
        try:
            self._make(self.collection + generation, spec)
            yield filled
            filled._aside.take_over(generation, spec, self.collection)
        except BaseException:
            with suppress(StoreError):  # what went wrong first is what matters
                if self._blobs.header().generation != generation:  # or it was interrupted just after the switch
                    filled._aside.discard()
                    self._vault.discard_generations([generation])
            raise

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too."""
        name, _ = self._at()
        self._index(name, indexes)
        self._blobs.change_spec(lambda spec: replace(spec, indexes={**spec.indexes, **indexes}), self._pin)

    def add_vector(self, name: str, vector: VectorSpec) -> None:
        """Add a named vector, in the engine first: what a killed process began, the next call completes."""
        where, spec = self._at()
        if check_added(name, vector, spec):
            return
        self._call(
            self._client.create_vector_name, where, name, added_vector(vector), ordering=models.WriteOrdering.STRONG
        )
        self._blobs.change_spec(partial(with_vector, name=name, vector=vector), self._pin)

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points, in requests of a bounded size; each is applied on the server on return."""
        name, spec = self._at()
        check_points(points, spec)
        vectors = vectors_by_point(points)

        def send(part: slice) -> None:
            batch = [
                models.PointStruct(id=point_id, vector=vector, payload=payload)
                for point_id, vector, payload in zip(
                    points.ids[part], vectors[part], points.payloads[part], strict=True
                )
            ]
            self._call(self._client.upsert, name, batch, wait=True, ordering=_POINTS)

        self._upload(name, upload_sizes(points), send)

    def update_vectors(self, points: Points) -> None:
        """Replace vectors of those points that exist, in requests of a bounded size."""
        name, spec = self._at()
        check_vectors(points, spec)
        known = set(self.fetch(points.ids, payload=False).ids)
        rows = [row for row, point_id in enumerate(points.ids) if point_id in known]
        vectors, sizes = vectors_by_point(points), upload_sizes(points)

        def send(part: slice) -> None:
            some = {points.ids[row]: vectors[row] for row in rows[part]}
            operations = vector_operations(some, [*points.vectors, *points.multivectors])
            self._call(self._client.batch_update_points, name, operations, wait=True, ordering=_POINTS)

        self._upload(name, [sizes[row] for row in rows], send)

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of those points that exist, but for what is derived, leaving their vectors."""
        payload_sizes(ids, payloads)
        self._merge(rewrites(self.fetch(ids), ids, payloads))

    def update_payload(self, ids: Sequence[str], fields: Sequence[Payload]) -> None:
        """Merge fields into the payloads of those points that exist."""
        payload_sizes(ids, fields)
        self._merge(merges(ids, fields))

    def _merge(self, parts: Sequence[Merge]) -> None:
        """Merge fields into what the points have; the server does so field by field."""
        name, _ = self._at()

        def send(part: slice) -> None:
            operations = [merge_operation(*each) for each in parts[part]]
            self._call(self._client.batch_update_points, name, operations, wait=True, ordering=_POINTS)

        self._upload(name, payload_sizes([point for point, _, _ in parts], [fields for _, _, fields in parts]), send)

    def _upload(self, name: str, sizes: Sequence[int], send: Callable[[slice], None]) -> None:
        """Send rows of these sizes in as many requests as the server takes, and keep in mind which it does not take.

        Raises StoreTooLargeError where one row alone is too large.
        """
        most, start = min(REQUEST_POINTS, self._limits(name).points or REQUEST_POINTS), 0
        while start < len(sizes):
            count = first_upload(sizes[start : start + most], most, self._connection.request_bytes)
            try:
                send(slice(start, start + count))
            except StoreTooLargeError:
                if count == 1:
                    raise
                self._connection.request_bytes = sum(sizes[start : start + count]) // 2
            else:
                start += count

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are passed over."""
        name, _ = self._at()
        for part in in_parts(ids, REQUEST_POINTS):
            self._call(self._client.delete, name, models.PointIdsList(points=part), wait=True, ordering=_POINTS)

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        """Return the points that exist, in the order asked for."""
        name, spec = self._at()
        answers = [to_points([], vectors, spec)]
        for part in in_parts(ids, self._most(name, answer_points(vectors, spec))):
            records = self._call(self._client.retrieve, name, part, with_payload=payload, with_vectors=list(vectors))
            answers.append(to_points(records, vectors, spec))  # at once: records hold vectors at 15 times their size
        return in_order(ids, answers)

    def _limits(self, place: str) -> Limits:
        """Return what the server allows with a collection, as it was first read over this connection."""
        if not self.capabilities.ann:
            return NO_LIMITS
        known = self._connection.limits
        if place not in known:
            known[place] = limits_of(self._call(self._client.get_collection, place))
        return known[place]

    def _read(self, place: str, spec: CollectionSpec, reading: Reading) -> Iterator[Points]:
        offset, payload = None, reading.payload
        while True:
            records, offset = self._call(
                self._client.scroll,
                place,
                scroll_filter=server_filter(reading.where, spec),
                limit=self._most(place, min(reading.size, answer_points(reading.vectors, spec))),
                offset=offset,
                with_payload=payload if isinstance(payload, bool) else [json_path(field) for field in payload],
                with_vectors=list(reading.vectors),
            )
            if records:
                yield to_points(records, reading.vectors, spec)
            if offset is None:
                return

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one round trip, or more where the server allows less; long answers are fetched after it."""
        name, spec = self._at()
        for query in queries:
            check_query(query, spec)
        limits = self._limits(name)
        parts = [list(pages(query, limits)) for query in self._answerable(name, spec, queries)]
        flat = [part for each in parts for part in each]
        size = limits.searches or max(len(flat), 1)
        answers = iter([answer for some in in_parts(flat, size) for answer in self._search(name, spec, some)])
        return [joined_pages([next(answers) for _ in each]) for each in parts]

    def _search(self, name: str, spec: CollectionSpec, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer searches in one request, and where that is too much for one answer, more."""
        whole = fits_one_answer(queries, spec)
        limits = self._limits(name) if self.capabilities.ann else None
        requests = [server_request(query, spec, limits=limits, whole=whole) for query in queries]
        answers = self._call(self._client.query_batch_points, name, requests)
        pairs = zip(queries, answers, strict=True)
        if whole:
            return [to_scored_points(answer.points, query.with_vectors, spec) for query, answer in pairs]
        return [self._completed(query, answer.points, spec) for query, answer in pairs]

    def _most(self, name: str, wanted: int) -> int:
        """How many points to ask for at once."""
        return min(wanted, self._limits(name).answers or wanted)

    def _count(self, place: str, spec: CollectionSpec, where: Filter | None) -> int:
        return self._call(self._client.count, place, server_filter(where, spec), exact=True).count

    def _facet(self, place: str, spec: CollectionSpec, facet: Facet) -> list[tuple[Scalar, int]]:
        condition, exact = server_filter(facet.where, spec), self._limits(place).exact
        answer = self._call(self._client.facet, place, json_path(facet.field), condition, facet.limit, exact=exact)
        return [(hit.value, hit.count) for hit in answer.hits]

    def read_blobs(self, keys: Sequence[str], seen: Header | None = None) -> tuple[Header, dict[str, bytes]]:
        """Return the header and those of the blobs that there are, of one moment."""
        if self._aside is not None:
            return self.header(), self._aside.read(keys)
        return self._blobs.read(keys, self._pin, seen)

    def read_blob(self, key: str) -> bytes | None:
        """Return the bytes of that key, or None."""
        return self.read_blobs([key])[1].get(key)

    def update_blob(self, key: str, function: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a blob by what the function makes of it."""
        if self._aside is not None:
            return self._aside.update(key, function)
        return self._blobs.update(key, function, self._pin)

    def write_blob(self, key: str, content: bytes) -> None:
        """Store bytes under that key, whatever was there."""
        self.update_blob(key, lambda _: content)

    def flush(self) -> None:
        """Do nothing more: every write has waited until the server applied it, in its write-ahead log first."""
        self.header()

    def release(self) -> None:
        """Do nothing: nobody else is kept out."""

    def close(self) -> None:
        """Release the connection; closing again, or a pinned view, does nothing."""
        if self._pin is None:
            self._connection.close()

    def _at(self) -> tuple[str, CollectionSpec]:
        """Return the name of the points' collection, and its specification, as they are now or were pinned."""
        header = self.header()
        return self.collection + header.generation, header.spec

    def _make(self, name: str, spec: CollectionSpec) -> None:
        """Make a collection for points."""
        vectors = {each: vector_params(each, vector, spec.quantization) for each, vector in spec.vectors.items()}
        self._connection.call(ensure_collection, self._client, name, vectors)
        self._index(name, spec.indexes)

    def _index(self, name: str, indexes: Mapping[str, FieldType]) -> None:
        if self.capabilities.ann:
            for path, field_type in ((path, kind) for field, kind in indexes.items() for path in json_paths(field)):
                self._connection.call(self._client.create_payload_index, name, path, FIELD_TYPES[field_type])

    def _names(self) -> list[str]:
        """List what the server holds of this collection, replaced and unfinished ones too, the companion last."""
        found = {each.name for each in self._connection.call(self._client.get_collections).collections}
        replaced = sorted(name for name in found if name.startswith(self.collection + _REPLACEMENT))
        return [*replaced, *(name for name in (self.collection, self._vault.companion) if name in found)]

    def _remove_others(self, header: Header) -> None:
        """Remove what was replaced long ago, and replacements that were not finished."""
        kept = {self.collection + generation for generation in (header.generation, *header.former)}
        for name in self._names():
            if name not in kept and name != self._vault.companion:
                self._connection.call(self._client.delete_collection, name)

    def _call(
        self, request: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        """Return the answer of one of the client's methods about points; those of a pinned view may be gone."""
        try:
            return self._connection.call(request, *args, **kwargs)
        except CollectionNotFoundError as exc:
            if (
                self._pin is not None
                and self._aside is None
                and self._blobs.header().generation != self._pin.generation
            ):
                raise CollectionReplacedError(
                    f"collection {self.collection!r} at {self.location} was replaced while it was asked; ask again"
                ) from exc
            raise

    def _missing(self) -> Header:
        """Upgrade a collection of the first layout; raise what is to be said where there is none."""
        if is_former(self._connection, self.collection):
            return upgrade(self._connection, self.collection)
        if self._connection.call(self._client.collection_exists, self.collection):
            raise self._foreign()
        raise CollectionNotFoundError(f"no collection {self.collection!r} at {self.location}; index images to make one")

    def _foreign(self) -> CollectionFormatError:
        return CollectionFormatError(
            f"collection {self.collection!r} at {self.location} was not made by t2c_search, or its making was "
            "interrupted; use another name, or index again"
        )

    def _completed(self, query: VectorQuery, hits: Sequence[models.ScoredPoint], spec: CollectionSpec) -> ScoredPoints:
        if not query.with_vectors and not query.with_payload:
            return to_scored_points(hits, (), spec)
        scores = {str(hit.id): hit.score for hit in hits}
        found = self.fetch(list(scores), vectors=query.with_vectors, payload=query.with_payload)
        kept = np.array([scores[point_id] for point_id in found.ids], np.float32)  # without those deleted meanwhile
        return ScoredPoints(found.ids, found.payloads, found.vectors, kept, multivectors=found.multivectors)
