"""Tar archives (webdataset shards among them) and zip archives, read in place: nothing is unpacked to disk.

Members that share a name but for the ending, ``0001.jpg``, ``0001.txt`` and ``0001.json``, are an image, its captions
and its fields. A tar archive is read for its headers twice, to be listed and before its first image is read; after
that, an image is one read at a known offset.
"""

from __future__ import annotations

import tarfile
import weakref
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from t2c_search.decoding.files import check_size
from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import ImageError, UsageError
from t2c_search.sources.addresses import Stat, open_binary, read_range, said_of, stat, version
from t2c_search.sources.containers.cache import Cache
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.tables.annotations import merge
from t2c_search.sources.tables.sidecars import SIDECAR_BYTES, SIDECAR_SUFFIXES, parse_sidecar
from t2c_search.types import Payload

TAR_SUFFIXES = (".tar",)
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ZIP_SUFFIXES = (".zip",)

_ARCHIVES = TAR_SUFFIXES + COMPRESSED_SUFFIXES + ZIP_SUFFIXES
_OPEN_ARCHIVES = 8  # whose lists of members are kept; threads read from one or two at a time
_BLOCK = 512  # bytes, the unit of tar


@dataclass(frozen=True, slots=True)
class _Member:
    """One regular file in an archive: its name as it is in paths, its size in bytes, its offset (tar), its content."""

    name: str
    size: int
    offset: int
    read: Callable[[], bytes]


def list_tar(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images in a plain tar archive. Raises UsageError, after those before it, at a damaged header."""
    _TAR_INDEXES.forget((address, version(address)))
    return _list(address, _tar_members(address), listing)


def list_zip(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images in a zip archive. Raises UsageError when its directory is damaged."""
    _ZIP_FILES.forget((address, version(address)))
    return _list(address, _zip_members(address), listing)


def refuse_compressed(address: str, listing: Listing) -> Iterator[ImageInput]:
    """Raise UsageError: to read one image of a compressed tar archive, all before it would have to be decompressed."""
    raise UsageError(f"compressed archive {address!r} cannot be read in place: unpack it, or store it as a plain .tar")


def read_tar(address: str, member: str) -> bytes:
    """Return the bytes of a tar archive's member. Raises ImageError when it is not there, empty, too large or cut off."""
    with said_of(f"archive {address!r}", ImageError):
        found = _TAR_INDEXES[address, version(address)].get(member)
        if found is None:
            raise ImageError("the archive has no such member any more")
        offset, size = found
        check_size(size)
        content = read_range(address, offset, size)
    if len(content) < size:
        raise ImageError(f"the archive is cut off: {len(content)} of the member's {size} bytes are there")
    return content


def read_zip(address: str, member: str) -> bytes:
    """Return the bytes of a zip archive's member, as ``read_tar``; a damaged or encrypted one is an ImageError too."""
    with said_of("the archive's member", ImageError):
        archive, names = _ZIP_FILES[address, version(address)]
        if member not in names:
            raise ImageError("the archive has no such member any more")
        entry = names[member]
        check_size(entry.file_size)
        return _read_entry(archive, entry)


def _list(address: str, members: Iterable[_Member], listing: Listing) -> Iterator[ImageInput]:
    """Yield the images when all members are known: captions may come before or after their image."""
    sizes: dict[str, int] = {}
    notes: dict[str, dict[str, Payload]] = defaultdict(dict)
    try:
        for member in members:
            place, path = PurePosixPath(member.name), f"{address}{MEMBER}{member.name}"
            suffix = place.suffix.lower()
            if suffix in SUFFIXES:
                sizes[member.name] = member.size
            elif suffix in SIDECAR_SUFFIXES:
                notes[_stem(place)][suffix] = _sidecar(member, path, listing)
            elif member.name.lower().endswith(_ARCHIVES):
                listing.remarks.add("archive in an archive is not opened: unpack the outer one", path)
    except UsageError as exc:
        listing.remarks.add(f"{exc}; only what lies before that is listed", f"{len(sizes)} images")
    mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
    for name, size in sizes.items():
        beside = notes.get(_stem(PurePosixPath(name)), {})
        fields = merge(beside[suffix] for suffix in SIDECAR_SUFFIXES if suffix in beside)
        yield ImageInput(f"{address}{MEMBER}{name}", size, mtime_ns, fields)


def _sidecar(member: _Member, path: str, listing: Listing) -> Payload:
    if member.size > SIDECAR_BYTES:
        listing.remarks.add(f"sidecar passed over: it is larger than {SIDECAR_BYTES >> 10} KiB", path)
        return {}
    try:
        with said_of("it", UsageError):
            content = member.read()
    except UsageError as exc:
        listing.remarks.add(f"sidecar passed over: {exc}", path)
        return {}
    return parse_sidecar(content, path, listing.remarks)


def _stem(place: PurePosixPath) -> str:
    return place.with_suffix("").as_posix()


def _tar_members(address: str) -> Iterator[_Member]:
    with (
        said_of(f"archive {address!r}", UsageError),
        open_binary(address) as file,
        tarfile.open(fileobj=file, mode="r:", errors="surrogateescape", encoding="utf-8") as archive,
    ):
        while (header := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if header.isreg() and not header.issparse() and (name := _shown(header.name)):
                yield _Member(name, header.size, header.offset_data, partial(_extract, archive, header))
        file.seek(archive.offset)
        if file.read(_BLOCK).strip(b"\0"):  # tarfile takes a damaged header for the end
            raise UsageError(f"archive {address!r} is damaged at byte {archive.offset}")


def _extract(archive: tarfile.TarFile, header: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(header)
    return content.read() if content else b""


def _zip_members(address: str) -> Iterator[_Member]:
    with said_of(f"archive {address!r}", UsageError):
        archive, names = _ZIP_FILES[address, version(address)]
        for name, entry in names.items():
            yield _Member(name, entry.file_size, entry.header_offset, partial(_read_entry, archive, entry))


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as content:
        return content.read(entry.file_size)  # no more, whatever the compressed bytes would swell to


def _shown(name: str) -> str | None:
    """Return a member's name as it is in paths, UTF-8 without ``./``; None for the hidden ones."""
    parts = PurePosixPath(name).parts
    if not parts or any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts):
        return None
    return PurePosixPath(name).as_posix().encode("utf-8", "replace").decode()


def _index_tar(key: tuple[str, Stat | None]) -> dict[str, tuple[int, int]]:
    """Map the names of images to their offset and size; what is behind a damaged header is not there."""
    index: dict[str, tuple[int, int]] = {}
    try:
        for member in _tar_members(key[0]):
            if PurePosixPath(member.name).suffix.lower() in SUFFIXES:
                index[member.name] = member.offset, member.size
    except UsageError as exc:
        if not index:
            raise ImageError(str(exc)) from exc
    return index


def _open_zip(key: tuple[str, Stat | None]) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    with ExitStack() as opened:
        archive = zipfile.ZipFile(opened.enter_context(open_binary(key[0])))
        weakref.finalize(archive, opened.pop_all().close)  # threads may read from it when it has left the cache
    entries = ((_shown(entry.filename), entry) for entry in archive.infolist() if not entry.is_dir())
    return archive, {name: entry for name, entry in entries if name}


_TAR_INDEXES = Cache(_index_tar, _OPEN_ARCHIVES)
_ZIP_FILES = Cache(_open_zip, _OPEN_ARCHIVES)
