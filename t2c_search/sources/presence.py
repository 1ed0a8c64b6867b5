"""Whether what was listed once is still there."""

from __future__ import annotations

import os
from pathlib import Path

from t2c_search.sources.addresses import is_remote
from t2c_search.sources.kinds import split_member

_REPLACED = "\ufffd"  # stands in stored paths for the bytes of a file's name that are not UTF-8


def is_gone(path: str) -> bool:
    """Tell whether a file of this machine, or the container that an image lies in, is certainly no longer there.

    What cannot be looked at counts as there, and so does all that is remote, and every member of a container that is.
    """
    if is_remote(path):
        return False
    file = split_member(path)[0] or path
    try:
        os.lstat(file)
    except ValueError:  # no file can have a NUL in its name, though a row of a table can say so
        return True
    except (FileNotFoundError, NotADirectoryError):
        return _REPLACED not in file or not _is_stored_name(file)
    except OSError:
        return False
    return False


def _is_stored_name(path: str) -> bool:
    """Tell whether a file whose name is not UTF-8 may be stored under this path."""
    folder, name = os.path.split(path)
    try:
        return any(os.fsencode(other.name).decode("utf-8", "replace") == name for other in Path(folder).iterdir())
    except FileNotFoundError:
        return not is_gone(folder)
    except NotADirectoryError:
        return False
    except OSError:
        return True
