"""The ``t2c`` command: each command is its parameters plus one call of the facade."""

from t2c_search.cli import collections, concept, demo, index, machine, search, upkeep
from t2c_search.cli.app import app
from t2c_search.cli.explaining import compare_models, explain, knowledge
from t2c_search.cli.reading import audit, bottleneck, classify, decoder, describe, map, shift

__all__ = [
    "app",
    "audit",
    "bottleneck",
    "classify",
    "collections",
    "compare_models",
    "concept",
    "decoder",
    "demo",
    "describe",
    "explain",
    "index",
    "knowledge",
    "machine",
    "map",
    "search",
    "shift",
    "upkeep",
]
