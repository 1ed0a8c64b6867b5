"""What the parser hands over, and how nodes are made of it."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

from lark import Token, Tree
from pydantic import BaseModel, ValidationError

Parsed = Tree[Token]
_Node = TypeVar("_Node", bound=BaseModel)


class Misread(Exception):  # noqa: N818 - never leaves the room: the parser raises ExpressionError from it
    """What is wrong with an expression, and the offset of the character where."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def tokens(tree: Parsed) -> list[Token]:
    """List the words directly in a tree."""
    return [child for child in tree.children if isinstance(child, Token)]


def operands(tree: Parsed) -> list[Parsed]:
    """List the trees directly in a tree."""
    return [child for child in tree.children if isinstance(child, Tree)]


def position_of(place: Parsed | Token) -> int:
    """Offset of the first character."""
    position = place.start_pos if isinstance(place, Token) else place.meta.start_pos
    return position or 0


def built(kind: type[_Node], token: Token, **values: Any) -> _Node:
    """Make a node; what its own checks refuse is pointed out at the token."""
    try:
        return kind(**values)
    except ValidationError as exc:
        raise Misread(explain_refusal(exc), position_of(token)) from exc


def explain_refusal(error: ValidationError) -> str:
    """Say in one line what a schema refused first, and where."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return (f"{where}: " if where else "") + first["msg"].removeprefix("Value error, ")


def unquoted(token: Token) -> str:
    """Read a token as a text, in quotes or not."""
    if token.type != "STRING":
        return token.strip()
    return token[1:-1] if token[0] == "“" else unescaped(token)


def unescaped(token: Token) -> str:
    """Read what stands between quotes that can hold themselves behind a backslash."""
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def number(token: Token, digits: str | None = None) -> float:
    """Read a token as a number, or those of its characters that are its digits."""
    read = float(digits or token)
    if math.isinf(read):
        raise Misread("this number is too large", position_of(token))
    return read
