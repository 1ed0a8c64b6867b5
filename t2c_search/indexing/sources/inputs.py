"""The images to index, as every later stage sees them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from t2c_search.indexing.sources.kinds import read_image

_NAMESPACE = uuid.UUID("5a8f3f0e-6c1d-5b7e-9a44-3f2c8e1b7d60")  # never change it: every stored id depends on it


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image to index: its path, size in bytes, time of change in ns, and fields for its payload.

    The path alone is enough to read it, in any process: an absolute posix path, a remote address, or either with a
    member, ``/photos/a.tar::dir/0001.jpg``. Size is ``UNKNOWN_SIZE`` where only reading would tell; an image that cannot
    even be looked at has size and time 0; reading it says why.
    """

    path: str
    size: int
    mtime_ns: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The point's id: a UUID made from the path, the same in every run."""
        return str(uuid.uuid5(_NAMESPACE, self.path))

    def read(self) -> bytes:
        """Return the image file's bytes. Raises ImageError when they cannot be had."""
        return read_image(self.path)


@dataclass(frozen=True, slots=True)
class ImageList(Sequence[ImageInput]):
    """Images in a fixed order, about 0.4 KB each; ``warnings`` tell what was passed over while listing them."""

    inputs: Sequence[ImageInput]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.inputs[index]

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[ImageInput]:
        return iter(self.inputs)
