"""The map from the backbone's space to CLIP space, where a collection needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2c_search.errors import CollectionFormatError
from t2c_search.stores.protocol import VectorStore

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner

ALIGNER = "aligner"
"""The blob's key; it holds a file of safetensors, as ``Aligner.save`` writes it."""


def read_aligner(store: VectorStore) -> Aligner:
    """Return the aligner that a collection carries. Raises CollectionFormatError when it has lost it."""
    from t2c_search.alignment.aligner import Aligner  # it needs torch, which a search without texts does not

    content = store.read_blob(ALIGNER)
    if content is None:
        raise CollectionFormatError(
            f"collection {store.collection!r} has lost its aligner; index it again under another name"
        )
    return Aligner.from_bytes(content)
