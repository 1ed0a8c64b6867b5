"""Constraint trees to expression strings: the inverse of ``syntax.parse``."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

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
    Scalar,
    StartsWith,
    TextMatch,
)
from t2c_search.query.language.concepts import Concept, keywords
from t2c_search.query.language.constraints import And, Constraint, Not, Or, Threshold, as_constraint
from t2c_search.query.language.writing import AND, GATE, NOT, OR, SUM, Written, quoted, written_number

_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def unparse(tree: Constraint) -> str:
    """Write a tree as an expression that ``parse`` reads into an equal tree."""
    return tree.map(_construct).text


def unparse_filter(where: Filter) -> str:
    """Write a filter as an expression of the same meaning."""
    return unparse(as_constraint(where))


def unparse_field(name: str) -> str:
    """Write a payload field's name as expressions take it: as it is, or in backticks."""
    return name if _plain_field(tuple(keywords())).fullmatch(name) else quoted(name, "`")


@cache
def _plain_field(keywords: tuple[str, ...]) -> re.Pattern[str]:
    """What a field's name without backticks looks like: no keyword can begin there."""
    first = "|".join(["and", "or", "not", "top", *(keyword.split()[0] for keyword in keywords)])
    return re.compile(rf"(?!(?:{first})\b)[^\W\d][\w.-]*", re.IGNORECASE)


def _construct(node: Node, parts: tuple[Written, ...]) -> Written:
    match node:
        case Or():
            return Written(" OR ".join(part.within(AND) for part in parts), OR)
        case And():
            return Written(" AND ".join(part.within(NOT) for part in parts), AND)
        case Not():
            return Written(f"NOT {parts[0].within(NOT)}", NOT)
        case Threshold():
            return Written(f"{parts[0].within(SUM)} {_limit(node)}", GATE)
        case Concept():
            return node.write(parts)
        case Condition():
            return Written(_condition(node), GATE)
        case _:  # a part of a concept, which only holds another
            return parts[0]


def _limit(threshold: Threshold) -> str:
    if threshold.unit == "top":
        return f"top {written_number(threshold.value)}%"
    suffix = "sd" if threshold.unit == "sd" else ""
    return f"{'>' if threshold.strict else '>='} {written_number(threshold.value)}{suffix}"


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
            return f"{field} ~ {quoted(condition.text)}"
        case StartsWith():
            return f"{field} STARTS WITH {quoted(condition.text)}"
        case Contains():
            return f"{field} CONTAINS {quoted(condition.text)}"
        case Glob():
            return f"{field} GLOB {quoted(condition.pattern)}"
        case GeoRadius():
            centre = f"({written_number(condition.lat)}, {written_number(condition.lon)})"
            return f"{field} WITHIN {written_number(condition.metres)} m OF {centre}"
    raise AssertionError(f"not a condition: {condition!r}")


def _bound(limit: float | datetime) -> str:
    return f'"{limit.isoformat()}"' if isinstance(limit, datetime) else written_number(limit)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)
