"""What a filter means: a plain evaluator of payload filters.

Every store gives the answers that this gives. Stores use it for what their engine cannot be asked, or may answer otherwise.
"""

from __future__ import annotations

import fnmatch
import math
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, assert_never

from t2c_search.filters import (
    AllOf,
    AnyOf,
    Contains,
    Equals,
    Exists,
    Filter,
    GeoRadius,
    Glob,
    Not,
    OneOf,
    Range,
    StartsWith,
    TextMatch,
    nfc,
)
from t2c_search.types import Payload

LEAST_INEXACT = 2**53
"""A whole number from here on equals that very number alone; below, each one equals the float of its value."""
EARTH_RADIUS_METRES = 6_371_008.8  # the mean radius R1 of the GRS 80 ellipsoid
_WORDS = re.compile(r"[^\W_]+")
_ASCII_WORDS = re.compile(r"[a-z0-9]+")
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f]"
)
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which are written without blanks between words."""


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
            return any(value is not None and value != [] for value in values_at(payload, where.field))
        case TextMatch() | StartsWith() | Contains() | Glob():
            return any(
                isinstance(value, str) and text_matches(where, value) for value in _elements(payload, where.field)
            )
        case _:
            return any(_value_matches(where, value) for value in _elements(payload, where.field))


def text_matches(where: TextMatch | StartsWith | Contains | Glob, text: str) -> bool:
    """Tell whether one text satisfies a condition on texts."""
    match where:
        case TextMatch():
            wanted, there = words_of(where.text), _words_stored_as(text)
            return bool(wanted) and all(word in there or _within_a_word(word, there) for word in wanted)
        case StartsWith():
            return folded(text).startswith(folded(where.text))
        case Contains():
            return folded(where.text) in folded(text)
        case Glob():
            return _glob_matches(where.pattern, text)
        case _ as never:
            assert_never(never)


def folded(text: str) -> str:
    """Return a text without what case and normal form distinguish."""
    return nfc(nfc(text).lower())


def words_of(text: str) -> frozenset[str]:
    """Return a text's words, folded: letters and digits in a row, with the marks on them."""
    if text.isascii():
        return frozenset(_ASCII_WORDS.findall(text.lower()))
    parted = (char if char.isalnum() or unicodedata.category(char)[0] == "M" else " " for char in folded(text))
    return frozenset("".join(parted).split())


def _words_stored_as(text: str) -> frozenset[str]:
    """Return the words of a stored text; one that is stored decomposed, as we never do, has those before its marks too.

    So have indexes of words, which part them there.
    """
    words = words_of(text)
    return words if unicodedata.is_normalized("NFC", text) else words.union(_WORDS.findall(text.lower()))


def is_without_blanks(word: str) -> bool:
    """Tell whether a word has letters of a script in which it may be a part of what stands between two blanks."""
    return _WITHOUT_BLANKS.search(word) is not None


def _within_a_word(word: str, there: frozenset[str]) -> bool:
    return is_without_blanks(word) and any(word in other for other in there)


def spellings(text: str) -> list[str]:
    """Return how a text may be stored: as it is, composed (NFC) and decomposed (NFD), each once."""
    return list(dict.fromkeys((text, nfc(text), unicodedata.normalize("NFD", text))))


def values_at(payload: Payload, field: str) -> Iterator[Any]:
    """Yield what lies under a dotted name, as it stands: in an object one value, in a list of objects one of each."""
    found: list[Any] = [payload]
    for key in field.split("."):
        objects = (each for value in found for each in (value if isinstance(value, list) else [value]))
        found = [each[key] for each in objects if isinstance(each, dict) and key in each]
    yield from found


def _elements(payload: Payload, field: str) -> Iterator[Any]:
    for value in values_at(payload, field):
        yield from value if isinstance(value, list) else [value]


def _value_matches(where: Equals | OneOf | Range | GeoRadius, value: Any) -> bool:
    match where:
        case Equals():
            return _equal(value, where.value)
        case OneOf():
            return any(_equal(value, wanted) for wanted in where.values)
        case Range():
            return _within(where, value)
        case GeoRadius():
            return isinstance(value, dict) and _metres(where, value["lat"], value["lon"]) <= where.metres
        case _ as never:
            assert_never(never)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, wanted: Any) -> bool:
    if _is_number(value) and _is_number(wanted):
        if isinstance(wanted, int) and abs(wanted) >= LEAST_INEXACT:
            return isinstance(value, int) and value == wanted
        return float(value) == float(wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return value in spellings(wanted)
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


def as_utc(moment: datetime) -> datetime:
    """Return the moment with its time zone, UTC where it names none, as engines read stored dates."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _metres(where: GeoRadius, lat: float, lon: float) -> float:
    """Great-circle distance by the haversine formula."""
    here, there = math.radians(where.lat), math.radians(lat)
    half_lat, half_lon = (there - here) / 2, math.radians(lon - where.lon) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(here) * math.cos(there) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_METRES * math.asin(math.sqrt(min(1.0, chord)))


def _glob_matches(pattern: str, path: str) -> bool:
    """Walk the pattern's components, holding every place in the path that may come next."""
    parts, wanted = _components(path), _compiled(pattern)
    places = {0} if pattern.startswith("/") else set(range(len(parts)))
    for number, component in enumerate(wanted, 1):
        if component is None:  # at the end, "**" is what lies in a folder, not the folder
            start = min(places) + (number == len(wanted)) if places else len(parts) + 1
            places = set(range(start, len(parts) + 1))
        else:
            places = {at + 1 for at in places if at < len(parts) and component.match(parts[at])}
    return len(parts) in places


def _components(path: str) -> list[str]:
    return nfc(path).replace("::", "/").split("/")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> list[re.Pattern[str] | None]:
    """Return what each component of a pattern must match; None for ``**``."""
    whole = f"{pattern}**" if pattern.endswith("/") else pattern
    return [None if each == "**" else re.compile(fnmatch.translate(each)) for each in _components(whole)]
