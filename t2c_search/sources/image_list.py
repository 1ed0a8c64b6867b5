"""The images to index, in the order in which they were listed."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.remarks import Remark


class ImageList(Sequence[ImageInput]):
    """Images in the order in which they were listed, each path once; ``remarks`` tell what was passed over.

    They lie in a temporary database of SQLite's, which keeps 2 MiB in memory and the rest in a file that nobody else sees
    and that goes with the list, so that a listing of any length takes no memory to speak of.
    """

    def __init__(self, inputs: Iterable[ImageInput], remarks: Callable[[], tuple[Remark, ...]] = tuple) -> None:
        """Take in the images; ``remarks`` is asked once all are listed."""
        self._count: int
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("CREATE TABLE images (path TEXT UNIQUE, size, mtime_ns, fields, allow_private)")
        rows = (
            (item.path, item.size, item.mtime_ns, pickle.dumps(dict(item.fields)), item.allow_private)
            for item in inputs
        )
        self._database.executemany("INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?)", rows)
        (self._count,) = self._database.execute("SELECT count(*) FROM images").fetchone()
        self.remarks = remarks()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks, a line each."""
        return tuple(map(str, self.remarks))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ImageInput]:
        return self._select("ORDER BY rowid")

    @overload
    def __getitem__(self, index: int) -> ImageInput: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageInput]: ...
    def __getitem__(self, index: int | slice) -> ImageInput | list[ImageInput]:
        if isinstance(index, slice):
            return [self[i] for i in range(self._count)[index]]
        (item,) = self._select("WHERE rowid = ?", range(self._count)[index] + 1)
        return item

    def _select(self, clause: str, *values: int) -> Iterator[ImageInput]:
        for path, size, mtime_ns, fields, allow_private in self._database.execute(
            f"SELECT * FROM images {clause}", values
        ):
            yield ImageInput(path, size, mtime_ns, pickle.loads(fields), allow_private=bool(allow_private))
