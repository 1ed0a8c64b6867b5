"""Changes of payloads, field by field: an engine merges each in one step, whoever else changes other fields of the point."""

from __future__ import annotations

from collections.abc import Sequence

from t2c_search.stores.conditions import json_path
from t2c_search.types import DERIVED, Payload, Points

Merge = tuple[str, str | None, Payload]
"""Fields to merge into a point's payload: its id, the JSON path of the object that takes them, None for the payload itself."""


def merges(ids: Sequence[str], fields: Sequence[Payload]) -> list[Merge]:
    """Return what sets these fields, named as in queries, of these points. Raises UsageError for a name that none could have."""
    found: list[Merge] = []
    for point_id, named in zip(ids, fields, strict=True):
        by_object: dict[str | None, Payload] = {}
        for field, value in named.items():
            json_path(field)
            within, _, name = field.rpartition(".")
            by_object.setdefault(json_path(within) if within else None, {})[name] = value
        found += [(point_id, path, payload) for path, payload in by_object.items()]
    return found


def rewrites(stored: Points, ids: Sequence[str], payloads: Sequence[Payload]) -> list[Merge]:
    """Return what makes the payloads of these points, as far as they are ``stored``, others, but for what is derived."""
    former = dict(zip(stored.ids, stored.payloads, strict=True))
    found: list[Merge] = []
    for point_id, payload in zip(ids, payloads, strict=True):
        if point_id in former:
            gone = dict.fromkeys(former[point_id].keys() - payload.keys())  # None removes a field
            changed = {name: value for name, value in {**gone, **payload}.items() if name != DERIVED}
            found += [(point_id, None, changed)] if changed else []
    return found
