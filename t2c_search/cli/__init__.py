"""The ``t2c`` command: each command is its parameters plus one call of the facade."""

from t2c_search.cli import audit, collections, concept, demo, index, machine, search, upkeep
from t2c_search.cli.app import app

__all__ = ["app", "audit", "collections", "concept", "demo", "index", "machine", "search", "upkeep"]
