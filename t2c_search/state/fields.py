"""The payload fields that images of a collection have, and the types of those that people wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable

from t2c_search.decoding.metadata import MEASURED, PAYLOAD_INDEXES
from t2c_search.errors import CollectionFormatError
from t2c_search.state.kept import Kept
from t2c_search.stores.protocol import CollectionSpec, FieldType, VectorStore

_ALWAYS = frozenset((*MEASURED, *PAYLOAD_INDEXES))


def _dump(names: Iterable[str]) -> bytes:
    return json.dumps(sorted(names)).encode()


def _load(content: bytes) -> frozenset[str]:
    try:
        return frozenset(json.loads(content))
    except (ValueError, TypeError) as exc:
        raise CollectionFormatError(f"the collection's list of fields cannot be read ({exc})") from exc


FIELDS: Kept[frozenset[str]] = Kept("fields", frozenset(), _dump, _load)
"""Those that people wrote beside images."""


def field_types(spec: CollectionSpec) -> dict[str, FieldType]:
    """Return the types of the fields that people write, as the collection indexes them."""
    return {name: kind for name, kind in spec.indexes.items() if name not in PAYLOAD_INDEXES}


def known_fields(written: Iterable[str]) -> frozenset[str]:
    """Return the payload fields that expressions may name, where people wrote these beside images."""
    return _ALWAYS.union(written)


def remember_fields(store: VectorStore, names: Iterable[str]) -> None:
    """Note fields that people wrote beside images, so that a misspelt one can be told from a rare one."""
    if written := frozenset(names) - _ALWAYS:
        FIELDS.update(store, written.union)
