"""Parquet tables: a column of image bytes (plain, or Hugging Face's ``{bytes, path}``), or one of paths or addresses.

The other columns become fields. Listing reads all columns but the images; reading decodes one row group at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from t2c_search.errors import ImageError, UsageError
from t2c_search.indexing.annotations import as_fields
from t2c_search.indexing.decode import check_size
from t2c_search.indexing.metadata import MEMBER
from t2c_search.indexing.places import UNKNOWN_SIZE, Stat, open_binary, said_of, stat, version
from t2c_search.indexing.sources.cache import Cache
from t2c_search.indexing.sources.listed import Listed, Listing
from t2c_search.indexing.sources.manifests import list_rows
from t2c_search.indexing.tables import Row, lowered

_ROW_GROUPS = 2  # kept decoded: threads read on both sides of a border
_TABLES = 64  # whose row groups' borders are kept
_ROWS = 1000  # of the small columns, read at once


def list_parquet(address: str, listing: Listing) -> Iterator[Listed]:
    """List the rows of a parquet table. Raises UsageError when it is damaged, or names no images."""
    import pyarrow.parquet as pq

    with said_of(f"table {address!r}", UsageError), open_binary(address) as file:
        table = pq.ParquetFile(file)
        column = _image_column(table.schema_arrow)
        if column is None:
            yield from list_rows(address, _rows(table, table.schema_arrow.names), listing)
            return
        mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
        others = [name for name in table.schema_arrow.names if name != column]
        if "path" in _parts(table.schema_arrow.field(column).type):
            others.append(f"{column}.path")
        for number, row in enumerate(_rows(table, others)):
            name = (row.pop(column.lower(), None) or {}).get("path")
            fields = as_fields(row | ({"file_name": name} if name else {}), listing.remarks, address)
            yield Listed(f"{address}{MEMBER}{column}/{number}", UNKNOWN_SIZE, mtime_ns, fields)


def read_parquet(address: str, member: str) -> bytes:
    """Return the image bytes in ``COLUMN/ROW``. Raises ImageError when they are not there, or the table is damaged."""
    column, _, number = member.rpartition("/")
    with said_of(f"the row of table {address!r}", ImageError):
        row = int(number)
        starts = _GROUP_STARTS[address, version(address)]
        group = bisect_right(starts, row) - 1
        content = _GROUPS[address, version(address), column, group][row - starts[group]].as_py()
    if isinstance(content, dict):
        content = content["bytes"]
    if content is None:
        raise ImageError("the row holds no image")
    check_size(len(content))
    return bytes(content)


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


def _rows(table: Any, columns: list[str]) -> Iterator[Row]:
    for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
        yield from map(lowered, batch.to_pylist())


def _group_starts(key: tuple[str, Stat | None]) -> list[int]:
    """Return the number of the first row of each row group."""
    import pyarrow.parquet as pq

    with open_binary(key[0]) as file:
        metadata = pq.ParquetFile(file).metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        return list(accumulate(sizes, initial=0))[:-1]


def _read_group(key: tuple[str, Stat | None, str, int]) -> Any:
    import pyarrow.parquet as pq

    address, _, column, group = key
    with open_binary(address) as file:
        return pq.ParquetFile(file).read_row_group(group, columns=[column])[column]


_GROUP_STARTS = Cache(_group_starts, _TABLES)
_GROUPS = Cache(_read_group, _ROW_GROUPS)
