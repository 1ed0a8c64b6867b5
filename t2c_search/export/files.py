"""Hits to files: paths, JSON lines, CSV, parquet, COCO, FiftyOne, and folders of links or copies.

Every format but plain paths keeps the expression that found the images and each constraint's say, so that a mined set can
be made again. Writers take hits one by one and never hold them all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from t2c_search.aside import file_aside, folder_aside
from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import ImageError, UsageError
from t2c_search.export.separated import write_csv
from t2c_search.results import Hit
from t2c_search.sources import SUFFIXES, is_file, read_image
from t2c_search.types import Failure

_NAME_BYTES = 240  # of 255
_PARQUET_ROWS = 4096  # rows a row group: a few MB with their payloads

Writer = Callable[[Iterable[Hit], str, BinaryIO], int]


def row(hit: Hit, expression: str) -> dict[str, Any]:
    """Return a hit as the JSON object of a JSON line."""
    return {**asdict(hit), "contributions": [asdict(part) for part in hit.contributions], "expression": expression}


def write_paths(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write one path a line; returns how many."""
    count = 0
    for count, hit in enumerate(hits, 1):
        target.write(f"{hit.path}\n".encode())
    return count


def write_paths0(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write paths, each ended by a NUL byte, which no path has in it; returns how many."""
    count = 0
    for count, hit in enumerate(hits, 1):
        target.write(f"{hit.path}\0".encode())
    return count


def write_jsonl(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write one JSON object a line; returns how many."""
    count = 0
    for count, hit in enumerate(hits, 1):
        target.write(json.dumps(row(hit, expression), ensure_ascii=False).encode() + b"\n")
    return count


def write_parquet(hits: Iterable[Hit], expression: str, target: BinaryIO) -> int:
    """Write a parquet table; payload and contributions are JSON in their cells. Returns the number of hits."""
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
        fields = {name: value for name, value in hit.payload.items() if name != "path"}
        tags = fields.get("tags", [])
        own = {"filepath": hit.path, "tags": [*(tags if isinstance(tags, list) else [tags]), expression]}
        return {**fields, **own, "t2c": _judgement(hit, expression)}

    return _write_array({}, "samples", map(sample, hits), target)


def write_json(
    hits: Iterable[Hit], expression: str, target: BinaryIO, told: Callable[[], dict[str, Any]] = dict
) -> int:
    """Write one JSON object: ``expression``, ``hits``, their ``count``, and what is ``told`` at the end. Returns the count."""
    return _write_array(
        {"expression": expression}, "hits", map(asdict, hits), target, lambda count: {"count": count, **told()}
    )


FORMATS: dict[str, Writer] = {
    "paths": write_paths,
    "paths0": write_paths0,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
    "coco": write_coco,
    "fiftyone": write_fiftyone,
}
"""Formats by name, each a function of (hits, expression, binary file) that returns the number of hits written."""
FOLDERS = ("links", "copies")
"""Formats that fill a folder."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How many hits were written, and the images that could not be copied or linked, and why."""

    count: int
    failures: tuple[Failure, ...] = ()


def export_hits(
    hits: Iterable[Hit], path: str | Path, *, expression: str, format: str = "paths", columns: Sequence[str] = ()
) -> Exported:
    """Write hits to a file of one of ``FORMATS``, or fill a new folder with ``links`` to the images, or ``copies``.

    ``expression`` is what found them (see ``Collection.expression``), and is kept with each. Hits are taken one by one;
    what is written appears when it is complete. A CSV has the ``columns`` named, or one for each field (``write_csv``).
    Raises UsageError for a format or a place that cannot be used.
    """
    check_format(format)
    write = writer(format, columns) if format in FORMATS or columns else None
    found, target = begun(hits), Path(path)
    if write is None:
        failures: list[Failure] = []
        count = write_folder(found, expression, target, copy=format == "copies", failures=failures)
        return Exported(count, tuple(failures))
    with file_aside(target) as file:
        return Exported(write(found, expression, file))


def writer(format: str, columns: Sequence[str] = ()) -> Writer:
    """Return what writes one of ``FORMATS``. Raises UsageError for columns of another format than CSV."""
    if not columns:
        return FORMATS[format]
    if format != "csv":
        raise UsageError(f"columns can be chosen for the format csv, and {format} has its own: leave them out")
    return partial(write_csv, columns=columns)


def check_format(format: str) -> None:
    """Raise UsageError for the name of no format."""
    if format not in (known := (*FORMATS, *FOLDERS)):
        raise UsageError(f"there is no format {format!r}; formats: {', '.join(known)}")


def begun(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Return the hits with the first one found: what is wrong with an expression shows before anything is written."""
    remaining = iter(hits)
    return chain(list(islice(remaining, 1)), remaining)


def write_folder(
    hits: Iterable[Hit], expression: str, folder: Path, *, copy: bool, failures: list[Failure] | None = None
) -> int:
    """Fill a new or empty folder with links to the images (or copies), named by rank, and ``hits.jsonl``.

    An image that cannot be had is left out and noted in ``failures``; without such a list it raises ImageError. Returns the
    number of hits. Raises UsageError when the folder holds something already or cannot be written.
    """

    def placed(aside: Path) -> Iterator[Hit]:
        for hit in hits:
            try:
                _place(hit, aside / _short(f"{hit.rank:06d}_{Path(hit.path).name}"), copy)
            except ImageError as exc:
                if failures is None:
                    raise
                failures.append(Failure(hit.path, str(exc)))
            else:
                yield hit

    with folder_aside(folder) as aside, (aside / "hits.jsonl").open("wb") as listing:
        return write_jsonl(placed(aside), expression, listing)


def _short(name: str) -> str:
    """Cut a file's name to what file systems take, less room for an ending, and keep that of an image."""
    suffix = Path(name).suffix
    suffix = suffix if suffix.lower() in SUFFIXES else ""
    return name.removesuffix(suffix).encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def _place(hit: Hit, place: Path, copy: bool) -> None:
    """Link or copy an image; the bytes of one that is no file of its own, named by its format where it has no ending."""
    if is_file(hit.path):
        if not os.access(hit.path, os.R_OK):
            raise ImageError("the file is gone, or cannot be read")
        if copy:
            shutil.copy2(hit.path, place)
        else:
            place.symlink_to(hit.path)
        return
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


def _write_array(
    head: dict[str, Any],
    name: str,
    items: Iterable[dict[str, Any]],
    target: BinaryIO,
    tail: Callable[[int], dict[str, Any]] = lambda count: {},
) -> int:
    """Write a JSON object: the head's members, an array with one item a line, and the tail's, made from its length."""
    opening = json.dumps(head, ensure_ascii=False)[:-1] + (", " if head else "") + f'"{name}": ['
    target.write(opening.encode())
    count = 0
    for count, item in enumerate(items, 1):
        target.write((b",\n" if count > 1 else b"\n") + json.dumps(item, ensure_ascii=False).encode())
    members = json.dumps(tail(count), ensure_ascii=False)[1:]
    target.write(b"\n]" + (b"" if members == "}" else b", ") + members.encode() + b"\n")
    return count


def _groups(hits: Iterable[Hit], size: int) -> Iterator[list[Hit]]:
    remaining = iter(hits)
    while group := list(islice(remaining, size)):
        yield group
