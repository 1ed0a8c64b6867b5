"""Data sets as FiftyOne exports them: ``samples.json``, which says what is known of each image, beside ``metadata.json``.

Labels become their names: of a classification a text, of detections and the like a list of the distinct ones. Boxes,
masks and what FiftyOne keeps for itself (``_id``, ``metadata``, ...) are passed over, while the file is being read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from t2c_search.decoding.metadata import MEASURED
from t2c_search.errors import UsageError
from t2c_search.sources.addresses import is_remote, open_binary, said_of
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import Drop
from t2c_search.sources.tables.rows import IMAGE_COLUMNS, Row, lowered, open_text, whole_number

_SAMPLES, _DATASET = "samples.json", "metadata.json"
_HEAD = re.compile(rb'\s*\{\s*"samples"\s*:')
_HEAD_BYTES = 64
_SEVERAL = ("classifications", "detections", "polylines", "keypoints")  # where labels hold several others
_NUMBERS: dict[str, Callable[[Any], Any]] = {"$numberLong": int, "$numberInt": int, "$numberDouble": float}
_JUDGEMENT = "t2c"  # with which our own export says why it found an image


def samples_in(folder: str) -> str | None:
    """Return the address of the samples in a local folder that FiftyOne exported; None for other folders."""
    samples = f"{folder.rstrip('/')}/{_SAMPLES}"
    return samples if Path(folder, _DATASET).is_file() and holds_samples(samples) else None


def holds_samples(address: str) -> bool:
    """Tell samples from other JSON files, by how they begin."""
    if not address.lower().endswith(".json") or not (is_remote(address) or Path(address).is_file()):
        return False
    with said_of(f"table {address!r}", UsageError), open_binary(address) as file:
        return bool(_HEAD.match(file.read(_HEAD_BYTES)))


def read_samples(address: str, remarks: Remarks) -> Iterator[Row]:
    """Yield a row for each image among the samples. Raises UsageError when the file cannot be read."""
    what = f"FiftyOne's samples {address!r}"

    def drop(why: str) -> None:
        remarks.add(why, address)

    with said_of(what, UsageError), open_binary(address) as file, open_text(file) as text:
        try:
            found = json.load(text, object_hook=partial(_plain, drop=drop), parse_int=whole_number)
        except (ValueError, RecursionError) as exc:
            raise UsageError(f"{what} are not JSON: {exc}") from exc
    samples = found.get("samples") if isinstance(found, dict) else None
    if not isinstance(samples, list):
        raise UsageError(f"{what} are not a list: expected a FiftyOneDataset's {_SAMPLES}")
    for sample in samples:
        if isinstance(sample, dict) and sample.get("_media_type", "image") == "image":
            yield _row(sample)
        else:
            remarks.add("sample that is no image passed over", address)


def _row(sample: dict[str, Any]) -> Row:
    """Return a sample's fields, and its path in the column that decides before all others."""
    ours = MEASURED | {_JUDGEMENT} if _JUDGEMENT in sample else frozenset[str]()
    fields = {
        name: value
        for name, value in sample.items()
        if not name.startswith("_") and name not in ("filepath", "metadata") and name not in ours
    }
    return lowered(fields) | {IMAGE_COLUMNS[0]: sample.get("filepath")}


def _plain(item: dict[str, Any], drop: Drop) -> Any:
    """Return what a JSON object stands for: a label's name, several labels' names, a value as MongoDB writes it."""
    if len(item) == 1 and next(iter(item)).startswith("$"):
        return _extended(item, drop)
    if "_cls" not in item or "filepath" in item:  # a sample, or no object of FiftyOne's
        return item
    labels = next((item[name] for name in _SEVERAL if isinstance(item.get(name), list)), None)
    if labels is not None:
        return list(dict.fromkeys(label for label in labels if isinstance(label, str)))
    return item.get("label", item.get("value"))  # a regression has a value


def _extended(item: dict[str, Any], drop: Drop) -> Any:
    """Return a value of MongoDB's extended JSON: numbers, ids and times as text, nothing for arrays in binary."""
    ((kind, value),) = item.items()
    try:
        if kind in _NUMBERS:
            return _NUMBERS[kind](value)
        if kind == "$date" and isinstance(value, int):  # milliseconds, as older versions write it
            return datetime.fromtimestamp(value / 1000, UTC).isoformat()
    except (ValueError, TypeError, OverflowError, OSError):
        drop(f"value {kind} that is none, or beyond what Python's calendar has, left out")
        return None
    return value if kind in ("$date", "$oid") else None
