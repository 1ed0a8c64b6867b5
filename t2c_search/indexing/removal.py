"""Images that are gone: which points of a collection stand for files that no longer exist."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from t2c_search.errors import UsageError
from t2c_search.filters import AllOf, Equals
from t2c_search.indexing.metadata import MEMBER
from t2c_search.indexing.places import absolute, is_remote
from t2c_search.indexing.sources import ImageInput
from t2c_search.indexing.sources.kinds import split_member
from t2c_search.stores.protocol import VectorStore

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


def absolute_roots(paths: Iterable[str | Path]) -> list[str]:
    """Return the absolute paths of folders, as a listing gives them. Raises UsageError for what is no folder."""
    roots = [absolute(str(path)) for path in paths]
    for root in roots:
        if not Path(root).is_dir():
            raise UsageError(f"{root!r} is no folder of this machine: --sync compares folders with the collection")
    return roots


def refuse_emptied(store: VectorStore, roots: Sequence[str], inputs: Iterable[ImageInput]) -> None:
    """Raise UsageError for a root below which the collection has images and not one was found.

    It may be a disk that is not mounted, and everything below it would be deleted.
    """
    empty = set(roots)
    for item in inputs:
        if not empty:
            return
        empty -= {root for root in empty if _is_below(item.path, root)}
    for root in sorted(empty):
        if any(_paths_below(store, root)):
            raise UsageError(
                f"there is no image in {root!r}: is its disk mounted? With --sync every image below it would be "
                "deleted from the collection; if they are all gone indeed, name the folder above it"
            )


def gone_points(store: VectorStore, paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield, in lists, the ids of the points at these absolute paths, or below them, whose files are gone."""
    files = {payload["path"] for payload in store.fetch([_id(path) for path in paths]).payloads}
    yield [_id(path) for path in files if is_gone(path)]
    for path in paths:
        if path in files:
            continue
        for found in _paths_below(store, path):
            yield [_id(other) for other in found if is_gone(other)]


def is_at_or_below(path: str, roots: Sequence[str]) -> bool:
    """Tell whether a path is one of the roots or lies below one."""
    return any(path == root or _is_below(path, root) for root in roots)


def _paths_below(store: VectorStore, root: str) -> Iterator[list[str]]:
    """Yield, in lists, the paths of the points below a folder, or in a container."""
    names = dict.fromkeys(PurePath(root.replace(MEMBER, "/")).parts[1:])  # as location_payload takes a path apart
    folders = tuple(Equals(field="folders", value=name) for name in names)
    for points in store.scan(where=AllOf(parts=folders) if folders else None, payload=("path",)):
        yield [payload["path"] for payload in points.payloads if _is_below(payload["path"], root)]


def _id(path: str) -> str:
    return ImageInput(path, 0, 0).id


def _is_below(path: str, root: str) -> bool:
    return path.startswith(f"{root.rstrip('/')}/") or split_member(path)[0] == root
