"""Where images come from: folders and single files, with what people wrote beside them."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2c_search.errors import UsageError
from t2c_search.indexing.annotations import CaptionTable, Remarks, read_sidecars
from t2c_search.indexing.decode import read_file

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif")
)
"""Endings, in lower case, by which files in folders are taken for images."""

_NAMESPACE = uuid.UUID("5a8f3f0e-6c1d-5b7e-9a44-3f2c8e1b7d60")  # never change it: every stored id depends on it


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image file to index: absolute posix path, size in bytes, time of change in ns, and fields for its payload.

    A file that cannot even be looked at has size and time 0; reading it says why.
    """

    path: str
    size: int
    mtime_ns: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The point's id: a UUID made from the path, the same in every run."""
        return str(uuid.uuid5(_NAMESPACE, self.path))

    def read(self) -> bytes:
        """Return the image file's bytes. Raises ImageError when they cannot be had."""
        return read_file(self.path)


@dataclass(frozen=True, slots=True)
class ImageList(Sequence[ImageInput]):
    """Images in a fixed order, about 0.4 KB each; ``warnings`` tell what was passed over while listing them."""

    inputs: Sequence[ImageInput]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.inputs[index]

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[ImageInput]:
        return iter(self.inputs)


def list_images(paths: Iterable[str | Path], *, captions: str | Path | None = None) -> ImageList:
    """List image files: those named, and those in the folders named with all below them, each once.

    In folders a file is an image by its ending (``SUFFIXES``), and names that start with a dot are passed over. Links
    to folders are followed, but no folder is entered twice. The order is that of ``paths``, then by name.

    Fields for the payload come from ``photo.txt`` and ``photo.json`` beside ``photo.jpg`` and from the ``captions``
    CSV, which has the last word.

    Raises UsageError when a path does not exist, or when the CSV cannot be used.
    """
    remarks = Remarks()
    table = CaptionTable(Path(captions), remarks) if captions is not None else None
    found: dict[str, ImageInput] = {}
    entered: set[str] = set()
    for path in paths:
        root = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - absolute() would keep ".."
        for file in _files(root, entered, remarks):
            item = _describe(file, table, remarks)
            found.setdefault(item.path, item)
    if table is not None:
        table.remark_unused()
    return ImageList(list(found.values()), remarks.lines())


@dataclass(frozen=True, slots=True)
class _File:
    """An image file, what the file system says of it (None: it cannot be looked at), and its sidecars' names."""

    path: Path
    stat: os.stat_result | None
    sidecars: frozenset[str]


def _files(root: Path, entered: set[str], remarks: Remarks) -> Iterator[_File]:
    found = _stat(root)
    if found is not None and stat.S_ISDIR(found.st_mode):
        yield from _walk(root, entered, remarks)
    elif _is_file(found) and os.path.lexists(root):
        yield _File(root, found, frozenset(name for name in _sidecar_names(root) if _stat(root.with_name(name))))
    else:
        raise UsageError(f"there is no file or folder {str(root)!r}: name images, or folders of images")


def _walk(folder: Path, entered: set[str], remarks: Remarks) -> Iterator[_File]:
    real = os.path.realpath(folder)
    if real in entered:
        return
    entered.add(real)
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as exc:
        remarks.add(f"folder cannot be read: {exc.strerror}", str(folder))
        return
    beside = frozenset(names)
    for path in (folder / name for name in names):
        found = _stat(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            yield from _walk(path, entered, remarks)
        elif path.suffix.lower() in SUFFIXES and _is_file(found):
            yield _File(path, found, beside.intersection(_sidecar_names(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_file(found: os.stat_result | None) -> bool:
    """Tell regular files, and what cannot be looked at, from pipes and devices, which would block their reader."""
    return found is None or stat.S_ISREG(found.st_mode)


def _sidecar_names(image: Path) -> tuple[str, str]:
    return f"{image.stem}.txt", f"{image.stem}.json"


def _describe(file: _File, table: CaptionTable | None, remarks: Remarks) -> ImageInput:
    path = os.fsencode(file.path.as_posix()).decode("utf-8", "replace")  # stores take UTF-8 only
    fields = read_sidecars(file.path, file.sidecars, remarks)
    if table is not None:
        fields |= table.fields(path)
    if file.stat is None:
        return ImageInput(path, 0, 0, fields)
    return ImageInput(path, file.stat.st_size, file.stat.st_mtime_ns, fields)
