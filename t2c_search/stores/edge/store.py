"""The embedded engine: one collection in one folder, through qdrant-edge, Qdrant's own core in this process.

How its folder is laid out is told in ``vault``. One process at a time may have its points open; what is kept beside them
can be read and changed all the same. Writes go to a write-ahead log first, so that what was acknowledged survives the
process.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import qdrant_edge as edge

from t2c_search.errors import CollectionDamagedError, CollectionNotFoundError, StoreError
from t2c_search.filters import Filter, Scalar
from t2c_search.stores.blobs import Aside, Blobs
from t2c_search.stores.checks import check_added, check_points, check_query, check_vectors, with_vector
from t2c_search.stores.columns import payload_sizes, to_points, to_scored_points, vector_sizes
from t2c_search.stores.conditions import json_path
from t2c_search.stores.edge import writes
from t2c_search.stores.edge.disk_space import require_room
from t2c_search.stores.edge.errors import mapped_errors
from t2c_search.stores.edge.files import sync_folder
from t2c_search.stores.edge.opening import Doorkeeper, Opening, Openings
from t2c_search.stores.edge.requests import edge_filter, edge_request
from t2c_search.stores.edge.residency import page_out
from t2c_search.stores.edge.shard import (
    VECTOR_BYTES,
    add_indexes,
    add_vector,
    count_points,
    create_shard,
    empty_bytes,
    index_bytes,
)
from t2c_search.stores.edge.vault import FolderVault, former_generation, is_former, is_made
from t2c_search.stores.header import Header
from t2c_search.stores.payloads import Merge, merges, rewrites
from t2c_search.stores.protocol import (
    NO_LIMITS,
    NO_WAIT,
    Capabilities,
    CollectionSpec,
    FieldType,
    Limits,
    VectorSpec,
    Wait,
)
from t2c_search.stores.reading import Facet, FilteredReads, Reading
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
    return sorted(home.name for home in homes if is_made(home))


class EdgeStore(FilteredReads[Opening]):
    """One collection of an embedded store; see ``VectorStore``. Nothing is opened before it is needed."""

    capabilities = Capabilities(persistent=True, ann=True, concurrent=False)

    def __init__(self, location: str, collection: str, wait: Wait = NO_WAIT) -> None:
        self.location = location
        self.collection = collection
        self._vault = FolderVault(location, collection)
        self._blobs = Blobs(self._vault, self._missing)
        self._keeper = Doorkeeper(location, collection, self._vault, wait)
        self._openings = Openings(self._keeper)
        self._pin: Header | None = None
        self._pinned: Opening | None = None
        self._aside: Aside | None = None

    @property
    def _home(self) -> Path:
        return self._vault.home

    def exists(self) -> bool:
        """Tell whether the collection is there."""
        with self._mapped_errors():
            return is_made(self._home)

    def header(self) -> Header:
        """Read what the collection is now; one of the first layout is upgraded, for which its points are opened."""
        self._keeper.check_open()
        return self._pin or self._blobs.header()

    def pinned(self, header: Header | None = None) -> EdgeStore:
        """Return this store as it is at a header, or now, sharing what it has open."""
        view = EdgeStore(self.location, self.collection)
        view._keeper, view._openings = self._keeper, self._openings
        view._pin = header or self.header()
        view._pinned = self._pinned or self._openings.of(view._pin.generation)
        return view

    def physical_names(self) -> list[str]:
        """Name the folder."""
        self.header()
        return [str(self._home)]

    def spec(self) -> CollectionSpec:
        """Return what the collection was created with, and the indexes and vectors added since."""
        return self.header().spec

    def create(self, spec: CollectionSpec) -> None:
        """Make the empty collection: aside, then renamed into place, so that it is whole or not there; and open it."""
        self._keeper.check_open()
        with self._vault.creation(spec) as shard:
            self._require_room(empty_bytes(spec))
            create_shard(shard, spec)
        opening, _ = self._at()
        with opening.using():  # takes the lock: nobody else drops what has no card yet
            pass

    def drop(self) -> None:
        """Delete the collection and its blobs, damaged or not."""
        with suppress(CollectionDamagedError):
            self.header()
        with (
            self._keeper.held(),
            self._mapped_errors(),
        ):  # another process's collection is not pulled away from under it
            gone = Path(tempfile.mkdtemp(prefix=f".{self.collection}.", dir=self._home.parent))
            self._home.rename(gone / "dropped")
            self._openings.forget()
        with self._mapped_errors():
            shutil.rmtree(gone)

    def rename(self, name: str) -> None:
        """Give the collection another name, in one step; this store keeps the former one. Raises StoreError when it is taken."""
        renamed = self._home.with_name(name)
        self.header()
        with self._keeper.held(), self._mapped_errors():  # nobody writes under the former name
            if renamed.exists():
                raise StoreError(f"{renamed} is there already; use another name, or delete it first")
            self._openings.release()
            self._home.rename(renamed)
            sync_folder(renamed.parent)
        self._openings.forget()

    @contextmanager
    def replacement(self, spec: CollectionSpec) -> Iterator[EdgeStore]:
        """Fill another generation in a folder aside; at the end of the block a header that names it takes over."""
        began = self.header()
        opening, _ = self._at()
        with opening.using():  # its lock keeps other processes out until the switch
            self._require_room(empty_bytes(spec))
            generation = self._vault.make_aside()
            filled = self._fill_aside(Header(spec, generation=generation), Aside(self._blobs, began))
            try:
                yield filled
                filled.flush()
                self._switch(filled)
            except BaseException:
                self._abandon(filled)
                raise
        assert filled._pinned is not None
        self._openings.replace(filled._pinned)
        filled._pinned, filled._keeper.is_closed = None, True

    def _fill_aside(self, pin: Header, aside: Aside) -> EdgeStore:
        """Make the empty points of a generation that no header names yet, and return them as a store."""
        folder = self._vault.shard(pin.generation)
        with self._mapped_errors():
            create_shard(folder, pin.spec)
        shard = self._keeper.open_new(pin.generation)
        filled = EdgeStore(self.location, self.collection)
        filled._pin, filled._aside = pin, aside
        filled._pinned = Opening(self._keeper, pin.generation, shard)
        return filled

    def _switch(self, filled: EdgeStore) -> None:
        """Swap the header for one that names the filled generation."""
        assert filled._aside is not None
        assert filled._pin is not None
        sync_folder(self._home / filled._pin.generation)
        filled._aside.take_over(filled._pin.generation, filled._pin.spec, self.collection)

    def _abandon(self, filled: EdgeStore) -> None:
        """Remove a replacement that failed, unless it was interrupted just after the switch."""
        assert filled._aside is not None
        assert filled._pinned is not None
        with suppress(StoreError):  # what went wrong first is what matters
            if self._blobs.header().generation == filled._pinned.generation:
                self._openings.replace(filled._pinned)
            else:
                filled._aside.discard()
                filled._pinned.mark_replaced()
        filled._pinned, filled._keeper.is_closed = None, True

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too."""
        opening, _ = self._at()
        with opening.using() as shard:
            segments = sum(1 for _ in (self._vault.shard(opening.generation) / "segments").iterdir())
            self._require_room(segments * index_bytes(indexes))
            add_indexes(shard, indexes)
            shard.flush()
        self._blobs.change_spec(lambda spec: replace(spec, indexes={**spec.indexes, **indexes}), self._pin)

    def add_vector(self, name: str, vector: VectorSpec) -> None:
        """Add a named vector, in the engine first: what a killed process began, the next call completes."""
        opening, spec = self._at()
        if check_added(name, vector, spec):
            return
        with opening.using() as shard:
            segments = sum(1 for _ in (self._vault.shard(opening.generation) / "segments").iterdir())
            self._require_room(segments * VECTOR_BYTES)
            add_vector(shard, name, vector)
            shard.flush()
        self._blobs.change_spec(partial(with_vector, name=name, vector=vector), self._pin)

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points; they are in the write-ahead log on return."""
        opening, spec = self._at()
        check_points(points, spec)
        size = 4 * sum(vector_sizes(points)) + sum(payload_sizes(points.ids, points.payloads))
        with opening.using() as shard:
            self._require_room(size * _WRITE_AMPLIFICATION)
            writes.upsert(shard, points)
            self._written(opening, shard, size)

    def update_vectors(self, points: Points) -> None:
        """Replace vectors of those points that exist."""
        opening, spec = self._at()
        check_vectors(points, spec)
        size = 4 * sum(vector_sizes(points))
        with opening.using() as shard:
            self._require_room(size * _WRITE_AMPLIFICATION)
            writes.update_vectors(shard, points)
            self._written(opening, shard, size + len(points) * _CHANGE_BYTES)

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of those points that exist, but for what is derived, leaving their vectors."""
        self._merge(ids, payloads, rewrites(self.fetch(ids), ids, payloads))

    def update_payload(self, ids: Sequence[str], fields: Sequence[Payload]) -> None:
        """Merge fields into the payloads of those points that exist."""
        self._merge(ids, fields, merges(ids, fields))

    def _merge(self, ids: Sequence[str], payloads: Sequence[Payload], parts: Sequence[Merge]) -> None:
        """Merge parts of these payloads into what the points have; the engine does so field by field."""
        opening, _ = self._at()
        size = sum(payload_sizes(ids, payloads))
        with opening.using() as shard:
            self._require_room(size * _WRITE_AMPLIFICATION)
            writes.merge(shard, parts)
            self._written(opening, shard, size + len(ids) * _CHANGE_BYTES)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are passed over."""
        opening, _ = self._at()
        with opening.using() as shard:
            opening.delete(shard, list(ids))
            self._written(opening, shard, len(ids) * _CHANGE_BYTES)

    def _written(self, opening: Opening, shard: edge.EdgeShard, size: int) -> None:
        """Count what was written; once it is much, flush it and give its memory back."""
        opening.unflushed += size
        if opening.unflushed >= FLUSH_BYTES:
            opening.flush(shard)
            if not opening.is_searched:  # else this process wants the vectors in memory
                page_out(self._vault.shard(opening.generation))

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        """Return the points that exist, in the order asked for."""
        opening, spec = self._at()
        with opening.using() as shard:
            records = {str(record.id): record for record in shard.retrieve(list(ids), payload, list(vectors))}
        return to_points([records[point_id] for point_id in ids if point_id in records], vectors, spec)

    def _limits(self, place: Opening) -> Limits:
        return NO_LIMITS

    def _read(self, place: Opening, spec: CollectionSpec, reading: Reading) -> Iterator[Points]:
        """Yield batches; between them others may have the store."""
        offset, payload = None, reading.payload
        while True:
            with place.using() as shard:
                request = edge.ScrollRequest(
                    offset=offset,
                    limit=reading.size,
                    filter=edge_filter(reading.where, spec),
                    with_payload=payload if isinstance(payload, bool) else [json_path(field) for field in payload],
                    with_vector=list(reading.vectors),
                )
                records, offset = shard.scroll(request)
            if records:
                yield to_points(records, reading.vectors, spec)
            if offset is None:
                return

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one pass over the segments."""
        opening, spec = self._at()
        opening.is_searched = True
        for query in queries:
            check_query(query, spec)
        whole = self._answerable(opening, spec, queries)
        with opening.using() as shard:
            answers = shard.query_batch(edge.QueryBatchRequest([edge_request(query, spec) for query in whole]))
        return [
            to_scored_points(answer, query.with_vectors, spec) for query, answer in zip(queries, answers, strict=True)
        ]

    def _count(self, place: Opening, spec: CollectionSpec, where: Filter | None) -> int:
        with place.using() as shard:
            return shard.count(edge.CountRequest(exact=True, filter=edge_filter(where, spec)))

    def _facet(self, place: Opening, spec: CollectionSpec, facet: Facet) -> list[tuple[Scalar, int]]:
        with place.using() as shard:
            request = edge.FacetRequest(json_path(facet.field), facet.limit, True, edge_filter(facet.where, spec))
            return [(hit.value, hit.count) for hit in shard.facet(request).hits]

    def read_blobs(self, keys: Sequence[str], seen: Header | None = None) -> tuple[Header, dict[str, bytes]]:
        """Return the header and those of the blobs that there are, of one moment; works while others have the points open."""
        header = self.header()
        if self._aside is not None:
            return header, self._aside.read(keys)
        return self._blobs.read(keys, self._pin, seen)

    def read_blob(self, key: str) -> bytes | None:
        """Return the bytes of that key, or None."""
        return self.read_blobs([key])[1].get(key)

    def update_blob(self, key: str, function: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a blob by what the function makes of it; works while others have the points open."""
        self.header()
        if self._aside is not None:
            return self._aside.update(key, function)
        return self._blobs.update(key, function, self._pin)

    def write_blob(self, key: str, content: bytes) -> None:
        """Store bytes under that key, whatever was there."""
        self.update_blob(key, lambda _: content)

    def flush(self) -> None:
        """Write the segments to the disk and cut the write-ahead log."""
        opening, _ = self._at()
        with opening.using() as shard:
            opening.flush(shard)

    def optimize(self) -> None:
        """Merge segments and build their graphs. Stops every thread of the process: only ``build_index`` calls it."""
        opening, spec = self._at()
        leftovers = self._vault.shard(opening.generation) / "temp_segments"  # of a killed build: the engine leaves them
        with opening.using() as shard:
            shutil.rmtree(leftovers, ignore_errors=True)
            leftovers.mkdir()
            # the merged segments and their graphs stand beside the old ones until they are complete
            points = count_points(shard)
            self._require_room(2 * points * 4 * sum(spec.dims.values()))
            shard.optimize()

    def release(self) -> None:
        """Flush and release the lock, once no call of another thread is under way; until the next use."""
        self._openings.release()

    def close(self) -> None:
        """Flush and release the lock for good; closing again, or a pinned view, does nothing."""
        if self._pin is None and not self._keeper.is_closed:
            self._keeper.is_closed = True
            self._openings.release()

    def _at(self) -> tuple[Opening, CollectionSpec]:
        """Return the collection's points and its specification, as they are now or were pinned."""
        header = self.header()
        return self._pinned or self._openings.of(header.generation), header.spec

    def _missing(self) -> Header:
        """Upgrade a collection of the first layout, which opening its points does; raise where there is none."""
        with self._mapped_errors():
            if is_former(self._home):
                with self._openings.of(former_generation(self._home)).using():
                    pass
        if (header := self._vault.load()) is not None:
            return header
        names = ", ".join(collection_names(self.location)) or "none"
        raise CollectionNotFoundError(
            f"no collection {self.collection!r} in {self.location}; there are: {names}. Index images to make one"
        )

    def _require_room(self, needed: int) -> None:
        require_room(self._home.parent, self.location, needed)

    def _mapped_errors(self) -> AbstractContextManager[None]:
        return mapped_errors(self.location, self.collection)
