"""What the approximate index of a collection was measured to find."""

from __future__ import annotations

import json

from t2c_search.stores.protocol import VectorStore

_BLOB = "recall"


def read_recall(store: VectorStore) -> float | None:
    """Return what was last measured, or None."""
    content = store.read_blob(_BLOB)
    return float(json.loads(content)) if content else None


def write_recall(store: VectorStore, recall: float) -> None:
    """Keep it with the collection."""
    store.write_blob(_BLOB, json.dumps(recall).encode())
