"""Payload fields beyond those of the image file: which there are, and their types, as filters on numbers need more than text."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from t2c_search.decoding.metadata import CAPTIONS, MEASURED
from t2c_search.errors import UsageError
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import INT64
from t2c_search.stores.protocol import FieldType
from t2c_search.types import Payload

_NAMING = "no query can name it; name fields without quotes, with something before and behind each dot: meta.rating"
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


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
    """Return the types when all are known. Raises UsageError as ``parse_types``."""
    for name, kind in types.items():
        if kind not in get_args(FieldType):
            raise UsageError(f"field {name!r} has the type {kind!r}; types are {', '.join(get_args(FieldType))}")
        if name.partition(".")[0] in {*MEASURED, CAPTIONS, ""}:
            raise UsageError(f"the type of field {name!r} is fixed; leave it out")
        if not _can_be_asked_for(name):
            raise UsageError(f"field {name!r} cannot have a type: {_NAMING}")
    return cast("dict[str, FieldType]", dict(types))


def nested(fields: Payload, path: str, remarks: Remarks) -> Payload:
    """Return the fields with ``meta.rating`` as ``rating`` in an object ``meta``: as queries read that name.

    Where ``meta`` is a plain value as well, that stays, and the field in it is remarked and passed over. A name that no
    query can ask for is remarked, and stays as it is.
    """
    result: Payload = {}
    for name in sorted(fields, key=lambda name: name.count(".")):  # what others may lie in comes first
        value = nested(fields[name], path, remarks) if isinstance(fields[name], dict) else fields[name]
        if _can_be_asked_for(name):
            *above, last = name.split(".")
        else:
            remarks.add(f"field {name!r} can be shown but not searched by: {_NAMING}", path)
            above, last = [], name
        place: Any = result
        for key in above:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
        else:
            remarks.add(f"field {name!r} passed over: what it lies in is there too, as a plain value", path)
    return result


def _can_be_asked_for(name: str) -> bool:
    return '"' not in name and all(name.split("."))


def typed(fields: Payload, types: Mapping[str, FieldType], path: str, remarks: Remarks) -> Payload:
    """Return nested fields with values of their types; a value that is none is remarked and left out."""
    for name, kind in types.items():
        told = partial(remarks.add, f"field {name!r} left out where its value is not of type {kind}")
        fields = _typed_at(fields, name.split("."), kind, path, told)
    return fields


def _typed_at(
    fields: Payload, keys: Sequence[str], kind: FieldType, path: str, refuse: Callable[[str], None]
) -> Payload:
    key, *below = keys
    if key not in fields:
        return fields
    value = fields[key]
    if below:
        return fields | {key: _typed_at(value, below, kind, path, refuse)} if isinstance(value, dict) else fields
    try:
        return fields | {key: convert(value, kind)}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        refuse(f"{value!r} of {path}")
        return {name: other for name, other in fields.items() if name != key}


def convert(value: Any, kind: FieldType) -> Any:
    """Return a value, or a list of values, as a field type has it. Raises ValueError or TypeError when it is none."""
    if isinstance(value, list):
        return [convert(item, kind) for item in value]
    return _CONVERSIONS[kind](value.strip() if isinstance(value, str) else value)


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


def _integer(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if isinstance(value, bool) or number != int(number) or int(number) not in INT64:
        raise ValueError(value)
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def _bool(value: Any) -> bool:
    if str(value).lower() not in _BOOLS:
        raise ValueError(value)
    return _BOOLS[str(value).lower()]


def _datetime(value: Any) -> str:
    return datetime.fromisoformat(value).isoformat()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        raise TypeError(value)
    return str(value)


def _geo(value: Any) -> dict[str, float]:
    lat, lon = (value["lat"], value["lon"]) if isinstance(value, dict) else value.split(",")
    place = {"lat": _float(lat), "lon": _float(lon)}
    if abs(place["lat"]) > 90 or abs(place["lon"]) > 180:
        raise ValueError(value)
    return place


_CONVERSIONS: dict[FieldType, Callable[[Any], Any]] = {
    "integer": _integer,
    "float": _float,
    "bool": _bool,
    "datetime": _datetime,
    "keyword": _text,
    "text": _text,
    "geo": _geo,
}
