"""Parquet tables: a column of image bytes (plain, or Hugging Face's ``{bytes, path}``), or one of paths or addresses.

The other columns become fields. Listing reads all columns but the images; reading goes through a row group forwards,
whatever its size, and holds some megabytes of it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, BinaryIO

from t2c_search.decoding.files import check_size
from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import ImageError, UsageError
from t2c_search.sources.addresses import (
    UNKNOWN_SIZE,
    Stat,
    absolute,
    is_remote,
    open_binary,
    read_whole,
    said_of,
    stat,
    version,
)
from t2c_search.sources.containers.cache import Cache
from t2c_search.sources.containers.turns import Turns
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import as_fields
from t2c_search.sources.tables.manifests import list_rows
from t2c_search.sources.tables.rows import Row, lowered

_ROW_GROUPS = 2  # being read: threads are on both sides of a border
_BATCH_BYTES = 2 << 20  # of images, decoded at once; a page of the file is the least
_BUFFER_BYTES = 1 << 20  # of the file, read at once: otherwise pyarrow reads a row group's whole column
_KEPT_BYTES = 16 << 20  # of images read last, and at least _KEPT_ROWS: threads do not come in the order of rows
_KEPT_ROWS = 2 * (os.cpu_count() or 1)
_TABLES = 64  # whose row groups' borders are kept
_ROWS = 1000  # of the small columns, read at once


def list_parquet(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the rows of a parquet table. Raises UsageError when it is damaged, or names no images."""
    with said_of(f"table {address!r}", UsageError), open_binary(address) as file:
        table = _open(file)
        column = _image_column(table.schema_arrow)
        if column is None:
            yield from list_rows(address, _rows(table), listing)
            return
        mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
        others = [name for name in table.schema_arrow.names if name != column]
        if "path" in _parts(table.schema_arrow.field(column).type):
            others.append(f"{column}.path")
        for number, row in enumerate(_rows(table, others)):
            name = (row.pop(column.lower(), None) or {}).get("path")
            fields = as_fields(row | ({"file_name": name} if name else {}), listing.remarks, address)
            yield ImageInput(f"{address}{MEMBER}{column}/{number}", UNKNOWN_SIZE, mtime_ns, fields)


def table_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of an open parquet table as column -> value; columns in lower case."""
    yield from _rows(_open(file))


def read_parquet(address: str, member: str) -> bytes:
    """Return the image bytes in ``COLUMN/ROW``. Raises ImageError when they are not there, or the table is damaged."""
    column, _, number = member.rpartition("/")
    with said_of(f"the row of table {address!r}", ImageError):
        row = int(number)
        starts = _GROUP_STARTS[address, version(address)]
        group = bisect_right(starts, row) - 1
        content = _GROUPS[address, version(address), column, group].read(row - starts[group])
    if isinstance(content, dict):
        content, name = content["bytes"], content.get("path")
        if content is None and name:  # the image stayed a file when the table was made
            return read_whole(absolute(name, address.rpartition("/")[0]))
    if content is None:
        raise ImageError("the row holds no image")
    check_size(len(content))
    return bytes(content)


def _open(file: BinaryIO) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _image_column(schema: Any) -> str | None:
    """Return the first column of image bytes: binary values, or structures that have them as ``bytes``."""
    return next((str(field.name) for field in schema if _is_binary(_parts(field.type).get("bytes", field.type))), None)


def _parts(kind: Any) -> dict[str, Any]:
    """Return the members of a structure's type by name; none for other types."""
    import pyarrow as pa

    return {part.name: part.type for part in kind} if pa.types.is_struct(kind) else {}


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _rows(table: Any, columns: list[str] | None = None) -> Iterator[Row]:
    for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
        yield from map(lowered, batch.to_pylist())


def _group_starts(key: tuple[str, Stat | None]) -> list[int]:
    """Return the number of the first row of each row group."""
    with open_binary(key[0]) as file:
        metadata = _open(file).metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        return list(accumulate(sizes, initial=0))[:-1]


class _Group:
    """A column of one row group, read forwards a few rows at a time; those read last are kept."""

    def __init__(self, key: tuple[str, Stat | None, str, int]) -> None:
        self._key = key
        self._turns = Turns()
        self._rewind()

    def read(self, row: int) -> Any:
        """Return the value in a row of the group, which is found at once when it is the next one, or was read lately."""
        with self._turns.at(row):
            if row < self._kept_from:
                self._rewind()
            while row >= self._read_to:
                self._advance()
            start = self._read_to
            for values in reversed(self._kept):
                start -= len(values)
                if row >= start:
                    return values[row - start].as_py()
        raise IndexError(row)

    def _rewind(self) -> None:
        self._batches = _batches(*self._key)
        self._kept: deque[Any] = deque()
        self._kept_from = self._read_to = 0
        self._damage = ""

    def _advance(self) -> None:
        if self._damage:
            raise ValueError(self._damage)
        try:
            values = next(self._batches)
        except StopIteration:
            raise IndexError(f"the row group has {self._read_to} rows") from None
        except Exception as exc:
            if is_remote(self._key[0]):
                self._rewind()  # a connection may be better the next time
            else:
                self._damage = str(exc)  # to read up to it again for each row behind it would take for ever
            raise
        self._kept.append(values)
        self._read_to += len(values)
        size = sum(kept.nbytes for kept in self._kept)
        while size > _KEPT_BYTES and self._read_to - self._kept_from - len(self._kept[0]) >= _KEPT_ROWS:
            oldest = self._kept.popleft()
            size -= oldest.nbytes
            self._kept_from += len(oldest)


def _batches(address: str, state: Stat | None, column: str, group: int) -> Iterator[Any]:
    """Yield the values of a column of one row group, as many at a time as make ``_BATCH_BYTES``."""
    with open_binary(address) as file:
        table = _open(file)
        found = table.metadata.row_group(group)
        chunks = (found.column(index) for index in range(found.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if _belongs(chunk.path_in_schema, column))
        rows = max(1, _BATCH_BYTES * found.num_rows // max(1, size))
        for batch in table.iter_batches(rows, row_groups=[group], columns=[column], use_threads=False):
            yield batch.column(0)


def _belongs(path: str, column: str) -> bool:
    return path == column or path.startswith(f"{column}.")


_GROUP_STARTS = Cache(_group_starts, _TABLES)
_GROUPS = Cache(_Group, _ROW_GROUPS)
