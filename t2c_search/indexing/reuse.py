"""Files whose bytes the collection has already: renamed ones and copies take over its vectors, and cost no embedding.

Equal files that are new in the same run are all embedded: to tell them, each file would have to be read once more before
it is, and the first one's vector waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from weakref import finalize

from t2c_search.decoding.metadata import EXPLAINED, MEASURED, content_hash, location_payload
from t2c_search.errors import ImageError
from t2c_search.filters import OneOf
from t2c_search.sources import ImageInput
from t2c_search.sources.addresses import is_remote
from t2c_search.sources.kinds import read_forwards, read_image
from t2c_search.sources.presence import is_gone
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FACTORS, Payload, Points

_HELD_BYTES = 1 << 20  # of one file, as some hundred wait to be decoded; a larger one is read twice, the second time
# from the system's cache as a rule
_ROOM_BYTES = 256 << 20  # for all members, together, that would cost more than that to be read twice


@dataclass(frozen=True, slots=True)
class Twin:
    """An input, and the stored point with the same bytes, alone.

    ``moved``: the point's own file is gone, so that the input is that file under another name; otherwise it is a copy.
    """

    input: ImageInput
    stored: Points
    moved: bool

    @property
    def id(self) -> str:
        """Id of the stored point."""
        return self.stored.ids[0]

    @property
    def payload(self) -> Payload:
        """The input's payload: measured fields of the stored one; what people wrote of it moves, but is not copied."""
        kept = {name: value for name, value in self.stored.payloads[0].items() if self.moved or name in MEASURED}
        return {**kept, **location_payload(self.input.path, self.input.mtime_ns), **self.input.fields}


class _Room:
    """Room for members of what is read forwards, which two readers some hundred members apart would rewind for each.

    All that are read ahead are held while they are waited for. A container that fills the room is passed over from then
    on, for as long as the process lives: no member of it is read here that could not be held.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._passed_over: set[str] = set()
        self._lock = RLock()  # whatever ends inside it may give room back

    def is_open_to(self, container: str) -> bool:
        with self._lock:
            if self._left <= 0:
                self._passed_over.add(container)
            return container not in self._passed_over

    def take(self, item: ImageInput, size: int) -> None:
        """Count the bytes of an input until nobody has it any more; threads that come together overdraw by an image each."""
        self._count(-size)
        finalize(item, self._count, size).atexit = False

    def _count(self, size: int) -> None:
        with self._lock:
            self._left += size


_ROOM = _Room(_ROOM_BYTES)


def read_and_hash(item: ImageInput, *, hold: bool) -> ImageInput:
    """Return an input with its bytes' hash; ``hold`` the bytes, unless they are many, so that it need not be read again.

    What cannot be read comes back as it is, and so do images at remote addresses, and members of tables and videos that
    would be too much to hold: their hash is known when they are embedded, too late and at no cost.
    """
    if is_remote(item.path):
        return item
    forwards = read_forwards(item.path) if hold else ""
    if forwards and not _ROOM.is_open_to(forwards):
        return item
    try:
        content = read_image(item.path)
    except ImageError:  # embedding it will report that
        return item
    held = hold and bool(forwards or len(content) <= _HELD_BYTES)
    read = replace(item, hash=content_hash(content), content=content if held else None)
    if held and forwards:
        _ROOM.take(read, len(content))
    return read


def find_twins(inputs: Sequence[ImageInput], store: VectorStore) -> list[Twin]:
    """Return those of the hashed inputs whose bytes the store holds; each stored file moves once."""
    known = _stored({item.hash for item in inputs} - {""}, store)
    twins = []
    for item in inputs:
        if same := known.get(item.hash):
            point = next((point for point in same if point.gone), same[0])
            twins.append(Twin(item, point.stored, point.gone))
            point.gone = False  # its file has been found again
    return twins


def to_points(twins: Sequence[Twin]) -> Points:
    """Return the points to write for these inputs."""
    stored = Points.joined([twin.stored for twin in twins])
    return replace(stored, ids=[twin.input.id for twin in twins], payloads=[twin.payload for twin in twins])


@dataclass(slots=True)
class _Point:
    stored: Points
    gone: bool


def _stored(hashes: Iterable[str], store: VectorStore) -> dict[str, list[_Point]]:
    found: dict[str, list[_Point]] = {}
    if not hashes:
        return found
    where, vectors = OneOf(field="hash", values=tuple(sorted(hashes))), tuple(store.spec().vectors)
    for points in store.scan(where=where, vectors=vectors):
        for row, payload in enumerate(points.payloads):
            if FACTORS in vectors and EXPLAINED not in payload:
                continue  # it is to be embedded again itself
            point = _Point(points.take([row]), is_gone(payload["path"]))
            same = found.setdefault(payload["hash"], [])
            if point.gone or not same:  # one of many copies is enough
                same.append(point)
    return found
