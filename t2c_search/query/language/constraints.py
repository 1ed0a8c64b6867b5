"""The constraint tree: what an expression means. It is also the JSON wire form.

A *concept* is a direction in CLIP space, of one of the ``KINDS`` in ``concepts.py``; a *constraint* is a concept used as a
condition, a condition on the payload, or a combination of constraints. Payload conditions are the leaves of
``t2c_search.filters``, and ``And``, ``Or`` and ``Not`` have the same wire form as ``AllOf``, ``AnyOf`` and ``Not`` there: a
filter is a constraint, in JSON too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, GetPydanticSchema, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails, core_schema

from t2c_search import filters
from t2c_search.errors import ExpressionError
from t2c_search.filters import (
    Condition,
    Contains,
    Equals,
    Exists,
    Filter,
    GeoRadius,
    Glob,
    Node,
    OneOf,
    Range,
    StartsWith,
    TextMatch,
)
from t2c_search.query.language.concepts import AnyConcept, Concept, read_kind
from t2c_search.query.language.parsed import explain_refusal

ThresholdUnit = Literal["sd", "cosine", "top"]

MAX_DEPTH = 100
"""Constraints within constraints: far more than people write, and few enough to walk a tree by recursion."""
TOO_DEEP = f"constraints lie within one another at most {MAX_DEPTH} deep: write this flatter, or ask in several queries"
MAX_SIGMAS = 1e6
"""Far beyond what changes a set, and small enough for single steps of arithmetic to keep their precision."""


class Threshold(Node):
    """A concept that must reach a value.

    The unit is ``sd`` (standard deviations above the collection's mean), ``cosine`` (raw, in [-1, 1]) or ``top`` (among
    that many percent of the collection). ``strict`` excludes the value itself.
    """

    kind: Literal["threshold"] = "threshold"
    concept: AnyConcept
    value: float
    unit: ThresholdUnit
    strict: bool = False

    @model_validator(mode="after")
    def _check(self) -> Threshold:
        if self.unit == "sd" and abs(self.value) > MAX_SIGMAS:
            raise ValueError(f"a threshold is at most {MAX_SIGMAS:.0f} standard deviations, not {self.value:g}")
        if self.unit == "cosine" and not -1 <= self.value <= 1:
            raise ValueError(
                f"a cosine lies between -1 and 1, not at {self.value:g}; for standard deviations write {self.value:g}sd"
            )
        if self.unit == "top" and not 0 < self.value <= 100:
            raise ValueError(f"'top' takes more than 0 and at most 100 percent, not {self.value:g}")
        if self.unit == "top" and self.strict:
            raise ValueError("'top' has no strict form")
        return self


class And(Node):
    """Every part holds."""

    kind: Literal["all"] = "all"
    parts: tuple[AnyConstraint, ...] = Field(min_length=2)


class Or(Node):
    """At least one part holds."""

    kind: Literal["any"] = "any"
    parts: tuple[AnyConstraint, ...] = Field(min_length=2)


class Not(Node):
    """The part does not hold."""

    kind: Literal["not"] = "not"
    part: AnyConstraint


Constraint = Concept | Threshold | And | Or | Not | Condition
_KINDS = (Threshold, And, Or, Not, Equals, OneOf, Range, Exists, TextMatch, StartsWith, Contains, Glob, GeoRadius)
"""What a constraint may be beside a concept."""
AnyConstraint = Annotated[
    Constraint,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_plain_validator_function(lambda v: read_kind(v, _KINDS))
    ),
]
"""A constraint of whatever kind there is."""

for _model in (And, Or, Not):
    _model.model_rebuild()

_FILTER_ADAPTER: TypeAdapter[Filter] = TypeAdapter(Filter)
_EVERYTHING = Or(parts=(Exists(field="path"), Not(part=Exists(field="path"))))
"""What an ``AllOf`` without parts asks for."""


def read_tree(content: Any) -> Constraint:
    """Read the JSON wire form: a tree with ``kind`` in it, or Marqo's ``{text: weight}``.

    Raises ExpressionError that says where the content departs from the schema.
    """
    _check_depth(content)
    if isinstance(content, dict) and content and "kind" not in content:
        content = {"kind": "sum", "terms": [_weighted(text, weight) for text, weight in content.items()]}
    try:
        found: Constraint = read_kind(content, _KINDS)
    except ValidationError as exc:
        message = f"the JSON constraint tree cannot be read: {explain_refusal(exc)}"
        raise ExpressionError(message, pointer=_pointer(content, exc.errors()[0])) from exc
    return found


def read_filter(content: Any) -> Filter | None:
    """Read a filter's own JSON, which may have an ``AllOf`` or ``AnyOf`` of one part; None where it is another tree."""
    _check_depth(content)
    try:
        return _FILTER_ADAPTER.validate_python(content)
    except ValidationError:
        return None


def _pointer(content: Any, refusal: ErrorDetails) -> str:
    """Write where a refusal lies as a JSON Pointer: its steps without what a schema adds to them, such as nodes' kinds."""
    at, pointer, named = content, "", False
    for step in refusal["loc"]:
        if isinstance(at, dict) and step == at.get("kind") and not named:
            named = True
            continue
        there = step in at if isinstance(at, dict) else isinstance(at, list)
        if not there and refusal["type"] != "missing":
            break
        pointer += f"/{step}"
        at, named = at[step] if there else None, False
    return pointer


def _check_depth(content: Any) -> None:
    """Walk what may be nested too deeply for recursion, a schema's too, and count the constraints on each way down."""
    waiting = [(content, 0)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, dict):
            depth += "kind" in part
        if depth > MAX_DEPTH:
            raise ExpressionError(TOO_DEEP)
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
        waiting.extend((each, depth) for each in inner)


def write_tree(tree: Constraint) -> dict[str, Any]:
    """Write the JSON wire form that ``read_tree`` reads."""
    return tree.model_dump(mode="json")


def as_filter(tree: Constraint) -> Filter | None:
    """Turn a tree that asks about the payload alone into a filter; None when it asks about meanings too."""
    return tree.map(_filter_of)


def _filter_of(node: Node, parts: tuple[Filter | None, ...]) -> Filter | None:
    known = tuple(part for part in parts if part is not None)
    if len(known) < len(parts):
        return None
    match node:
        case And():
            return filters.AllOf(parts=known)
        case Or():
            return filters.AnyOf(parts=known)
        case Not():
            return filters.Not(part=known[0])
        case Condition():
            return cast(Filter, node)  # every kind of condition is one
        case _:
            return None


def as_constraint(where: Filter) -> Constraint:
    """Turn a filter into the tree that means the same, as ``as_filter`` turns it back."""
    match where:
        case filters.AllOf() | filters.AnyOf():
            parts = tuple(as_constraint(part) for part in where.parts)
            if not parts:
                return _EVERYTHING
            if len(parts) == 1:
                return parts[0]
            return And(parts=parts) if isinstance(where, filters.AllOf) else Or(parts=parts)
        case filters.Not():
            return Not(part=as_constraint(where.part))
        case _:
            return where


def _weighted(text: object, weight: object) -> dict[str, Any]:
    if not isinstance(text, str) or isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ExpressionError(f"a dictionary of weights maps texts to numbers, not {text!r:.60} to {weight!r:.60}")
    return {"concept": {"kind": "phrase", "text": text}, "weight": weight}
