"""The constraint tree: what an expression means. It is also the JSON wire form.

A *concept* is a direction in CLIP space; a *constraint* is a concept used as a condition, a condition on the payload,
or a combination of constraints. Payload conditions are the leaves of ``t2c_search.filters``, and ``And``, ``Or`` and
``Not`` have the same wire form as ``AllOf``, ``AnyOf`` and ``Not`` there: a filter is a constraint, in JSON too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from t2c_search import filters
from t2c_search.errors import ExpressionError
from t2c_search.filters import Equals, Exists, Filter, GeoRadius, OneOf, Range, TextMatch

ThresholdUnit = Literal["sd", "cosine", "top"]

MAX_DEPTH = 100
"""Constraints within constraints: far more than people write, and few enough to walk a tree by recursion."""
TOO_DEEP = f"constraints lie within one another at most {MAX_DEPTH} deep: write this flatter, or ask in several queries"
MAX_WEIGHT = MAX_SIGMAS = 1e6
"""Far beyond what changes a ranking or a set, and small enough for single steps of arithmetic to keep their precision."""


def _check_words(text: str) -> str:
    if not text.strip():
        raise ValueError("the quotes are empty")
    return text


def check_name(name: str) -> str:
    """Return the name of a saved concept. Raises ValueError when ``@name`` could not be typed in an expression."""
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(f"a concept's name is made of letters, digits, _ and -, unlike {name!r}")
    return name


_Words = Annotated[str, AfterValidator(_check_words)]
_Name = Annotated[str, AfterValidator(check_name)]


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Phrase(_Node):
    """``"a dog"``: the direction of a text."""

    kind: Literal["phrase"] = "phrase"
    text: _Words


class Image(_Node):
    """``image("x.jpg")``: the direction of an image file."""

    kind: Literal["image"] = "image"
    path: _Words


class Like(_Node):
    """``like("id")``: the direction of an image of the collection."""

    kind: Literal["like"] = "like"
    id: _Words


class Saved(_Node):
    """``@beach``: a concept saved with the collection under that name."""

    kind: Literal["saved"] = "saved"
    name: _Name


class Contrast(_Node):
    """``"a red car" RATHER THAN ("a blue car", "a white car")``: the concept less the mean of its alternatives."""

    kind: Literal["contrast"] = "contrast"
    concept: Concept
    alternatives: tuple[Concept, ...] = Field(min_length=1)


class Difference(_Node):
    """``"sunny" OVER "cloudy"``: how much more of one concept than of another."""

    kind: Literal["difference"] = "difference"
    concept: Concept
    over: Concept


class Term(_Node):
    """One weighted concept of a sum."""

    weight: float
    concept: Concept

    @model_validator(mode="after")
    def _check(self) -> Term:
        if self.weight == 0:
            raise ValueError("a weight of 0 does nothing: leave the term out")
        if not 1 / MAX_WEIGHT <= abs(self.weight) <= MAX_WEIGHT:
            raise ValueError(f"a weight lies between {1 / MAX_WEIGHT:f} and {MAX_WEIGHT:.0f}, unlike {self.weight:g}")
        return self


class Sum(_Node):
    """``2 * "red car" + 0.5 * "rain" - "people"``: z-scores added with weights; a sum is a concept itself."""

    kind: Literal["sum"] = "sum"
    terms: tuple[Term, ...] = Field(min_length=1)


class Threshold(_Node):
    """A concept that must reach a value.

    The unit is ``sd`` (standard deviations above the collection's mean), ``cosine`` (raw, in [-1, 1]) or ``top`` (among
    that many percent of the collection). ``strict`` excludes the value itself.
    """

    kind: Literal["threshold"] = "threshold"
    concept: Concept
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


class And(_Node):
    """Every part holds."""

    kind: Literal["all"] = "all"
    parts: tuple[Constraint, ...] = Field(min_length=2)


class Or(_Node):
    """At least one part holds."""

    kind: Literal["any"] = "any"
    parts: tuple[Constraint, ...] = Field(min_length=2)


class Not(_Node):
    """The part does not hold."""

    kind: Literal["not"] = "not"
    part: Constraint


Concept = Annotated[Phrase | Image | Like | Saved | Contrast | Difference | Sum, Field(discriminator="kind")]
Condition = Equals | OneOf | Range | Exists | TextMatch | GeoRadius
Constraint = Annotated[
    Phrase | Image | Like | Saved | Contrast | Difference | Sum | Threshold | And | Or | Not | Condition,
    Field(discriminator="kind"),
]

for _model in (Contrast, Difference, Term, Sum, Threshold, And, Or, Not):
    _model.model_rebuild()

_ADAPTER: TypeAdapter[Constraint] = TypeAdapter(Constraint)
_FILTER_ADAPTER: TypeAdapter[Filter] = TypeAdapter(Filter)
_EVERYTHING = Or(parts=(Exists(field="path"), Not(part=Exists(field="path"))))
"""What an ``AllOf`` without parts asks for."""


def is_concept(tree: object) -> TypeGuard[Concept]:
    """Tell whether a node is a direction, so that it can be weighted, compared and given a threshold."""
    return isinstance(tree, Phrase | Image | Like | Saved | Contrast | Difference | Sum)


def read_tree(content: Any) -> Constraint:
    """Read the JSON wire form: a tree with ``kind`` in it, or Marqo's ``{text: weight}``.

    Raises ExpressionError that says where the content departs from the schema.
    """
    _check_depth(content)
    if isinstance(content, dict) and content and "kind" not in content:
        content = {"kind": "sum", "terms": [_weighted(text, weight) for text, weight in content.items()]}
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as exc:
        raise ExpressionError(f"the JSON constraint tree cannot be read: {explain_refusal(exc)}") from exc


def read_filter(content: Any) -> Filter | None:
    """Read a filter's own JSON, which may have an ``AllOf`` or ``AnyOf`` of one part; None where it is another tree."""
    _check_depth(content)
    try:
        return _FILTER_ADAPTER.validate_python(content)
    except ValidationError:
        return None


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
    written: dict[str, Any] = _ADAPTER.dump_python(tree, mode="json")
    return written


def explain_refusal(error: ValidationError) -> str:
    """Say in one line what a schema refused first, and where."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return (f"{where}: " if where else "") + first["msg"].removeprefix("Value error, ")


def fields_of(tree: Constraint) -> Iterator[str]:
    """Yield the payload fields that the tree asks about."""
    match tree:
        case And() | Or():
            for part in tree.parts:
                yield from fields_of(part)
        case Not():
            yield from fields_of(tree.part)
        case Equals() | OneOf() | Range() | Exists() | TextMatch() | GeoRadius():
            yield tree.field


def as_filter(tree: Constraint) -> Filter | None:
    """Turn a tree that asks about the payload alone into a filter; None when it asks about meanings too."""
    match tree:
        case And() | Or():
            parts = [as_filter(part) for part in tree.parts]
            known = tuple(part for part in parts if part is not None)
            if len(known) < len(parts):
                return None
            return filters.AllOf(parts=known) if isinstance(tree, And) else filters.AnyOf(parts=known)
        case Not():
            part = as_filter(tree.part)
            return None if part is None else filters.Not(part=part)
        case Equals() | OneOf() | Range() | Exists() | TextMatch() | GeoRadius():
            return tree
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
        raise ExpressionError(f"a dictionary of weights maps texts to numbers, not {text!r} to {weight!r}")
    return {"concept": {"kind": "phrase", "text": text}, "weight": weight}
