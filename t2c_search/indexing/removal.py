"""Images that are gone: which points of a collection stand for files that no longer exist."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from t2c_search.errors import UsageError
from t2c_search.filters import AllOf, Equals
from t2c_search.indexing.metadata import MEMBER
from t2c_search.indexing.sources import ImageInput
from t2c_search.stores.protocol import VectorStore

_ELSEWHERE = ("://", MEMBER)  # in the paths of images that are no files here: at an address, inside an archive


def is_gone(path: str) -> bool:
    """Tell whether a file of this machine is certainly no longer there; what cannot be looked at counts as there."""
    if any(mark in path for mark in _ELSEWHERE):
        return False
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def absolute_roots(paths: Iterable[str | Path], inputs: Iterable[ImageInput]) -> list[str]:
    """Return the absolute paths of folders whose vanished images may be deleted.

    Raises UsageError for what is no folder, and for a folder in which no image was found: it may be a disk that is not
    mounted, and everything below it would be deleted.
    """
    roots = [Path(os.path.abspath(Path(path).expanduser())) for path in paths]  # noqa: PTH100 - as list_images does
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{str(root)!r} is no folder of this machine: --sync compares folders with the collection")
    names = [root.as_posix() for root in roots]
    empty = set(names)
    for item in inputs:
        empty -= {name for name in empty if _is_below(item.path, name)}
    if empty:
        raise UsageError(
            f"there is no image in {sorted(empty)[0]!r}: is its disk mounted? With --sync every image below it would be "
            "deleted from the collection; if they are all gone indeed, name the folder above it"
        )
    return names


def gone_points(store: VectorStore, paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield, in lists, the ids of the points at these absolute paths, or below them, whose files are gone."""
    files = {payload["path"] for payload in store.fetch([_id(path) for path in paths]).payloads}
    yield [_id(path) for path in files if is_gone(path)]
    for path in paths:
        if path in files:
            continue
        folders = tuple(Equals(field="folders", value=name) for name in dict.fromkeys(PurePath(path).parts[1:]))
        for points in store.scan(where=AllOf(parts=folders) if folders else None, payload=("path",)):
            found = (payload["path"] for payload in points.payloads)
            yield [_id(other) for other in found if _is_below(other, path) and is_gone(other)]


def is_at_or_below(path: str, roots: Sequence[str]) -> bool:
    """Tell whether a path is one of the roots or lies below one."""
    return any(path == root or _is_below(path, root) for root in roots)


def _id(path: str) -> str:
    return ImageInput(path, 0, 0).id


def _is_below(path: str, root: str) -> bool:
    return path.startswith(f"{root.rstrip('/')}/")
