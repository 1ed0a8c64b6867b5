"""The parser's tree to constraint nodes: where the words get their meaning."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypeVar

from lark import Token, Tree
from pydantic import BaseModel, ValidationError

from t2c_search.filters import Equals, Exists, GeoRadius, OneOf, Range, Scalar, TextMatch
from t2c_search.query.language.constraints import (
    MAX_DEPTH,
    TOO_DEEP,
    And,
    Concept,
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
    ThresholdUnit,
    explain_refusal,
    is_concept,
)
from t2c_search.query.language.printer import unparse_field

METRES = {"m": 1.0, "km": 1000.0, "mi": 1609.344}
NO_MEANINGS = "a filter takes payload conditions, such as width >= 1024; texts belong in the query"
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_TAKEN = "taken"
"""The field of every image that holds a date: a bare year is one there."""
_MEANINGS = {"phrase", "image", "like", "saved"}

_Node = TypeVar("_Node", bound=BaseModel)
_Branch = Tree[Token]


class Misread(Exception):  # noqa: N818 - never leaves the room: the parser raises ExpressionError from it
    """What is wrong with an expression, and the offset of the character where."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class TreeReader:
    """Reads the parser's trees.

    ``fields`` are the payload fields there are, or None when any name will do; without ``meanings`` only payload
    conditions are allowed.
    """

    def __init__(self, fields: Collection[str] | None, meanings: bool) -> None:
        self.fields = fields
        self.meanings = meanings
        self._depth = 0

    def read(self, tree: _Branch) -> Constraint:
        """Read a tree, each rule by the method that bears its name. Raises Misread."""
        if tree.data in _MEANINGS and not self.meanings:
            raise Misread(NO_MEANINGS, _at(tree))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Misread(TOO_DEEP, _at(tree))
        node: Constraint = getattr(self, f"_{tree.data}")(tree)
        self._depth -= 1
        return node

    def _any_of(self, tree: _Branch) -> Constraint:
        return Or(parts=tuple(self.read(part) for part in _branches(tree)))

    def _all_of(self, tree: _Branch) -> Constraint:
        return And(parts=tuple(self.read(part) for part in _branches(tree)))

    def _negated(self, tree: _Branch) -> Constraint:
        return Not(part=self.read(_branches(tree)[0]))

    # Meanings

    def _at_sigmas(self, tree: _Branch) -> Constraint:
        return self._threshold(tree, "sd")

    def _at_cosine(self, tree: _Branch) -> Constraint:
        return self._threshold(tree, "cosine")

    def _threshold(self, tree: _Branch, unit: ThresholdUnit) -> Constraint:
        """``<`` is what ``>=`` is not, so that complements hold to the last image."""
        (concept,), (compare, number) = _branches(tree), _tokens(tree)
        strict = compare in (">", "<=")
        value = _number(number, number.lower().rstrip("sdigmaσ "))
        found = _built(Threshold, number, concept=self._concept(concept), value=value, unit=unit, strict=strict)
        return Not(part=found) if compare in ("<", "<=") else found

    def _in_top(self, tree: _Branch) -> Constraint:
        percent = _tokens(tree)[0]
        value = _number(percent, percent.rstrip("% "))
        return _built(Threshold, percent, concept=self._concept(_branches(tree)[0]), value=value, unit="top")

    def _signed_sum(self, tree: _Branch) -> Constraint:
        terms, sign = [], 1.0
        for child in tree.children:
            if isinstance(child, Token):
                sign = -1.0 if child == "-" else 1.0
            else:
                terms.append(self._term(child, sign))
        return Sum(terms=tuple(terms))

    def _weighted(self, tree: _Branch) -> Constraint:
        return Sum(terms=(self._term(tree, 1.0),))

    def _term(self, tree: _Branch, sign: float) -> Term:
        if tree.data != "weighted":
            return Term(weight=sign, concept=self._concept(tree))
        weight = _tokens(tree)[0]
        return _built(Term, weight, weight=sign * _number(weight), concept=self._concept(_branches(tree)[0]))

    def _contrast(self, tree: _Branch) -> Constraint:
        concept, alternatives = _branches(tree)
        others = tuple(self._concept(child) for child in _branches(alternatives))
        return Contrast(concept=self._concept(concept), alternatives=others)

    def _difference(self, tree: _Branch) -> Constraint:
        concept, over = _branches(tree)
        return Difference(concept=self._concept(concept), over=self._concept(over))

    def _phrase(self, tree: _Branch) -> Constraint:
        token = _tokens(tree)[0]
        if token.type == "BARE" and self.fields is not None and token in self.fields:
            message = f"{token} is a payload field: compare it, as in {unparse_field(token)} = ..., or quote the text"
            raise Misread(message, _at(tree))
        return _built(Phrase, token, text=_unquoted(token))

    def _image(self, tree: _Branch) -> Constraint:
        return _built(Image, _tokens(tree)[0], path=_unquoted(_tokens(tree)[0]))

    def _like(self, tree: _Branch) -> Constraint:
        return _built(Like, _tokens(tree)[0], id=_unquoted(_tokens(tree)[0]))

    def _saved(self, tree: _Branch) -> Constraint:
        return Saved(name=_tokens(tree)[0][1:])

    def _concept(self, tree: _Branch) -> Concept:
        found = self.read(tree)
        if not is_concept(found):
            message = "a text, an image or a sum of them is needed here, not a condition"
            raise Misread(message, _at(tree))
        return found

    # Payload

    def _field(self, tree: _Branch) -> str:
        token = _tokens(tree)[0]
        field = _unescaped(token) if token[0] == "`" else str(token)
        if self.fields is not None and not is_known(field, self.fields):
            hint = f'; a text stands in quotes: "{field}"' if self.meanings else ""
            raise Misread(unknown_field(field, self.fields) + hint, _at(tree))
        return field

    def _equals(self, tree: _Branch) -> Condition:
        return self._equal(self._field(tree), _tokens(tree)[-1])

    def _equal(self, field: str, value: Token) -> Condition:
        """An unquoted date, and any in ``taken``, means the whole year, month, day or minute that it names."""
        if not _is_date(field, value):
            return _built(Equals, value, field=field, value=_scalar(value))
        first, after = _period(value)
        end = {"lt": after} if after > first else {"lte": first}
        return Range(field=field, gte=first, **end)

    def _unequal(self, tree: _Branch) -> Constraint:
        return Not(part=self._equals(tree))

    def _one_of(self, tree: _Branch) -> Constraint:
        field, tokens = self._field(tree), _tokens(_branches(tree)[0])
        if any(_is_date(field, token) for token in tokens):
            found = [self._equal(field, token) for token in tokens]
            return Or(parts=tuple(found)) if len(found) > 1 else found[0]
        values = tuple(_scalar(token) for token in tokens)
        if not (all(isinstance(v, str) for v in values) or all(type(v) is int for v in values)):
            raise Misread("IN takes texts only or whole numbers only", _at(tokens[0]))
        return _built(OneOf, tokens[0], field=field, values=values)

    def _none_of(self, tree: _Branch) -> Constraint:
        return Not(part=self._one_of(tree))

    def _bounds(self, tree: _Branch) -> Constraint:
        return self._range(tree, [(bound[0], bound[1]) for bound in map(_tokens, _branches(tree))])

    def _between(self, tree: _Branch) -> Constraint:
        _, low, high = _tokens(tree)
        return self._range(tree, [(">=", low), ("<=", high)])

    def _range(self, tree: _Branch, limits: list[tuple[str, Token]]) -> Range:
        field, bounds = self._field(tree), dict[str, float | datetime]()
        for compare, value in limits:
            name, limit = _bound(field, compare, value)
            if name in bounds or {type(limit)} != {type(other) for other in [limit, *bounds.values()]}:
                raise Misread("a field takes one lower and one upper bound, both numbers or both dates", _at(value))
            bounds[name] = limit
        return _built(Range, _tokens(tree)[0], field=field, **bounds)

    def _exists(self, tree: _Branch) -> Constraint:
        return Exists(field=self._field(tree))

    def _matches(self, tree: _Branch) -> Constraint:
        return TextMatch(field=self._field(tree), text=_unquoted(_tokens(tree)[1]))

    def _within(self, tree: _Branch) -> Constraint:
        _, distance, lat, lon = _tokens(tree)
        digits = distance.rstrip("kmiKMI")
        metres = _number(distance, digits) * METRES[distance[len(digits) :].lower()]
        return _built(GeoRadius, distance, field=self._field(tree), lat=_number(lat), lon=_number(lon), metres=metres)


