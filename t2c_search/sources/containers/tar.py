"""Where the members of a tar archive lie in it: files, sparse ones and links among them, of several archives in a row."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from t2c_search.errors import ImageError, UsageError
from t2c_search.sources.passed_over import NO_FILE

LINK_ELSEWHERE = "passed over: it is a link to what is not in the archive"
_BLOCK = 512  # bytes, the unit of tar
_SEARCHED_AT_ONCE = 2048  # blocks
_MOST_LINKS = 16  # that lead on to each other


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a member: where they belong in it, where they lie in the archive, and how many they are."""

    place: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member that is no folder: its name as it is in paths, its size in bytes, and its pieces.

    ``why_not`` tells why it cannot be read, where that is so.
    """

    name: str
    size: int = 0
    pieces: tuple[Piece, ...] = ()
    why_not: str = ""

    def content(self, read: Callable[[int, int], bytes]) -> bytes:
        """Return its bytes, by a function of offset and size; zeros where a sparse one has none.

        Raises ImageError when the archive ends before them.
        """
        parts = [(piece, read(piece.offset, piece.size)) for piece in self.pieces]
        there = sum(len(part) for _, part in parts)
        if there < sum(piece.size for piece in self.pieces):
            raise ImageError(f"the archive is cut off: {there} of the member's {self.size} bytes are there")
        if len(parts) == 1 and there == self.size:
            return parts[0][1]
        content = bytearray(self.size)
        for piece, part in parts:
            content[piece.place : piece.place + piece.size] = part
        return bytes(content[: self.size])


def member_name(name: str) -> str:
    """Return a member's name as it is in paths, UTF-8 without ``./``; empty for the archive's own folder."""
    place = PurePosixPath(name)
    return place.as_posix().encode("utf-8", "replace").decode() if place.parts else ""


def tar_members(file: BinaryIO, address: str) -> Iterator[TarMember]:
    """Yield the members of an open tar archive, and of those that were appended to it; links behind all others.

    The file may be read between two of them. Raises UsageError, after those before it, at a damaged header.
    """
    found: dict[str, TarMember] = {}
    links: dict[str, str] = {}
    try:
        for header in _headers(file, address):
            name = member_name(header.name)
            if header.islnk() or header.issym():
                links[name] = _target(header)
            elif not header.isdir():
                member = _member(name, header)
                found[name] = member
                yield member
    finally:
        for name in links:
            yield _resolved(name, found, links)


def _headers(file: BinaryIO, address: str) -> Iterator[tarfile.TarInfo]:
    start: int | None = 0
    while start is not None:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape", encoding="utf-8") as archive:
            while (header := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                yield header
            start = _next_archive(file, archive.offset, address)


def _next_archive(file: BinaryIO, end: int, address: str) -> int | None:
    """Return where another archive begins behind the end marks of one; None where there is nothing more.

    Raises UsageError for what is no end mark: tarfile takes a damaged header for the end.
    """
    file.seek(end)
    if file.read(_BLOCK).strip(b"\0"):
        raise UsageError(f"archive {address!r} is damaged at byte {end}")
    place = end + _BLOCK
    while blocks := file.read(_SEARCHED_AT_ONCE * _BLOCK):
        if left := blocks.lstrip(b"\0"):
            place += (len(blocks) - len(left)) // _BLOCK * _BLOCK
            file.seek(place)
            try:
                tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
            except tarfile.HeaderError as exc:
                raise UsageError(f"archive {address!r} has something behind its end, at byte {place}") from exc
            return place
        place += len(blocks)
    return None


def _member(name: str, header: tarfile.TarInfo) -> TarMember:
    if not header.isreg():
        return TarMember(name, why_not=NO_FILE)
    sparse = cast("list[tuple[int, int]] | None", header.sparse)
    if sparse is None:
        return TarMember(name, header.size, (Piece(0, header.offset_data, header.size),))
    pieces, offset = [], header.offset_data
    for place, size in sparse:
        if size:
            pieces.append(Piece(place, offset, size))
        offset += size
    return TarMember(name, header.size, tuple(pieces))


def _target(header: tarfile.TarInfo) -> str:
    """Return the name of the member that a link leads to: a symbolic one begins at its own folder."""
    place = posixpath.join(posixpath.dirname(header.name), header.linkname) if header.issym() else header.linkname
    return member_name(posixpath.normpath(place))


def _resolved(name: str, found: dict[str, TarMember], links: dict[str, str]) -> TarMember:
    target = links[name]
    for _ in range(_MOST_LINKS):
        if target in found:
            return replace(found[target], name=name)
        target = links.get(target, "")
    return TarMember(name, why_not=LINK_ELSEWHERE)
