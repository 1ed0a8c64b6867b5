"""What a collection keeps beside its points, as named byte strings: read together, changed by compare-and-swap.

The bytes of a blob are written under an id of their own and never changed; the header says which id each blob has. So the
one step that counts is the header's swap, and that is what an engine's ``Vault`` makes atomic.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from t2c_search.errors import CollectionDamagedError, CollectionReplacedError, StoreError, UsageError
from t2c_search.stores.header import REMEDY, Content, Header
from t2c_search.stores.protocol import CollectionSpec

REFUSED_CARD = b'{"format_version": 2}'
"""The card that former versions find: of a format that they do not know."""
_KEY = re.compile(r"[a-z0-9][a-z0-9-]*")
_PAUSE_SECONDS = 0.02  # at most, before what another writer was quicker with is tried again


class Vault(Protocol):
    """Where the header and the contents of one collection lie, in one engine. Raises StoreError."""

    lag_seconds: float
    """For how long bytes that the header names may be nowhere: of a server, a replica may be behind."""

    def load(self) -> Header | None:
        """Return the header; None when there is no such collection."""
        ...

    def load_with(self, contents: Sequence[Content]) -> tuple[Header | None, dict[str, bytes]]:
        """Return the header, and what ``get`` does, in one request where the engine is asked by requests."""
        ...

    def swap(self, former: str | None, header: Header) -> bool:
        """Store the header in one step if the one that is there has the version ``former`` (None: if there is none)."""
        ...

    def put(self, content: Content, content_bytes: bytes) -> None:
        """Store bytes under a new id, before a header names it."""
        ...

    def get(self, contents: Sequence[Content]) -> dict[str, bytes]:
        """Return those of the bytes that are there, by id."""
        ...

    def discard(self, contents: Sequence[Content]) -> None:
        """Remove bytes; what is not there is passed over."""
        ...

    def discard_generations(self, generations: Sequence[str]) -> None:
        """Remove points that were replaced, where that is not somebody else's part."""
        ...


class Blobs:
    """The blobs of one collection; ``missing`` is asked where there is no header: it makes one, or raises."""

    def __init__(self, vault: Vault, missing: Callable[[], Header]) -> None:
        self.vault = vault
        self._missing = missing

    def header(self) -> Header:
        """Return the header. Raises CollectionNotFoundError or CollectionFormatError where there is none."""
        return self.vault.load() or self._missing()

    def read(
        self, keys: Sequence[str], pin: Header | None = None, seen: Header | None = None
    ) -> tuple[Header, dict[str, bytes]]:
        """Return the header and those of the blobs that there are, of one moment; with a ``pin``, of that moment.

        ``seen`` is the header as it was read before: where it still is, one request reads everything.
        """
        for key in keys:
            check_key(key)
        deadline = time.monotonic() + self.vault.lag_seconds
        while True:
            header, found = pin, dict[str, bytes]()
            if header is None and seen is not None:
                header, found = self.vault.load_with(list(_named(seen, keys).values()))
            header = header or self.header()
            named = _named(header, keys)
            if missing := [content for content in named.values() if content.id not in found]:
                found |= self.vault.get(missing)
            lost = [key for key, content in named.items() if content.id not in found]
            if not lost:
                return header, {key: each.check(found[each.id], key) for key, each in named.items()}
            self._check_lost(header, lost[0], pinned=pin is not None, late=time.monotonic() > deadline)
            pause()

    def update(
        self, key: str, function: Callable[[bytes | None], bytes | None], pin: Header | None = None
    ) -> bytes | None:
        """Replace a blob by what the function makes of it; see ``VectorStore.update_blob``.

        With a ``pin``, raises CollectionReplacedError once other points have taken the place of its own.
        """
        check_key(key)
        while True:
            header, found = self.read([key])
            check_generation(header, pin)
            content = function(found.get(key))
            if content is None or content == found.get(key):
                return content
            entry = Content.of(content)
            self.vault.put(entry, content)
            if self.swap(header, header.with_blob(key, entry)):
                return content
            self.vault.discard([entry])
            pause()

    def change_spec(self, function: Callable[[CollectionSpec], CollectionSpec], pin: Header | None = None) -> None:
        """Replace the specification by what the function makes of it, as ``update`` does a blob."""
        while True:
            header = self.header()
            check_generation(header, pin)
            spec = function(header.spec)
            if spec == header.spec or self.swap(header, header.with_spec(spec)):
                return
            pause()

    def swap(self, former: Header, header: Header) -> bool:
        """Store the next header, if nobody stored another one meanwhile; remove what has expired with it."""
        contents, generations = header.expired()
        if not self.vault.swap(former.version, header.without(contents, generations)):
            return False
        if contents:
            self.vault.discard(contents)
        if generations:
            self.vault.discard_generations(generations)
        return True

    def _check_lost(self, header: Header, key: str, *, pinned: bool, late: bool) -> None:
        """Go on where bytes are missing because another header took over; raise where they are lost."""
        now = self.header()
        if pinned and now.version != header.version:
            raise CollectionReplacedError(f"{key!r} was replaced while the collection was asked; ask again")
        if now.version == header.version and late:
            content_id = header.blobs[key].id
            raise CollectionDamagedError(
                f"{key!r}, which the collection keeps beside its points, is lost ({content_id}). {REMEDY}"
            )


