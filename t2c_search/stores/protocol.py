"""What a vector store is: one collection's points, whatever engine holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from t2c_search.filters import Filter, PointIds, Scalar
from t2c_search.types import CLIP, Payload, Points, ScoredPoints, VectorQuery

if TYPE_CHECKING:
    from t2c_search.stores.header import Header

FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "text", "geo"]
Quantization = Literal["none", "int8", "tq4"]
"""How vectors are held in memory: as they are, as one byte a number, or as half a byte (TurboQuant)."""


VectorType = Literal["float32", "float16", "uint8"]
"""How a vector's numbers are stored; uint8 takes whole numbers from 0 to 255. All go in and come out as float32 all the same."""


@dataclass(frozen=True, slots=True)
class VectorSpec:
    """One named vector of every point: its dimension, one row a point or (``multi``) several, and how numbers are stored.

    ``added``: to a collection that was there, so that points may lack it; all others have it.
    """

    dim: int
    multi: bool = False
    dtype: VectorType = "float32"
    added: bool = False


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """Named vectors (scored by dot product); payload fields to index, with their types.

    Where ``quantization`` is chosen, approximate searches choose candidates by quantised ``clip`` vectors in memory and
    score them by the whole ones on disk; exact searches use the whole ones only.
    """

    vectors: Mapping[str, VectorSpec]
    indexes: Mapping[str, FieldType]
    quantization: Quantization = "none"

    @classmethod
    def of(
        cls, dims: Mapping[str, int], indexes: Mapping[str, FieldType], quantization: Quantization = "none"
    ) -> CollectionSpec:
        """Return that of vectors of these dimensions, a row a point; beside a quantised ``clip`` others are kept as float16."""
        vectors = {
            name: VectorSpec(dim, dtype="float16" if quantization != "none" and name != CLIP else "float32")
            for name, dim in dims.items()
        }
        return cls(vectors, indexes, quantization)

    @property
    def dims(self) -> dict[str, int]:
        """Dimensions by name of vector."""
        return {name: vector.dim for name, vector in self.vectors.items()}


@dataclass(frozen=True, slots=True)
class Wait:
    """How many seconds to wait for a collection that another process has open, and whom to ``tell``, once, after the first.

    Only the embedded engine keeps others out.
    """

    seconds: float = 0.0
    tell: Callable[[str], None] | None = None


NO_WAIT = Wait()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond the protocol's minimum; the contract tests skip by these names."""

    persistent: bool
    """Acknowledged points survive the process."""
    ann: bool
    """It has an approximate index, so ``VectorQuery.exact`` makes a difference."""
    concurrent: bool
    """Several processes may have the collection open at once."""
    transport: str | None = None
    """How a server is spoken to: REST or gRPC; None elsewhere."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server in strict mode allows; None where it sets no limit. No other engine sets any."""

    exact: bool = True
    """Exact searches and counts by the engine."""
    indexed_only: bool = False
    """Conditions on fields without a fitting index are refused."""
    answers: int | None = None
    """Points in one answer."""
    conditions: int | None = None
    """Conditions in one filter."""
    condition_size: int | None = None
    """Values in one condition."""
    searches: int | None = None
    """Searches in one request."""
    points: int | None = None
    """Points in one write."""
    rows: int | None = None
    """Rows of one point's vector."""
    indexes: int | None = None
    """Indexed payload fields of a collection."""
    hnsw_ef: int | None = None
    oversampling: float | None = None


NO_LIMITS = Limits()


