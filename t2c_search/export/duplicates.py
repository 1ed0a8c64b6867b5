"""Duplicates to a file: a line for each image of each group, whether to keep it, and what stands for it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t2c_search.errors import UsageError
from t2c_search.export.aside import file_aside
from t2c_search.query.execution.duplicates import Group

COLUMNS = ("group", "action", "path", "of", "cosine", "same_bytes", "width", "height", "bytes", "id")


def write_duplicates(groups: Sequence[Group], path: Path) -> None:
    """Write groups as CSV or JSON lines, by the file's ending. Raises UsageError for another, or an unwritable file."""
    if path.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"duplicates cannot be written to {path}: expected a name that ends in .csv or .jsonl")
    lines = io.StringIO(newline="")
    if path.suffix == ".csv":
        table = csv.DictWriter(lines, COLUMNS)
        table.writeheader()
        table.writerows(_rows(groups))
    else:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(groups))
    with file_aside(path) as target:
        target.write(lines.getvalue().encode())


def _rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(groups, 1):
        for each in group:
            row = {"group": number, "action": "keep" if each.keep else "drop", **asdict(each)}
            yield {column: row[column] for column in COLUMNS}
