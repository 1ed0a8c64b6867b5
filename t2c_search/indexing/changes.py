"""Which inputs the store does not hold as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import islice

from t2c_search.decoding.metadata import EXPLAINED, MEASURED, content_hash
from t2c_search.errors import ImageError
from t2c_search.sources import ImageInput, read_image
from t2c_search.sources.addresses import UNKNOWN_SIZE
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FACTORS, Payload

_COMPARED_AT_ONCE = 500  # inputs in one request, whose answer may hold several KB of payload for each


@dataclass(slots=True)
class Comparison:
    """How some inputs stand against the store.

    ``lacking`` are those to be embedded, new or with other bytes than before, in order; ``changed`` the ids of the latter, and of
    those that ``unexplained`` counts: they are as they were, but their factors are to be kept and are not there yet.
    Of the others, ``updated`` counts those with other captions or fields, ``unchanged`` the rest; ``payloads``, by id, are
    to replace the stored ones.
    """

    lacking: list[ImageInput] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    payloads: dict[str, Payload] = field(default_factory=dict)
    updated: int = 0
    unchanged: int = 0
    explain: bool = False
    """Whether the store keeps factors."""
    unexplained: int = 0
    paths: list[str] = field(default_factory=list)
    """Of all the inputs."""

    def add(self, item: ImageInput, stored: Payload | None, new_hash: str | None) -> None:
        """Compare an input with the payload that the store has of it; its bytes' hash, where they may be others, decides.

        Fields that the store has and the input does not speak of are kept.
        """
        self.paths.append(item.path)
        if stored is None:
            self.lacking.append(item)
            return
        described = {name: value for name, value in stored.items() if name not in MEASURED}
        fields = {**described, **item.fields}
        unexplained = self.explain and EXPLAINED not in stored
        if unexplained or not _has_size(item, stored) or new_hash not in (None, stored.get("hash")):
            self.unexplained += unexplained
            self.lacking.append(replace(item, fields=fields))
            self.changed.add(item.id)
            return
        payload = {**stored, **fields, "mtime_ns": item.mtime_ns}
        if payload != stored:
            self.payloads[item.id] = payload
        self.updated += fields != described
        self.unchanged += fields == described


def compare(inputs: Iterable[ImageInput], store: VectorStore, pool: Executor) -> Iterator[Comparison]:
    """Compare the inputs with the store, in order, some hundreds at a time.

    A file of the same size and time of change is not opened; one of the same size but another time is hashed, in
    ``pool``. Where the size is not known before reading (``UNKNOWN_SIZE``), the time alone decides.
    """
    remaining, explain = iter(inputs), FACTORS in store.spec().vectors
    while chunk := list(islice(remaining, _COMPARED_AT_ONCE)):
        points = store.fetch([item.id for item in chunk])
        stored = dict(zip((payload["path"] for payload in points.payloads), points.payloads, strict=True))
        touched = [item.path for item in chunk if item.path in stored and _is_touched(item, stored[item.path])]
        hashes = dict(zip(touched, pool.map(_hash, touched), strict=True))
        comparison = Comparison(explain=explain)
        for item in chunk:
            comparison.add(item, stored.get(item.path), hashes.get(item.path))
        yield comparison


def _is_touched(item: ImageInput, stored: Payload) -> bool:
    return bool(_has_size(item, stored) and item.mtime_ns != stored["mtime_ns"])


def _has_size(item: ImageInput, stored: Payload) -> bool:
    return item.size in (UNKNOWN_SIZE, stored.get("bytes"))  # no bytes: only its embedding is known


def _hash(path: str) -> str:
    """Return the hash of a file's bytes; empty when it cannot be read."""
    try:
        return content_hash(read_image(path))
    except ImageError:  # it changed into something unreadable; embedding it will report that
        return ""