class VectorStore(Protocol):
    """One collection in one engine. All methods may be called from several threads, ``release`` beside all others.

    A store follows its collection: each call is about what the collection is at that moment. One from ``pinned`` is about
    what it was at one moment, in all that it reads and writes, and raises CollectionReplacedError where that is gone.

    Raises StoreError or one of its kinds; CollectionNotFoundError from every method but ``exists``, ``create`` and
    ``close`` when the collection is not there.
    """

    location: str
    """The ``--store`` value that opens it."""
    collection: str
    capabilities: Capabilities

    def exists(self) -> bool:
        """Tell whether the collection is there."""
        ...

    def create(self, spec: CollectionSpec) -> None:
        """Make the empty collection, payload indexes included. Raises StoreError when it is there already."""
        ...

    def header(self) -> Header:
        """Read what the collection is now, by one small read; its ``version`` changes with whatever is kept beside points."""
        ...

    def pinned(self, header: Header | None = None) -> VectorStore:
        """Return this store as it is at a header, or now: without a look at the header with each call.

        Points may come and go in it; another collection does not take its place. Closing it does nothing.
        """
        ...

    def physical_names(self) -> list[str]:
        """Name what the engine holds of this collection: what a token must cover, and a backup copy."""
        ...

    def spec(self) -> CollectionSpec:
        """Return what the collection was created with, and the indexes and vectors added since."""
        ...

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too; on return ``spec`` has them.

        What was done when a process was killed half way is done again by the next call.
        """
        ...

    def drop(self) -> None:
        """Delete the collection and its blobs."""
        ...

    def add_vector(self, name: str, vector: VectorSpec) -> None:
        """Add a named vector to a collection that is there; points lack it until ``update_vectors`` or a new ``upsert``.

        A vector that a point lacks is fetched as a row of NaN, or no rows, and no search by it finds the point. The engine
        decides where to hold it. Adding it again does nothing. Raises UsageError when it is there with another specification.
        """
        ...

    def replacement(self, spec: CollectionSpec) -> AbstractContextManager[VectorStore]:
        """Fill a new collection aside, which takes this one's place, in one step, when the ``with`` block ends.

        The new one begins without points. Blobs written to it take the place of this one's with the switch; all others are
        this one's, as they are then. Everyone sees the old one until the switch; after an exception in the block, or a
        killed process, the old one stays and what was written aside is removed, at the latest by the next replacement;
        when the switch itself fails, either one is there, whole. Raises StoreError, and changes nothing, when a blob that
        the new one has of its own was changed meanwhile. Points written to the old one meanwhile are lost.

        What was replaced is removed once nothing that began with it can still run.
        """
        ...

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points; on return they are durable as far as the engine can make them.

        Vectors that were added to the collection may be left out: then the points lack them.
        """
        ...

    def update_vectors(self, points: Points) -> None:
        """Replace those of the named vectors that ``points`` has, of points that exist; all else is left as it is.

        Of vectors that were added to the collection, a row of NaN, or no rows, removes the vector of that point.
        """
        ...

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of existing points, all but the field ``derived``; their vectors are left as they are.

        What a payload says of that field, or says is None, is passed over.
        """
        ...

    def update_payload(self, ids: Sequence[str], fields: Sequence[Payload]) -> None:
        """Merge fields into the payloads of existing points: those named take the new values, all others stay.

        Fields are named as in queries: ``derived.labels`` is ``labels`` in the object ``derived``, which is made where there
        is none. None removes a field. Two callers who name different fields of one point lose nothing. Raises UsageError for
        a name that no query could have.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are passed over."""
        ...

    def fetch(self, ids: Sequence[str], *, vectors: tuple[str, ...] = (), payload: bool = True) -> Points:
        """Return the points that exist, in the order asked for."""
        ...

    def scan(
        self,
        *,
        where: Filter | None = None,
        vectors: tuple[str, ...] = (),
        payload: bool | tuple[str, ...] = True,
        batch_size: int = 1000,
    ) -> Iterator[Points]:
        """Yield every matching point once, in ascending order of id, in batches of at most ``batch_size``.

        ``payload`` may name the fields wanted.
        """
        ...

    def limits(self) -> Limits:
        """Tell what the engine allows; the methods keep to it, in smaller requests and other ways.

        Where it allows no exact searches, those raise StoreLimitError; all else stays exact.
        """
        ...

    def asked(self, where: Filter | PointIds | None) -> Filter | PointIds | None:
        """Return what finds the same points, without looking again for what the engine cannot be asked.

        For several searches with one filter: the points are those that match now.
        """
        ...

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one round trip, one result each, ties in no particular order."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Count the matching points exactly."""
        ...

    def facet(self, field: str, *, where: Filter | None = None, limit: int = 20) -> list[tuple[Scalar, int]]:
        """Count the values of an indexed keyword, integer or bool field, most frequent first, ties by value."""
        ...

    def read_blobs(self, keys: Sequence[str], seen: Header | None = None) -> tuple[Header, dict[str, bytes]]:
        """Return the header, and those of the blobs that there are, all as they are at that header's moment.

        ``seen`` is the header as it was read before, which spares a request where it still is.
        Raises UsageError for a key that is not made of a-z, digits and ``-``, CollectionFormatError for damaged bytes.
        """
        ...

    def read_blob(self, key: str) -> bytes | None:
        """Return the bytes that were stored with the collection under that key, or None."""
        ...

    def update_blob(self, key: str, function: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a blob by what ``function`` makes of it (None: there is none), and return that.

        Atomic against every other update of the collection, by threads, processes and machines: the function runs without
        a lock, and again when the collection has changed meanwhile, so it must be pure. Nothing is written when it returns
        what it was given, or raises.
        """
        ...

    def write_blob(self, key: str, content: bytes) -> None:
        """Store bytes with the collection under that key, whatever was there."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable."""
        ...

    def release(self) -> None:
        """Make everything durable and let other processes use the collection, until this store is used again."""
        ...

    def close(self) -> None:
        """Release the engine's locks and connections; further calls are errors."""
        ...
