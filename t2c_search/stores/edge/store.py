"""The embedded engine: one collection in one folder, through qdrant-edge, Qdrant's own core in this process.

A collection ``NAME`` of the location ``photos.t2c`` is the folder ``photos.t2c/NAME`` with ``shard/`` (the engine's)
and ``blobs/``; see ``generations`` for one that was replaced. One process at a time may have it open. Writes go to a
write-ahead log first, so that what was acknowledged survives the process.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import qdrant_edge as edge

from t2c_search.errors import CollectionNotFoundError, StoreError
from t2c_search.filters import Filter, Scalar
from t2c_search.stores.blobs import SPEC, FileBlobs, dump_spec, load_spec, sync_folder
from t2c_search.stores.columns import (
    check_points,
    check_query,
    payload_sizes,
    to_points,
    to_scored_points,
)
from t2c_search.stores.conditions import check_facet, json_path
from t2c_search.stores.edge.disk_space import require_room, try_loading
from t2c_search.stores.edge.errors import closed, mapped_errors
from t2c_search.stores.edge.folders import current, discard, make_aside, remove_others, switch
from t2c_search.stores.edge.requests import edge_filter, edge_request
from t2c_search.stores.edge.residency import page_out
from t2c_search.stores.edge.shard import add_indexes, create_shard, empty_bytes, index_bytes
from t2c_search.stores.protocol import Capabilities, CollectionSpec, FieldType
from t2c_search.types import Payload, Points, ScoredPoints, VectorQuery

FLUSH_BYTES = 8 << 20
"""Written between two flushes.

