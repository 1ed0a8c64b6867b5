"""What lies here when a collection that was asked for does not: most often it is another store's, or has another name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from t2c_search.errors import CollectionNotFoundError, T2CError, redact
from t2c_search.settings import load_settings
from t2c_search.stores import MEMORY, list_collections
from t2c_search.stores.protocol import VectorStore

_MOST = 8  # collections of a store that are named


def not_found(store: VectorStore) -> CollectionNotFoundError:
    """Return the error of a collection that is not there: it says which are, in its store and in those of the current folder."""
    name, location = store.collection, redact(store.location)
    return CollectionNotFoundError(
        f"there is no collection {name!r} in {location}; {_what_is_here(store.location)}"
        f"make it with: t2c index FOLDER -c {name} --store {location}",
        location=location,
        collection=name,
    )


def _what_is_here(location: str) -> str:
    if location == MEMORY:
        return ""
    others = {str(path.absolute()): f"./{path.name}" for path in sorted(Path().glob("*.t2c"))}
    others.pop(str(Path(location).absolute()), None)
    lines = []
    for each in (location, *others.values()):
        with suppress(T2CError):  # what cannot be looked into is not named
            if names := list_collections(each, api_key=load_settings().key_for(each)):
                more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
                lines.append(f"{', '.join(names[:_MOST])}{more} in {redact(each)}")
    return f"here are: {'; '.join(lines)}; " if lines else ""
