"""The header of a collection: one small record of where its points lie, what it is made of, and which bytes its blobs have.

Every change of what a collection keeps beside its points is one compare-and-swap of this record, by its version. So
several blobs can be read as they were at one moment, one small read tells whether anything has changed, and no update
is lost, whoever else writes, in this process or on another machine.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from blake3 import blake3

from t2c_search.errors import CollectionDamagedError, CollectionFormatError
from t2c_search.stores.protocol import CollectionSpec, VectorSpec

LAYOUT = 3
"""How collections lie in stores; 1 had a pointer for each blob, and no header, and 2 no checksum of the header."""
REMEDY = "Restore it from a backup; without one, delete the collection and index the images again, which are unharmed"
"""What to do about what is lost."""
LINEAGE = 64
"""Versions that a header remembers, so that a writer who reads another's can tell whether its own was among them."""
RETIRED_SECONDS = 300.0
"""How long what is named no more can still be read. A question that takes longer is asked anew, or is told so."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a blob: the id that they lie under, how many they are, and their BLAKE3 digest."""

    id: str
    size: int
    digest: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Name these bytes by a new id."""
        return cls(uuid.uuid4().hex, len(content), blake3(content).hexdigest())

    def check(self, content: bytes, key: str) -> bytes:
        """Return the bytes that were read. Raises CollectionDamagedError when they are not what was written."""
        if len(content) != self.size or blake3(content).hexdigest() != self.digest:
            raise CollectionDamagedError(
                f"{key!r}, which the collection keeps beside its points, is damaged: {self.size} bytes were written and "
                f"{len(content)} others are there ({self.id}). {REMEDY}"
            )
        return content


@dataclass(frozen=True, slots=True)
class Retired:
    """Bytes that no header names any more, and since when (Unix time, seconds)."""

    content: Content
    since: float


@dataclass(frozen=True, slots=True)
class Header:
    """What a collection is at one moment.

    ``generation`` names where its points lie: empty for the first ones, another name for those that replaced them.
    ``retired`` contents and ``former`` generations are named no more, since a time (Unix, seconds) from which on nothing
    new begins with them; who began before may still read them.
    """

    spec: CollectionSpec
    blobs: Mapping[str, Content] = field(default_factory=dict)
    generation: str = ""
    retired: tuple[Retired, ...] = ()
    former: Mapping[str, float] = field(default_factory=dict)
    version: str = field(default_factory=lambda: uuid.uuid4().hex)
    lineage: tuple[str, ...] = ()

    @property
    def content_ids(self) -> set[str]:
        """Ids of all bytes that somebody may still read."""
        return {content.id for content in self.blobs.values()} | {each.content.id for each in self.retired}

    def with_spec(self, spec: CollectionSpec) -> Header:
        """Return the next header, with another spec."""
        return self._next(spec=spec)

    def with_blob(self, key: str, content: Content) -> Header:
        """Return the next header, with other bytes for one blob."""
        return self._next(blobs={**self.blobs, key: content}, retired=self._retiring([key]))

    def replaced(self, generation: str, spec: CollectionSpec, blobs: Mapping[str, Content]) -> Header:
        """Return the next header, for points that lie elsewhere and the blobs that came with them; others are kept."""
        return self._next(
            generation=generation,
            spec=spec,
            blobs={**self.blobs, **blobs},
            retired=self._retiring(blobs),
            former={**self.former, self.generation: time.time()},
        )

    def expired(self) -> tuple[list[Content], list[str]]:
        """List the retired contents, and the former generations, that nothing can read any more."""
        oldest = time.time() - RETIRED_SECONDS
        contents = [each.content for each in self.retired if each.since < oldest]
        return contents, [generation for generation, since in self.former.items() if since < oldest]

    def without(self, contents: Collection[Content], generations: Collection[str]) -> Header:
        """Return this header, not yet stored, less what has expired."""
        retired = tuple(each for each in self.retired if each.content not in contents)
        former = {generation: since for generation, since in self.former.items() if generation not in generations}
        return replace(self, retired=retired, former=former)

    def descends_from(self, version: str) -> bool:
        """Tell whether this header is that version, or was made from it, as far as it remembers."""
        return version == self.version or version in self.lineage

    def to_json(self) -> bytes:
        """Write the header, with a checksum of all that it says."""
        told = {"layout": LAYOUT, **asdict(self)}
        return json.dumps({**told, "digest": _digest(told)}).encode()

    @classmethod
    def from_json(cls, content: bytes, collection: str) -> Self:
        """Read what ``to_json`` wrote, this version's or a former one's.

        Raises CollectionFormatError when a newer version wrote it, CollectionDamagedError when it is not what was written.
        """
        try:
            told = json.loads(content)
            digest = told.pop("digest", None)
            if digest != (None if told["layout"] == 2 else _digest(told)):  # the second layout had none
                raise ValueError("its checksum is another one")
            if (layout := told.pop("layout")) > LAYOUT:
                raise CollectionFormatError(
                    f"collection {collection!r} lies in layout {layout}, this t2c_search knows up to {LAYOUT}; "
                    "upgrade t2c-search to use it"
                )
            blobs = {key: Content(**entry) for key, entry in told.pop("blobs").items()}
            retired = tuple(Retired(Content(**each["content"]), each["since"]) for each in told.pop("retired"))
            spec, lineage = load_spec(told.pop("spec")), tuple(told.pop("lineage"))
            return cls(spec, blobs, retired=retired, lineage=lineage, **told)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CollectionDamagedError(
                f"the header of collection {collection!r}, which says where its points lie, is damaged ({exc}). {REMEDY}"
            ) from exc

    def _retiring(self, keys: Iterable[str]) -> tuple[Retired, ...]:
        now = time.time()
        return (*self.retired, *(Retired(self.blobs[key], now) for key in keys if key in self.blobs))

    def _next(self, **changes: Any) -> Header:
        lineage = (*self.lineage, self.version)[-LINEAGE:]
        return replace(self, version=uuid.uuid4().hex, lineage=lineage, **changes)


def _digest(told: Mapping[str, Any]) -> str:
    return blake3(json.dumps(told, sort_keys=True).encode()).hexdigest()


def load_spec(told: Mapping[str, Any]) -> CollectionSpec:
    """Read a collection's specification, that of the first layout too, which knew dimensions only."""
    vectors = told["vectors"]
    if all(isinstance(each, int) for each in vectors.values()):
        return CollectionSpec.of(vectors, told["indexes"], told["quantization"])
    specs = {name: VectorSpec(**each) for name, each in vectors.items()}
    return CollectionSpec(specs, told["indexes"], told["quantization"])
