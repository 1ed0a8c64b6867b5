"""A plain evaluator of payload filters: the meaning that every store is compared with."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, assert_never

from t2c_search.filters import AllOf, AnyOf, Equals, Exists, Filter, GeoRadius, Not, OneOf, Range, TextMatch
from t2c_search.stores.conditions import LEAST_INEXACT, as_utc
from t2c_search.types import Payload

EARTH_RADIUS_METRES = 6_371_008.8  # the mean radius R1 of the GRS 80 ellipsoid


def matches(where: Filter | None, payload: Payload) -> bool:
    """Tell whether the payload satisfies the filter, as ``t2c_search.filters`` defines it; None is satisfied by all."""
    match where:
        case None:
            return True
        case AllOf():
            return all(matches(part, payload) for part in where.parts)
        case AnyOf():
            return any(matches(part, payload) for part in where.parts)
        case Not():
            return not matches(where.part, payload)
        case Exists():
            return any(value is not None and value != [] for value in _found(payload, where.field))
        case _:
            return any(_value_matches(where, value) for value in _elements(payload, where.field))


def _value_matches(where: Equals | OneOf | Range | TextMatch | GeoRadius, value: Any) -> bool:
    match where:
        case Equals():
            return _equal(value, where.value)
        case OneOf():
            return any(_equal(value, wanted) for wanted in where.values)
        case Range():
            return _within(where, value)
        case TextMatch():
            words = _words(where.text)
            return isinstance(value, str) and bool(words) and words <= _words(value)
        case GeoRadius():
            return isinstance(value, dict) and _metres(where, value["lat"], value["lon"]) <= where.metres
        case _ as never:
            assert_never(never)


def _found(payload: Payload, field: str) -> list[Any]:
    value: Any = payload
    for key in field.split("."):
        if not isinstance(value, dict) or key not in value:
            return []
        value = value[key]
    return [value]


def _elements(payload: Payload, field: str) -> list[Any]:
    return [element for value in _found(payload, field) for element in (value if isinstance(value, list) else [value])]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, wanted: Any) -> bool:
    if _is_number(value) and _is_number(wanted):
        if isinstance(wanted, int) and abs(wanted) >= LEAST_INEXACT:
            return isinstance(value, int) and value == wanted
        return float(value) == float(wanted)
    return type(value) is type(wanted) and bool(value == wanted)


def _within(where: Range, value: Any) -> bool:
    bounds = [where.gt, where.gte, where.lt, where.lte]
    if any(isinstance(bound, datetime) for bound in bounds):
        moment = _moment(value)
        if moment is None:
            return False
        gt, gte, lt, lte = (as_utc(bound) if isinstance(bound, datetime) else None for bound in bounds)
        return _between(moment, gt, gte, lt, lte)
    return _is_number(value) and _between(value, *bounds)


def _between(value: Any, gt: Any, gte: Any, lt: Any, lte: Any) -> bool:
    return (
        (gt is None or value > gt)
        and (gte is None or value >= gte)
        and (lt is None or value < lt)
        and (lte is None or value <= lte)
    )


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return as_utc(datetime.fromisoformat(value))
    except ValueError:
        return None


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))


def _metres(where: GeoRadius, lat: float, lon: float) -> float:
    """Great-circle distance by the haversine formula."""
    here, there = math.radians(where.lat), math.radians(lat)
    half_lat, half_lon = (there - here) / 2, math.radians(lon - where.lon) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(here) * math.cos(there) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_METRES * math.asin(math.sqrt(min(1.0, chord)))
