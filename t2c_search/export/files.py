"""Hits to files: paths, JSON lines, CSV, parquet, COCO, FiftyOne, and folders of links or copies.

Every format but plain paths keeps the expression that found the images and each constraint's say, so that a mined set can
be made again. Writers take hits one by one and never hold them all.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from t2c_search.errors import UsageError
from t2c_search.indexing.metadata import MEMBER
from t2c_search.indexing.sources import SUFFIXES, is_file, read_image
from t2c_search.types import Hit

_PARQUET_ROWS = 4096  # rows a row group: a few MB with their payloads

Writer = Callable[[Iterable[Hit], str, BinaryIO], int]


def row(hit: Hit, expression: str) -> dict[str, Any]:
    """Return a hit as the JSON object that ``--json`` and JSON lines print."""
    return {**asdict(hit), "contributions": [asdict(part) for part in hit.contributions], "expression": expression}


def write_paths(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write one path a line; returns how many."""
    count = 0
    for count, hit in enumerate(hits, 1):
        target.write(f"{hit.path}\n".encode())
    return count


def write_jsonl(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write one JSON object a line; returns how many."""
    count = 0
    for count, hit in enumerate(hits, 1):
        target.write(json.dumps(row(hit, expression), ensure_ascii=False).encode() + b"\n")
    return count


def write_csv(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write a CSV with a header line; payload and contributions are JSON in their cells. Returns the number of hits."""
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    count = 0
    for count, hit in enumerate(hits, 1):
        table.writerow(_flat(hit, expression).values())
    text.flush()
    text.detach()
    return count


def write_parquet(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write a parquet table with the CSV's columns, typed; returns the number of hits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"rank": pa.int64(), "score": pa.float64(), "cosine": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in _COLUMNS])
    count = 0
    with pq.ParquetWriter(target, schema) as parquet:
        for group in _groups(hits, _PARQUET_ROWS):
            parquet.write_table(pa.Table.from_pylist([_flat(hit, expression) for hit in group], schema=schema))
            count += len(group)
    return count


def write_coco(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write a COCO file whose images carry rank, score and contributions; returns the number of hits."""
    head = {"info": {"description": expression, "version": "1.0"}, "licenses": [], "categories": [], "annotations": []}

    def image(hit: Hit) -> dict[str, Any]:
        size: dict[str, Any] = {name: hit.payload[name] for name in ("width", "height") if name in hit.payload}
        return {"id": hit.rank, "file_name": hit.path, **size, "t2c": _judgement(hit, expression)}

    return _write_array(head, "images", map(image, hits), target)


def write_fiftyone(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write ``samples.json`` of FiftyOne's JSON data set format; returns the number of hits.

    In a folder of its own under that name, ``fiftyone.Dataset.from_dir(DIR, fiftyone.types.LegacyFiftyOneDataset)`` reads it.
    """

    def sample(hit: Hit) -> dict[str, Any]:
        fields = {name: value for name, value in hit.payload.items() if name not in ("path", "tags")}
        return {"filepath": hit.path, "tags": [expression], **fields, "t2c": _judgement(hit, expression)}

    return _write_array({}, "samples", map(sample, hits), target)


FORMATS: dict[str, Writer] = {
    "paths": write_paths,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
    "coco": write_coco,
    "fiftyone": write_fiftyone,
}
"""Formats by name, each a function of (hits, expression, binary file) that returns the number of hits written."""


def write_file(hits: Iterable[Hit], expression: str, format: str, path: Path) -> int:
    """Write hits to a file in one of ``FORMATS``; it appears when it is complete. Returns the number of hits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as target:
            count = FORMATS[format](hits, expression, target)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def write_folder(hits: Iterable[Hit], expression: str, folder: Path, *, copy: bool) -> int:
    """Fill a new or empty folder with links to the images (or copies), named by rank, and ``hits.jsonl``.

    Returns the number of hits. Raises UsageError when the folder holds something already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"folder {str(folder)!r} is not empty: name a new one, so that two results are never mixed")

    def placed() -> Iterator[Hit]:
        for hit in hits:
            place = folder / f"{hit.rank:06d}_{Path(hit.path).name}"
            if not is_file(hit.path):
                _write_member(hit, place, copy)
            elif copy:
                shutil.copy2(hit.path, place)
            else:
                place.symlink_to(hit.path)
            yield hit

    with (folder / "hits.jsonl").open("wb") as listing:
        return write_jsonl(placed(), expression, listing)


def _write_member(hit: Hit, place: Path, copy: bool) -> None:
    """Write the bytes of an image that is no file of its own; named by its format where the path has no ending."""
    if not copy:
        raise UsageError(f"{hit.path!r} is no file that a link can point to: use --format copies")
    suffix = "" if place.suffix.lower() in SUFFIXES else "." + str(hit.payload.get("format", "bin")).lower()
    place.with_name(place.name.replace(MEMBER, "_") + suffix).write_bytes(read_image(hit.path))


_COLUMNS = ("rank", "id", "path", "score", "cosine", "payload", "contributions", "expression")


def _flat(hit: Hit, expression: str) -> dict[str, Any]:
    """Return the hit in ``_COLUMNS``; nested values as JSON."""
    cells = row(hit, expression)
    nested = {name: json.dumps(cells[name], ensure_ascii=False) for name in ("payload", "contributions")}
    return {name: (cells | nested)[name] for name in _COLUMNS}


def _judgement(hit: Hit, expression: str) -> dict[str, Any]:
    return {name: value for name, value in row(hit, expression).items() if name not in ("path", "payload")}


def _write_array(head: dict[str, Any], name: str, items: Iterable[dict[str, Any]], target: BinaryIO) -> int:
    """Write a JSON object whose last member is an array, one item a line."""
    opening = json.dumps(head, ensure_ascii=False)[:-1] + (", " if head else "") + f'"{name}": ['
    target.write(opening.encode())
    count = 0
    for count, item in enumerate(items, 1):
        target.write((b",\n" if count > 1 else b"\n") + json.dumps(item, ensure_ascii=False).encode())
    target.write(b"\n]}\n")
    return count


def _groups(hits: Iterable[Hit], size: int) -> Iterator[list[Hit]]:
    remaining = iter(hits)
    while group := list(islice(remaining, size)):
        yield group
