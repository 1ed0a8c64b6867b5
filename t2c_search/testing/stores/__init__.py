"""The contract of every vector store, as tests: subclass ``StoreContract`` and give it a ``location`` fixture."""

from __future__ import annotations

from t2c_search.testing.stores.blobs import BlobContract
from t2c_search.testing.stores.lifetimes import LifetimeContract
from t2c_search.testing.stores.payloads import PayloadContract
from t2c_search.testing.stores.points import PointsContract
from t2c_search.testing.stores.replacements import ReplacementContract
from t2c_search.testing.stores.searches import SearchContract
from t2c_search.testing.stores.texts import TextContract
from t2c_search.testing.stores.vectors import VectorContract

__all__ = ["StoreContract"]


class StoreContract(
    LifetimeContract,
    PointsContract,
    PayloadContract,
    VectorContract,
    SearchContract,
    TextContract,
    BlobContract,
    ReplacementContract,
):
    """What a store must do. Subclasses give ``location``, a place that is empty at first, per test."""
