"""The facade that people use, and what it does: make, update, watch and realign one collection of images."""

from t2c_search.collection.facade import Collection, open_collection

__all__ = ["Collection", "open_collection"]
