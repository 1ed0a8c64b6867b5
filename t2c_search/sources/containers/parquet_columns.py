"""Which column of a parquet table holds its images, and which columns hold what is written of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from t2c_search.errors import UsageError
from t2c_search.sources.tables.annotations import CAPTION_COLUMNS
from t2c_search.sources.tables.rows import IMAGE_COLUMNS, Row

_NAMES = (
    "image", "images", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes", "bytes", "content"
)  # fmt: skip
"""Names of columns of image bytes; of several that hold images, the first in this order."""
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
_SAMPLE, _SAMPLED_ROWS = 8, 4096  # values looked at, among so many first rows: those of failed downloads are null
_ROWS = 1000  # of the small columns, read at once
_TEXTS = ("STRING", "ENUM", "JSON")
_NO_BYTES = (*_TEXTS, "DECIMAL", "FLOAT16", "UUID")  # what byte arrays stand for, where it is more than bytes

Drop = Callable[[str], None]
"""Is told that a value is dropped."""


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """A column of image bytes, of structures that have them as ``bytes``, perhaps with a ``path``, or of lists of either."""

    name: str
    is_list: bool
    parts: frozenset[str]
    """Of the structure; empty where the bytes lie in the column itself."""


def choose_image_column(table: Any, chosen: str, told: Callable[[str], None]) -> ImageColumn | None:
    """Return the column of image bytes: the ``chosen`` one, or one that is named as such, or that holds images.

    None where the images are named by their paths. Of several that hold images one that has a known name is taken, else the
    one with the largest values, and the others are ``told``. Raises UsageError when the table lacks the chosen one.
    """
    columns = {str(field.name): found for field in table.schema_arrow if (found := _as_image_column(field))}
    if chosen:
        name = next((name for name in table.schema_arrow.names if name.lower() == chosen.lower()), None)
        if name is None:
            raise UsageError(
                f"the table lacks the image column {chosen!r}: it has {', '.join(table.schema_arrow.names)}"
            )
        found = columns.get(name)
        return None if found is None or _are_texts(_sample(table, found)) else found
    samples = {name: _sample(table, found) for name, found in columns.items()}
    seen = [name for name in columns if _are_images(samples[name])]
    if seen:
        seen.sort(key=lambda name: (_rank(name), -sum(map(len, samples[name])) / len(samples[name])))
        if len(seen) > 1:
            others = " and ".join(map(repr, seen[1:]))
            told(f"{seen[0]!r} is taken for the column of images, and {others} not: choose with --image-column")
        return columns[seen[0]]
    named = (name for name in sorted(columns, key=_rank) if _rank(name) < len(_NAMES) and not _are_texts(samples[name]))
    is_named_by_path = any(
        str(name).lower() in IMAGE_COLUMNS for name in table.schema_arrow.names if name not in columns
    )
    return next((columns[name] for name in named if "path" in columns[name].parts or not is_named_by_path), None)


class Texts:
    """What a table says of its images, without a look at the bytes in it; values that Python cannot express are dropped."""

    def __init__(self, table: Any, image: ImageColumn | None, chosen: str) -> None:
        self._table = table
        self._texts = {*IMAGE_COLUMNS, *CAPTION_COLUMNS, chosen.lower()}  # old writers do not say that these are any
        self._columns: list[str] = []
        self.left_out: list[str] = []
        """Columns of bytes."""
        for leaf in (table.schema.column(index) for index in range(len(table.schema))):
            top = leaf.path.partition(".")[0]
            if image is not None and top == image.name:
                if not image.is_list and leaf.path == f"{top}.path":
                    self._columns.append(leaf.path)
                    self._texts.add(top.lower())
            elif _is_bytes(leaf) and top.lower() not in self._texts:
                self.left_out.append(leaf.path)
            else:
                self._columns.append(leaf.path)
                self._texts |= {top.lower()} if leaf.logical_type.type in _TEXTS else set()

    def rows(self, drop: Drop) -> Iterator[Row]:
        """Yield the rows as column -> value; columns in lower case."""
        for batch in self._table.iter_batches(batch_size=_ROWS, columns=self._columns):
            columns: dict[str, list[Any]] = {}
            for name, column in zip(map(str.lower, batch.schema.names), batch.columns, strict=True):
                values = _values(column, name, drop)
                columns[name] = list(map(_decoded, values)) if name in self._texts else values
            for row in range(batch.num_rows):
                yield {name: values[row] for name, values in columns.items()}


def _is_bytes(leaf: Any) -> bool:
    return "BYTE_ARRAY" in leaf.physical_type and leaf.logical_type.type not in _NO_BYTES


def _values(column: Any, name: str, drop: Drop) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python has microseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except Exception:  # a moment beyond the year 9999, an unknown time zone, bytes that are not UTF-8
        return [_value(scalar, name, drop) for scalar in column]


def _value(scalar: Any, name: str, drop: Drop) -> Any:
    try:
        return scalar.as_py()
    except Exception:  # as above
        drop(
            f"field {name!r} left out where its value cannot be expressed: beyond the calendar, of an unknown zone, no text"
        )
        return None


def _decoded(value: Any) -> Any:
    """Return the text that bytes stand for in a column of texts, at any depth."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return {key: _decoded(item) for key, item in value.items()} if isinstance(value, dict) else value


