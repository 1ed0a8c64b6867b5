"""Conditions on payload fields: the tree that stores push down and tests evaluate.

A field may hold one value or a list, and a list matches when any of its elements does; a dotted name leads into objects,
and into each object of a list; a missing field matches nothing, so its ``Not`` matches. ``stores/matching.py`` defines the
rest. Texts and names that differ in nothing but their Unicode normal form (NFC, NFD) are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def nfc(text: str) -> str:
    """Return a text in the normal form in which fields and captions are stored, and queries asked."""
    return unicodedata.normalize("NFC", text)


Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what engines hold
Scalar = float | Whole | bool | str


_Kind = TypeVar("_Kind")
_Result = TypeVar("_Result")


class Node(BaseModel):
    """Base of conditions, and of the constraints and concepts beside them: frozen values, walked alike whatever their kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def children(self) -> Iterator[Node]:
        """Yield the nodes directly below, as they stand."""
        for value in self.__dict__.values():  # in the order of the fields
            if isinstance(value, Node):
                yield value
            elif isinstance(value, tuple):
                yield from (each for each in value if isinstance(each, Node))

    def find(self, kind: type[_Kind]) -> Iterator[_Kind]:
        """Yield the nodes of a kind: this one, and those below it, as they stand."""
        if isinstance(self, kind):
            yield self
        for child in self.children():
            yield from child.find(kind)

    def map(self, function: Callable[[Node, tuple[_Result, ...]], _Result]) -> _Result:
        """Make something of each node and of what was made of its children, and return what it made of this one."""
        return function(self, tuple(child.map(function) for child in self.children()))


class Condition(Node):
    """What one payload field must be."""

    kind: str
    field: Annotated[str, AfterValidator(nfc)]


class Equals(Condition):
    """``field = value``: any element of the field equals the value."""

    kind: Literal["equals"] = "equals"
    value: Scalar


class OneOf(Condition):
    """``field IN (values)``: any element of the field is among the values (all strings or all integers)."""

    kind: Literal["one_of"] = "one_of"
    values: tuple[str, ...] | tuple[Whole, ...] = Field(min_length=1)


class Range(Condition):
    """Bounds on a number or a date, of the field's own type, at least one of them; absent bounds are open.

    Numbers compare as floats, dates as UTC instants.
    """

    kind: Literal["range"] = "range"
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.gt is None and self.gte is None and self.lt is None and self.lte is None:
            raise ValueError("a range takes at least one of gt, gte, lt and lte; that a field is there is kind exists")
        return self


class Exists(Condition):
    """``field EXISTS``: the field is there, and is neither null nor an empty list."""

    kind: Literal["exists"] = "exists"


class TextMatch(Condition):
    """``field ~ "words"``: every word occurs in the field's text, whatever the case and order.

    In scripts without blanks between words, such as Chinese, Japanese and Thai, a word may be a part of what stands there.
    """

    kind: Literal["text"] = "text"
    text: str


class StartsWith(Condition):
    """``field STARTS WITH "text"``: the field's text begins so, whatever the case."""

    kind: Literal["starts_with"] = "starts_with"
    text: str


class Contains(Condition):
    """``field CONTAINS "text"``: the text occurs anywhere in the field's, whatever the case."""

    kind: Literal["contains"] = "contains"
    text: str


class Glob(Condition):
    """``path GLOB "2023/*.jpg"``: the last components of a path, whole and in the case given.

    ``*``, ``?`` and ``[a-z]`` stand for characters of one component, ``**`` for any number of components. What a container
    is called and what lies in it, with ``::`` between them, are components too. A pattern that begins with ``/`` is of
    the whole path.
    """

    kind: Literal["glob"] = "glob"
    pattern: str


TEXT_CONDITIONS = (TextMatch, StartsWith, Contains, Glob)
"""The conditions that look into texts."""


class GeoRadius(Condition):
    """``field WITHIN radius OF (lat, lon)``: a point ``{"lat", "lon"}`` in degrees at most ``metres`` away."""

    kind: Literal["geo"] = "geo"
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    metres: float = Field(gt=0)


class AllOf(Node):
    """Every part matches; no parts match everything."""

    kind: Literal["all"] = "all"
    parts: tuple[Filter, ...]


class AnyOf(Node):
    """At least one part matches."""

    kind: Literal["any"] = "any"
    parts: tuple[Filter, ...] = Field(min_length=1)


class Not(Node):
    """The part does not match."""

    kind: Literal["not"] = "not"
    part: Filter


Filter = Annotated[
    Equals | OneOf | Range | Exists | TextMatch | StartsWith | Contains | Glob | GeoRadius | AllOf | AnyOf | Not,
    Field(discriminator="kind"),
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


@dataclass(frozen=True, slots=True)
class PointIds:
    """The points of these ids, in parts: what a store asks its engine for where it has looked up itself what matches."""

    parts: tuple[tuple[str, ...], ...]
