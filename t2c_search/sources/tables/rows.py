"""Tables that name images, a row each or several, and say things of them: CSV, JSON lines, JSON arrays, COCO."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from t2c_search.errors import UsageError
from t2c_search.sources.addresses import open_binary, said_of
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.separated import Separated

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
"""Endings by which a file is taken for a table."""
IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "filepath", "file_path", "image_path", "path", "url", "image_url"
)  # fmt: skip
"""Columns that say where the image is; of several that are there, the first in this order."""

_DIGITS = 25  # of whole numbers that are read as such; 64 bits have 19
_COCO_KEPT = frozenset(
    ("images", "annotations", "categories", "id", "file_name", "coco_url", "image_id", "caption", "category_id", "name")
)

Row = dict[str, Any]


def pop_images(row: Row, chosen: str = "") -> list[str]:
    """Take from a row what says where its images are, one or a list, out of the ``chosen`` column or the first that does."""
    for column in (chosen.lower(),) if chosen else IMAGE_COLUMNS:
        value = row.get(column)
        if images := [
            image for image in (value if isinstance(value, list) else [value]) if image and isinstance(image, str)
        ]:
            del row[column]
            return images
    return []


@dataclass(frozen=True, slots=True)
class Wanted:
    """Columns that a table must have, and the one that names the images, where the user has chosen it, as it is written.

    ``image`` None: the table need not name images.
    """

    required: tuple[str, ...] = ()
    image: str | None = ""


_ANY = Wanted()


def read_rows(address: str, remarks: Remarks, wanted: Wanted = _ANY) -> Iterator[Row]:
    """Yield a table's rows as column -> value; columns in lower case, the values of a CSV as stripped, non-empty text.

    The delimiter of a CSV is comma, tab, semicolon or ``|``, whichever splits the header. Bytes that are not UTF-8 become
    lone surrogates, for which ``as_fields`` drops a value. What is no row, and quotes that nothing closes, are remarked.
    Raises UsageError, perhaps after some rows, when the file cannot be read or its header lacks a column.
    """
    what = f"table {address!r}"
    with said_of(what, UsageError), open_binary(address) as file:
        text = open_text(file)
        if address.lower().endswith((".jsonl", ".ndjson")):
            yield from _json_lines(text, address, remarks)
        elif address.lower().endswith(".json"):
            yield from _json(text, address, remarks)
        else:
            yield from _separated(text, address, remarks, wanted)


def open_text(file: BinaryIO) -> TextIO:
    """Return a file's text, UTF-8 or by its first bytes UTF-16; bytes that are neither become lone surrogates."""
    marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    file.seek(0)
    encoding = "utf-16" if marked else "utf-8-sig"
    return io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="")


def whole_number(digits: str) -> int | str:
    """Read a whole number of JSON; one that Python would refuse for its length stays text, as all beyond 64 bits do."""
    return int(digits) if len(digits) < _DIGITS else digits


def _separated(file: TextIO, address: str, remarks: Remarks, wanted: Wanted) -> Iterator[Row]:
    separated = Separated(file.readline(), tabs=address.lower().endswith(".tsv"))
    _check_columns(separated.columns, f"table {address!r}", wanted)
    for row in separated.rows(file, lambda text, line: remarks.add(text, f"{address}, line {line}")):
        values = zip(separated.columns, (value.strip() for value in row), strict=False)
        yield {column: value for column, value in values if value}


def _check_columns(columns: list[str], what: str, wanted: Wanted) -> None:
    there = ", ".join(map(repr, columns)) or "none"
    if missing := [column for column in wanted.required if column not in columns]:
        needed = " and ".join(map(repr, wanted.required))
        raise UsageError(f"{what} lacks the column {missing[0]!r}: it has {there}, needed are {needed}")
    if wanted.image and wanted.image.lower() not in columns:
        raise UsageError(f"{what} lacks the image column {wanted.image!r}: it has {there}")
    if wanted.image == "" and not set(columns).intersection(IMAGE_COLUMNS):
        raise UsageError(f"{what} has no column for the image: it has {there}, needed is one of {_one_of()}")


