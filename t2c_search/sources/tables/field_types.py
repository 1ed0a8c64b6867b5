"""The types of fields that people write, as filters on numbers need more than text; and which names queries can ask for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args
from unicodedata import normalize

from t2c_search.decoding.metadata import CAPTIONS, MEASURED
from t2c_search.errors import UsageError
from t2c_search.stores.protocol import FieldType

NAMING = "no query can name it; name fields without quotes, with something before and behind each dot: meta.rating"


def parse_types(texts: Iterable[str]) -> dict[str, FieldType]:
    """Read ``NAME=TYPE``, or the name of a TOML file of lines ``NAME = "TYPE"``, several of them; the last has its way.

    Raises UsageError for an unknown type, a file that cannot be read, or a field that the image file itself gives.
    """
    types: dict[str, Any] = {}
    for text in texts:
        name, equals, kind = text.partition("=")
        types |= {name.strip(): kind.strip()} if equals else _read_toml(Path(text))
    return check_types(types)


def check_types(types: Mapping[str, Any]) -> dict[str, FieldType]:
    """Return the types, by names in NFC, when all are known. Raises UsageError as ``parse_types``."""
    types = {normalize("NFC", name): kind for name, kind in types.items()}
    for name, kind in types.items():
        if kind not in get_args(FieldType):
            raise UsageError(f"field {name!r} has the type {kind!r}; types are {', '.join(get_args(FieldType))}")
        if name.partition(".")[0] in {*MEASURED, CAPTIONS, ""}:
            raise UsageError(f"the type of field {name!r} is fixed; leave it out")
        if not can_be_asked_for(name):
            raise UsageError(f"field {name!r} cannot have a type: {NAMING}")
    return cast("dict[str, FieldType]", types)


def can_be_asked_for(name: str) -> bool:
    """Tell whether a query can name a field."""
    return '"' not in name and all(name.split("."))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return _dotted(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise UsageError(
            f"{str(path)!r} is neither NAME=TYPE nor a file of such lines that can be read: {exc.strerror}"
        ) from exc
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError among them
        raise UsageError(f'{str(path)!r} is not a TOML file of lines NAME = "TYPE": {exc}') from exc


def _dotted(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lines of a table and of those in it: TOML takes ``meta.rating`` without quotes for one in another."""
    lines: dict[str, Any] = {}
    for name, value in table.items():
        inside = {f"{name}.{key}": kind for key, kind in _dotted(value).items()} if isinstance(value, dict) else None
        lines |= inside or {name: value}
    return lines
