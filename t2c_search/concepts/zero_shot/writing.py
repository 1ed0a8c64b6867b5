"""Classes written back to their images, as a derived field that expressions filter by."""

from __future__ import annotations

from t2c_search.concepts.zero_shot.keys import ids_of
from t2c_search.concepts.zero_shot.result import Classified
from t2c_search.errors import UsageError
from t2c_search.state.fields import remember_fields
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import DERIVED

_BATCH = 1000  # images in one call of the store


def check_field(name: str) -> None:
    """Raise UsageError for a name that no derived field can have."""
    if not name.isidentifier():
        raise UsageError(
            f"{name!r} names no field: expected letters, digits and _, as in kind; expressions say derived.kind"
        )


def write_classes(store: VectorStore, classified: Classified, name: str) -> None:
    """Write each image's class into ``derived.NAME``; where it has none, the field is taken away.

    The field is made known first, so that expressions can name it whatever happens then.
    """
    field = f"{DERIVED}.{name}"
    remember_fields(store, [field])
    places = classified.places()
    for start in range(0, len(classified), _BATCH):
        part = slice(start, start + _BATCH)
        labels = [None if at < 0 else classified.classes[at] for at in places[part]]
        store.update_payload(ids_of(classified.keys[part]), [{field: label} for label in labels])
    store.flush()
