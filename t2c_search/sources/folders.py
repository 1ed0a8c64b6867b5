"""Folders with all that lies below them, and single image files, on local disks and on remote file systems."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from t2c_search.errors import UsageError
from t2c_search.sources.addresses import Stat, find, read_several, stat, storable
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.kinds import kind_of
from t2c_search.sources.lister import Listing
from t2c_search.sources.passed_over import NO_FILE, why_not_an_image
from t2c_search.sources.tables.annotations import merge
from t2c_search.sources.tables.sidecars import (
    SIDECAR_BYTES,
    SIDECAR_SUFFIXES,
    TOO_LARGE,
    parse_sidecar,
    read_sidecar,
    read_sidecars,
    sidecar_names,
)
from t2c_search.types import Payload

_FETCHED_AT_ONCE = 500  # remote sidecars
_NOT_UTF8 = "passed over: its name is not valid UTF-8, and is like another's but for that; rename the file"


def list_folder(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images below a local folder, by name; links to folders are followed, but none is entered twice."""
    return _list_below(Path(address), "", address, listing)


def _list_below(folder: Path, below: str, root: str, listing: Listing) -> Iterator[ImageInput]:
    """List a folder that lies ``below`` the root, whose path is in front of it."""
    real = os.path.realpath(folder)
    if (known := listing.entered.get(real)) is not None:
        if known != str(folder):
            listing.remarks.add("folder that is listed already, under another name", str(folder))
        return
    listing.entered[real] = str(folder)
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as exc:
        listing.remarks.add(f"folder cannot be read: {exc.strerror}", str(folder))
        return
    names = [name for name in names if not listing.passes_over(f"{below}{name}", f"{root.rstrip('/')}/")]
    beside = _Sidecars(folder, names, listing)
    shown: set[str] = set()  # of names that are not UTF-8, what stands for them
    for name in names:
        path = folder / name
        found = _stat(path)
        if found is not None and S_ISDIR(found.st_mode):
            yield from _list_below(path, f"{below}{name}/", root, listing)
        elif name in beside.used:
            continue
        elif not _is_file(found):
            listing.remarks.add(NO_FILE, str(path))
        elif path.suffix.lower() not in SUFFIXES:
            _remark(str(path), listing)
        elif (text := _utf8(name)) != name and text in shown:
            listing.remarks.add(_NOT_UTF8, str(path))
        else:
            if text != name:
                shown.add(text)
            yield _described(path, found, beside.fields(name))


class _Sidecars:
    """Those of the files in a folder that describe its images."""

    def __init__(self, folder: Path, names: Iterable[str], listing: Listing) -> None:
        self._folder = folder
        self._listing = listing
        self._there = frozenset(name for name in names if name.endswith(SIDECAR_SUFFIXES))
        images = (name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES)
        self.used = Counter(found for image in images for found in self._beside(image))
        self._shared: dict[str, Payload] = {}  # of several images: read, and remarked, once

    def fields(self, image: str) -> Payload:
        """Return what they say of an image; captions of text files come first."""
        return merge(self._read(name) for name in sorted(self._beside(image), reverse=True))

    def _beside(self, image: str) -> list[str]:
        return [name for name in sidecar_names(image) if name in self._there] if self._there else []

    def _read(self, name: str) -> Payload:
        if name in self._shared:
            return self._shared[name]
        found = read_sidecar(self._folder / name, self._listing.remarks)
        if self.used[name] > 1:
            self._shared[name] = found
        return found


def list_file(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List one local file, whatever its ending. Raises UsageError for what is none."""
    path = Path(address)
    found = _stat(path)
    if not _is_file(found) or not os.path.lexists(path):
        raise UsageError(f"{address!r} is not a file or folder")
    there = [name for name in sidecar_names(path.name) if _stat(path.with_name(name))]
    yield _described(path, found, read_sidecars(path, there, listing.remarks))


def list_remote(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images below a remote folder, by address, with what lies beside them; or one remote file.

    Raises UsageError when the file system cannot be reached, or has no such file or folder.
    """
    found = stat(address)
    if found is None:
        raise UsageError(f"there is no file or folder {address!r}, or it cannot be looked at from here")
    if not found.is_folder:
        yield ImageInput(address, found.size, found.mtime_ns, allow_private=True)
        return
    root = f"{address.rstrip('/')}/"
    files = {
        path: entry for path, entry in find(address).items() if not listing.passes_over(path.removeprefix(root), root)
    }
    used: set[str] = set()
    images = (path for path in files if PurePosixPath(path).suffix.lower() in SUFFIXES)
    while group := list(islice(images, _FETCHED_AT_ONCE)):
        beside = {image: [name for name in _remote_sidecars(image) if name in files] for image in group}
        notes = _fetch_sidecars({name for names in beside.values() for name in names} - used, files, listing)
        used.update(notes)
        for path in group:
            fields = merge(notes[name] for name in sorted(beside[path], reverse=True) if name in notes)
            yield ImageInput(path, files[path].size, files[path].mtime_ns, fields, allow_private=True)
    for path in files:
        if path not in used and PurePosixPath(path).suffix.lower() not in SUFFIXES:
            _remark(path, listing)


def _remote_sidecars(image: str) -> list[str]:
    folder, _, name = image.rpartition("/")
    return [f"{folder}/{beside}" for beside in sidecar_names(name)]


def _fetch_sidecars(names: set[str], files: dict[str, Stat], listing: Listing) -> dict[str, Payload]:
    """Return what sidecars say, all fetched together; of those that cannot be used, remarked, nothing."""
    small = [name for name in sorted(names) if files[name].size <= SIDECAR_BYTES]
    contents = read_several(small)
    for name in names - contents.keys():
        reason = "it cannot be fetched" if name in small else TOO_LARGE
        listing.remarks.add(f"sidecar passed over: {reason}", name)
    return {name: parse_sidecar(contents[name], name, listing.remarks) if name in contents else {} for name in names}


def _remark(path: str, listing: Listing) -> None:
    """Remark a file in a folder that is no image, unless it is named too."""
    if path in listing.named:
        return
    kind = kind_of(path)
    suffix = PurePosixPath(path).suffix.lower()
    if kind is not None and kind.read is not None:
        listing.remarks.add(f"{suffix} file in a folder is not opened: name it, or a pattern such as '*{suffix}'", path)
    else:
        listing.remarks.add(why_not_an_image(path), path)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_file(found: os.stat_result | None) -> bool:
    """Tell regular files, and what cannot be looked at, from pipes and devices, which would block their reader."""
    return found is None or S_ISREG(found.st_mode)


def _utf8(name: str) -> str:
    """Return a name as stores take it."""
    return os.fsencode(name).decode("utf-8", "replace")


def _described(path: Path, found: os.stat_result | None, fields: Payload) -> ImageInput:
    size, mtime_ns = (found.st_size, storable(found.st_mtime_ns)) if found else (0, 0)
    return ImageInput(_utf8(path.as_posix()), size, mtime_ns, fields)
