"""Fields that people wrote, as queries read them: nested by the dots in their names, and of the types that they were given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from t2c_search.sources.addresses import INT64
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.field_types import NAMING, can_be_asked_for
from t2c_search.stores.protocol import FieldType
from t2c_search.types import Payload

_SHOWN = 100  # letters of a value in a remark
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def nested(fields: Mapping[str, Any], path: str, remarks: Remarks) -> Payload:
    """Return the fields with ``meta.rating`` as ``rating`` in an object ``meta``: as queries read that name.

    Where ``meta`` is a plain value as well, that stays, and the field in it is remarked and passed over. A name that no
    query can ask for is remarked, and stays as it is.
    """
    result: Payload = {}
    for name in sorted(fields, key=lambda name: name.count(".")):  # what others may lie in comes first
        value = nested(fields[name], path, remarks) if isinstance(fields[name], dict) else fields[name]
        if can_be_asked_for(name):
            *above, last = name.split(".")
        else:
            remarks.add(f"field {name!r} can be shown but not searched by: {NAMING}", path)
            above, last = [], name
        place: Any = result
        for key in above:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
        else:
            remarks.add(f"field {name!r} passed over: what it lies in is there too, as a plain value", path)
    return result


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
        refuse(f"{_shortened(repr(value))} of {path}")
        return {name: other for name, other in fields.items() if name != key}


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def convert(value: Any, kind: FieldType) -> Any:
    """Return a value, or a list of values, as a field type has it. Raises ValueError or TypeError when it is none."""
    if isinstance(value, list):
        return [convert(item, kind) for item in value]
    return _CONVERSIONS[kind](value.strip() if isinstance(value, str) else value)


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
