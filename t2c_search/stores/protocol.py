"""What a vector store is: one collection's points, whatever engine holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from t2c_search.filters import Filter, Scalar
from t2c_search.types import Payload, Points, ScoredPoints, VectorQuery

FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "text", "geo"]
Quantization = Literal["none", "int8", "tq4"]
"""How vectors are held in memory: as they are, as one byte a number, or as half a byte (TurboQuant)."""


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """Vector names with their dimensions (dot product on float32); payload fields to index, with their types.

    Where ``quantization`` is chosen, approximate searches choose candidates by quantised ``clip`` vectors in memory and
    score them by the whole ones on disk; exact searches use the whole ones only. Other vectors are then kept as float16.
    """

    vectors: Mapping[str, int]
    indexes: Mapping[str, FieldType]
    quantization: Quantization = "none"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond the protocol's minimum; the contract tests skip by these names."""

    persistent: bool
    """Acknowledged points survive the process."""
    ann: bool
    """It has an approximate index, so ``VectorQuery.exact`` makes a difference."""
    concurrent: bool
    """Several processes may have the collection open at once."""


class VectorStore(Protocol):
    """One collection in one engine. All methods may be called from several threads.

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

    def spec(self) -> CollectionSpec:
        """Return what the collection was created with, and the indexes added since."""
        ...

    def add_indexes(self, indexes: Mapping[str, FieldType]) -> None:
        """Index payload fields that have no index yet, for the points there already too; on return ``spec`` has them.

        What was done when a process was killed half way is done again by the next call.
        """
        ...

    def drop(self) -> None:
        """Delete the collection and its blobs."""
        ...

    def replacement(self, spec: CollectionSpec) -> AbstractContextManager[VectorStore]:
        """Fill a new collection aside, which takes this one's place, in one step, when the ``with`` block ends.

        The new one begins with this one's blobs and without points. Everyone sees the old one until the switch; after an
        exception in the block, or a killed process, the old one stays and what was written aside is removed, at the
        latest by the next replacement; when the switch itself fails, either one is there, whole. After the switch this
        store is the new collection; whoever else has the old one open gets a StoreError that says to open it again. What
        is written to the old one meanwhile is lost.
        """
        ...

    def upsert(self, points: Points) -> None:
        """Insert or replace whole points; on return they are durable as far as the engine can make them."""
        ...

    def set_payload(self, ids: Sequence[str], payloads: Sequence[Payload]) -> None:
        """Replace the payloads of existing points, leaving their vectors."""
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

    def search(self, queries: Sequence[VectorQuery]) -> list[ScoredPoints]:
        """Answer several searches in one round trip, one result each, ties in no particular order."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Count the matching points exactly."""
        ...

    def facet(self, field: str, *, where: Filter | None = None, limit: int = 20) -> list[tuple[Scalar, int]]:
        """Count the values of an indexed keyword, integer or bool field, most frequent first, ties by value."""
        ...

    def read_blob(self, key: str) -> bytes | None:
        """Return what ``write_blob`` stored with the collection under that key (a-z, digits, ``-``), or None."""
        ...

    def write_blob(self, key: str, content: bytes) -> None:
        """Store bytes with the collection, replacing atomically: a reader sees the old or the new ones, whole."""
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
