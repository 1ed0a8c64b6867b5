"""Folders under watch: which images to index again as files come, change and go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event

import watchfiles

from t2c_search.errors import UsageError
from t2c_search.sources import SUFFIXES
from t2c_search.sources.addresses import absolute
from t2c_search.sources.passed_over import why_passed_over
from t2c_search.sources.tables.sidecars import SIDECAR_SUFFIXES, sidecar_names

_QUIET_MS = 300  # a batch ends when nothing has happened for so long: files are written in several steps
_LONGEST_MS = 2000  # and at the latest then, as more may come for hours


@dataclass(frozen=True, slots=True)
class Changes:
    """Absolute paths: images and folders to index, and files and folders of which some may be no longer there."""

    touched: tuple[str, ...]
    gone: tuple[str, ...]


def watch(folders: Iterable[str | Path], stop: Event, exclude: Sequence[str] = ()) -> Iterator[Changes]:
    """Begin to watch now, and return the changes from now on, in batches, until ``stop`` is set.

    What happens between two batches is in the next one. Links to folders are followed, and paths are those that a listing
    gives; what a link to a file leads to is not watched, nor what is hidden or matches a pattern of ``exclude``. Raises
    UsageError for what is no folder, or cannot be watched.
    """
    named = [absolute(str(folder)) for folder in folders]
    roots = [Path(name) for name in named]
    for name, root in zip(named, roots, strict=True):
        if not root.is_dir():
            raise UsageError(f"{name!r} cannot be watched: name folders of this machine")
    return _changes(_Tree(roots, exclude), _begin(roots, stop), stop)


def _begin(roots: Sequence[Path], stop: Event) -> Iterator[set[Path]]:
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
    return ({Path(path) for _, path in batch} for batch in chain([first], batches))


def _changes(tree: _Tree, batches: Iterator[set[Path]], stop: Event) -> Iterator[Changes]:
    roots = tree.roots
    while True:
        try:
            paths = next(batches, None)
        except RuntimeError:  # a name that is not UTF-8 came or went, and ended the watch: as for links
            batches, tree = _begin(roots, stop), tree.anew()
            yield Changes(_posix(roots), ())
            continue
        if paths is None:
            return
        links = {path for path in paths if tree.is_link(path)}
        if links:  # the system follows those there at the beginning only: begin anew, and look everywhere once
            begun = _begin(roots, stop)
            paths |= next(batches, set())
            batches, tree = begun, tree.anew()
        found = _changes_of(paths, tree)
        if links:
            found = Changes(_posix(roots), _posix({*links, *map(Path, found.gone)}))
        if found.touched or found.gone:
            yield found


class _Tree:
    """The folders under watch, each by the one name that a listing gives it, whichever links lead there."""

    def __init__(self, roots: Sequence[Path], exclude: Sequence[str] = ()) -> None:
        self.roots = roots
        self._exclude = exclude
        self._names: dict[str, Path] = {}
        self._links: set[Path] = set()
        for root in roots:
            self.enter(root)

    def enter(self, folder: Path) -> None:
        """Note a folder and those below it, in a listing's order."""
        real = os.path.realpath(folder)
        if real in self._names:
            return
        self._names[real] = folder
        with suppress(OSError), os.scandir(folder) as entries:  # it may be gone, or not to be read
            below = sorted(entry.name for entry in entries if entry.is_dir())
            for path in (folder / name for name in below):
                if self.is_passed_over(path):
                    continue
                if path.is_symlink():
                    self._links.add(path)
                self.enter(path)

    def name(self, path: Path) -> Path:
        """Return what a listing calls a path."""
        folder = self._names.get(os.path.realpath(path.parent))
        return path if folder is None or path in self.roots else folder / path.name

    def is_link(self, path: Path) -> bool:
        """Tell whether a path is, or was, a link to a folder."""
        return path in self._links or (path.is_symlink() and path.is_dir() and not self.is_passed_over(path))

    def is_passed_over(self, path: Path) -> bool:
        """Tell whether a path is a root, of which only the content matters, hidden, or excluded."""
        root = next(root for root in self.roots if path.is_relative_to(root))
        below = path.relative_to(root).as_posix()
        return path in self.roots or why_passed_over(below, root.as_posix(), self._exclude) is not None

    def anew(self) -> _Tree:
        """Return the tree as it is now."""
        return _Tree(self.roots, self._exclude)


def _changes_of(paths: Iterable[Path], tree: _Tree) -> Changes:
    touched: set[Path] = set()
    gone: set[Path] = set()
    for path in {tree.name(path) for path in paths}:
        if tree.is_passed_over(path):
            continue
        if not path.exists():
            gone.add(path)
        elif path.is_dir():
            tree.enter(path)
            touched.add(path)
        elif path.suffix.lower() in SUFFIXES:
            touched.add(path)
        elif path.suffix.lower() in SIDECAR_SUFFIXES:
            touched.update(_images_beside(path))
    return Changes(_posix(touched), _posix(gone))


def _posix(paths: Iterable[Path]) -> tuple[str, ...]:
    names = (os.fsencode(path.as_posix()).decode("utf-8", "replace") for path in paths)  # stores take UTF-8 only
    return tuple(sorted(names))


def _images_beside(sidecar: Path) -> Iterator[Path]:
    images = (path for path in sidecar.parent.iterdir() if path.suffix.lower() in SUFFIXES)
    return (path for path in images if sidecar.name in sidecar_names(path.name))