The log is replayed from the last one at opening, and the payload indexes hold in memory what they have not flushed:
6 MiB for 16 of this at 512 dimensions, and twice that while flushing. A flush waits for the disk, however little there is.
"""
_CHANGE_BYTES = (
    1 << 10
)  # what a changed payload or a deleted point takes in memory until the next flush, beside its content
_WRITE_AMPLIFICATION = 4  # a point is in the log and in the segment, and its payload in the indexes too


def collection_names(location: str) -> list[str]:
    """List the collections in the folder, sorted; none when there is no such folder."""
    homes = (home for home in Path(location).glob("[!.]*") if home.is_dir())
    return sorted(home.name for home in homes if (current(home) / "blobs" / SPEC).is_file())


class EdgeStore:
    """One collection of an embedded store; see ``VectorStore``. Nothing is opened before it is needed."""

    capabilities = Capabilities(persistent=True, ann=True, concurrent=False)

    def __init__(self, location: str, collection: str) -> None:
        self.location = location
        self.collection = collection
        self._home = Path(location) / collection
        self._found: Path | None = None
        self._lock = threading.Lock()  # opening and closing; the engine's own methods may overlap
        self._shard: edge.EdgeShard | None = None
        self._spec: CollectionSpec | None = None
        self._unflushed = 0
        self._searched = False
        self._closed = False

    @property
    def _folder(self) -> Path:
        """The folder that holds the collection: once found, the same for as long as this store is used."""
        if self._found is None:
            with self._mapped_errors():
                folder = current(self._home)
                if not (folder / "blobs" / SPEC).is_file():
                    return folder
            self._found = folder
        return self._found

    @property
    def _blobs(self) -> FileBlobs:
        return FileBlobs(self._folder / "blobs")

    def exists(self) -> bool:
        """Tell whether the collection is there."""
        with self._mapped_errors():
            return (self._folder / "blobs" / SPEC).is_file()

    def create(self, spec: CollectionSpec) -> None:
        """Make the empty collection: aside, then renamed into place, so that it is whole or not there; and open it."""
        self._check_open()
        with self._mapped_errors():
            if self._home.exists():
                raise self._taken()
            self._home.parent.mkdir(parents=True, exist_ok=True)
            self._require_room(empty_bytes(spec))
            new = Path(tempfile.mkdtemp(prefix=f".{self.collection}.", dir=self._home.parent))
            try:
                create_shard(new / "shard", spec)
                FileBlobs(new / "blobs").write(SPEC, dump_spec(spec))
                self._move_into_place(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            sync_folder(self._home.parent)
        self._opened()  # takes the lock: nobody else drops what has no card yet

    def _move_into_place(self, new: Path) -> None:
        try:
            new.rename(self._home)
        except OSError as exc:
            if self._home.exists():  # somebody made it since we looked
                raise self._taken() from exc
            raise

    def _taken(self) -> StoreError:
        if self.exists():
            return StoreError(
                f"collection {self.collection!r} is in {self.location} already, perhaps made by another process at this "
                "moment; run the same command again to go on with it, or use another name"
            )
        return StoreError(f"{self._home} is there already; use another collection name, or delete it first")

    def drop(self) -> None:
        """Delete the collection and its blobs."""
        shard = self._opened()  # takes the lock: another process's collection is not pulled away from under it
        with self._lock, self._mapped_errors():
            gone = Path(tempfile.mkdtemp(prefix=f".{self.collection}.", dir=self._home.parent))
            self._home.rename(gone / "dropped")
            shard.close()
            self._shard = self._spec = self._found = None
            shutil.rmtree(gone)

    @contextmanager
    def replacement(self, spec: CollectionSpec) -> Iterator[EdgeStore]:
        """Fill a new collection in a folder aside; at the end of the block a pointer file is replaced by its name."""
        old = self._opened()  # its lock keeps other processes out until the switch
        new = EdgeStore(self.location, self.collection)
        with self._mapped_errors():
            self._require_room(empty_bytes(spec))
            new._found = make_aside(self._home)
        try:
            with self._mapped_errors():
                create_shard(new._folder / "shard", spec)
                shutil.copytree(self._folder / "blobs", new._folder / "blobs", ignore=shutil.ignore_patterns(".*"))
                new._blobs.write(SPEC, dump_spec(spec))
                new._shard = edge.EdgeShard.load(str(new._folder / "shard"))
            yield new
            new.flush()
            with self._mapped_errors():
                switch(self._home, new._folder)
        except BaseException:
            with suppress(StoreError):  # what went wrong first is what matters
                new.close()
            if not discard(self._home, new._folder):  # interrupted just after the switch
                self._forget()
            raise
        with self._lock, self._mapped_errors():
            self._shard, self._spec, self._found, self._unflushed = new._shard, None, new._found, 0
            new._shard, new._closed = None, True
            old.close()
            remove_others(self._home)

    def _forget(self) -> None:
        """Let go of the collection as it was, so that the next use finds what the pointer names."""
        with suppress(StoreError):
            self.release()
        self._spec = self._found = None

    def spec(self) -> CollectionSpec:
        """Return what the collection was created with, and the indexes added since."""
        self._check_open()
        spec = self._spec  # asked for by every operation
        if spec is None:
            self._check_exists()
            spec = self._spec = self._read_spec()
        return spec

    def _read_spec(self) -> CollectionSpec:
        with self._mapped_errors():
            return load_spec((self._folder / "blobs" / SPEC).read_bytes())

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too."""
        shard, spec = self._opened(), self._read_spec()  # another process may have added some before the lock was ours
        with self._mapped_errors():
            segments = sum(1 for _ in (self._folder / "shard" / "segments").iterdir())
            self._require_room(segments * index_bytes(indexes))
            add_indexes(shard, indexes)
            shard.flush()
            self._spec = replace(spec, indexes={**spec.indexes, **indexes})
            self._blobs.write(SPEC, dump_spec(self._spec))

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points; they are in the write-ahead log on return."""
        shard = self._opened()
        check_points(points, self.spec())
        size = len(points) * 4 * sum(self.spec().vectors.values()) + sum(payload_sizes(points.ids, points.payloads))
        with self._mapped_errors():
            self._require_room(size * _WRITE_AMPLIFICATION)
            columns = {name: rows.tolist() for name, rows in points.vectors.items()}
            batch = [
                edge.Point(point_id, {name: rows[row] for name, rows in columns.items()}, points.payloads[row])
                for row, point_id in enumerate(points.ids)
            ]
            shard.update(edge.UpdateOperation.upsert_points(batch))
            self._written(size)

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of those points that exist, leaving their vectors."""
        shard = self._opened()
        size = sum(payload_sizes(ids, payloads))
        with self._mapped_errors():
            self._require_room(size * _WRITE_AMPLIFICATION)
            known = {str(record.id) for record in shard.retrieve(list(ids), False, False)}
            for point_id, payload in zip(ids, payloads, strict=True):
                if point_id in known:
                    shard.update(edge.UpdateOperation.overwrite_payload([point_id], payload))
            self._written(size + len(known) * _CHANGE_BYTES)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are passed over."""
        shard = self._opened()
        with self._mapped_errors():
            shard.update(edge.UpdateOperation.delete_points(list(ids)))
            self._written(len(ids) * _CHANGE_BYTES)

    def _written(self, size: int) -> None:
        """Count what was written; once it is much, flush it and give its memory back."""
        self._unflushed += size
        if self._unflushed >= FLUSH_BYTES:
            self.flush()
            if not self._searched:  # else this process wants the vectors in memory
                page_out(self._folder / "shard")

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        """Return the points that exist, in the order asked for."""
        shard = self._opened()
        with self._mapped_errors():
            records = {str(record.id): record for record in shard.retrieve(list(ids), payload, list(vectors))}
        return to_points([records[point_id] for point_id in ids if point_id in records], vectors, self.spec().vectors)

    def scan(
        self,
        *,
        where: Filter | None = None,
        vectors: tuple[str, ...] = (),
        payload: bool | tuple[str, ...] = True,
        batch_size: int = 1000,
    ) -> Iterator[Points]:
        """Yield every matching point once, in ascending order of id, in batches."""
        shard = self._opened()
        offset = None
        while True:
            with self._mapped_errors():
                request = edge.ScrollRequest(
                    offset=offset,
                    limit=batch_size,
                    filter=edge_filter(where, self.spec()),
                    with_payload=payload if isinstance(payload, bool) else [json_path(field) for field in payload],
                    with_vector=list(vectors),
                )
                records, offset = shard.scroll(request)
            if records:
                yield to_points(records, vectors, self.spec().vectors)
            if offset is None:
                return

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one pass over the segments."""
        shard = self._opened()
        self._searched = True
        for query in queries:
            check_query(query, self.spec().vectors)
        with self._mapped_errors():
            answers = shard.query_batch(edge.QueryBatchRequest([edge_request(query, self.spec()) for query in queries]))
        return [
            to_scored_points(answer, query.with_vectors, self.spec().vectors)
            for query, answer in zip(queries, answers, strict=True)
        ]

    def count(self, where: Filter | None = None) -> int:
        """Count the matching points exactly."""
        shard = self._opened()
        with self._mapped_errors():
            return shard.count(edge.CountRequest(exact=True, filter=edge_filter(where, self.spec())))

    def facet(self, field: str, *, where: Filter | None = None, limit: int = 20) -> list[tuple[Scalar, int]]:
        """Count the values of an indexed field, most frequent first, ties by value."""
        shard = self._opened()
        check_facet(field, self.spec().indexes)
        with self._mapped_errors():
            request = edge.FacetRequest(json_path(field), limit, True, edge_filter(where, self.spec()))
            return [(hit.value, hit.count) for hit in shard.facet(request).hits]

    def read_blob(self, key: str) -> bytes | None:
        """Return the blob of that key, or None. Needs no lock: works while another process has the points open."""
        self._check_exists()
        with self._mapped_errors():
            return self._blobs.read(key)

    def write_blob(self, key: str, content: bytes) -> None:
        """Replace the blob of that key atomically."""
        self._check_exists()
        with self._mapped_errors():
            self._blobs.write(key, content)

    def flush(self) -> None:
        """Write the segments to the disk and cut the write-ahead log."""
        shard = self._opened()
        with self._mapped_errors():
            shard.flush()
        self._unflushed = 0

    def optimize(self) -> None:
        """Merge segments and build their graphs. Stops every thread of the process: only ``build_index`` calls it."""
        shard = self._opened()
        leftovers = self._folder / "shard" / "temp_segments"  # a killed build's, which the engine never removes
        with self._mapped_errors():
            shutil.rmtree(leftovers, ignore_errors=True)
            leftovers.mkdir()
            # the merged segments and their graphs stand beside the old ones until they are complete
            self._require_room(2 * self.count() * 4 * sum(self.spec().vectors.values()))
            shard.optimize()

    def release(self) -> None:
        """Flush and release the lock, until the next use."""
        with self._lock, self._mapped_errors():
            if self._shard is not None:
                shard, self._shard, self._unflushed = self._shard, None, 0
                self._spec = None  # others may add indexes meanwhile
                try:
                    shard.flush()
                finally:  # on a full disk too: what is not flushed is in the log
                    shard.close()

    def close(self) -> None:
        """Flush and release the lock for good; closing again does nothing."""
        self._closed = True
        self.release()

    def _opened(self) -> edge.EdgeShard:
        with self._lock:
            if self._shard is None:
                self._check_exists()
                with self._mapped_errors():
                    try_loading(self._folder / "shard", self.location)
                    shard = edge.EdgeShard.load(str(self._folder / "shard"))
                    if current(self._home) != self._folder:  # whoever replaced it was killed before removing this
                        shard.close()
                        raise self._replaced()
                    remove_others(self._home)
                self._shard = shard
            return self._shard

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self.location, self.collection)

    def _check_exists(self) -> None:
        self._check_open()
        if not self.exists():
            if current(self._home) != self._folder:
                raise self._replaced()
            names = ", ".join(collection_names(self.location)) or "none"
            raise CollectionNotFoundError(
                f"no collection {self.collection!r} in {self.location}; there are: {names}. Index images to make one"
            )

    def _require_room(self, needed: int) -> None:
        require_room(self._home.parent, self.location, needed)

    def _replaced(self) -> StoreError:
        return StoreError(f"collection {self.collection!r} in {self.location} was replaced meanwhile; open it again")

    def _mapped_errors(self) -> AbstractContextManager[None]:
        return mapped_errors(self.location, self.collection)
