"""Tar archives (webdataset shards among them) and zip archives, read in place: nothing is unpacked to disk.

Members with one key, their name up to the first dot, belong together: ``0001.left.png``, ``0001.right.png``, ``0001.txt``
and ``0001.json`` are two images with their captions and fields. A tar archive is read for its headers twice, to be listed
and before its first image is read; after that, an image is one read at a known offset.
"""

from __future__ import annotations

import weakref
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from stat import S_ISLNK

from t2c_search.decoding.files import check_size
from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import ImageError, UsageError
from t2c_search.filters import nfc
from t2c_search.sources.addresses import Stat, open_binary, read_range, said_of, stat, version
from t2c_search.sources.containers.cache import Cache
from t2c_search.sources.containers.tar import TarMember, member_name, tar_members
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.lister import Listing
from t2c_search.sources.passed_over import why_not_an_image
from t2c_search.sources.remarks import Remark, Remarks
from t2c_search.sources.tables.annotations import merge
from t2c_search.sources.tables.sidecars import SIDECAR_BYTES, SIDECAR_SUFFIXES, TOO_LARGE, parse_sidecar, sidecar_names
from t2c_search.types import Payload

TAR_SUFFIXES = (".tar",)
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ZIP_SUFFIXES = (".zip",)

_ARCHIVES = TAR_SUFFIXES + COMPRESSED_SUFFIXES + ZIP_SUFFIXES
_OPEN_ARCHIVES = 8  # whose lists of members are kept; threads read from one or two at a time
_ZIP_START = b"PK\3\4"
_REPLACED = "passed over: a later member of the archive has the same name"


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of an archive: its name as it is in paths, size in bytes, how to read it, and why not where that is so."""

    name: str
    size: int
    read: Callable[[], bytes]
    why_not: str


def list_tar(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images in a plain tar archive. Raises UsageError, after those before it, at a damaged header."""
    _TAR_INDEXES.forget((address, version(address)))
    return _list(address, _members_of_tar(address), listing)


