"""What people wrote about images, as payload fields that stores can hold."""

from __future__ import annotations

import math
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date, time
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

from t2c_search.decoding.metadata import CAPTIONS, MEASURED
from t2c_search.sources.addresses import INT64
from t2c_search.sources.remarks import Remarks
from t2c_search.types import Payload

_CAPTION_COLUMNS = ("caption", CAPTIONS)
_MAX_LEVELS = 32  # of objects and lists in each other; each costs those who pass fields on a call within a call
_MAX_NUMBERS = 64  # a longer list of numbers is a vector, not something to filter by


def as_fields(given: Mapping[str, Any], remarks: Remarks, origin: str) -> Payload:
    """Return what was written about one image as payload fields: texts under ``caption`` or ``captions`` as a list.

    Fields that the image file itself gives, vectors, and what is nested too deep are remarked with ``origin`` and passed
    over.
    """
    captions = [text for name in _CAPTION_COLUMNS for text in _texts(given.get(name))]
    fields: Payload = {CAPTIONS: list(dict.fromkeys(captions))} if captions else {}
    for field, value in given.items():
        if field.partition(".")[0] in MEASURED:
            remarks.add(f"field {field!r} passed over: the image file itself gives it", origin)
        elif field.startswith(f"{CAPTIONS}."):
            remarks.add(f"field {field!r} passed over: {CAPTIONS!r} are texts, in which nothing else lies", origin)
        elif _is_vector(value):
            remarks.add(f"field {field!r} passed over: it holds vectors or bytes, not something to filter by", origin)
        elif _is_deep(value, _MAX_LEVELS - field.count(".")):
            remarks.add(f"field {field!r} passed over: it is nested more than {_MAX_LEVELS} levels deep", origin)
        elif field and field not in _CAPTION_COLUMNS and (clean := _clean(value)) is not None:
            fields[_clean(field)] = clean
    return fields


def merge(payloads: Iterable[Payload]) -> Payload:
    """Join what several files say of one image: all captions, each once; of other fields the last word."""
    fields: Payload = {}
    captions: list[str] = []
    for payload in payloads:
        captions += payload.get(CAPTIONS, ())
        fields |= payload
    return fields | {CAPTIONS: list(dict.fromkeys(captions))} if captions else fields


def gather(rows: Iterable[tuple[str, Payload]]) -> Iterator[tuple[str, Payload]]:
    """Yield each image, by its first row, with the fields of all its rows: lists of what differs, captions among them.

    Until all are read they lie in a temporary database of SQLite's, of which it keeps 2 MiB in memory: tables may be long.
    """
    with closing(sqlite3.connect("", check_same_thread=False)) as database:
        database.execute("CREATE TABLE rows (image, fields)")
        database.executemany(
            "INSERT INTO rows VALUES (?, ?)", ((_clean(image), pickle.dumps(fields)) for image, fields in rows)
        )
        found = database.execute("SELECT image, fields FROM rows ORDER BY min(rowid) OVER (PARTITION BY image), rowid")
        for image, group in groupby(found, itemgetter(0)):
            yield image, _join(pickle.loads(fields) for _, fields in group)


def _join(rows: Iterable[Payload]) -> Payload:
    joined: Payload = {}
    for fields in rows:
        for field, value in fields.items():
            if field not in joined:
                joined[field] = value
            elif joined[field] != value:
                values = _as_list(joined[field])
                joined[field] = values + [item for item in _as_list(value) if item not in values]
    return joined


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    """Return the non-empty texts of a text or a list of texts."""
    return [text for text in (_clean(item.strip()) for item in _as_list(value) if isinstance(item, str)) if text]


def _is_vector(value: Any) -> bool:
    return isinstance(value, bytes | bytearray) or (
        isinstance(value, list) and len(value) > _MAX_NUMBERS and isinstance(value[0], int | float)
    )


def _is_deep(value: Any, levels: int) -> bool:
    """Tell whether objects and lists lie more than so many levels in each other; a dot in a name is one, too."""
    if levels < 0:
        return True
    if isinstance(value, dict):
        return any(_is_deep(item, levels - 1 - str(key).count(".")) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_is_deep(item, levels - 1) for item in value)


def _clean(value: Any) -> Any:
    """Return a value as stores can hold it: UTF-8, integers beyond 64 bits as text, finite numbers, ISO dates, no null."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and value not in INT64:
        return str(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date | time):  # datetimes are dates
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [clean for item in value if (clean := _clean(item)) is not None]
    if isinstance(value, dict):
        return {_clean(key): clean for key, item in value.items() if (clean := _clean(item)) is not None}
    return value if isinstance(value, bool | int | float | None) else str(value)
