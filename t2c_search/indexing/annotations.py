"""What people wrote about images, as payload fields: text and JSON files beside them, and tables of captions."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from t2c_search.errors import UsageError
from t2c_search.indexing.metadata import CAPTIONS, MEASURED
from t2c_search.types import Payload

SIDECAR_BYTES = 256 << 10
"""Larger sidecars are passed over: a payload is no place for documents, and stores limit the size of a request."""

_DELIMITERS = ",\t;|"
_REQUIRED = ("image", "caption")
_INT64 = range(-(2**63), 2**63)  # what stores can hold


class Remarks:
    """Things worth telling the user, each once with the number of files it concerns and the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, text: str, path: str) -> None:
        """Note one more file."""
        count, first = self._found.get(text, (0, path))
        self._found[text] = count + 1, first

    def lines(self) -> tuple[str, ...]:
        """One line for each thing noted."""
        return tuple(
            f"{text} ({first})" if count == 1 else f"{text} ({count} times, first {first})"
            for text, (count, first) in self._found.items()
        )


def read_sidecars(image: Path, neighbours: Iterable[str], remarks: Remarks) -> Payload:
    """Return the payload fields given by the ``.txt`` (a caption a line) and ``.json`` (one object) beside an image.

    ``neighbours`` names those that exist. What cannot be used is remarked and passed over.
    """
    fields: Payload = {}
    captions: list[str] = []
    for name in sorted(neighbours, reverse=True):  # captions of the text file come first
        path = image.with_name(name)
        try:
            if path.stat().st_size > SIDECAR_BYTES:
                raise ValueError(f"it is larger than {SIDECAR_BYTES >> 10} KiB")
            text = path.read_text("utf-8-sig")
            given = json.loads(text) if name.endswith(".json") else {CAPTIONS: text.splitlines()}
            if not isinstance(given, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError, RecursionError) as exc:
            remarks.add(f"sidecar passed over: {getattr(exc, 'strerror', None) or exc}", str(path))
            continue
        captions += [*_texts(given.pop("caption", None)), *_texts(given.pop(CAPTIONS, None))]
        for field, value in given.items():
            if field in MEASURED:
                remarks.add(f"sidecar field {field!r} passed over: the image file itself gives it", str(path))
            elif field and (clean := _clean(value)) is not None:
                fields[_clean(field)] = clean
    if captions:
        fields[CAPTIONS] = list(dict.fromkeys(captions))
    return fields


class CaptionTable:
    """A CSV with the columns ``image`` and ``caption``, several rows per image allowed; other columns are fields too.

    ``image`` is a file's name, its absolute path, or the last parts of its path. The delimiter is comma, tab,
    semicolon or ``|``, whichever splits the header. Raises UsageError when the file cannot be read or lacks a column.
    """

    def __init__(self, path: Path, remarks: Remarks) -> None:
        self._path = path
        self._remarks = remarks
        self._used: set[str] = set()
        self._rows: dict[str, dict[str, list[str]]] = {}
        for row in _read_rows(path):
            if not (image := row.pop("image", "")):
                remarks.add("row without an image passed over", str(path))
                continue
            caption = row.pop("caption", "")
            values = self._rows.setdefault(self._key(image), {})
            for field, value in ((CAPTIONS, caption), *row.items()):
                if field in MEASURED:
                    remarks.add(f"column {field!r} passed over: the image file itself gives it", str(path))
                elif field and value and value not in (known := values.setdefault(field, [])):
                    known.append(value)

    def fields(self, path: str) -> Payload:
        """Return the fields of the image at an absolute posix path: captions as a list, others so when they differ."""
        parts = PurePosixPath(path).parts
        for key in (path, *("/".join(parts[start:]) for start in range(1, len(parts)))):
            if key in self._rows:
                self._used.add(key)
                return {
                    field: values[0] if len(values) == 1 and field != CAPTIONS else values
                    for field, values in self._rows[key].items()
                }
        return {}

    def remark_unused(self) -> None:
        """Remark the images of the table that were not among those asked for."""
        for key in self._rows:
            if key not in self._used:
                self._remarks.add(f"image in {self._path.name} that is not among the images given", key)

    def _key(self, image: str) -> str:
        """Normalise ``./a.jpg`` to ``a.jpg``, and what points up to an absolute path."""
        name = os.path.normpath(image)
        if name.startswith(".."):
            name = os.path.abspath(self._path.parent / name)  # noqa: PTH100 - absolute() would keep ".."
        return PurePosixPath(name).as_posix()


def _read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield rows as column -> stripped value; columns in lower case."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, delimiter = _header(file.readline(), path)
            for row in csv.reader(file, delimiter=delimiter):
                if len(row) > len(header):  # a last column with delimiters that nobody quoted
                    row[len(header) - 1 :] = [delimiter.join(row[len(header) - 1 :])]
                if row:
                    yield dict(zip(header, (value.strip() for value in row), strict=False))
    except UnicodeDecodeError as exc:
        raise UsageError(f"captions file {str(path)!r} is not UTF-8 text: save it as UTF-8") from exc
    except OSError as exc:
        raise UsageError(f"captions file {str(path)!r} cannot be read: {exc.strerror}") from exc
    except csv.Error as exc:
        raise UsageError(f"captions file {str(path)!r} is not a CSV: {exc}") from exc


def _header(line: str, path: Path) -> tuple[list[str], str]:
    """Return the columns and the delimiter that makes most of them."""
    splits = {
        delimiter: [column.strip().lower() for column in next(csv.reader([line], delimiter=delimiter), [])]
        for delimiter in _DELIMITERS
    }
    delimiter = max(splits, key=lambda choice: len(splits[choice]))
    columns = splits[delimiter]
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise UsageError(
            f"captions file {str(path)!r} lacks the column {missing[0]!r}: "
            f"it has {', '.join(map(repr, columns)) or 'none'}, needed are 'image' and 'caption'"
        )
    return columns, delimiter


def _texts(value: object) -> list[str]:
    """Return the non-empty texts of a text or a list of texts."""
    values = value if isinstance(value, list) else [value]
    return [text for text in (_clean(item.strip()) for item in values if isinstance(item, str)) if text]


def _clean(value: Any) -> Any:
    """Return a JSON value as stores can hold it: UTF-8, integers beyond 64 bits as text, finite numbers, no null."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and value not in _INT64:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [clean for item in value if (clean := _clean(item)) is not None]
    if isinstance(value, dict):
        return {_clean(key): clean for key, item in value.items() if (clean := _clean(item)) is not None}
    return value
