"""Room on the disk of an embedded collection.

The engine maps its files, most of them with holes, so that a write to a full disk ends the process by a signal that
nobody can catch. Room is therefore looked at before, and what cannot be known before is tried in another process (``trial``).
"""

from __future__ import annotations

import shutil
from pathlib import Path

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


def is_short_of_room(shard: Path) -> bool:
    """Tell whether loading a shard may need more room than its disk has.

    Loading fills holes: all that it reads on a memory disk, elsewhere what a killed process had only in its log.
    """
    return shutil.disk_usage(shard).free < _holes(shard) + RESERVE_BYTES


def _holes(folder: Path) -> int:
    """Return how many bytes the files below a folder may still take without growing."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(max(0, each.st_size - each.st_blocks * _BLOCK) for each in found if hasattr(each, "st_blocks"))
