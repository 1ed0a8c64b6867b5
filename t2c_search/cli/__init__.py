"""The ``t2c`` command: each command is its parameters plus one call of the facade."""

from t2c_search.cli import collections, concept, demo, index, machine, search, shift, upkeep
from t2c_search.cli.app import app

__all__ = ["app", "collections", "concept", "demo", "index", "machine", "search", "shift", "upkeep"]
