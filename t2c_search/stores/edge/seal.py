"""What a collection's points were when they were let go in order: how many, and which bytes each of the engine's files has.

The engine has checksums for its log alone: what else is cut, lost or altered it opens with fewer images, or dies of. So who
closes a shard *seals* it, beside it in ``seal.json``, and who opens it looks for every file first. While it is open the seal
is *broken*, and says only how many points must be there at least; a killed process leaves it so.

The bytes of vectors and of payloads have no checksum, as reading them all would take longer than most searches: of their
files the size is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from fnmatch import fnmatch
from pathlib import Path

from blake3 import blake3

from t2c_search.stores.edge.files import read_if_there, write_durably

_NAME = "seal.json"
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)
_CONTENTS = (
    "segments/*/vector_storage*/*chunk_*.mmap",
    "segments/*/vector_storage*/*matrix.dat",
    "segments/*/vector_storage*/*quantized.data",
    "segments/*/payload_storage/page_*.dat",
)
_LOST = (
    ("*id_tracker*", "which images there are"),
    ("segments/*/vector_index*", "the graph that searches follow"),
    ("segments/*/vector_storage*", "vectors of the images"),
    ("segments/*/payload_storage*", "what is known of the images"),
    ("segments/*/payload_index*", "an index of what is known of the images"),
    ("wal/*", "the last writes"),
    ("*", "how the collection is laid out"),
)
"""What files hold, by the first pattern that fits."""


@dataclass(frozen=True, slots=True)
class File:
    """How long a file is, and the digest of its bytes; None for those of vectors and payloads."""

    size: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Seal:
    """How many points there are, and the files by their paths in the shard; a broken one has None, and so many at least."""

    points: int
    files: dict[str, File] | None = None

    @classmethod
    def of(cls, shard: Path, points: int) -> Seal:
        """Seal a shard that nobody has open. Raises OSError."""
        names = sorted(path.relative_to(shard).as_posix() for path in shard.rglob("*") if path.is_file())
        return cls(points, {name: _file(shard / name, name) for name in names})

    @classmethod
    def read(cls, shard: Path) -> Seal:
        """Return a shard's seal; where there is none that can be read, a broken one of no points. Raises OSError."""
        digest, _, told = (read_if_there(shard.parent / _NAME) or b"").partition(b"\n")
        if blake3(told).hexdigest().encode() != digest:
            return cls(0)
        points, files = json.loads(told)
        return cls(points, None if files is None else {name: File(*each) for name, each in files.items()})

    def write(self, shard: Path) -> None:
        """Keep the seal beside the shard. Raises OSError."""
        files = None if self.files is None else {name: astuple(each) for name, each in self.files.items()}
        told = json.dumps([self.points, files]).encode()
        write_durably(shard.parent / _NAME, blake3(told).hexdigest().encode() + b"\n" + told)

    def damage(self, shard: Path) -> str | None:
        """Say which of the files is not what it was, and what that loses; None when all are. Raises OSError."""
        for name, file in (self.files or {}).items():
            try:
                now = _file(shard / name, name)
            except (FileNotFoundError, NotADirectoryError):
                found = "is lost"
            else:
                if now == file:
                    continue
                cut = f"has {now.size} bytes of {file.size}"
                found = cut if now.size != file.size else "has other bytes than were written"
            held = next(held for pattern, held in _LOST if fnmatch(name, pattern))
            return f"the file {shard.name}/{name}, which holds {held}, {found}"
        return None


def _file(path: Path, name: str) -> File:
    """Return what there is to know of a file: the digest is of its blocks that are not all zero, with their places."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(descriptor).st_size
        if any(fnmatch(name, pattern) for pattern in _CONTENTS):
            return File(size, None)
        hasher = blake3()
        for start in _data(descriptor, size):
            block = _read(descriptor, start)
            if block != _ZEROS[: len(block)]:
                hasher.update(start.to_bytes(8, "little") + block)
        return File(size, hasher.hexdigest())
    finally:
        os.close(descriptor)


def _data(descriptor: int, size: int) -> Iterator[int]:
    """Yield the places of a file's blocks, but for those in holes where the system tells them."""
    at = 0
    while at < size:
        if size > _BLOCK and hasattr(os, "SEEK_DATA"):
            try:
                at = os.lseek(descriptor, at, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError:  # ENXIO: a hole up to the end
                return
        yield at
        at += _BLOCK


def _read(descriptor: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, _BLOCK, start)
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, _BLOCK)
