"""Folders under watch: which images to index again as files come, change and go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from itertools import chain
from pathlib import Path
from threading import Event

import watchfiles

from t2c_search.errors import UsageError
from t2c_search.indexing.sources import SUFFIXES

_QUIET_MS = 300  # a batch ends when nothing has happened for so long: files are written in several steps
_LONGEST_MS = 2000  # and at the latest then, as more may come for hours
_SIDECARS = (".txt", ".json")


@dataclass(frozen=True, slots=True)
class Changes:
    """Absolute paths: images and new folders to index, and files and folders that are no longer there."""

    touched: tuple[str, ...]
    gone: tuple[str, ...]


def watch(folders: Iterable[str | Path], stop: Event) -> Iterator[Changes]:
    """Begin to watch now, and return the changes from now on, in batches, until ``stop`` is set.

    What happens between two batches is in the next one. Raises UsageError for what is no folder, or cannot be watched.
    """
    roots = [Path(folder).expanduser().absolute() for folder in folders]
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{str(root)!r} cannot be watched: name folders of this machine")
    batches = watchfiles.watch(
        *roots,
        watch_filter=None,
        debounce=_LONGEST_MS,
        step=_QUIET_MS,
        stop_event=stop,
        rust_timeout=_QUIET_MS,
        yield_on_timeout=True,  # so that a first answer says that the watch is on
        raise_interrupt=False,
    )
    try:
        first = next(batches, set())
    except OSError as exc:  # the system's limit of watches, above all
        raise UsageError(f"{', '.join(map(str, roots))} cannot be watched: {exc}") from exc
    found = (_changes({Path(path) for _, path in batch}, roots) for batch in chain([first], batches))
    return (changes for changes in found if changes.touched or changes.gone)


def _changes(paths: Iterable[Path], roots: Sequence[Path]) -> Changes:
    touched, gone = set(), set()
    for path in paths:
        if path in roots or _is_hidden(path, roots):
            continue
        if not path.exists():
            gone.add(path.as_posix())
        elif path.is_dir() or path.suffix.lower() in SUFFIXES:
            touched.add(path.as_posix())
        elif path.suffix.lower() in _SIDECARS:
            touched.update(image.as_posix() for image in _images_beside(path))
    return Changes(tuple(sorted(touched)), tuple(sorted(gone)))


def _is_hidden(path: Path, roots: Iterable[Path]) -> bool:
    root = next(root for root in roots if path.is_relative_to(root))
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _images_beside(sidecar: Path) -> Iterator[Path]:
    return (path for path in sidecar.parent.glob(f"{escape(sidecar.stem)}.*") if path.suffix.lower() in SUFFIXES)
