"""Collections of the first layout on a server: a pointer point for each blob, in the companion of the points themselves.

An upgrade is one swap of the header, as every change. Before it, what the header will be is noted in the first layout, and
the former version, which knows no header, is made to refuse the collection; so an upgrade that is killed half way is gone
on with, by whoever comes next, and nothing is written in the first layout that the second does not see.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator

from t2c_search.stores.blobs import REFUSED_CARD, refusals
from t2c_search.stores.header import Content, Header, load_spec
from t2c_search.stores.server.connection import Connection
from t2c_search.stores.server.vault import COMPANION_SUFFIX, PointVault, key_point, pieces_of
from t2c_search.types import Payload

_POINTER = "current"
_UPGRADE = "upgrade"
_SPEC, _CARD = "spec", "card"
_LISTED_AT_ONCE = 1000


class Former:
    """The companion collection of some points, in the first layout."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._vault = PointVault(connection, name)

    def read(self, key: str) -> bytes | None:
        """Return a blob, or None when there is none."""
        head = self._vault.payload(key_point(key)) if self._vault.is_there() else None
        if head is None or "chunks" not in head:
            return None
        return self._content(head)

    def read_all(self) -> Iterator[tuple[str, bytes]]:
        """Yield every blob with its key."""
        offset = None
        while True:
            records, offset = self._connection.call(
                self._connection.client.scroll,
                self._vault.companion,
                limit=_LISTED_AT_ONCE,
                offset=offset,
                with_payload=["key", "version", "chunks"],
            )
            for record in records:
                if record.payload and "chunks" in record.payload:
                    yield record.payload["key"], self._content(record.payload)
            if offset is None:
                return

    def write(self, key: str, content: bytes) -> None:
        """Replace a blob."""
        version = uuid.uuid4().hex
        (piece,) = pieces_of(version, 1)
        self._vault.upsert(piece, {"content": base64.b64encode(content).decode()})
        self._vault.upsert(key_point(key), {"key": key, "version": version, "chunks": 1})

    def remove(self, key: str) -> None:
        """Forget a blob."""
        self._vault.delete([key_point(key)])

    def _content(self, head: Payload) -> bytes:
        pieces = dict(self._vault.payloads(ids := pieces_of(head["version"], head["chunks"])))
        return b"".join(base64.b64decode(pieces[chunk_id]["content"]) for chunk_id in ids)


def is_former(connection: Connection, collection: str) -> bool:
    """Tell whether a collection of the first layout is there, or one whose upgrade was killed half way."""
    home = Former(connection, collection)
    if home.read(_UPGRADE) is not None:
        return True
    pointer = home.read(_POINTER)
    current = home if pointer is None else Former(connection, pointer.decode())
    return current.read(_SPEC) is not None and current.read(_CARD) != REFUSED_CARD  # of a creation that was killed


def upgrade(connection: Connection, collection: str) -> Header:
    """Give a collection of the first layout its header, and return that."""
    vault, home = PointVault(connection, collection), Former(connection, collection)
    name = (home.read(_POINTER) or collection.encode()).decode()
    noted = home.read(_UPGRADE)
    header = Header.from_json(noted, collection) if noted else _copy(vault, Former(connection, name), name, collection)
    if not noted:
        vault.index_versions()
    settle(vault, home, header)
    if header.generation:
        home.remove(_POINTER)
        connection.call(connection.client.delete_collection, collection + header.generation + COMPANION_SUFFIX)
    return vault.load() or header  # another one's, if that was quicker


def settle(vault: PointVault, home: Former, header: Header) -> None:
    """Write the first header, and what makes former versions recognise the collection and refuse it.

    Killed half way, whoever comes next finds the note of the header, and goes on.
    """
    home.write(_UPGRADE, header.to_json())
    for key, content in refusals(header.spec).items():
        home.write(key, content)
    vault.swap(None, header)
    home.remove(_UPGRADE)


def _copy(vault: PointVault, former: Former, name: str, collection: str) -> Header:
    """Write all that is kept in the first layout as contents; return the header that names them."""
    blobs = dict(former.read_all())
    spec = load_spec(json.loads(blobs.pop(_SPEC)))
    blobs.pop(_POINTER, None)
    contents = {key: Content.of(content) for key, content in blobs.items()}
    for key, content in contents.items():
        vault.put(content, blobs[key])
    return Header(spec, contents, name.removeprefix(collection))
