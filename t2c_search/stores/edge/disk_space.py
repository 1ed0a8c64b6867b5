"""Room on the disk of an embedded collection.

The engine maps its files, most of them with holes, so that a write to a full disk ends the process by a signal that
nobody can catch. Room is therefore looked at before, and what cannot be known before is tried in a child process.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import qdrant_edge

from t2c_search import child
from t2c_search.errors import StoreFullError

RESERVE_BYTES = 64 << 20
"""Room that must be left on the disk after every write."""
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


def full_disk(location: str, found: str = "") -> StoreFullError:
    """Return the error for a location whose disk has no room left."""
    return StoreFullError(
        f"the disk of {location} is full{found}. Make room and run the same command again; what was acknowledged is kept"
    )


def require_room(folder: Path, location: str, needed: int) -> None:
    """Raise StoreFullError unless the disk of a folder has so many bytes free, and the reserve beside them."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise full_disk(
            location, f": {free >> 20} MiB are free, and {-(-(needed + RESERVE_BYTES) >> 20)} MiB are needed"
        )


def try_loading(shard: Path, location: str) -> None:
    """Load a shard in a child process, where the disk may have too little room for it; raise StoreFullError if it dies.

    Loading fills holes: all that it reads on a memory disk, elsewhere what a killed process had only in its log. Errors
    that are no death are left for the caller's own loading to tell.
    """
    holes = _holes(shard)
    if shutil.disk_usage(shard).free >= holes + RESERVE_BYTES:
        return
    try:
        child.call(_load, str(shard))
    except child.NoAnswerError as exc:
        if exc.code < 0:  # by a signal
            raise full_disk(
                location, f": the collection cannot be opened, and may need {holes >> 20} MiB for that"
            ) from exc


def _load(shard: str) -> None:
    qdrant_edge.EdgeShard.load(shard).close()


def _holes(folder: Path) -> int:
    """Return how many bytes the files below a folder may still take without growing."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(max(0, each.st_size - each.st_blocks * _BLOCK) for each in found if hasattr(each, "st_blocks"))
