"""The parser's tree to constraint nodes: where the words get their meaning."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches

from lark import Token

from t2c_search.errors import brief
from t2c_search.filters import (
    Condition,
    Contains,
    Equals,
    Exists,
    GeoRadius,
    Glob,
    OneOf,
    Range,
    Scalar,
    StartsWith,
    TextMatch,
    nfc,
)
from t2c_search.query.language.concepts import KINDS, Concept
from t2c_search.query.language.constraints import (
    MAX_DEPTH,
    TOO_DEEP,
    And,
    Constraint,
    Not,
    Or,
    Threshold,
    ThresholdUnit,
)
from t2c_search.query.language.parsed import (
    Misread,
    Parsed,
    built,
    number,
    operands,
    position_of,
    tokens,
    unescaped,
    unquoted,
)
from t2c_search.query.language.printer import unparse_field

METRES = {"m": 1.0, "km": 1000.0, "mi": 1609.344}
NO_MEANINGS = "a filter takes payload conditions, such as width >= 1024; texts belong in the query"
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_TAKEN = "taken"
"""The field of every image that holds a date: a bare year is one there."""


class TreeReader:
    """Reads the parser's trees.

    ``fields`` are the payload fields there are, or None when any name will do; without ``meanings`` only payload
    conditions are allowed.
    """

    def __init__(self, fields: Collection[str] | None, meanings: bool) -> None:
        self.fields = fields
        self.meanings = meanings
        self._depth = 0

    def read(self, tree: Parsed) -> Constraint:
        """Read a tree, each rule by the kind of concept or the method that bears its name. Raises Misread."""
        kind = KINDS.get(str(tree.data))
        if kind is not None and not operands(tree) and not self.meanings:
            raise Misread(NO_MEANINGS, position_of(tree))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Misread(TOO_DEEP, position_of(tree))
        node: Constraint = getattr(self, f"_{tree.data}")(tree) if kind is None else kind.read(tree, self)
        self._depth -= 1
        return node

    def concept(self, tree: Parsed) -> Concept:
        """Read a tree that must be a concept. Raises Misread."""
        found = self.read(tree)
        if not isinstance(found, Concept):
            message = "a text, an image or a sum of them is needed here, not a condition"
            raise Misread(message, position_of(tree))
        return found

    def text(self, token: Token) -> str:
        """Read the token of a text. Raises Misread for a payload field without quotes."""
        if token.type == "BARE" and self.fields is not None and token in self.fields:
            message = (
                f"{brief(token)} is a payload field: compare it, as in {unparse_field(token)} = ..., or quote the text"
            )
            raise Misread(message, position_of(token))
        return unquoted(token)

    def _any_of(self, tree: Parsed) -> Constraint:
        return Or(parts=tuple(self.read(part) for part in operands(tree)))

    def _all_of(self, tree: Parsed) -> Constraint:
        return And(parts=tuple(self.read(part) for part in operands(tree)))

    def _negated(self, tree: Parsed) -> Constraint:
        return Not(part=self.read(operands(tree)[0]))

    def _at_sigmas(self, tree: Parsed) -> Constraint:
        return self._threshold(tree, "sd")

    def _at_cosine(self, tree: Parsed) -> Constraint:
        return self._threshold(tree, "cosine")

    def _threshold(self, tree: Parsed, unit: ThresholdUnit) -> Constraint:
        """``<`` is what ``>=`` is not, so that complements hold to the last image."""
        (concept,), (compare, limit) = operands(tree), tokens(tree)
        strict = compare in (">", "<=")
        value = number(limit, limit.lower().rstrip("sdigmaσ "))
        found = built(Threshold, limit, concept=self.concept(concept), value=value, unit=unit, strict=strict)
        return Not(part=found) if compare in ("<", "<=") else found

    def _in_top(self, tree: Parsed) -> Constraint:
        percent = tokens(tree)[0]
        value = number(percent, percent.rstrip("% "))
        return built(Threshold, percent, concept=self.concept(operands(tree)[0]), value=value, unit="top")

    def _field(self, tree: Parsed) -> str:
        token = tokens(tree)[0]
        field = nfc(unescaped(token) if token[0] == "`" else str(token))
        if self.fields is not None and not is_known(field, self.fields):
            hint = f'; a text stands in quotes: "{field}"' if self.meanings else ""
            raise Misread(unknown_field(field, self.fields) + hint, position_of(tree))
        return field

    def _equals(self, tree: Parsed) -> Condition:
        return self._equal(self._field(tree), tokens(tree)[-1])

    def _equal(self, field: str, value: Token) -> Condition:
        """An unquoted date, and any in ``taken``, means the whole year, month, day or minute that it names."""
        if not _is_date(field, value):
            return built(Equals, value, field=field, value=_scalar(value))
        first, after = _period(value)
        end = {"lt": after} if after > first else {"lte": first}
        return Range(field=field, gte=first, **end)

    def _unequal(self, tree: Parsed) -> Constraint:
        return Not(part=self._equals(tree))

    def _one_of(self, tree: Parsed) -> Constraint:
        field, listed = self._field(tree), tokens(operands(tree)[0])
        if any(_is_date(field, token) for token in listed):
            found = [self._equal(field, token) for token in listed]
            return Or(parts=tuple(found)) if len(found) > 1 else found[0]
        values = tuple(_scalar(token) for token in listed)
        if not (all(isinstance(v, str) for v in values) or all(type(v) is int for v in values)):
            raise Misread("IN takes texts only or whole numbers only", position_of(listed[0]))
        return built(OneOf, listed[0], field=field, values=values)

    def _none_of(self, tree: Parsed) -> Constraint:
        return Not(part=self._one_of(tree))

    def _bounds(self, tree: Parsed) -> Constraint:
        return self._range(tree, [(bound[0], bound[1]) for bound in map(tokens, operands(tree))])

    def _between(self, tree: Parsed) -> Constraint:
        _, low, high = tokens(tree)
        return self._range(tree, [(">=", low), ("<=", high)])

    def _range(self, tree: Parsed, limits: list[tuple[str, Token]]) -> Range:
        field, bounds = self._field(tree), dict[str, float | datetime]()
        for compare, value in limits:
            name, limit = _bound(field, compare, value)
            if name in bounds or {type(limit)} != {type(other) for other in [limit, *bounds.values()]}:
                raise Misread(
                    "a field takes one lower and one upper bound, both numbers or both dates", position_of(value)
                )
            bounds[name] = limit
        return built(Range, tokens(tree)[0], field=field, **bounds)

    def _exists(self, tree: Parsed) -> Constraint:
        return Exists(field=self._field(tree))

    def _matches(self, tree: Parsed) -> Constraint:
        return TextMatch(field=self._field(tree), text=unquoted(tokens(tree)[1]))

    def _starts_with(self, tree: Parsed) -> Constraint:
        return StartsWith(field=self._field(tree), text=unquoted(tokens(tree)[1]))

    def _contains(self, tree: Parsed) -> Constraint:
        return Contains(field=self._field(tree), text=unquoted(tokens(tree)[1]))

    def _glob(self, tree: Parsed) -> Constraint:
        return Glob(field=self._field(tree), pattern=unquoted(tokens(tree)[1]))

    def _within(self, tree: Parsed) -> Constraint:
        _, distance, lat, lon = tokens(tree)
        digits = distance.rstrip("kmiKMI")
        metres = number(distance, digits) * METRES[distance[len(digits) :].lower()]
        return built(GeoRadius, distance, field=self._field(tree), lat=number(lat), lon=number(lon), metres=metres)


def is_known(field: str, fields: Collection[str]) -> bool:
    """Tell whether a field is among those there are, or lies within one of them, as ``gps.lat`` does."""
    return any(field == known or field.startswith(f"{known}.") for known in fields)


def unknown_field(field: str, fields: Collection[str]) -> str:
    """Say that there is no such field, and which come near."""
    field = brief(field)
    within = [name for name in sorted(fields) if name.endswith(f".{field}")]  # derived.who, where who was typed
    near = [unparse_field(name) for name in within or get_close_matches(field, fields, n=3, cutoff=0.5)]
    known = ", ".join(unparse_field(name) for name in sorted(fields))
    hint = f"did you mean {' or '.join(near)}?" if near else f"known fields: {known}"
    return f"there is no payload field {unparse_field(field)}; {hint}"


def _scalar(token: Token) -> Scalar:
    match token.type:
        case "BOOLEAN":
            return token.lower() == "true"
        case "NUMBER":
            value = number(token)
            whole = (
                int(Decimal(token)) if token.lstrip("+-").isdigit() else None
            )  # int alone refuses thousands of zeros
            return value if whole is None or not -(2**63) <= whole < 2**63 else whole
        case _:
            return unquoted(token)


def _is_date(field: str, token: Token) -> bool:
    return field == _TAKEN or token.type == "DATE"


def _bound(field: str, compare: str, token: Token) -> tuple[str, float | datetime]:
    """One bound of a range. A date means the whole period that it names: ``<= 2023`` includes all of December."""
    if token.type == "NUMBER" and field != _TAKEN:
        return _BOUNDS[compare], number(token)
    first, after = _period(token, "a date" if field == _TAKEN else "a number or a date")
    if compare in (">", "<=") and after > first:
        return ("gte" if compare == ">" else "lt"), after
    return _BOUNDS[compare], first


def _period(token: Token, needed: str = "a date") -> tuple[datetime, datetime]:
    """First instant of a date, and the first one after it (the same one for a second). Without a zone it is UTC.

    What reaches to the end of the year 9999 ends with the last instant that there is.
    """
    text = unquoted(token)
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
        raise Misread(f"{needed} such as 2023-05-31 is needed here", position_of(token)) from None
    try:
        return first, first + timedelta(days=days, minutes=minutes)
    except OverflowError:
        return first, datetime.max
