"""One image to index, as every kind of source lists it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
        ".heic", ".heif", ".hif", ".avif",
    )
)  # fmt: skip
"""Endings, in lower case, by which files in folders and archives are taken for images."""
_NAMESPACE = uuid.UUID("5a8f3f0e-6c1d-5b7e-9a44-3f2c8e1b7d60")  # never change it: every stored id depends on it


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ImageInput:
    """One image to index: its path, size in bytes, time of change in ns, and fields for its payload.

    The path alone is enough to read it, in any process: an absolute posix path, a remote address, or either with a
    member, ``/photos/a.tar::dir/0001.jpg``. Size is ``UNKNOWN_SIZE`` where only reading would tell; an image that cannot
    even be looked at has size and time 0; reading it says why.

    ``hash`` is that of its bytes, where this run has read them, and empty before; ``content`` the bytes themselves, where
    they are held so that nobody need read them again. ``allow_private`` says that it may be fetched from a private address,
    as the user named it, or trusts the table that does.
    """

    path: str
    size: int
    mtime_ns: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""
    content: bytes | None = field(default=None, repr=False)
    allow_private: bool = False

    @property
    def id(self) -> str:
        """The point's id: a UUID made from the path, the same in every run."""
        return str(uuid.uuid5(_NAMESPACE, self.path))
