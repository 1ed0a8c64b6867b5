"""Translation of payload filters into an engine's own filter classes: one walk for every engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

from t2c_search.errors import UsageError
from t2c_search.filters import AllOf, AnyOf, Equals, Exists, Filter, GeoRadius, Not, OneOf, Range, Scalar, TextMatch
from t2c_search.stores.protocol import FieldType

LEAST_INEXACT = 2**53
"""A whole number from here on equals that very number alone; below, each one equals the float of its value."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")  # what a JSON path may hold without quotes


@dataclass(frozen=True, slots=True)
class Dialect:
    """The classes of one engine: a module with Filter, FieldCondition, Match..., Geo..., and what is named apart."""

    models: Any
    number_range: Any
    date_range: Any
    boolean: Any
    """What True and False must be turned into for MatchValue."""


def json_path(field: str) -> str:
    """Write a dotted field name as an engine's JSON path. Raises UsageError for a name that no path can express."""
    keys = field.split(".")
    if "" in keys or '"' in field:
        raise UsageError(f"payload field {field!r} cannot be used: name it without quotes, as in camera or gps.lat")
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else f'"{key}"' for key in keys)


def engine_filter(where: Filter | None, dialect: Dialect, indexes: Mapping[str, FieldType]) -> Any:
    """Return the engine's own Filter for ``where``, or None for None. Raises UsageError for what cannot be asked."""
    return None if where is None else dialect.models.Filter(must=[_Translator(dialect, indexes).condition(where)])


@dataclass(frozen=True, slots=True)
class _Translator:
    dialect: Dialect
    indexes: Mapping[str, FieldType]

    def condition(self, where: Filter) -> Any:
        models = self.dialect.models
        match where:
            case AllOf():
                return models.Filter(must=[self.condition(part) for part in where.parts])
            case AnyOf():
                return models.Filter(should=[self.condition(part) for part in where.parts])
            case Not():
                return models.Filter(must_not=[self.condition(where.part)])
            case OneOf():
                return self._one_of(where)
            case Equals():
                return self._on_field(where.field, **self._equal(where.field, where.value))
            case Range():
                return self._on_field(where.field, range=self._range(where))
            case Exists():
                return self._on_field(where.field, is_empty=False)
            case TextMatch():
                return self._on_field(where.field, match=models.MatchText(text=where.text))
            case GeoRadius():
                center = models.GeoPoint(lon=where.lon, lat=where.lat)
                return self._on_field(where.field, geo_radius=models.GeoRadius(center=center, radius=where.metres))
            case _ as never:
                assert_never(never)

    def _on_field(self, field: str, **test: Any) -> Any:
        return self.dialect.models.FieldCondition(key=json_path(field), **test)

    def _equal(self, field: str, value: Scalar) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"match": self.dialect.models.MatchValue(value=self.dialect.boolean(value))}
        if isinstance(value, str):
            return {"match": self.dialect.models.MatchValue(value=value)}
        self._refuse_numbers_for_dates(field)
        if isinstance(value, int) and abs(value) >= LEAST_INEXACT and self.indexes.get(field) != "float":
            return {"match": self.dialect.models.MatchValue(value=value)}
        # a number as a range: engines' own matches tell 8 from 8.0, and take no fractions
        return {"range": self.dialect.number_range(gte=float(value), lte=float(value))}

    def _one_of(self, where: OneOf) -> Any:
        if isinstance(where.values[0], str):
            return self._on_field(where.field, match=self.dialect.models.MatchAny(any=list(where.values)))
        equals = [self._on_field(where.field, **self._equal(where.field, value)) for value in where.values]
        return self.dialect.models.Filter(should=equals)

    def _range(self, where: Range) -> Any:
        bounds = {name: bound for name in ("gt", "gte", "lt", "lte") if (bound := getattr(where, name)) is not None}
        dates = {name: as_utc(bound).isoformat() for name, bound in bounds.items() if isinstance(bound, datetime)}
        if not bounds:
            raise UsageError(f"the range of {where.field!r} has no bound: give one, or ask whether the field exists")
        if 0 < len(dates) < len(bounds):
            raise UsageError(f"the bounds of {where.field!r} mix numbers and dates: give both as the one or the other")
        # an index of dates holds them as numbers, and would compare these with any number
        held = self.indexes.get(where.field)
        if dates and held in ("integer", "float"):
            raise UsageError(f"field {where.field!r} holds numbers: compare it with a number, not with a date")
        if not dates:
            self._refuse_numbers_for_dates(where.field)
        return self.dialect.date_range(**dates) if dates else self.dialect.number_range(**bounds)

    def _refuse_numbers_for_dates(self, field: str) -> None:
        if self.indexes.get(field) == "datetime":
            raise UsageError(f"field {field!r} holds dates: compare it with a date such as 2023-12-31")


def check_facet(field: str, indexes: Mapping[str, FieldType]) -> None:
    """Raise UsageError unless the field has an index whose values can be counted."""
    countable = sorted(name for name, kind in indexes.items() if kind in ("keyword", "integer", "bool"))
    if field not in countable:
        raise UsageError(f"the values of {field!r} cannot be counted; fields that can: {', '.join(countable)}")


def as_utc(moment: datetime) -> datetime:
    """Return the moment with its time zone, UTC where it names none, as engines read stored dates."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