def is_known(field: str, fields: Collection[str]) -> bool:
    """Tell whether a field is among those there are, or lies within one of them, as ``gps.lat`` does."""
    return any(field == known or field.startswith(f"{known}.") for known in fields)


def unknown_field(field: str, fields: Collection[str]) -> str:
    """Say that there is no such field, and which come near."""
    near = [unparse_field(name) for name in get_close_matches(field, fields, n=3, cutoff=0.5)]
    known = ", ".join(unparse_field(name) for name in sorted(fields))
    hint = f"did you mean {' or '.join(near)}?" if near else f"known fields: {known}"
    return f"there is no payload field {unparse_field(field)}; {hint}"


def _tokens(tree: _Branch) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token)]


def _branches(tree: _Branch) -> list[_Branch]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _at(place: _Branch | Token) -> int:
    position = place.start_pos if isinstance(place, Token) else place.meta.start_pos
    return position or 0


def _built(kind: type[_Node], token: Token, **values: Any) -> _Node:
    """Make a node; what its own checks refuse is pointed out at the token."""
    try:
        return kind(**values)
    except ValidationError as exc:
        raise Misread(explain_refusal(exc), _at(token)) from exc


def _unquoted(token: Token) -> str:
    if token.type != "STRING":
        return token.strip()
    return token[1:-1] if token[0] == "“" else _unescaped(token)


