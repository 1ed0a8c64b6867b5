"""Conditions on payload fields: the tree that stores push down and tests evaluate.

The meaning is Qdrant's: a field may hold one value or a list, and a list matches when any of its elements does; a
missing field matches nothing, so its ``Not`` matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what engines hold
Scalar = float | Whole | bool | str


_Kind = TypeVar("_Kind")
_Result = TypeVar("_Result")


class Node(BaseModel):
    """Base of conditions, and of the constraints and concepts beside them: frozen values, walked alike whatever their kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def children(self) -> Iterator[Node]:
        """Yield the nodes directly below, as they stand."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Node))

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
    field: str


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
    """``field ~ "words"``: every word occurs in the field's text, whatever the case and order."""

    kind: Literal["text"] = "text"
    text: str


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
    Equals | OneOf | Range | Exists | TextMatch | GeoRadius | AllOf | AnyOf | Not, Field(discriminator="kind")
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()
