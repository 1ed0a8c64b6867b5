"""Tables that name images, a row each or several, and say things of them: CSV, JSON lines, JSON arrays, COCO."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from t2c_search.errors import UsageError
from t2c_search.sources.addresses import open_binary, said_of
from t2c_search.sources.remarks import Remarks

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
"""Endings by which a file is taken for a table."""
IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "filepath", "file_path", "image_path", "path", "url", "image_url"
)  # fmt: skip
"""Columns that say where the image is; of several that are there, the first in this order."""

_DELIMITERS = ",\t;|"
_COCO_KEPT = frozenset(
    ("images", "annotations", "categories", "id", "file_name", "coco_url", "image_id", "caption", "category_id", "name")
)

Row = dict[str, Any]


def image_column(row: Mapping[str, Any]) -> str | None:
    """Return the column of a row that says where its image is; None when all of them are empty or missing."""
    return next((name for name in IMAGE_COLUMNS if isinstance(row.get(name), str) and row[name]), None)


def read_rows(address: str, remarks: Remarks, *, required: Sequence[str] = ()) -> Iterator[Row]:
    """Yield a table's rows as column -> value; columns in lower case, the values of a CSV as stripped, non-empty text.

    The delimiter of a CSV is comma, tab, semicolon or ``|``, whichever splits the header; its header must have the
    ``required`` columns. A damaged JSON line is remarked and passed over. Raises UsageError, perhaps after some rows, when
    the file cannot be read.
    """
    what = f"table {address!r}"
    try:
        with said_of(what, UsageError), open_binary(address) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            if address.lower().endswith((".jsonl", ".ndjson")):
                yield from _json_lines(text, address, remarks)
            elif address.lower().endswith(".json"):
                yield from _json(text, what)
            else:
                yield from _csv(text, what, required)
    except UsageError as exc:
        if isinstance(exc.__cause__, UnicodeDecodeError):
            raise UsageError(f"{what} is not UTF-8 text: save it as UTF-8") from exc
        raise


def _csv(file: TextIO, what: str, required: Sequence[str]) -> Iterator[Row]:
    try:
        header, delimiter = _header(file.readline(), what, required)
        for row in csv.reader(file, delimiter=delimiter):
            if len(row) > len(header):  # a last column with delimiters that nobody quoted
                row[len(header) - 1 :] = [delimiter.join(row[len(header) - 1 :])]
            if row:
                values = zip(header, (value.strip() for value in row), strict=False)
                yield {column: value for column, value in values if value}
    except csv.Error as exc:
        raise UsageError(f"{what} is not a CSV: {exc}") from exc


def _header(line: str, what: str, required: Sequence[str]) -> tuple[list[str], str]:
    """Return the columns and the delimiter that makes most of them."""
    splits = {
        delimiter: [column.strip().lower() for column in next(csv.reader([line], delimiter=delimiter), [])]
        for delimiter in _DELIMITERS
    }
    delimiter = max(splits, key=lambda choice: len(splits[choice]))
    columns = splits[delimiter]
    there = ", ".join(map(repr, columns)) or "none"
    if missing := [column for column in required if column not in columns]:
        needed = " and ".join(map(repr, required))
        raise UsageError(f"{what} lacks the column {missing[0]!r}: it has {there}, needed are {needed}")
    if not set(columns).intersection(IMAGE_COLUMNS):
        raise UsageError(f"{what} has no column for the image: it has {there}, needed is one of {_one_of()}")
    return columns, delimiter


def _json_lines(file: TextIO, address: str, remarks: Remarks) -> Iterator[Row]:
    for line in filter(str.strip, file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield lowered(row)
        else:
            remarks.add("line that is not a JSON object passed over", address)


def _json(file: TextIO, what: str) -> Iterator[Row]:
    """Yield the rows of COCO annotations, or of an array of objects."""
    try:
        content = json.load(file, object_hook=_without_shapes)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{what} is not JSON: {exc}") from exc
    if isinstance(content, list):
        yield from (lowered(row) for row in content if isinstance(row, dict))
    elif isinstance(content, dict) and isinstance(content.get("images"), list):
        yield from _coco(content)
    else:
        raise UsageError(f"{what} is neither COCO annotations (an object with 'images') nor an array of objects")


def _without_shapes(item: dict[str, Any]) -> dict[str, Any]:
    """Drop what makes annotation files huge, while they are being read: outlines, boxes, areas."""
    if "image_id" in item and "id" in item:
        return {name: value for name, value in item.items() if name in _COCO_KEPT}
    return item


def _coco(content: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each image of COCO annotations, with all its captions and the names of its categories."""
    names = {category.get("id"): category.get("name") for category in content.get("categories") or ()}
    captions: dict[Any, list[str]] = defaultdict(list)
    categories: dict[Any, dict[str, None]] = defaultdict(dict)  # a set that keeps the order
    for annotation in content.get("annotations") or ():
        image = annotation.get("image_id")
        if isinstance(caption := annotation.get("caption"), str):
            captions[image].append(caption)
        if name := names.get(annotation.get("category_id")):
            categories[image][name] = None
    for image in content["images"]:
        row: Row = {"image": image.get("file_name") or image.get("coco_url")}
        if found := captions.get(image.get("id")):
            row["captions"] = found
        if seen := categories.get(image.get("id")):
            row["categories"] = list(seen)
        yield row


def lowered(row: Mapping[str, Any]) -> Row:
    """Return a row with its columns in lower case."""
    return {name.lower(): value for name, value in row.items()}


def _one_of() -> str:
    return ", ".join(IMAGE_COLUMNS)
