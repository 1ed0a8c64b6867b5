"""Which files of this machine an encoder's id names, and whether they have changed; imports no model library."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from t2c_search.encoders.adapters.vector_files import vector_files
from t2c_search.encoders.loading import LOCAL_DIR, absolute
from t2c_search.encoders.options import read_id

Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, file number, size and time of change in ns of each file."""


def named_folder(encoder_id: str) -> Path | None:
    """Return the absolute path of the folder that an id names, there or not; None for ids of other things."""
    asked = read_id(encoder_id)
    name = asked.name
    match asked.kind:
        case "timm" | "open_clip" if name.startswith(LOCAL_DIR):
            return absolute(name.removeprefix(LOCAL_DIR))
        case "st" if is_path(name):
            return absolute(name)
        case "precomputed":
            return absolute(name)
    return None


def is_path(name: str) -> bool:
    """Tell a path from the name of a sentence-transformers model."""
    return name.startswith((".", "~", "/")) or Path(name).is_dir()


def stamp(encoder_id: str) -> Stamp:
    """Return the stamp of the files that an id names; empty for ids of other things, and where they are gone.

    Of a user's own module that is the file of its code, once it is imported; what its factory reads is not known.
    """
    asked = read_id(encoder_id)
    if asked.kind == "torch":
        module = sys.modules.get(asked.name.rpartition(":")[0])
        file = getattr(module, "__file__", None)
        return _stamp([Path(file)] if file else [])
    folder = named_folder(encoder_id)
    if folder is None or not folder.is_dir():
        return ()
    if asked.kind == "precomputed":  # the images may lie beside their vectors
        vectors = vector_files(folder)
        return _stamp((*vectors, *vectors.values(), *folder.glob("concept_*")))
    return _stamp(sorted(folder.rglob("*") if asked.kind == "st" else folder.glob("*")))


def _stamp(files: Iterable[Path]) -> Stamp:
    found = []
    for file in files:
        with suppress(OSError):  # it may go while we look
            status = file.stat()
            found.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
