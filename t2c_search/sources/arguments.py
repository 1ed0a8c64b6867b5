"""What callers give, checked before anything is opened or loaded for it: a slip would cost hours, or pass silently."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path

from t2c_search.errors import UsageError


def as_list(name: str, given: str | Path | Iterable[str | Path]) -> list[str]:
    """Return paths, addresses or texts as a list; a single one is a list of one. Raises UsageError for what is neither."""
    items = [given] if isinstance(given, str | Path) or not isinstance(given, Iterable) else list(given)
    for item in items:
        if not isinstance(item, str | Path):
            raise UsageError(f"{name} is, or has in it, {item!r}: expected a text or a Path, or several of them")
    return [str(item) for item in items]


def check_counts(**counts: int | None) -> None:
    """Raise UsageError for a number of things that is none, or less than 1; None stands for the default."""
    for name, count in counts.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, Integral) or count < 1):
            raise UsageError(f"{name} is {count!r}: expected a whole number from 1 on")


def check_seconds(**seconds: float) -> None:
    """Raise UsageError for a time that is no number, not finite, or not more than 0."""
    for name, value in seconds.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
            raise UsageError(f"{name} is {value!r}: expected a number of seconds, more than 0")


def check_choice(name: str, given: str | None, choices: Sequence[str]) -> None:
    """Raise UsageError for what is not among the choices; None stands for the default."""
    if given is not None and given not in choices:
        raise UsageError(f"{name} is {given!r}: expected one of {', '.join(choices)}")


def check_kind(name: str, given: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raise UsageError for what is of none of the kinds; None stands for the default."""
    if given is not None and not isinstance(given, kinds):
        raise UsageError(f"{name} is {reprlib.repr(given)}: expected {expected}")
