"""Translation of payload filters into an engine's own filter classes: one walk for every engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, assert_never

from t2c_search.errors import UsageError
from t2c_search.filters import (
    AllOf,
    AnyOf,
    Condition,
    Contains,
    Equals,
    Exists,
    Filter,
    GeoRadius,
    Glob,
    Not,
    OneOf,
    PointIds,
    Range,
    Scalar,
    StartsWith,
    TextMatch,
)
from t2c_search.stores.matching import LEAST_INEXACT, as_utc, spellings
from t2c_search.stores.protocol import FieldType

_MOST_KEYS = 6  # of a dotted name: each but the last doubles what an engine is asked
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")  # what a JSON path may hold without quotes


@dataclass(frozen=True, slots=True)
class Dialect:
    """The classes of one engine: a module with Filter, FieldCondition, Match..., Geo..., and what is named apart."""

    models: Any
    number_range: Any
    date_range: Any
    boolean: Any
    """What True and False must be turned into for MatchValue."""
    has_ids: Callable[[Iterable[str]], Any]
    """The condition that a point has one of these ids."""


def json_path(field: str) -> str:
    """Write a dotted field name as an engine's JSON path. Raises UsageError for a name that no path can express."""
    return ".".join(_written_keys(field))


def json_paths(field: str) -> list[str]:
    """Write a dotted field name as all the JSON paths that it stands for: through objects, and through lists of objects."""
    *outer, last = _written_keys(field)
    ways = product(*((key, f"{key}[]") for key in outer))
    return [".".join((*way, last)) for way in ways]


def _written_keys(field: str) -> list[str]:
    keys = field.split(".")
    if "" in keys or '"' in field:
        raise UsageError(f"payload field {field!r} cannot be used: name it without quotes, as in camera or gps.lat")
    if len(keys) > _MOST_KEYS:
        raise UsageError(f"payload field {field!r} cannot be used: a name leads at most {_MOST_KEYS} steps deep")
    return [key if _PLAIN_KEY.fullmatch(key) else f'"{key}"' for key in keys]


def engine_filter(where: Filter | PointIds | None, dialect: Dialect, indexes: Mapping[str, FieldType]) -> Any:
    """Return the engine's own Filter for ``where``, or None for None.

    Raises UsageError for what cannot be asked; of texts, an engine is asked for words alone (``pushdown``).
    """
    return None if where is None else dialect.models.Filter(must=[_Translator(dialect, indexes).condition(where)])


@dataclass(frozen=True, slots=True)
class _Translator:
    dialect: Dialect
    indexes: Mapping[str, FieldType]

    def condition(self, where: Filter | PointIds) -> Any:
        models = self.dialect.models
        match where:
            case PointIds():
                return self._has_ids(where)
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
            case StartsWith() | Contains() | Glob():
                raise AssertionError(f"no engine is asked for {where!r}")
            case _ as never:
                assert_never(never)

    def _has_ids(self, where: PointIds) -> Any:
        parts = [self.dialect.has_ids(part) for part in where.parts]
        return parts[0] if len(parts) == 1 else self.dialect.models.Filter(should=parts)

    def _on_field(self, field: str, **test: Any) -> Any:
        ways = [self.dialect.models.FieldCondition(key=path, **test) for path in json_paths(field)]
        return ways[0] if len(ways) == 1 else self.dialect.models.Filter(should=ways)

    def _equal(self, field: str, value: Scalar) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"match": self.dialect.models.MatchValue(value=self.dialect.boolean(value))}
        if isinstance(value, str):
            return {"match": self._any_of([value])}
        if isinstance(value, int) and abs(value) >= LEAST_INEXACT and self.indexes.get(field) != "float":
            return {"match": self.dialect.models.MatchValue(value=value)}
        # a number as a range: engines' own matches tell 8 from 8.0, and take no fractions
        return {"range": self.dialect.number_range(gte=float(value), lte=float(value))}

    def _one_of(self, where: OneOf) -> Any:
        if isinstance(where.values[0], str):
            return self._on_field(where.field, match=self._any_of(where.values))
        equals = [self._on_field(where.field, **self._equal(where.field, value)) for value in where.values]
        return self.dialect.models.Filter(should=equals)

    def _any_of(self, texts: Iterable[Any]) -> Any:
        known = list(dict.fromkeys(spelling for text in texts for spelling in spellings(text)))
        models = self.dialect.models
        return models.MatchValue(value=known[0]) if len(known) == 1 else models.MatchAny(any=known)

    def _range(self, where: Range) -> Any:
        bounds = _bounds(where)
        dates = {name: as_utc(bound).isoformat() for name, bound in bounds.items() if isinstance(bound, datetime)}
        return self.dialect.date_range(**dates) if dates else self.dialect.number_range(**bounds)


def check_filter(where: Filter, indexes: Mapping[str, FieldType]) -> None:
    """Raise UsageError for a field or a value that no engine can be asked for, where the indexes tell what a field holds."""
    for condition in where.find(Condition):
        json_paths(condition.field)
        held = indexes.get(condition.field)
        match condition:
            case Equals():
                _check_held(condition.field, held, [condition.value])
            case OneOf():
                _check_held(condition.field, held, condition.values)
            case Range():
                bounds = list(_bounds(condition).values())
                if len({isinstance(bound, datetime) for bound in bounds}) > 1:
                    raise UsageError(
                        f"the bounds of {condition.field!r} mix numbers and dates: give both as the one or the other"
                    )
                _check_held(condition.field, held, bounds)


def _bounds(where: Range) -> dict[str, float | datetime]:
    return {name: bound for name in ("gt", "gte", "lt", "lte") if (bound := getattr(where, name)) is not None}


def _check_held(field: str, held: FieldType | None, values: Iterable[object]) -> None:
    """Raise UsageError for numbers where there are dates, which an index holds as numbers too, and the reverse."""
    for value in values:
        if isinstance(value, datetime) and held in ("integer", "float"):
            raise UsageError(f"field {field!r} holds numbers: compare it with a number, not with a date")
        if isinstance(value, int | float) and not isinstance(value, bool) and held == "datetime":
            raise UsageError(f"field {field!r} holds dates: compare it with a date such as 2023-12-31")


def check_facet(field: str, indexes: Mapping[str, FieldType]) -> None:
    """Raise UsageError unless the field has an index whose values can be counted."""
    countable = sorted(name for name, kind in indexes.items() if kind in ("keyword", "integer", "bool"))
    if field not in countable:
        raise UsageError(f"the values of {field!r} cannot be counted; fields that can: {', '.join(countable)}")