class Aside:
    """The blobs of a replacement while it is filled: those written to it, and for the rest the collection's own."""

    def __init__(self, blobs: Blobs, began: Header) -> None:
        self._blobs = blobs
        self._began = began
        self._own: dict[str, Content] = {}

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the blobs that there are."""
        own = {key: self._own[key] for key in keys if key in self._own}
        written = self._blobs.vault.get(list(own.values()))
        _, others = self._blobs.read([key for key in keys if key not in own])
        return others | {key: each.check(written.get(each.id, b""), key) for key, each in own.items()}

    def update(self, key: str, function: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a blob of the replacement's own; only who fills it may call this."""
        former = self.read([key]).get(key)
        content = function(former)
        if content is not None and (
            content != former or key not in self._own
        ):  # equal bytes of its own stand for themselves
            entry = Content.of(content)
            self._blobs.vault.put(entry, content)
            if key in self._own:
                self._blobs.vault.discard([self._own[key]])
            self._own[key] = entry
        return content

    def take_over(self, generation: str, spec: CollectionSpec, collection: str) -> Header:
        """Swap the header for one of this generation; return it. Raises StoreError when that would lose an update."""
        while True:
            header = self._blobs.header()
            changed = [key for key in self._own if header.blobs.get(key) != self._began.blobs.get(key)]
            if header.generation != self._began.generation or header.spec != self._began.spec or changed:
                what = f"its {changed[0]}" if changed else "it"
                raise StoreError(
                    f"collection {collection!r} was left as it is, as {what} was changed while another was made to take "
                    "its place: run the same command again when nobody else changes it"
                )
            new = header.replaced(generation, spec, self._own)
            if self._blobs.swap(header, new):
                return new
            pause()

    def discard(self) -> None:
        """Remove what was written for nothing."""
        self._blobs.vault.discard(list(self._own.values()))


def _named(header: Header, keys: Sequence[str]) -> dict[str, Content]:
    return {key: header.blobs[key] for key in keys if key in header.blobs}


def check_key(key: str) -> None:
    """Raise UsageError unless the key is made of a-z, digits and ``-``."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"blob key {key!r} cannot be used; expected a-z, digits and -")


def check_generation(header: Header, pin: Header | None) -> None:
    """Raise CollectionReplacedError when other points have taken the place of the pinned ones."""
    if pin is not None and header.generation != pin.generation:
        raise CollectionReplacedError("the collection was replaced while it was worked on; begin again")


def pause() -> None:
    """Let another writer finish."""
    time.sleep(random.uniform(0, _PAUSE_SECONDS))


def refusals(spec: CollectionSpec) -> Mapping[str, bytes]:
    """Return the blobs by which the former version, which knows no header, recognises a collection, and refuses it."""
    told = {"vectors": spec.dims, "indexes": dict(spec.indexes), "quantization": spec.quantization}
    return {"card": REFUSED_CARD, "spec": json.dumps(told).encode()}
