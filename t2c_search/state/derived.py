"""What is made of images and written back to them, so that expressions filter by it as ``derived.NAME``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from t2c_search.errors import UsageError, brief
from t2c_search.filters import Scalar
from t2c_search.state.fields import remember_fields
from t2c_search.state.statistics import claim_statistics, save_statistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import DERIVED

Derived = Scalar | Sequence[str] | None
"""A derived value: one, several texts, or None for none."""

_NAME = re.compile(r"[^\W\d][\w-]*")
_BATCH = 1000  # images written in one call of the store


def derived_field(name: str) -> str:
    """Return the field of a derived value's name, ``derived.NAME``. Raises UsageError for a name that is not one word."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{brief(name)!r} names no field to write: expected one word of letters, digits, '_' and '-'")
    return f"{DERIVED}.{name}"


def write_derived(store: VectorStore, field: str, ids: Sequence[str], values: Sequence[Derived]) -> None:
    """Give images the values of a derived field, batch by batch; others keep what they have of it.

    It claims the collection as a run of the indexer does: a realignment that is at work then would lose what is written, and
    is refused, or refuses.
    """
    statistics, claim = claim_statistics(store)
    try:
        remember_fields(store, [field])
        for start in range(0, len(ids), _BATCH):
            part = slice(start, start + _BATCH)
            store.update_payload(ids[part], [{field: value} for value in values[part]])
    finally:
        save_statistics(store, statistics, claim)
