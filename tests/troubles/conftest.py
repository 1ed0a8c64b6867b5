from tests.indexing.conftest import photos, store

__all__ = ["photos", "store"]
