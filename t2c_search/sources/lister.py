"""What a kind of source implements: listing its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.remarks import Remarks

EVERY = 5.0
"""Seconds between the frames of a video that are indexed, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One run over all sources: where remarks go, seconds between video frames, the folders that were entered.

    ``image_column`` of tables holds or names their images, where the user has chosen it.
    """

    remarks: Remarks
    every: float = EVERY
    image_column: str = ""
    entered: set[str] = field(default_factory=set)


class Lister(Protocol):
    """Lists the images of the source at an address. Raises UsageError, perhaps after some, when it is damaged."""

    def __call__(self, address: str, listing: Listing) -> Iterator[ImageInput]:
        """Yield the images in the source's own order."""
        ...