def _json_lines(file: TextIO, address: str, remarks: Remarks) -> Iterator[Row]:
    for line in filter(str.strip, file):
        try:
            row = json.loads(line.lstrip("\ufeff"), parse_int=whole_number)  # a mark, where files were joined
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield lowered(row)
        else:
            remarks.add("line that is not a JSON object passed over", address)


def _json(file: TextIO, address: str, remarks: Remarks) -> Iterator[Row]:
    """Yield the rows of COCO annotations, or of an array of objects."""
    what, text = f"table {address!r}", file.read()
    try:
        content = _DECODER.decode(text)
    except (ValueError, RecursionError) as exc:
        content = list(_items_before_a_fault(text))
        if not content:
            raise UsageError(f"{what} is not JSON: {exc}") from exc
        remarks.add(
            f"JSON that is cut or broken: what stands behind its first {len(content)} rows is lost ({exc})", address
        )
    if isinstance(content, list):
        yield from map(lowered, _objects(content, "row", address, remarks))
    elif isinstance(content, dict) and isinstance(content.get("images"), list):
        yield from _coco(content, address, remarks)
    else:
        raise UsageError(f"{what} is neither COCO annotations (an object with 'images') nor an array of objects")


def _items_before_a_fault(text: str) -> Iterator[Any]:
    """Yield the items of an array that is cut, or broken somewhere, up to there; nothing of what is no array."""
    separator, at = "[", 0
    with suppress(ValueError, RecursionError, IndexError):
        while text[at := _BLANK.match(text, at).end()] == separator:  # type: ignore[union-attr]  # it matches nothing too
            item, at = _DECODER.raw_decode(text, _BLANK.match(text, at + 1).end())  # type: ignore[union-attr]
            yield item
            separator = ","


def _objects(items: Any, what: str, address: str, remarks: Remarks) -> Iterator[dict[str, Any]]:
    """Yield the objects of an array; what else is in it, or in its place, is remarked."""
    for item in items if isinstance(items, list) else [items] if items else ():
        if isinstance(item, dict):
            yield item
        else:
            remarks.add(f"{what} that is not a JSON object passed over", address)


def _without_shapes(item: dict[str, Any]) -> dict[str, Any]:
    """Drop what makes annotation files huge, while they are being read: outlines, boxes, areas."""
    if "image_id" in item and "id" in item:
        return {name: value for name, value in item.items() if name in _COCO_KEPT}
    return item


_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder(object_hook=_without_shapes, parse_int=whole_number)


def _coco(content: dict[str, Any], address: str, remarks: Remarks) -> Iterator[Row]:
    """Yield a row for each image of COCO annotations, with all its captions and the names of its categories."""
    names: dict[Any, str] = {}
    captions: dict[Any, list[str]] = defaultdict(list)
    categories: dict[Any, dict[str, None]] = defaultdict(dict)  # a set that keeps the order
    for category in _objects(content.get("categories"), "category", address, remarks):
        if _is_id(number := category.get("id")) and isinstance(name := category.get("name"), str):
            names[number] = name
    for annotation in _objects(content.get("annotations"), "annotation", address, remarks):
        if not _is_id(image := annotation.get("image_id")):
            remarks.add("annotation without an image_id passed over", address)
            continue
        if isinstance(caption := annotation.get("caption"), str):
            captions[image].append(caption)
        if _is_id(number := annotation.get("category_id")) and number in names:
            categories[image][names[number]] = None
    for image in _objects(content["images"], "image", address, remarks):
        row: Row = {"image": image.get("file_name") or image.get("coco_url")}
        if _is_id(number := image.get("id")) and number in captions:
            row["captions"] = captions[number]
        if _is_id(number) and number in categories:
            row["categories"] = list(categories[number])
        yield row


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def lowered(row: Mapping[str, Any]) -> Row:
    """Return a row with its columns in lower case."""
    return {name.lower(): value for name, value in row.items()}


def _one_of() -> str:
    return ", ".join(IMAGE_COLUMNS)
