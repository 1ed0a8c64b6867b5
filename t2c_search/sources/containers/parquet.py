"""Parquet tables: a column of image bytes (plain, Hugging Face's ``{bytes, path}``, lists of either), or one of paths.

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
    is_remote,
    open_binary,
    read_whole,
    said_of,
    stat,
    version,
)
from t2c_search.sources.containers.cache import Cache
from t2c_search.sources.containers.parquet_columns import ImageColumn, Texts, choose_image_column
from t2c_search.sources.containers.turns import Turns
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import NO_FIELD, as_fields
from t2c_search.sources.tables.manifests import list_rows, located
from t2c_search.sources.tables.rows import Row

_ROW_GROUPS = 2  # being read: threads are on both sides of a border
_BATCH_BYTES = 2 << 20  # of images, decoded at once; a page of the file is the least
_BUFFER_BYTES = 1 << 20  # of the file, read at once: otherwise pyarrow reads a row group's whole column
_KEPT_BYTES = 16 << 20  # of images read last, and at least _KEPT_ROWS: threads do not come in the order of rows
_KEPT_ROWS = 2 * (os.cpu_count() or 1)
_KNOWN_TABLES = 64  # whose row groups' borders are kept


def list_parquet(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the rows of a parquet table. Raises UsageError when it is damaged, or names no images."""
    with said_of(f"table {address!r}", UsageError), open_binary(address) as file:
        table = _open(file)
        column = choose_image_column(table, listing.image_column, lambda text: listing.remarks.add(text, address))
        rows = _rows_of(table, column, address, listing)
        if column is None:
            yield from list_rows(address, rows, listing)
            return
        mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
        lengths = _list_lengths(address, column.name, table) if column.is_list else None
        for number, row in enumerate(rows):
            name = (row.pop(column.name.lower(), None) or {}).get("path")
            fields = as_fields(row | ({"file_name": name} if name else {}), listing.remarks, address)
            path = f"{address}{MEMBER}{column.name}/{number}"
            members = [path] if lengths is None else [f"{path}/{index}" for index in range(next(lengths))]
            for member in members:
                yield ImageInput(member, UNKNOWN_SIZE, mtime_ns, fields)
            if not members:
                listing.remarks.add(f"row without an image passed over; {column.name!r} holds none", address)


def table_rows(file: BinaryIO, address: str, listing: Listing) -> Iterator[Row]:
    """Yield the rows of an open parquet table as column -> value; columns in lower case."""
    yield from _rows_of(_open(file), None, address, listing)


def read_parquet(address: str, member: str) -> bytes:
    """Return the image bytes in ``COLUMN/ROW``, or ``COLUMN/ROW/INDEX`` of a list.

    Raises ImageError when they are not there, or the table is damaged.
    """
    with said_of(f"the row of table {address!r}", ImageError):
        columns, starts = _TABLES[address, version(address)]
        column, row, index = _place(member, columns)
        group = bisect_right(starts, row) - 1
        content = _GROUPS[address, version(address), column, group].read(row - starts[group])
    if isinstance(content, list):
        if not 0 <= index < len(content):
            raise ImageError(
                f"the row holds {len(content)} images, of which the path names none: .../{row}/0 is the first"
            )
        content = content[index]
    if isinstance(content, dict):
        content, name = content["bytes"], content.get("path")
        if content is None and name:  # the image stayed a file when the table was made
            return read_whole(located(name, address.rpartition("/")[0]))
    if content is None:
        raise ImageError("the row holds no image")
    check_size(len(content))
    return bytes(content)


def _place(member: str, columns: frozenset[str]) -> tuple[str, int, int]:
    """Return the column, row and place in a list that a member's name stands for; -1 for no place."""
    column, _, number = member.rpartition("/")
    if column in columns:
        return column, int(number), -1
    column, _, row = column.rpartition("/")
    return column, int(row), int(number)


def _open(file: BinaryIO) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False, coerce_int96_timestamp_unit="us")


def _rows_of(table: Any, column: ImageColumn | None, address: str, listing: Listing) -> Iterator[Row]:
    texts = Texts(table, column, listing.image_column)
    for name in texts.left_out:
        listing.remarks.add(f"field {name!r} {NO_FIELD}", address)
    return texts.rows(lambda why: listing.remarks.add(why, address))


def _list_lengths(address: str, column: str, table: Any) -> Iterator[int]:
    """Yield how many images each row has."""
    import pyarrow.compute as pc

    for group in range(table.metadata.num_row_groups):
        for values in _batches(address, None, column, group):
            yield from (length or 0 for length in pc.list_value_length(values).to_pylist())


def _look_at(key: tuple[str, Stat | None]) -> tuple[frozenset[str], list[int]]:
    """Return the names of a table's columns, and the number of the first row of each row group."""
    with open_binary(key[0]) as file:
        table = _open(file)
        sizes = (table.metadata.row_group(group).num_rows for group in range(table.metadata.num_row_groups))
        return frozenset(table.schema_arrow.names), list(accumulate(sizes, initial=0))[:-1]


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


_TABLES = Cache(_look_at, _KNOWN_TABLES)
_GROUPS = Cache(_Group, _ROW_GROUPS)
