"""Constraint trees to expression strings: the inverse of ``syntax.parse``."""

from __future__ import annotations

import re
from datetime import datetime

from t2c_search.filters import Equals, Exists, Filter, GeoRadius, OneOf, Range, Scalar, TextMatch
from t2c_search.query.language.constraints import (
    And,
    Condition,
    Constraint,
    Contrast,
    Difference,
    Image,
    Like,
    Not,
    Or,
    Phrase,
    Saved,
    Sum,
    Term,
    Threshold,
    as_constraint,
)

_OR, _AND, _NOT, _GATE, _SUM, _RELATION, _ATOM = range(7)
"""How tightly a construct binds; an operand that binds less tightly than its place asks for gets parentheses."""
_PLAIN_FIELD = re.compile(r"(?!(?:and|or|not|over|rather|top)\b)[^\W\d][\w.-]*", re.IGNORECASE)
"""A field's name that needs no backticks: no keyword can begin there."""
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def unparse(tree: Constraint) -> str:
    """Write a tree as an expression that ``parse`` reads into an equal tree."""
    return _written(tree, _OR)


def unparse_filter(where: Filter) -> str:
    """Write a filter as an expression of the same meaning."""
    return unparse(as_constraint(where))


def unparse_field(name: str) -> str:
    """Write a payload field's name as expressions take it: as it is, or in backticks."""
    return name if _PLAIN_FIELD.fullmatch(name) else _between(name, "`")


def _written(tree: Constraint, place: int) -> str:
    text, level = _construct(tree)
    return text if level >= place else f"({text})"


def _construct(tree: Constraint) -> tuple[str, int]:
    match tree:
        case Or():
            return " OR ".join(_written(part, _AND) for part in tree.parts), _OR
        case And():
            return " AND ".join(_written(part, _NOT) for part in tree.parts), _AND
        case Not():
            return f"NOT {_written(tree.part, _NOT)}", _NOT
        case Threshold():
            return f"{_written(tree.concept, _SUM)} {_limit(tree)}", _GATE
        case Sum():
            return _sum(tree), _SUM
        case Contrast():
            return f"{_written(tree.concept, _ATOM)} RATHER THAN {_alternatives(tree)}", _RELATION
        case Difference():
            return f"{_written(tree.concept, _ATOM)} OVER {_written(tree.over, _ATOM)}", _RELATION
        case Phrase():
            return _quoted(tree.text), _ATOM
        case Image():
            return f"image({_quoted(tree.path)})", _ATOM
        case Like():
            return f"like({_quoted(tree.id)})", _ATOM
        case Saved():
            return f"@{tree.name}", _ATOM
        case _:
            return _condition(tree), _GATE


def _alternatives(contrast: Contrast) -> str:
    if len(contrast.alternatives) == 1:
        return _written(contrast.alternatives[0], _ATOM)
    return f"({', '.join(_written(other, _OR) for other in contrast.alternatives)})"


def _limit(threshold: Threshold) -> str:
    if threshold.unit == "top":
        return f"top {_number(threshold.value)}%"
    suffix = "sd" if threshold.unit == "sd" else ""
    return f"{'>' if threshold.strict else '>='} {_number(threshold.value)}{suffix}"


def _sum(tree: Sum) -> str:
    """A lone term keeps its weight of 1: without it, it would be the concept itself."""
    first, *others = tree.terms
    text = _weighted(first, always=not others)
    for term in others:
        text += f" {'-' if term.weight < 0 else '+'} {_weighted(term).removeprefix('-')}"
    return text


def _weighted(term: Term, always: bool = False) -> str:
    sign = "-" if term.weight < 0 else ""
    weight = "" if abs(term.weight) == 1 and not always else f"{_number(abs(term.weight))} * "
    return f"{sign}{weight}{_written(term.concept, _RELATION)}"


def _condition(condition: Condition) -> str:
    field = unparse_field(condition.field)
    match condition:
        case Equals():
            return f"{field} = {_scalar(condition.value)}"
        case OneOf():
            return f"{field} IN ({', '.join(_scalar(value) for value in condition.values)})"
        case Range():
            limits = [(sign, getattr(condition, name)) for name, sign in _BOUNDS.items()]
            return " ".join([field, *(f"{sign} {_bound(limit)}" for sign, limit in limits if limit is not None)])
        case Exists():
            return f"{field} EXISTS"
        case TextMatch():
            return f"{field} ~ {_quoted(condition.text)}"
        case GeoRadius():
            centre = f"({_number(condition.lat)}, {_number(condition.lon)})"
            return f"{field} WITHIN {_number(condition.metres)} m OF {centre}"


def _bound(limit: float | datetime) -> str:
    return f'"{limit.isoformat()}"' if isinstance(limit, datetime) else _number(limit)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _quoted(text: str) -> str:
    return _between(text, '"')


def _between(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"
