"""Hits as a CSV, with a column for each field."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any, BinaryIO

from t2c_search.errors import UsageError
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.results import Hit

_FIRST, _LAST = ("rank", "id", "path", "score", "cosine"), ("contributions", "expression")
_SPOOLED_BYTES = 8 << 20  # in memory; beyond that, rows wait on disk until all columns are known

Row = dict[str, str]


def write_csv(hits: Iterable[Hit], expression: str, target: BinaryIO, columns: Sequence[str] = ()) -> int:
    """Write a CSV with a header line, in the ``columns`` named, or with all fields of all hits; returns how many hits.

    A column is a field by its name in queries (``meta.rating``), or what the search says of the hit: ``rank``, ``id``,
    ``path``, ``score``, ``cosine``, ``contributions`` (JSON) and ``expression``; a field of such a name is
    ``payload.rank``. Lists are JSON in their cells, and what an image lacks is empty.
    """
    rows = (_row(hit, expression) for hit in hits)
    if columns:
        return _write(rows, columns, target)
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, "w+", encoding="utf-8") as spool:
        fields = _set_aside(rows, spool)
        spool.seek(0)
        return _write(map(json.loads, spool), (*_FIRST, *fields, *_LAST), target)


def read_columns(text: str | None) -> tuple[str, ...]:
    """Return the columns in a text that separates them by commas. Raises UsageError where one is named twice, or none."""
    columns = tuple(name.strip() for name in (text or "").split(","))
    if text is not None and (not all(columns) or len(set(columns)) < len(columns)):
        raise UsageError(
            f"the columns {text!r} cannot be used: name each once, with commas between, as rank,path,camera"
        )
    return columns if text is not None else ()


def check_columns(columns: Sequence[str], fields: Collection[str]) -> None:
    """Raise UsageError, naming the nearest ones, for a column that no image of a collection with these fields has."""
    told = (*_FIRST, *_LAST, "payload")
    for column in columns:
        if column not in told and not is_known(column.removeprefix("payload."), fields):
            raise UsageError(unknown_field(column, [*fields, *told[:-1]]))


def _set_aside(rows: Iterable[Row], spool: IO[str]) -> list[str]:
    """Write rows as JSON lines; return the names of the fields that they have, in the order in which they came."""
    fields: dict[str, None] = {}
    for row in rows:
        fields |= dict.fromkeys(row)
        try:
            spool.write(json.dumps(row) + "\n")
        except OSError as exc:
            raise UsageError(
                f"a CSV's rows wait in {tempfile.gettempdir()} until all columns are known, and cannot: {exc.strerror}; "
                "name the columns, or set TMPDIR"
            ) from exc
    return [name for name in fields if name not in (*_FIRST, *_LAST)]


def _write(rows: Iterable[Row], columns: Sequence[str], target: BinaryIO) -> int:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    table = csv.writer(text)
    table.writerow(columns)
    count = 0
    for count, row in enumerate(rows, 1):
        table.writerow([row.get(column, "") for column in columns])
    text.flush()
    text.detach()
    return count


def _row(hit: Hit, expression: str) -> Row:
    own = {name: _cell(getattr(hit, name)) for name in _FIRST}
    parts = json.dumps([asdict(part) for part in hit.contributions], ensure_ascii=False)
    fields = {name: _cell(value) for name, value in _dotted(hit.payload) if name != "path"}
    own |= {"contributions": parts, "expression": expression}
    return {f"payload.{name}" if name in own else name: cell for name, cell in fields.items()} | own


def _dotted(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
