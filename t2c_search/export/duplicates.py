"""Duplicates to a file: each image of each group, whether to keep it, and what stands for it; as lines or as a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t2c_search.aside import file_aside
from t2c_search.errors import UsageError
from t2c_search.export.page import PAGES, Card, Page, Section, write_page
from t2c_search.query.execution.duplicates import Duplicate, Group

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


def write_duplicates_page(groups: Sequence[Group], title: str, path: Path) -> None:
    """Write groups as a page for a browser, each with what to keep and what could go.

    Raises UsageError for a name that does not end in .html or .htm, and for a place that cannot be written.
    """
    if path.suffix.lower() not in PAGES:
        raise UsageError(f"duplicates are shown as a page, not as {path}: expected a name that ends in .html")
    drop = sum(not each.keep for group in groups for each in group)
    sections = tuple(
        Section(f"Group {number}: {len(group)} images", tuple(map(_card, group)))
        for number, group in enumerate(groups, 1)
    )
    write_page(Page(title, (f"{len(groups)} groups; {drop} images could go. Nothing was deleted.",), sections), path)


def _card(each: Duplicate) -> Card:
    size = f"{each.width} x {each.height}, {each.bytes:,} bytes"
    if each.keep:
        return Card(each.path, "keep", size)
    return Card(each.path, "same" if each.same_bytes else "near", f"{size}, cosine {each.cosine:.4f}", dropped=True)


def _rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(groups, 1):
        for each in group:
            row = {"group": number, "action": "keep" if each.keep else "drop", **asdict(each)}
            yield {column: row[column] for column in COLUMNS}