def _unescaped(token: Token) -> str:
    """What stands between quotes that can hold themselves behind a backslash."""
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def _number(token: Token, digits: str | None = None) -> float:
    """Read a token as a number, or those of its characters that are its digits."""
    number = float(digits or token)
    if math.isinf(number):
        raise Misread("this number is too large", _at(token))
    return number


def _scalar(token: Token) -> Scalar:
    match token.type:
        case "BOOLEAN":
            return token.lower() == "true"
        case "NUMBER":
            number = _number(token)
            whole = token.lstrip("+-").isdigit() and abs(number) <= 2**63
            return int(Decimal(token)) if whole else number  # int alone refuses thousands of leading zeros
        case _:
            return _unquoted(token)


def _is_date(field: str, token: Token) -> bool:
    return field == _TAKEN or token.type == "DATE"


def _bound(field: str, compare: str, token: Token) -> tuple[str, float | datetime]:
    """One bound of a range. A date means the whole period that it names: ``<= 2023`` includes all of December."""
    if token.type == "NUMBER" and field != _TAKEN:
        return _BOUNDS[compare], _number(token)
    first, after = _period(token, "a date" if field == _TAKEN else "a number or a date")
    if compare in (">", "<=") and after > first:
        return ("gte" if compare == ">" else "lt"), after
    return _BOUNDS[compare], first


def _period(token: Token, needed: str = "a date") -> tuple[datetime, datetime]:
    """First instant of a date, and the first one after it (the same one for a second). Without a zone it is UTC.

    What reaches to the end of the year 9999 ends with the last instant that there is.
    """
    text = _unquoted(token)
    try:
        if len(text) == len("2023"):
            first, days = datetime.strptime(text, "%Y"), 365 + calendar.isleap(int(text))
        elif len(text) == len("2023-05"):
            first = datetime.strptime(text, "%Y-%m")
            days = calendar.monthrange(first.year, first.month)[1]
        else:
            first, days = datetime.fromisoformat(text), int(len(text) <= len("2023-05-31"))
        minutes = int(re.search(r"T\d\d:\d\d(?!:)", text) is not None)
    except ValueError:
        raise Misread(f"{needed} such as 2023-05-31 is needed here", _at(token)) from None
    try:
        return first, first + timedelta(days=days, minutes=minutes)
    except OverflowError:
        return first, datetime.max
