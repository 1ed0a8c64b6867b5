"""Reads of a store under filters, some of which its engine cannot be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from t2c_search.filters import Filter, PointIds, Scalar
from t2c_search.stores.conditions import check_facet
from t2c_search.stores.matching import values_at
from t2c_search.stores.protocol import CollectionSpec, Limits
from t2c_search.stores.pushdown import Pushdown, fields_of, point_ids, verified
from t2c_search.types import Points, VectorQuery

LISTED_VALUES = 10_000
"""Distinct values of a field that are looked through; a field with more is read image by image."""
_Place = TypeVar("_Place")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of the points that the engine finds for ``where``, in batches of at most ``size``."""

    where: Filter | PointIds | None = None
    vectors: tuple[str, ...] = ()
    payload: bool | tuple[str, ...] = False
    size: int = 1000


@dataclass(frozen=True, slots=True)
class Facet:
    """Which values are counted: the most frequent ones of a field, among the points that the engine finds for ``where``."""

    field: str
    limit: int
    where: Filter | PointIds | None = None


class FilteredReads(ABC, Generic[_Place]):
    """Scans, counts and counts of values, which hold whatever the engine can be asked.

    A place is where the collection's points are, as the engine knows them.
    """

    @abstractmethod
    def _limits(self, place: _Place) -> Limits: ...

    @abstractmethod
    def _at(self) -> tuple[_Place, CollectionSpec]: ...

    @abstractmethod
    def _read(self, place: _Place, spec: CollectionSpec, reading: Reading) -> Iterator[Points]: ...

    @abstractmethod
    def _count(self, place: _Place, spec: CollectionSpec, where: Filter | None) -> int: ...

    @abstractmethod
    def _facet(self, place: _Place, spec: CollectionSpec, facet: Facet) -> list[tuple[Scalar, int]]: ...

    def limits(self) -> Limits:
        """Tell what the engine allows with this collection."""
        return self._limits(self._at()[0])

    def scan(
        self,
        *,
        where: Filter | None = None,
        vectors: tuple[str, ...] = (),
        payload: bool | tuple[str, ...] = True,
        batch_size: int = 1000,
    ) -> Iterator[Points]:
        """Yield every matching point once, in ascending order of id, in batches of at most ``batch_size``."""
        place, spec = self._at()
        return self._scan(place, spec, where, Reading(None, vectors, payload, batch_size))

    def count(self, where: Filter | None = None) -> int:
        """Count the matching points exactly."""
        place, spec = self._at()
        pushed = self._pushdown(place, spec).of(where)
        if pushed.exact and self._limits(place).exact:
            return self._count(place, spec, pushed.where)
        return sum(map(len, self._scan(place, spec, where, Reading())))

    def facet(self, field: str, *, where: Filter | None = None, limit: int = 20) -> list[tuple[Scalar, int]]:
        """Count the values of an indexed field, most frequent first, ties by value."""
        place, spec = self._at()
        check_facet(field, spec.indexes)
        limits = self._limits(place)
        if limits.exact and "." not in field and limit <= (limits.answers or limit):
            return self._facet(place, spec, Facet(field, limit, self._asked(place, spec, where)))
        counts: Counter[Scalar] = Counter()
        for points in self._scan(place, spec, where, Reading(payload=(field.split(".")[0],))):
            for payload in points.payloads:
                counts.update(_distinct(payload, field))
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:limit]

    def asked(self, where: Filter | PointIds | None) -> Filter | PointIds | None:
        """Return what finds the same points, without looking again for what the engine cannot be asked."""
        if where is None or isinstance(where, PointIds):
            return where
        return self._asked(*self._at(), where)

    def _asked(self, place: _Place, spec: CollectionSpec, where: Filter | PointIds | None) -> Filter | PointIds | None:
        if isinstance(where, PointIds):
            return where
        pushed = self._pushdown(place, spec).of(where)
        return (
            pushed.where if pushed.exact else point_ids(self._scan(place, spec, where, Reading()), self._limits(place))
        )

    def _answerable(self, place: _Place, spec: CollectionSpec, queries: Sequence[VectorQuery]) -> list[VectorQuery]:
        """Return searches with filters that the engine can be asked, each looked up once."""
        known: dict[Filter | PointIds | None, Filter | PointIds | None] = {}

        def answerable(query: VectorQuery) -> VectorQuery:
            if query.where not in known:
                known[query.where] = self._asked(place, spec, query.where)
            among = query.among and answerable(query.among)
            return replace(query, where=known[query.where], among=among)

        return [answerable(query) for query in queries]

    def _scan(self, place: _Place, spec: CollectionSpec, where: Filter | None, reading: Reading) -> Iterator[Points]:
        """Read what the engine finds, and keep what matches."""
        pushed = self._pushdown(place, spec).of(where)
        wanted = reading.payload
        if not pushed.exact and wanted is not True:
            wanted = tuple(dict.fromkeys((*(wanted or ()), *fields_of(where))))
        batches = self._read(place, spec, Reading(pushed.where, reading.vectors, wanted, reading.size))
        return batches if pushed.exact else verified(batches, where, payload=reading.payload is not False)

    def _pushdown(self, place: _Place, spec: CollectionSpec) -> Pushdown:
        return Pushdown(spec.indexes, self._limits(place), lambda field: self._values(place, spec, field))

    def _values(self, place: _Place, spec: CollectionSpec, field: str) -> list[str] | None:
        """List the distinct texts of a field that has an index; None where they are too many, or lie in lists of objects."""
        most = min(LISTED_VALUES, self._limits(place).answers or LISTED_VALUES)
        if "." in field:
            return None
        found = self._facet(place, spec, Facet(field, most))
        return [str(value) for value, _ in found] if len(found) < most else None


def _distinct(payload: dict[str, object], field: str) -> set[Scalar]:
    values = [each for value in values_at(payload, field) for each in (value if isinstance(value, list) else [value])]
    return {value for value in values if isinstance(value, str | int | bool)}
