"""What lies here when a collection that was asked for does not: most often it is another store's, or has another name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from t2c_search.errors import CollectionNotFoundError, StoreError
from t2c_search.stores import MEMORY, list_collections
from t2c_search.stores.protocol import VectorStore

_MOST = 8  # collections of a store that are named


def not_found(store: VectorStore) -> CollectionNotFoundError:
    """Return the error of a collection that is not there: it says which are, in its store and in those of the current folder."""
    name, location = store.collection, store.location
    return CollectionNotFoundError(
        f"there is no collection {name!r} in {location}; {_what_is_here(location)}"
        f"make it with: t2c index FOLDER -c {name} --store {location}",
        location=location,
        collection=name,
    )


def _what_is_here(location: str) -> str:
    if location == MEMORY:
        return ""
    stores = [location, *(f"./{path.name}" for path in sorted(Path().glob("*.t2c")))]
    folders = {location if "://" in each else str(Path(each).absolute()): each for each in stores}
    lines = []
    for each in dict.fromkeys(folders.values()):
        with suppress(StoreError):
            if names := list_collections(each):
                more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
                lines.append(f"{', '.join(names[:_MOST])}{more} in {each} (--store {each})")
    return f"here are: {'; '.join(lines)}; " if lines else ""
