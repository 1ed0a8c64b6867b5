"""Images that are gone: which points of a collection stand for files that no longer exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import UsageError
from t2c_search.filters import AllOf, Equals
from t2c_search.sources import ImageInput
from t2c_search.sources.addresses import absolute
from t2c_search.sources.kinds import split_member
from t2c_search.sources.presence import is_gone
from t2c_search.stores.protocol import VectorStore


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
