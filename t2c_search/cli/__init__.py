"""The ``t2c`` command: each command is its parameters plus one call of the facade."""

from t2c_search.cli import (
    bottleneck,
    classify,
    collections,
    concept,
    decoder,
    demo,
    describe,
    index,
    machine,
    map,
    search,
    shift,
    upkeep,
)
from t2c_search.cli.app import app

__all__ = [
    "app",
    "bottleneck",
    "classify",
    "collections",
    "concept",
    "decoder",
    "demo",
    "describe",
    "index",
    "machine",
    "map",
    "search",
    "shift",
    "upkeep",
]
