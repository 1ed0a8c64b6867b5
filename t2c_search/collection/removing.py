"""Take images out of a collection, and keep its statistics true."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from t2c_search.errors import UsageError
from t2c_search.indexing.writer import Writer
from t2c_search.stores.protocol import VectorStore

_AT_ONCE = 1000


def present(store: VectorStore, ids: Sequence[str]) -> list[str]:
    """Return those of the ids that the collection has, each once. Raises UsageError for what is no id of an image."""
    for each in ids:
        if not is_id(each):
            raise UsageError(f"{each!r} is no id of an image; t2c search --json tells ids, such as {uuid.UUID(int=0)}")
    distinct = list(dict.fromkeys(ids))
    parts = (store.fetch(distinct[i : i + _AT_ONCE], payload=False) for i in range(0, len(distinct), _AT_ONCE))
    return [point_id for points in parts for point_id in points.ids]


def remove_images(store: VectorStore, ids: Sequence[str]) -> None:
    """Delete points. Killed half way, some are deleted, and the statistics are counted anew when next needed."""
    with Writer(store) as writer:
        for start in range(0, len(ids), _AT_ONCE):
            writer.delete(ids[start : start + _AT_ONCE])


def is_id(given: str) -> bool:
    """Tell whether a text is written as ids of images are."""
    try:
        return str(uuid.UUID(given)) == given
    except ValueError:
        return False
