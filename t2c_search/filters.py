"""Conditions on payload fields: the tree that stores push down and tests evaluate.

The meaning is Qdrant's: a field may hold one value or a list, and a list matches when any of its elements does; a
missing field matches nothing, so its ``Not`` matches.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what engines hold
Scalar = float | Whole | bool | str


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Equals(_Node):
    """``field = value``: any element of the field equals the value."""

    kind: Literal["equals"] = "equals"
    field: str
    value: Scalar


class OneOf(_Node):
    """``field IN (values)``: any element of the field is among the values (all strings or all integers)."""

    kind: Literal["one_of"] = "one_of"
    field: str
    values: tuple[str, ...] | tuple[Whole, ...] = Field(min_length=1)


class Range(_Node):
    """Bounds on a number or a date, of the field's own type, at least one of them; absent bounds are open.

    Numbers compare as floats, dates as UTC instants.
    """

    kind: Literal["range"] = "range"
    field: str
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.gt is None and self.gte is None and self.lt is None and self.lte is None:
            raise ValueError("a range takes at least one of gt, gte, lt and lte; that a field is there is kind exists")
        return self


class Exists(_Node):
    """``field EXISTS``: the field is there, and is neither null nor an empty list."""

    kind: Literal["exists"] = "exists"
    field: str


class TextMatch(_Node):
    """``field ~ "words"``: every word occurs in the field's text, whatever the case and order."""

    kind: Literal["text"] = "text"
    field: str
    text: str


class GeoRadius(_Node):
    """``field WITHIN radius OF (lat, lon)``: a point ``{"lat", "lon"}`` in degrees at most ``metres`` away."""

    kind: Literal["geo"] = "geo"
    field: str
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    metres: float = Field(gt=0)


class AllOf(_Node):
    """Every part matches; no parts match everything."""

    kind: Literal["all"] = "all"
    parts: tuple[Filter, ...]


class AnyOf(_Node):
    """At least one part matches."""

    kind: Literal["any"] = "any"
    parts: tuple[Filter, ...] = Field(min_length=1)


class Not(_Node):
    """The part does not match."""

    kind: Literal["not"] = "not"
    part: Filter


Filter = Annotated[
    Equals | OneOf | Range | Exists | TextMatch | GeoRadius | AllOf | AnyOf | Not, Field(discriminator="kind")
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()
