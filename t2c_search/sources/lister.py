"""What a kind of source implements: listing its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.passed_over import why_passed_over
from t2c_search.sources.remarks import Remarks

EVERY = 5.0
"""Seconds between the frames of a video that are indexed, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One run over all sources: where remarks go, and what the user wants.

    Seconds between video frames; the column of tables that holds or names their images; patterns of what is not looked at;
    whether tables may name private addresses. ``named`` are the addresses of files that are read for themselves; ``entered``
    maps the true place of each folder that was entered to its name in the listing.
    """

    remarks: Remarks
    every: float = EVERY
    image_column: str = ""
    exclude: tuple[str, ...] = ()
    allow_private: bool = False
    named: set[str] = field(default_factory=set)
    entered: dict[str, str] = field(default_factory=dict)

    def passes_over(self, below: str, root: str) -> bool:
        """Tell what lies below a folder or archive and is hidden or excluded, and remark it."""
        kind = why_passed_over(below, root, self.exclude)
        if kind is not None:
            self.remarks.add(kind, f"{root}{below}")
        return kind is not None


class Lister(Protocol):
    """Lists the images of the source at an address. Raises UsageError, perhaps after some, when it is damaged."""

    def __call__(self, address: str, listing: Listing) -> Iterator[ImageInput]:
        """Yield the images in the source's own order."""
        ...
