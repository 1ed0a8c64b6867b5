"""Memory that the embedded engine has mapped, written and no longer needs, given back to the system.

Filling a collection touches every page of its log and its vectors. A flush puts them on the disk, but they stay mapped, so
that indexing a million images would show, and in a container count, as gigabytes of the process's memory.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_MADV_PAGEOUT = 21  # of Linux 5.4: write back, then drop; unlike MADV_DONTNEED it never loses what a page holds


def page_out(folder: Path) -> None:
    """Drop the pages of the files below a folder that this process has mapped; elsewhere than on Linux, nothing.

    What is needed again is read from the disk. A system that does not know the advice keeps the pages.
    """
    if sys.platform != "linux":
        return
    below = f"{folder.resolve()}/"
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines():
        span, _, _, _, _, *file = line.split(maxsplit=5)
        if file and file[0].startswith(below):
            start, end = (int(address, 16) for address in span.split("-"))
            advise(start, end - start, _MADV_PAGEOUT)
