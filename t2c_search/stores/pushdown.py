"""How much of a filter an engine is asked, and what is left to look at here.

Engines and their versions differ in what a condition on texts means, a field's index decides it too, and servers in strict
mode refuse conditions on fields without a fitting index. So an engine is asked only for what it answers as
``stores/matching.py`` does: exactly, or for more than what matches, whose payloads are then looked at here. A condition on
the texts of a field whose values an index can list becomes an ``IN`` of those values that match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from t2c_search.errors import StoreLimitError
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
    StartsWith,
    TextMatch,
)
from t2c_search.stores.conditions import check_filter, json_paths
from t2c_search.stores.matching import LEAST_INEXACT, is_without_blanks, matches, spellings, text_matches, words_of
from t2c_search.stores.protocol import FieldType, Limits
from t2c_search.types import Points

_NOTHING = Not(part=AllOf(parts=()))


@dataclass(frozen=True, slots=True)
class Pushed:
    """What an engine is asked (None: for everything); where that is not ``exact``, it finds more than what matches."""

    where: Filter | None
    exact: bool = True


_Value = TypeVar("_Value")
_MOST_SPELLINGS = 3  # of one text
_UNKNOWN = Pushed(None, exact=False)


@dataclass(frozen=True, slots=True)
class Pushdown:
    """Decides for one collection: ``values`` lists a field's distinct texts by its index, or returns None for too many."""

    indexes: Mapping[str, FieldType]
    limits: Limits
    values: Callable[[str], list[str] | None]

    def of(self, where: Filter | None) -> Pushed:
        """Return what the engine is asked for a filter. Raises UsageError for a filter that means nothing."""
        if where is None:
            return Pushed(None)
        check_filter(where, self.indexes)
        pushed = self._of(where)
        most = self.limits.conditions
        if pushed.where is not None and most is not None and _conditions(pushed.where) > most:
            return _UNKNOWN
        return pushed

    def _of(self, where: Filter) -> Pushed:
        match where:
            case AllOf():
                parts = [self._of(part) for part in where.parts]
                asked = tuple(part.where for part in parts if part.where is not None)
                exact = all(part.exact for part in parts)
                return Pushed(AllOf(parts=asked) if asked or exact else None, exact)
            case AnyOf():
                parts = [self._of(part) for part in where.parts]
                asked = tuple(part.where for part in parts if part.where is not None)
                if len(asked) < len(parts):
                    return _UNKNOWN
                return Pushed(AnyOf(parts=asked), all(part.exact for part in parts))
            case Not():
                part = self._of(where.part)
                return Pushed(Not(part=part.where)) if part.exact and part.where is not None else _UNKNOWN
            case TextMatch() | StartsWith() | Contains() | Glob():
                return self._of_text(where)
        return self._of_value(where)

    def _of_text(self, where: TextMatch | StartsWith | Contains | Glob) -> Pushed:
        kind = self.indexes.get(where.field)
        if kind == "keyword" and (values := self.values(where.field)) is not None:
            found = tuple(value for value in values if text_matches(where, value))
            return self._of_value(OneOf(field=where.field, values=found)) if found else Pushed(_NOTHING)
        if kind == "text" and isinstance(where, TextMatch) and "." not in where.field:
            return _words_by_index(where)
        return _UNKNOWN

    def _of_value(self, where: Equals | OneOf | Range | Exists | GeoRadius) -> Pushed:
        if self.limits.indexed_only and self.indexes.get(where.field) not in _fitting_indexes(where):
            return _UNKNOWN
        size = self.limits.condition_size
        if isinstance(where, OneOf) and size is not None:
            parts = _in_parts(where.values, max(1, size // _MOST_SPELLINGS))
            return Pushed(AnyOf(parts=tuple(where.model_copy(update={"values": part}) for part in parts)))
        return Pushed(where)


def verified(batches: Iterable[Points], where: Filter | None, *, payload: bool) -> Iterator[Points]:
    """Yield those points of each batch that match, without payloads unless they are wanted."""
    for points in batches:
        rows = [row for row, each in enumerate(points.payloads) if matches(where, each)]
        if rows:
            found = points.take(rows)
            yield (
                found
                if payload
                else Points(found.ids, [{} for _ in rows], found.vectors, multivectors=found.multivectors)
            )


def fields_of(where: Filter | None) -> tuple[str, ...]:
    """Name the payload fields, the outermost ones, that a filter looks at."""
    conditions = [] if where is None else where.find(Condition)
    return tuple(dict.fromkeys(condition.field.split(".")[0] for condition in conditions))


def point_ids(batches: Iterable[Points], limits: Limits) -> PointIds:
    """Gather the ids of all points of the batches. Raises StoreLimitError for more than a server takes in a filter."""
    ids = [point_id for points in batches for point_id in points.ids]
    size = limits.condition_size or max(len(ids), 1)
    parts = tuple(_in_parts(ids, size)) or ((),)
    if limits.conditions is not None and len(parts) + 1 > limits.conditions:
        raise StoreLimitError(
            f"the conditions leave {len(ids)} images, and the server takes {limits.conditions} conditions of {size} ids "
            "with a search at most: narrow the conditions, or ask for all that match (t2c mine)"
        )
    return PointIds(parts)


def _words_by_index(where: TextMatch) -> Pushed:
    """Ask an index of words for all of them, each as it may be stored; it takes a list's elements for one text.

    It knows whole words only: one that may be a part of another, in a script without blanks, is looked for here.
    """
    words = sorted(words_of(where.text))
    if not words:
        return Pushed(_NOTHING)
    asked = [
        AnyOf(parts=tuple(TextMatch(field=where.field, text=spelling) for spelling in spellings(word)))
        for word in words
        if not is_without_blanks(word)
    ]
    return Pushed(AllOf(parts=tuple(asked)) if asked else None, exact=len(words) == 1 and words[0].isascii())


def _fitting_indexes(where: Equals | OneOf | Range | Exists | GeoRadius) -> Sequence[FieldType]:
    """Name the kinds of indexes of which a server in strict mode wants one for a condition."""
    match where:
        case Exists():
            return ("keyword", "integer", "float", "bool", "datetime", "text", "geo")
        case GeoRadius():
            return ("geo",)
        case Range():
            dates = any(isinstance(bound, datetime) for bound in (where.gt, where.gte, where.lt, where.lte))
            return ("datetime",) if dates else ("integer", "float")
    values = where.values if isinstance(where, OneOf) else (where.value,)
    if isinstance(values[0], bool):
        return ("bool",)
    if isinstance(values[0], str):
        return ("keyword",)
    huge = any(isinstance(value, int) and abs(value) >= LEAST_INEXACT for value in values)
    return ("integer",) if huge else ("integer", "float")


def _conditions(where: Filter) -> int:
    """How many conditions an engine is asked at most."""
    match where:
        case AllOf() | AnyOf():
            return 1 + sum(map(_conditions, where.parts))
        case Not():
            return 1 + _conditions(where.part)
        case OneOf():
            return 1 + len(json_paths(where.field)) * (1 if isinstance(where.values[0], str) else len(where.values))
        case _:
            return 1 + len(json_paths(where.field))


def _in_parts(values: Sequence[_Value], size: int) -> Iterator[tuple[_Value, ...]]:
    return (tuple(values[start : start + size]) for start in range(0, len(values), size))
