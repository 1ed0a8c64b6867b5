"""Image files as bytes: what is read, and what is refused before it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO

from t2c_search.errors import ImageError

MAX_BYTES = 1 << 30
"""Larger files are refused: one is read into memory per thread."""


def open_local(path: str | Path) -> BinaryIO:
    """Open a local file for reading. Raises OSError, for pipes and devices too: their reader may wait for ever."""
    return open(path, "rb", opener=_open_regular)  # Path.open() takes no opener


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # or a pipe would wait here for its writer
    mode = os.fstat(descriptor).st_mode
    if S_ISREG(mode) or S_ISDIR(mode):  # of folders, open() says so itself
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file")


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes. Raises ImageError when it cannot be read, is empty or is larger than ``MAX_BYTES``."""
    try:
        with open_local(path) as file:
            check_size(os.fstat(file.fileno()).st_size)
            return file.read()
    except ImageError:
        raise
    except OSError as exc:
        renamed = "; its name is not valid UTF-8: rename the file" if "\ufffd" in str(path) else ""
        raise ImageError(f"the file cannot be read: {exc.strerror}{renamed}") from exc
    except ValueError as exc:
        raise ImageError(f"the file cannot be read: its name is none that files can have: {exc}") from exc


def check_size(size: int) -> None:
    """Raise ImageError for an image file of no bytes, or of more than ``MAX_BYTES``."""
    if not size:
        raise ImageError("the file is empty")
    if size > MAX_BYTES:
        raise ImageError(f"the file is larger than the limit of {MAX_BYTES >> 30} GiB")