def _as_image_column(field: Any) -> ImageColumn | None:
    """Return a column that may hold images, by its type."""
    kind = _plain(field.type)
    is_list = _is(kind, "list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    kind = _plain(kind.value_type) if is_list else kind
    parts = {part.name: _plain(part.type) for part in kind} if _is(kind, "struct") else {}
    if not _is(parts.get("bytes", kind), "binary", "large_binary", "binary_view", "fixed_size_binary"):
        return None
    return ImageColumn(str(field.name), is_list, frozenset(parts))


def _plain(kind: Any) -> Any:
    """Return the type of what a dictionary encodes."""
    return kind.value_type if _is(kind, "dictionary") else kind


def _is(kind: Any, *names: str) -> bool:
    import pyarrow as pa

    tests = (getattr(pa.types, f"is_{name}", None) for name in names)  # views came with later versions
    return any(test is not None and test(kind) for test in tests)


def _sample(table: Any, column: ImageColumn) -> list[bytes]:
    """Return some of a column's values; those before the damage, where it is damaged."""
    found: list[bytes] = []
    read = 0
    try:
        for batch in table.iter_batches(batch_size=_SAMPLE, columns=[column.name], use_threads=False):
            found += images_in(batch.column(0).to_pylist())
            read += batch.num_rows
            if len(found) >= _SAMPLE or read >= _SAMPLED_ROWS:
                break
    except Exception:  # as codecs and file systems have it; reading says so
        pass
    return found[:_SAMPLE]


def images_in(values: Iterable[Any]) -> Iterator[bytes]:
    """Yield the bytes in a column's values."""
    for value in values:
        if isinstance(value, list):
            yield from images_in(value)
        elif isinstance(value, Mapping):
            yield from images_in([value["bytes"]])
        elif value:
            yield value


def _are_images(values: list[bytes]) -> bool:
    return bool(values) and 2 * sum(map(_is_image, values)) >= len(values)


def _is_image(content: bytes) -> bool:
    return (
        content.startswith(_BEGINNINGS)
        or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")
        or content[4:8] == b"ftyp"
        or (content[:2] == b"BM" and content[6:10] == bytes(4))
    )


def _are_texts(values: list[bytes]) -> bool:
    try:
        return bool(values) and all(value.decode().isprintable() for value in values)
    except UnicodeDecodeError:
        return False


def _rank(name: str) -> int:
    return _NAMES.index(name.lower()) if name.lower() in _NAMES else len(_NAMES)
