"""Captions that lie elsewhere than the images they are of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from t2c_search.decoding.metadata import CAPTIONS, MEMBER
from t2c_search.errors import UsageError
from t2c_search.sources.addresses import is_remote, open_binary, said_of, tidied
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import as_fields, gather
from t2c_search.sources.tables.rows import TABLE_SUFFIXES, Row, Wanted, open_text, pop_images, read_rows
from t2c_search.types import Payload


class CaptionTable:
    """A table that says which image has which caption; several rows per image allowed; other columns are fields too.

    A CSV with the columns ``image`` and ``caption``, JSON lines, or COCO annotations. ``image`` is a file's name, its
    absolute path or address, or the last parts of either. Raises UsageError when the file cannot be read or lacks a column.
    """

    def __init__(self, path: Path, remarks: Remarks) -> None:
        self._path = path
        self._remarks = remarks
        self._used: set[str] = set()
        rows: list[tuple[str, Payload]] = []
        for row in read_rows(path.as_posix(), remarks, Wanted(("image", "caption"))):
            if not (images := pop_images(row)):
                remarks.add("row without an image passed over", str(path))
                continue
            fields = as_fields(row, remarks, str(path))
            rows += ((self._key(image), fields) for image in images)
        self._rows = dict(gather(rows))

    def fields(self, path: str) -> Payload:
        """Return the fields of the image at an absolute posix path: captions as a list, others so when they differ."""
        path = normalize("NFC", path)
        parts = PurePosixPath(path.replace(MEMBER, "/")).parts
        for key in (path, *("/".join(parts[start:]) for start in range(1, len(parts)))):
            if key in self._rows:
                self._used.add(key)
                return self._rows[key]
        return {}

    def remark_unused(self) -> None:
        """Remark the images of the table that were not among those asked for."""
        for key in self._rows:
            if key not in self._used:
                self._remarks.add(f"image in {self._path.name} that is not among the images given", key)

    def _key(self, image: str) -> str:
        """Normalise ``./a.jpg`` to ``a.jpg``, what points up to an absolute path, and letters to NFC."""
        image = normalize("NFC", tidied(image))
        if is_remote(image):
            return image
        name = os.path.normpath(image)
        if name.startswith(".."):
            name = os.path.abspath(self._path.parent / name)  # noqa: PTH100 - absolute() would keep ".."
        return PurePosixPath(name).as_posix()


def read_captions(path: Path, remarks: Remarks) -> Iterator[str]:
    """Yield captions alone: the lines of a text file, or what a table's column ``caption`` says (CSV, JSON lines, COCO).

    Raises UsageError, perhaps after some, when the file cannot be read or lacks the column.
    """
    is_table = path.name.lower().endswith(TABLE_SUFFIXES)
    rows = read_rows(path.as_posix(), remarks, Wanted(("caption",), image=None)) if is_table else _lines(path)
    for row in rows:
        yield from as_fields(row, remarks, str(path)).get(CAPTIONS, [])


def _lines(path: Path) -> Iterator[Row]:
    with said_of(f"text {str(path)!r}", UsageError), open_binary(path.as_posix()) as file, open_text(file) as text:
        for line in text:
            yield {"caption": line.strip()}
