"""The collections of a store: which there are, and what is done to one as a whole."""

from __future__ import annotations

from t2c_search import stores
from t2c_search.settings import load_settings


def list_collections(store: str | None = None) -> list[str]:
    """List the names of a store's collections, sorted; the settings' store when None. Raises StoreError."""
    settings = load_settings()
    return stores.list_collections(store or settings.store, api_key=settings.api_key)


def delete_collection(name: str, store: str | None = None) -> None:
    """Delete a collection, with all that it keeps; image files are left alone. Raises CollectionNotFoundError."""
    settings = load_settings()
    opened = stores.open_store(store or settings.store, name, api_key=settings.api_key)
    try:
        opened.drop()
    finally:
        opened.close()
