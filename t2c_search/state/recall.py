"""What the approximate index of a collection was measured to find."""

from __future__ import annotations

import json

from t2c_search.errors import CollectionFormatError
from t2c_search.state.kept import Kept


def _load(content: bytes) -> float | None:
    try:
        return float(json.loads(content))
    except (ValueError, TypeError) as exc:
        raise CollectionFormatError(f"the recall that was measured on the collection cannot be read ({exc})") from exc


RECALL: Kept[float | None] = Kept("recall", None, lambda recall: json.dumps(recall).encode(), _load)
"""Share of the true best that a search of the index finds, when it was last measured."""
