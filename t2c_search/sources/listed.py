"""What every kind of source lists, and what it may know while listing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from t2c_search.sources.remarks import Remarks
from t2c_search.types import Payload

SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
        ".heic", ".heif", ".hif", ".avif",
    )
)  # fmt: skip
"""Endings, in lower case, by which files in folders and archives are taken for images."""
EVERY = 5.0
"""Seconds between the frames of a video that are indexed, unless the user says otherwise."""


class Listed(NamedTuple):
    """One image in a source: path, size in bytes (or ``UNKNOWN_SIZE``), time of change in ns, fields for the payload.

    What cannot even be looked at has size and time 0; reading it says why.
    """

    path: str
    size: int
    mtime_ns: int
    fields: Payload


@dataclass(frozen=True, slots=True)
class Listing:
    """One run over all sources: where remarks go, seconds between video frames, the folders that were entered."""

    remarks: Remarks
    every: float = EVERY
    entered: set[str] = field(default_factory=set)


class Lister(Protocol):
    """Lists the images of the source at an address. Raises UsageError, perhaps after some, when it is damaged."""

    def __call__(self, address: str, listing: Listing) -> Iterator[Listed]:
        """Yield the images in the source's own order."""
        ...