def list_zip(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List the images in a zip archive. Raises UsageError when its directory is damaged."""
    _ZIP_FILES.forget((address, version(address)))
    return _list(address, _members_of_zip(address, listing), listing)


def refuse_compressed(address: str, listing: Listing) -> Iterator[ImageInput]:
    """Raise UsageError: to read one image of a compressed tar archive, all before it would have to be decompressed."""
    raise UsageError(f"compressed archive {address!r} cannot be read in place: unpack it, or store it as a plain .tar")


def read_tar(address: str, member: str) -> bytes:
    """Return the bytes of a tar archive's member. Raises ImageError when it is not there, empty, too large or cut off."""
    with said_of(f"archive {address!r}", ImageError):
        found = _TAR_INDEXES[address, version(address)].get(member)
        if found is None:
            raise ImageError("the archive has no such member any more")
        check_size(found.size)
        return found.content(partial(read_range, address))


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
    notes: dict[str, Payload] = {}
    told: dict[str, tuple[Remark, ...]] = {}  # of notes, which count when they describe an image
    root = f"{address}{MEMBER}"
    try:
        for member in members:
            suffix = PurePosixPath(member.name).suffix.lower()
            if listing.passes_over(member.name, root):
                continue
            if member.name in sizes or member.name in notes:
                listing.remarks.add(_REPLACED, root + member.name)
            if member.why_not:
                listing.remarks.add(member.why_not, root + member.name)
            elif suffix in SUFFIXES:
                sizes[member.name] = member.size
            elif suffix in SIDECAR_SUFFIXES:
                remarks = Remarks()
                notes[member.name] = _sidecar(member, root + member.name, remarks)
                told[member.name] = remarks.all()
            elif member.name.lower().endswith(_ARCHIVES):
                listing.remarks.add("archive in an archive is not opened: unpack the outer one", root + member.name)
            else:
                listing.remarks.add(why_not_an_image(member.name), root + member.name)
    except UsageError as exc:
        listing.remarks.add(f"{exc}; only what lies before that is listed", f"{len(sizes)} images")
    mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
    beside = _Beside(sizes, notes)
    for name, size in sizes.items():
        fields = merge(notes[note] for note in beside.of(name))
        yield ImageInput(f"{root}{name}", size, mtime_ns, fields)
    for name in notes:
        if name not in beside.used:
            listing.remarks.add(why_not_an_image(name), root + name)
        for remark in told[name] if name in beside.used else ():
            listing.remarks.add(remark.kind, remark.example)


class _Beside:
    """Which texts and objects in an archive describe which images.

    Those that bear an image's whole name describe it, and so do those of its key, but for what bears another's name.
    """

    def __init__(self, images: Iterable[str], notes: Iterable[str]) -> None:
        self._notes = frozenset(notes)
        self._named = {image: found for image in images if (found := self._by_name(image))}
        named = {note for found in self._named.values() for note in found}
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for note in sorted(self._notes):
            if note not in named or "." not in PurePosixPath(note).stem:
                self._by_key[_key(note)].append(note)
        self.used: set[str] = set()  # of the images asked for

    def of(self, image: str) -> list[str]:
        """Return the names of those that describe an image, texts first."""
        found = {*self._named.get(image, ()), *self._by_key.get(_key(image), ())}
        self.used |= found
        return sorted(found, reverse=True)

    def _by_name(self, image: str) -> list[str]:
        folder, slash, name = image.rpartition("/")
        return [found for note in sidecar_names(name) if (found := f"{folder}{slash}{note}") in self._notes]


def _key(name: str) -> str:
    """Return what webdataset calls a member's key: its name up to the first dot, with its folder."""
    folder, slash, last = name.rpartition("/")
    return nfc(f"{folder}{slash}{last.partition('.')[0]}")


def _sidecar(member: _Member, path: str, remarks: Remarks) -> Payload:
    if member.size > SIDECAR_BYTES:
        remarks.add(f"sidecar passed over: {TOO_LARGE}", path)
        return {}
    try:
        with said_of("it", UsageError):
            content = member.read()
    except UsageError as exc:
        remarks.add(f"sidecar passed over: {exc}", path)
        return {}
    return parse_sidecar(content, path, remarks)


def _members_of_tar(address: str) -> Iterator[_Member]:
    with said_of(f"archive {address!r}", UsageError), open_binary(address) as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        for found in tar_members(file, address):
            yield _Member(found.name, found.size, partial(found.content, read), found.why_not)


def _members_of_zip(address: str, listing: Listing) -> Iterator[_Member]:
    with said_of(f"archive {address!r}", UsageError):
        archive, _ = _ZIP_FILES[address, version(address)]
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if min((entry.header_offset for entry in entries), default=0) and read_range(address, 0, 4) == _ZIP_START:
            listing.remarks.add("archive in front of another is not listed: split the file", address)
        for entry in entries:
            why_not = "passed over: it is a link" if S_ISLNK(entry.external_attr >> 16) else ""
            yield _Member(member_name(entry.filename), entry.file_size, partial(_read_entry, archive, entry), why_not)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as content:
        return content.read(entry.file_size)  # no more, whatever the compressed bytes would swell to


def _index_tar(key: tuple[str, Stat | None]) -> dict[str, TarMember]:
    """Return where images lie by their name; what is behind a damaged header is not there."""
    index: dict[str, TarMember] = {}
    try:
        with said_of(f"archive {key[0]!r}", UsageError), open_binary(key[0]) as file:
            for member in tar_members(file, key[0]):
                if PurePosixPath(member.name).suffix.lower() in SUFFIXES and not member.why_not:
                    index[member.name] = member
    except UsageError as exc:
        if not index:
            raise ImageError(str(exc)) from exc
    return index


def _open_zip(key: tuple[str, Stat | None]) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    with ExitStack() as opened:
        archive = zipfile.ZipFile(opened.enter_context(open_binary(key[0])))
        weakref.finalize(archive, opened.pop_all().close)  # threads may read from it when it has left the cache
    return archive, {member_name(entry.filename): entry for entry in archive.infolist() if not entry.is_dir()}


_TAR_INDEXES = Cache(_index_tar, _OPEN_ARCHIVES)
_ZIP_FILES = Cache(_open_zip, _OPEN_ARCHIVES)
