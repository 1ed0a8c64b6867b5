"""What people wrote about images, as payload fields that stores can hold."""

from __future__ import annotations

import json
import math
import pickle
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date, time
from decimal import Decimal
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

from t2c_search.decoding.metadata import CAPTIONS, MEASURED
from t2c_search.sources.addresses import INT64
from t2c_search.sources.remarks import Remarks
from t2c_search.types import Payload

PAYLOAD_BYTES = 256 << 10
"""What people wrote of one image is kept up to this, as JSON: stores and proxies limit the size of a request."""
TEXT_BYTES = 128 << 10
"""A longer text is a document, and is left out."""
LIST_VALUES = 1000
"""Values of a field that are kept, captions among them."""
CAPTION_COLUMNS = ("caption", CAPTIONS)
NO_FIELD = "passed over: it holds vectors or bytes, not something to filter by"
_NAME_LETTERS = 4096
_MAX_LEVELS = 32  # of objects and lists in each other; each costs those who pass fields on a call within a call
_MAX_NUMBERS = 64  # a longer list of numbers is a vector, not something to filter by
_UNDECODED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of bytes that are not UTF-8

Drop = Callable[[str], None]
"""Is told why a value is dropped."""


def as_fields(given: Mapping[str, Any], remarks: Remarks, origin: str) -> Payload:
    """Return what was written about one image as payload fields: texts under ``caption`` or ``captions`` as a list.

    Texts and names are in Unicode's NFC. Fields that the image file itself gives, vectors, bytes, what is nested too deep,
    too long or not UTF-8 are remarked with ``origin`` and passed over.
    """

    def dropping(field: str) -> Drop:
        return lambda why: remarks.add(f"field {field!r} {why}", origin)

    captions = [text for name in CAPTION_COLUMNS for text in _captions(given.get(name), dropping(name))]
    fields: Payload = {CAPTIONS: list(dict.fromkeys(captions))} if captions else {}
    for field, value in given.items():
        name, drop = _name(field), dropping(field)
        if name is None:
            remarks.add(f"field passed over: its name is not UTF-8, or longer than {_NAME_LETTERS} letters", origin)
        elif _is_deep(value, _MAX_LEVELS - name.count(".")):
            drop(f"passed over: it is nested more than {_MAX_LEVELS} levels deep")
        elif name.partition(".")[0] in MEASURED:
            drop("passed over: the image file itself gives it")
        elif name.startswith(f"{CAPTIONS}."):
            drop(f"passed over: {CAPTIONS!r} are texts, in which nothing else lies")
        elif _is_vector(value):
            drop(NO_FIELD)
        elif name and name not in CAPTION_COLUMNS and (clean := _clean(value, drop)) is not None:
            fields[name] = clean
    return fields


def bounded(fields: Payload, path: str, remarks: Remarks) -> Payload:
    """Return an image's fields as far as a payload has room for them, the small ones first; what is cut is remarked."""
    sizes = {name: len(json.dumps({name: value}, ensure_ascii=False).encode()) for name, value in fields.items()}
    long = any(isinstance(value, list) and len(value) > LIST_VALUES for value in fields.values())
    if not long and sum(sizes.values()) <= PAYLOAD_BYTES:
        return fields
    kept, left = dict(fields), PAYLOAD_BYTES
    for name in sorted(sizes, key=lambda name: sizes[name]):
        value = fields[name]
        if isinstance(value, list) and (len(value) > LIST_VALUES or sizes[name] > left):
            kept[name] = value[: _fitting(value, left - len(name.encode()))]
            remarks.add(
                f"field {name!r} cut: of one image {LIST_VALUES} values of a list are kept, and "
                f"{PAYLOAD_BYTES >> 10} KiB in all",
                path,
            )
        elif sizes[name] > left:
            del kept[name]
            remarks.add(f"field {name!r} left out: of one image {PAYLOAD_BYTES >> 10} KiB are kept in all", path)
            continue
        left -= min(left, sizes[name])
    return {name: value for name, value in kept.items() if value != [] or not fields[name]}


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
            "INSERT INTO rows VALUES (?, ?)", ((_as_path(image), pickle.dumps(fields)) for image, fields in rows)
        )
        found = database.execute("SELECT image, fields FROM rows ORDER BY min(rowid) OVER (PARTITION BY image), rowid")
        for image, group in groupby(found, itemgetter(0)):
            yield image, _join(pickle.loads(fields) for _, fields in group)


def _join(rows: Iterable[Payload]) -> Payload:
    """Join rows of one image; of a list one value more is held than ``bounded`` keeps, so that it tells."""
    joined: Payload = {}
    for fields in rows:
        for field, value in fields.items():
            if field not in joined:
                joined[field] = value
            elif joined[field] != value and len(values := _as_list(joined[field])) <= LIST_VALUES:
                joined[field] = (values + [item for item in _as_list(value) if item not in values])[: LIST_VALUES + 1]
    return joined


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_path(image: str) -> str:
    """Return an image's name as stores take it, as folders list a file whose name is not UTF-8."""
    try:
        return image.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return image.encode("utf-8", "replace").decode()


def _captions(value: object, drop: Drop) -> list[str]:
    """Return the non-empty texts of a text or a list of texts."""
    return [text for item in _as_list(value) if isinstance(item, str) and (text := _text(item.strip(), drop))]


def _name(field: str) -> str | None:
    if len(field) > _NAME_LETTERS or _UNDECODED.search(field):
        return None
    return _text(field, lambda why: None)


def _text(value: str, drop: Drop) -> str | None:
    """Return a text in NFC, as UTF-8 has it; None when it is dropped."""
    if len(value) > TEXT_BYTES or len(value.encode("utf-8", "replace")) > TEXT_BYTES:
        drop(f"left out where a text is longer than {TEXT_BYTES >> 10} KiB")
        return None
    if value.isascii():
        return value
    if _UNDECODED.search(value):
        drop("left out where a text has bytes that are not UTF-8: save it as UTF-8")
        return None
    return unicodedata.normalize("NFC", value.encode("utf-8", "replace").decode())


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and len(value) > _MAX_NUMBERS and isinstance(value[0], int | float)


def _is_deep(value: Any, levels: int) -> bool:
    """Tell whether objects and lists lie more than so many levels in each other; a dot in a name is one, too."""
    if levels < 0:
        return True
    if isinstance(value, dict):
        return any(_is_deep(item, levels - 1 - str(key).count(".")) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_is_deep(item, levels - 1) for item in value)


def _clean(value: Any, drop: Drop) -> Any:
    """Return a value as stores can hold it: integers beyond 64 bits as text, finite numbers, ISO dates, no null, no bytes."""
    if isinstance(value, str):
        return _text(value, drop)
    if isinstance(value, bytes | bytearray | memoryview):
        drop(NO_FIELD)
        return None
    if isinstance(value, int) and value not in INT64:
        return str(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date | time):  # datetimes are dates
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [clean for item in value if (clean := _clean(item, drop)) is not None]
    if isinstance(value, dict):
        named = ((_text(str(key), drop), _clean(item, drop)) for key, item in value.items())
        return {name: clean for name, clean in named if name is not None and clean is not None}
    return value if isinstance(value, bool | int | float | None) else _text(str(value), drop)


def _fitting(values: list[Any], room: int) -> int:
    """Return how many of the values, from the first on, there is room for."""
    sizes = accumulate(len(json.dumps(value, ensure_ascii=False).encode()) + 2 for value in values[:LIST_VALUES])
    return sum(size <= room for size in sizes)
