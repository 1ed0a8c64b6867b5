"""The definition of what payload filters mean, which every store is compared with."""

from __future__ import annotations

from t2c_search.stores.matching import matches

__all__ = ["matches"]
