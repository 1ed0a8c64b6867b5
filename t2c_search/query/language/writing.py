"""How tightly what is written binds, and how texts and numbers are written."""

from __future__ import annotations

from typing import NamedTuple

OR, AND, NOT, GATE, SUM, RELATION, ATOM = range(7)
"""How tightly a construct binds, from loosest to tightest."""


class Written(NamedTuple):
    """A construct as text, and how tightly it binds."""

    text: str
    level: int

    def within(self, place: int) -> str:
        """Write it as an operand; one that binds less tightly than its place asks for gets parentheses."""
        return self.text if self.level >= place else f"({self.text})"


def written_number(value: float) -> str:
    """Write a number, a whole one without a fraction."""
    return repr(value).removesuffix(".0")


def quoted(text: str, quote: str = '"') -> str:
    """Write a text between quotes that can hold themselves behind a backslash."""
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"
