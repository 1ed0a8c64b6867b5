"""What a collection's vectors say in words: the part of the facade that reads vectors that are stored already."""

from __future__ import annotations

from t2c_search.collection.snapshot import Snapshots


class InWords:
    """Classes, concepts, differences and sentences read from a collection's vectors; no image is opened for it."""

    _snapshots: Snapshots
