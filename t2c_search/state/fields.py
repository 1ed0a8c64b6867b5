"""The payload fields that images of a collection have, and the types of those that people wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable

from t2c_search.decoding.metadata import MEASURED, PAYLOAD_INDEXES
from t2c_search.stores.protocol import FieldType, VectorStore

_BLOB = "fields"


def field_types(store: VectorStore) -> dict[str, FieldType]:
    """Return the types of the fields that people write, as the collection indexes them."""
    return {name: kind for name, kind in store.spec().indexes.items() if name not in PAYLOAD_INDEXES}


def known_fields(store: VectorStore) -> set[str]:
    """Return the payload fields that expressions may name."""
    content = store.read_blob(_BLOB)
    return {*MEASURED, *PAYLOAD_INDEXES, *(json.loads(content) if content else ())}


def remember_fields(store: VectorStore, names: Iterable[str]) -> None:
    """Note fields that people wrote beside images, so that a misspelt one can be told from a rare one."""
    known = known_fields(store)
    if new := set(names) - known:
        store.write_blob(_BLOB, json.dumps(sorted(new | known)).encode())
