from tests.stores.conftest import disk

__all__ = ["disk"]
