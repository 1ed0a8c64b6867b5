"""Folders with all that lies below them, and single image files, on local disks and on remote file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from t2c_search.errors import UsageError
from t2c_search.sources.addresses import Stat, find, read_several, stat
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.kinds import kind_of
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import merge
from t2c_search.sources.tables.sidecars import SIDECAR_BYTES, SIDECAR_SUFFIXES, parse_sidecar, read_sidecars
from t2c_search.types import Payload

_FETCHED_AT_ONCE = 500  # remote sidecars


def list_folder(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images below a local folder, by name; links to folders are followed, but none is entered twice."""
    folder = Path(address)
    real = os.path.realpath(folder)
    if real in listing.entered:
        return
    listing.entered.add(real)
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as exc:
        listing.remarks.add(f"folder cannot be read: {exc.strerror}", address)
        return
    beside = frozenset(names)
    for path in (folder / name for name in names):
        found = _stat(path)
        if found is not None and S_ISDIR(found.st_mode):
            yield from list_folder(str(path), listing)
        elif path.suffix.lower() in SUFFIXES and _is_file(found):
            yield _describe(path, found, beside.intersection(_sidecar_names(path)), listing)
        else:
            _remark_container(str(path), listing)


def list_file(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List one local file, whatever its ending. Raises UsageError for what is none."""
    path = Path(address)
    found = _stat(path)
    if not _is_file(found) or not os.path.lexists(path):
        raise UsageError(f"{address!r} is not a file or folder")
    sidecars = frozenset(name for name in _sidecar_names(path) if _stat(path.with_name(name)))
    yield _describe(path, found, sidecars, listing)


def list_remote(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images below a remote folder, by address, with what lies beside them; or one remote file.

    Raises UsageError when the file system cannot be reached, or has no such file or folder.
    """
    found = stat(address)
    if found is None:
        raise UsageError(f"there is no file or folder {address!r}, or it cannot be looked at from here")
    if not found.is_folder:
        yield ImageInput(address, found.size, found.mtime_ns)
        return
    files = find(address)
    images = (path for path in files if PurePosixPath(path).suffix.lower() in SUFFIXES)
    while group := list(islice(images, _FETCHED_AT_ONCE)):
        notes = _fetch_sidecars(group, files, listing)
        for path in group:
            yield ImageInput(path, files[path].size, files[path].mtime_ns, notes[path])
    for path in files:
        _remark_container(path, listing)


def _fetch_sidecars(images: list[str], files: dict[str, Stat], listing: Listing) -> dict[str, Payload]:
    """Return the fields beside each image, all fetched together."""
    beside = {
        image: [
            name
            for suffix in SIDECAR_SUFFIXES
            if (name := image.removesuffix(PurePosixPath(image).suffix) + suffix) in files
            and files[name].size <= SIDECAR_BYTES
        ]
        for image in images
    }
    contents = read_several([name for names in beside.values() for name in names])
    return {
        image: merge(parse_sidecar(contents[name], name, listing.remarks) for name in names if name in contents)
        for image, names in beside.items()
    }


def _remark_container(path: str, listing: Listing) -> None:
    kind = kind_of(path)
    if kind is not None and kind.read is not None:
        suffix = PurePosixPath(path).suffix.lower()
        listing.remarks.add(f"{suffix} file in a folder is not opened: name it, or a pattern such as '*{suffix}'", path)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_file(found: os.stat_result | None) -> bool:
    """Tell regular files, and what cannot be looked at, from pipes and devices, which would block their reader."""
    return found is None or S_ISREG(found.st_mode)


def _sidecar_names(image: Path) -> list[str]:
    return [image.stem + suffix for suffix in SIDECAR_SUFFIXES]


def _describe(path: Path, found: os.stat_result | None, sidecars: frozenset[str], listing: Listing) -> ImageInput:
    name = os.fsencode(path.as_posix()).decode("utf-8", "replace")  # stores take UTF-8 only
    fields = read_sidecars(path, sidecars, listing.remarks)
    return ImageInput(name, found.st_size if found else 0, found.st_mtime_ns if found else 0, fields)
