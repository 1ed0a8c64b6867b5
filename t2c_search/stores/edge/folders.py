"""Which folder holds an embedded collection: its own, or the one below it that replaced what was there.

A collection is made as ``NAME/shard`` and ``NAME/blobs``. A replacement is filled as ``NAME/g-xxxx/shard`` and ``/blobs``;
the file ``NAME/current``, which is replaced atomically, then names that folder.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from t2c_search.stores.blobs import FileBlobs, sync_folder

_POINTER = "current"
_PREFIX = "g-"
_FIRST = ("shard", "blobs")


def current(home: Path) -> Path:
    """Return the folder that holds the collection of the folder ``home``. Raises OSError."""
    name = FileBlobs(home).read(_POINTER)
    return home if name is None else home / name.decode()


def make_aside(home: Path) -> Path:
    """Make an empty folder for a replacement. Raises OSError."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))


def switch(home: Path, folder: Path) -> None:
    """Make a folder from ``make_aside`` the collection's, durably and in one step. Raises OSError."""
    sync_folder(folder)
    FileBlobs(home).write(_POINTER, folder.name.encode())


def discard(home: Path, folder: Path) -> bool:
    """Remove a folder from ``make_aside``, unless the pointer names it already or cannot be read; tell whether it may."""
    try:
        named = current(home)
    except OSError:
        return False
    if named != folder:
        shutil.rmtree(folder, ignore_errors=True)
    return named != folder


def remove_others(home: Path) -> None:
    """Remove what was replaced, and replacements that a killed process left. Only for who holds the collection's lock."""
    kept = current(home)
    others = [folder for folder in home.glob(_PREFIX + "*") if folder != kept]
    if kept != home:
        others += [home / name for name in _FIRST]
    for folder in others:
        shutil.rmtree(folder, ignore_errors=True)
